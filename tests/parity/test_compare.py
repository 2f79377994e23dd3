"""`compare` agrees where two functions do, and each way in which they may not turns it red and is named."""

import doctest
import functools
import subprocess
import sys
from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

import parity
from parity import compare
from parity.convert import dtype_name, to_numpy

Layer = namedtuple("Layer", ["weight", "bias"])
RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4)).astype(np.float32)
LABELS = np.array([3, 0, 1])


def network(params, x, labels, temperature):
    hidden = jnp.tanh(x @ params["hidden"].weight + params["hidden"].bias)
    logits = jnp.stack([jnp.sum(hidden * column, -1) for column in params["out"]], -1) / temperature
    loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], -1).mean()
    return {"loss": loss, "all": [logits, (logits.argmax(-1), logits > 0)], "nothing": None}


def torch_network(params, x, labels, temperature):
    hidden = torch.tanh(x @ params["hidden"].weight + params["hidden"].bias)
    logits = torch.stack([(hidden * column).sum(-1) for column in params["out"]], -1) / temperature
    loss = functional.cross_entropy(logits, labels)
    return {"all": (logits, [logits.argmax(-1), logits > 0]), "loss": loss, "nothing": None}


def network_inputs(dtype):
    arrays = [RNG.standard_normal(shape).astype(jnp.dtype(dtype)) for shape in ((4, 5), (5,), *[(5,)] * 4, (3, 4))]
    return {"hidden": Layer(*arrays[:2]), "out": arrays[2:6]}, arrays[6], LABELS, 1.5


def test_the_docstring_examples_run():
    examples = doctest.DocTestFinder(recurse=False).find(compare, "compare")
    assert sum(len(example.examples) for example in examples) == 8
    for example in examples:
        assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_equal_functions_agree_in_every_result_and_gradient(dtype):
    agreement = compare(jax.jit(network), torch_network, network_inputs(dtype))
    assert agreement, str(agreement)
    assert agreement.name == "network and torch_network"
    assert [result.name for result in agreement.results] == [
        "out['all'][0]",
        "out['all'][1][0]",
        "out['all'][1][1]",
        "out['loss']",
        "d/d inputs[0]['hidden'].weight",
        "d/d inputs[0]['hidden'].bias",
        *(f"d/d inputs[0]['out'][{i}]" for i in range(4)),
        "d/d inputs[1]",
    ]
    assert [result.tolerance for result in agreement.results[:3]] == [
        64 if dtype in ("float32", "float64") else 8,
        0,
        0,
    ]


def test_functions_need_not_be_jitted():
    agreement = compare(network, torch_network, network_inputs("float32"))
    assert agreement, str(agreement)


def test_every_kind_of_input_reaches_both_sides_as_what_it_is():
    read_only = X.copy()
    read_only.setflags(write=False)
    seen = {}

    def spy(name):
        def function(arrays, number, none):
            seen[name] = jax.tree.map(lambda a: (dtype_name(a), to_numpy(a).tolist()), arrays)
            seen[f"{name} number"] = number, none
            return arrays["numpy"] * 1

        return function

    arrays = {
        "numpy": X[::-1, ::2],
        "read-only": Layer(read_only, np.float16(0.5)),
        "jax": [jnp.arange(3), jnp.ones((), jnp.float16)],
        "torch": (torch.ones(2, requires_grad=True), torch.tensor([True])),
        "bytes": np.array([200], np.uint8),
    }
    assert compare(spy("jax"), spy("torch"), (arrays, 2, None), wrt=())
    assert seen["jax"] == seen["torch"]
    assert seen["jax number"] == seen["torch number"] == (2, None)
    # Namedtuples, lists and tuples are what they were.
    assert seen["torch"] == jax.tree.map(lambda a: (dtype_name(a), to_numpy(a).tolist()), arrays)


@pytest.mark.parametrize("x64", [False, True])
def test_labels_are_int64_for_torch_and_what_jax_has_for_jax(x64):
    def same(dtype, labels):
        assert str(labels.dtype) == dtype
        return labels + 1

    with jax.enable_x64(x64):
        ours = functools.partial(same, "int64" if x64 else "int32")
        assert compare(ours, functools.partial(same, "torch.int64"), (LABELS,))


def test_float64_is_compared_in_float64_and_x64_ends_with_it():
    ours, theirs = (lambda x: x * (1 + 1e-12)), (lambda x: x)
    agreement = compare(ours, theirs, (X.astype(np.float64),))
    assert agreement.results[0].difference == pytest.approx(1e-12 / 2**-52, rel=0.5)
    assert not agreement
    assert jnp.ones(1, float).dtype == "float32"


def test_a_numpy_scalar_is_an_array_and_a_python_number_is_none():
    double = compare(lambda x, a, b: x * a * b, lambda x, a, b: x * a * b, (X.astype(np.float64), np.float64(2), 3.0))
    assert [result.name for result in double.results] == ["out", "d/d inputs[0]", "d/d inputs[1]"]
    assert double


def test_integers_alone_have_no_gradients_to_compare():
    agreement = compare(lambda x: x.argmax(-1), lambda x: x.argmax(-1), (X,))
    assert agreement
    assert [result.name for result in agreement.results] == ["out"]


def test_keyword_inputs():
    agreement = compare(lambda *, a, b: a * b, lambda *, b, a: a * b, {"b": X, "a": X + 1}, wrt="b")
    assert agreement, str(agreement)
    assert [result.name for result in agreement.results] == ["out", "d/d inputs['b']"]


@pytest.mark.parametrize(("wrt", "names"), [(None, [0, 2]), ((), []), (2, [2]), ([2, 0], [0, 2]), ((0,), [0])])
def test_wrt_says_which_inputs_to_differentiate(wrt, names):
    agreement = compare(lambda x, n, y: x * y * n, lambda x, n, y: x * y * n, (X, 3, X), wrt=wrt)
    assert agreement
    assert [result.name for result in agreement.results] == ["out", *(f"d/d inputs[{i}]" for i in names)]


def test_gradients_are_compared_whatever_the_context():
    with torch.no_grad():
        agreement = compare(jnp.sin, torch.sin, (X,))
    assert agreement, str(agreement)
    assert "no gradient" not in str(agreement)


@pytest.mark.parametrize("x", [X.copy(), jnp.asarray(X), torch.from_numpy(X.copy())], ids=lambda x: type(x).__name__)
def test_a_function_may_write_into_its_arguments(x):
    agreement = compare(lambda x: x * x.sum(), lambda x: x.mul_(x.sum()), (x,))
    assert agreement, str(agreement)
    np.testing.assert_array_equal(x, X)


def test_a_jitted_function_may_take_over_its_arguments():
    donating = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = torch.from_numpy(X.copy())  # aligned, so JAX reads it in place
    agreement = compare(donating, lambda x: x + 1, (x,))
    assert agreement, str(agreement)
    np.testing.assert_array_equal(x, X)


def test_the_gradient_of_a_scalar_is_the_gradient():
    worst = compare(lambda x: 2 * x[0, 1], lambda x: 3 * x[0, 1], (X,)).results[1].worst
    assert worst == ((0, 1), 2, 3)


@pytest.mark.parametrize("seed", range(3))
def test_a_normalisation_of_the_draw_that_anybody_would_take_agrees(seed):
    # A normalisation's gradient is zero in the direction of its input, and so noise if the cotangent is the input.
    x = np.random.default_rng(seed).standard_normal((16, 64)).astype(np.float32)

    def layer_norm(x):
        centred = x - x.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)

    agreement = compare(layer_norm, lambda x: functional.layer_norm(x, (64,)), (x,))
    assert agreement, str(agreement)


def test_a_module_compares_with_its_parameters_as_an_input():
    module = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.GELU(), torch.nn.Linear(6, 2)).requires_grad_()

    def ours(params, x):
        hidden = jax.nn.gelu(x @ params["0.weight"].T + params["0.bias"], approximate=False)
        return hidden @ params["2.weight"].T + params["2.bias"]

    def theirs(params, x):
        return torch.func.functional_call(module, params, (x,))

    inputs = dict(module.named_parameters()), X
    agreement = compare(ours, theirs, inputs)
    assert agreement, str(agreement)
    assert len(agreement.results) == 6
    assert all(parameter.grad is None for parameter in module.parameters())
    approximate = compare(lambda params, x: ours(params, x) + jnp.tanh(x[:, :2]) * 1e-4, theirs, inputs)
    assert not approximate


# Tolerances.


@pytest.mark.parametrize(("dtype", "ulps"), [("float32", 64), ("float64", 64), ("float16", 8), ("bfloat16", 8)])
def test_the_default_tolerance_holds_to_the_ulp(dtype, ulps):
    one = np.ones(5, jnp.dtype(dtype))
    for apart in (ulps, ulps + 1):
        other = one.copy()
        other[3] += apart * float(jnp.finfo(dtype).eps)
        agreement = compare(lambda x, y: x * 1, lambda x, y: y * 1, (one, other), wrt=())
        assert agreement.results[0].difference == apart
        assert bool(agreement) is (apart <= ulps)


def test_a_tolerance_is_for_all_or_by_name():
    off = np.float32(2**-23)
    ours, theirs = (lambda x: (x, x + 3 * off)), (lambda x: (x + 2 * off, x))
    one = np.ones(3, np.float32)
    assert compare(ours, theirs, (one,), tolerance=3)
    assert not compare(ours, theirs, (one,), tolerance=2)
    assert compare(ours, theirs, (one,), tolerance={"out[0]": 2, "out[1]": 3, "d/d inputs[0]": 0})
    assert not compare(ours, theirs, (one,), tolerance={"out[0]": 1})
    assert not compare(ours, theirs, (one,), tolerance=0)


def test_no_tolerance_forgives_an_integer():
    assert not compare(lambda x: x, lambda x: x + 1, (LABELS,), tolerance=1e6)


def test_numbers_near_zero_are_measured_at_the_largest():
    x = np.array([1000, 1], np.float32)
    assert compare(lambda x: x - x[0] * 1.0, lambda x: x - x[0] * (1 - 2**-24), (x,), wrt=())
    assert not compare(lambda x: x[1:] * 1.0, lambda x: x[1:] * 1.0001, (x,), wrt=())
    for agreement in (compare(jnp.abs, torch.zeros_like, (x,)), compare(jnp.zeros_like, torch.abs, (x,))):
        assert agreement.results[0].difference < 2**24  # the largest of either side


# How it is used.


def test_a_failing_assert_shows_what_differs():
    with pytest.raises(AssertionError, match=r"sin and cos: DISAGREES out: .* most at \[\d, \d\]: ours .*; and 1 more"):
        assert compare(jnp.sin, torch.cos, (X,))
    agreement = compare(jnp.sin, torch.cos, (X,))
    with pytest.raises(AssertionError, match=r"(?s)sin and cos: DISAGREES\n.*DISAGREES out.*DISAGREES d/d inputs\[0\]"):
        assert agreement, str(agreement)


def test_functions_are_called_by_what_they_are():
    module = torch.nn.Identity()
    assert compare(functools.partial(jnp.power, x2=2), module, (X,)).name == "power and Identity"


def test_an_interrupt_is_no_disagreement():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(interrupted, torch.sin, (X,))


def test_parity_exports_the_comparison_and_names_the_extra_without_torch():
    assert parity.__all__ == ["Agreement", "compare"]
    code = "import sys; sys.modules['torch'] = None; import parity"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError: parity compares with PyTorch" in run.stderr
    assert "pip install 'ood-jax[parity]'" in run.stderr
