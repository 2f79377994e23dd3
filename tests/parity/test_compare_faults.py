"""Each way in which two functions may disagree, planted: `compare` turns red and says which it is."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from parity import compare

X = np.arange(1, 13, dtype=np.float32).reshape(3, 4) / 8
ULP = 2**-23  # of numbers from 1 to 2, and X[2, 3] = 1.5 is the largest


def same(x):
    return x * 1


def attempt(jax_fn, torch_fn=same, inputs=(X,), **options):
    return compare(jax_fn, torch_fn, inputs, **options)


def add(x, at, amount):
    return x.at[at].add(amount) if isinstance(x, jax.Array) else x


def fails(x):
    raise ArithmeticError("too hot\nand much more")


@jax.custom_vjp
def permuted_gradient(x):
    return x * 1


permuted_gradient.defvjp(lambda x: (x * 1, None), lambda _, cotangent: (cotangent[::-1],))


@jax.custom_vjp
def wrong_gradient(x):
    return x * 1


wrong_gradient.defvjp(lambda x: (x * 1, None), lambda _, cotangent: (cotangent.at[1, 2].mul(1.001),))


class Output:
    def __init__(self, logits):
        self.logits = logits


# what is compared, and what the report has to say of it
FAULTS = {
    "a few ulps at one index": (
        lambda: attempt(lambda x: add(x, (1, 2), 70 * ULP)),
        "out: 70 ulp apart of 64 allowed; most at [1, 2]: ours 0.875008345, the source's 0.875",
    ),
    "errors that cancel in the sum": (
        lambda: attempt(lambda x: add(add(x, (0, 1), 100 * ULP), (2, 2), -99 * ULP)),
        "out: 100 ulp apart of 64 allowed; most at [0, 1]",
    ),
    "swapped keys": (
        lambda: attempt(lambda x: {"mean": x.mean(), "max": x.max()}, lambda x: {"mean": x.max(), "max": x.mean()}),
        "DISAGREES out['mean']: ",
    ),
    "a renamed key": (
        lambda: attempt(lambda x: {"a": x, "b": x}, lambda x: {"a": x, "c": x}),
        "DISAGREES out['b']: only the JAX function returns it",
    ),
    "a result more": (
        lambda: attempt(lambda x: (x, None), lambda x: (x, x)),
        "DISAGREES out[1]: only the PyTorch function returns it",
    ),
    "a name where the other has a position": (
        lambda: attempt(lambda x: {"a": x}, lambda x: (x,)),
        "DISAGREES out[0]: only the PyTorch function returns it",
    ),
    "a transposed result": (lambda: attempt(jnp.transpose), "out: unlike shapes, ours (4, 3) and the source's (3, 4)"),
    "a shape that would broadcast": (
        lambda: attempt(lambda x: x.mean(0), lambda x: x.mean(0, keepdim=True)),
        "out: unlike shapes, ours (4,) and the source's (1, 4)",
    ),
    "another float dtype": (
        lambda: attempt(same, lambda x: x.bfloat16()),
        "out: unlike dtypes, ours float32 and the source's bfloat16",
    ),
    "a float for an integer": (
        lambda: attempt(lambda x: x.argmax(), lambda x: x.argmax().float()),
        "out: unlike dtypes, ours int32 and the source's float32",
    ),
    "an unsigned for a signed integer": (
        lambda: attempt(lambda x: x.astype(jnp.uint8), lambda x: x.int()),
        "out: unlike dtypes, ours uint8 and the source's int32",
    ),
    "NaN in ours": (
        lambda: attempt(lambda x: add(x, (0, 1), np.nan)),
        "out: inf ulp apart of 64 allowed; most at [0, 1]: ours nan, the source's 0.25",
    ),
    "NaN in the source": (
        lambda: attempt(same, lambda x: torch.where(x == 0.25, np.nan, x)),
        "out: inf ulp apart of 64 allowed; most at [0, 1]: ours 0.25, the source's nan",
    ),
    "infinite on one side": (lambda: attempt(lambda x: add(x, (0, 1), np.inf)), "[0, 1]: ours inf, the source's 0.25"),
    "infinite both ways": (
        lambda: attempt(lambda x: x[0, 0] / 0.0, lambda x: -x[0, 0] / 0.0, wrt=()),
        "most at the value: ours inf, the source's -inf",
    ),
    "NaN where the other is infinite": (
        lambda: attempt(lambda x: add(x, (0, 1), np.nan), lambda x: torch.where(x == 0.25, np.inf, x)),
        "most at [0, 1]: ours nan, the source's inf",
    ),
    "another class": (
        lambda: attempt(lambda x: x.argmax(-1), lambda x: x.argmax(-1) - torch.tensor([0, 2, 0])),
        "out: 2 ulp apart of 0 allowed; most at [1]: ours 3, the source's 1",
    ),
    "another truth value": (
        lambda: attempt(lambda x: x > 0.25, lambda x: x >= 0.25),
        "most at [0, 1]: ours 0, the source's 1",
    ),
    "a wrong gradient of a right value": (
        lambda: attempt(wrong_gradient),
        "out: 0 ulp apart of 64 allowed\n    DISAGREES d/d inputs[0]: ",
    ),
    "gradients at the wrong place, right in the sum": (lambda: attempt(permuted_gradient), "DISAGREES d/d inputs[0]: "),
    "a detached result": (lambda: attempt(same, torch.detach), "; the PyTorch function gives no gradient"),
    "one detached input": (
        lambda: attempt(lambda x, y: x * y, lambda x, y: x * y.detach(), (X, X)),
        "d/d inputs[0]: 0 ulp apart of 64 allowed\n    DISAGREES d/d inputs[1]: ",
    ),
    "a stopped gradient": (
        lambda: attempt(jax.lax.stop_gradient),
        "DISAGREES d/d inputs[0]: ",
    ),
    "nothing to differentiate": (
        lambda: attempt(lambda x: x.argmax(), lambda x: x.argmax(), wrt=0),
        "gradients: no result is floating-point; for values alone pass wrt=()",
    ),
    "nothing returned": (lambda: attempt(lambda x: None, lambda x: {}), "out: neither function returns any number"),
    "nothing but empty arrays": (lambda: attempt(lambda x: x[:0], lambda x: x[:0]), "returns any number"),
    "nothing but NaN": (lambda: attempt(lambda x: x * np.nan, lambda x: x * np.nan), "returns any number"),
    "gradients of nothing but NaN": (
        lambda: attempt(lambda x: jnp.sqrt(x * 0) * 0, lambda x: torch.sqrt(x * 0) * 0),
        "gradients: neither function's hold any number",
    ),
    "a Python number": (
        lambda: attempt(lambda x: 1.5, lambda x: torch.tensor(1.5)),
        "out: the JAX function returns a float, where an array is expected",
    ),
    "a NumPy array": (
        lambda: attempt(same, lambda x: x.detach().numpy()),
        "out: the PyTorch function returns a ndarray, where an array is expected",
    ),
    "an object": (
        lambda: attempt(lambda x: {"logits": x}, Output),
        "out: the PyTorch function returns a Output, where an array is expected, or a list, tuple or dict of them",
    ),
    "complex numbers": (
        lambda: attempt(lambda x: x + 0j, lambda x: x + 0j),
        "out: the JAX function returns complex64, which is not compared",
    ),
    "ours raises": (
        lambda: attempt(fails),
        "out: the JAX function raised ArithmeticError: too hot\n    DISAGREES gradients: not compared",
    ),
    "the source raises": (lambda: attempt(same, fails), "out: the PyTorch function raised ArithmeticError: too hot\n"),
    "both raise": (
        lambda: attempt(fails, lambda x: x.no_such_thing),
        "the JAX function raised ArithmeticError: too hot; the PyTorch function raised AttributeError: ",
    ),
    "ours can not be differentiated": (
        lambda: attempt(lambda x: jnp.asarray(np.asarray(x))),
        "gradients: the gradient of the JAX function raised TracerArrayConversionError: ",
    ),
    "the source can not be differentiated": (
        lambda: attempt(lambda x: x * x, lambda x: x.exp().log_().exp_() * x * 0 + x.mul_(x)),
        "gradients: the gradient of the PyTorch function raised RuntimeError: ",
    ),
    "results that can not be flattened": (
        lambda: attempt(same, lambda x: {1: x, "a": x}),
        "out: the PyTorch function raised ValueError: ",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_red_and_the_report_names_it(fault):
    run, report = FAULTS[fault]
    agreement = run()
    assert not agreement
    assert not agreement.agrees
    assert report in str(agreement)
    assert str(agreement).count("DISAGREES") == 1 + len(agreement.disagreeing)


NOTES = {
    "NaN at the same place": (lambda x: jnp.log(x - 0.3), lambda x: torch.log(x - 0.3), "NaN on both sides in 2 of 12"),
    "zeros": (lambda x: (x, x * 0), lambda x: (x, x * 0), "out[1]: 0 ulp apart of 64 allowed; all zero on both sides"),
    "an empty array": (lambda x: (x, x[:0]), lambda x: (x, x[:0]), "out[1]: 0 ulp apart of 64 allowed; empty"),
    "no gradient of a constant": (lambda x: x * 0 + 1, lambda x: x.detach() * 0 + 1, "gives no gradient"),
    "a mask that dwarfs all else": (
        lambda x: jnp.where(x < 0.3, x, -1e9),
        lambda x: torch.where(x < 0.3, x, -1e9),
        "2 of 12 are smaller than what is allowed",
    ),
}


@pytest.mark.parametrize("note", NOTES)
def test_an_agreement_that_is_worth_less_says_so(note):
    ours, source, report = NOTES[note]
    agreement = attempt(ours, source)
    assert agreement, str(agreement)
    assert report in str(agreement)


def with_options(**options):
    return functools.partial(attempt, same, **options)


MISTAKES = {
    "no function": (lambda: compare(3, same, (X,)), TypeError, "`jax_fn` must be a function, got int."),
    "no PyTorch function": (
        lambda: compare(same, None, (X,)),
        TypeError,
        "`torch_fn` must be a function, got NoneType.",
    ),
    "a bare array": (
        with_options(inputs=X),
        TypeError,
        "mapping of keyword arguments, got ndarray; for one argument x",
    ),
    "keywords that are no names": (with_options(inputs={1: X}), TypeError, "must have names as keys, got [1]."),
    "a word for an array": (
        with_options(inputs=(X, {"form": ["kl"]})),
        TypeError,
        "`inputs[1]['form'][0]`: expected an array of booleans, integers or real numbers, got str; bind other",
    ),
    "complex numbers": (with_options(inputs=(X + 0j,)), TypeError, "`inputs[0]`: expected an array of booleans"),
    "an integer too large": (
        with_options(inputs={"x": np.array([2**40])}),
        ValueError,
        "`inputs['x']`: int32 cannot hold 1099511627776; JAX has int64 only with jax_enable_x64.",
    ),
    "an unknown position": (with_options(wrt=1), ValueError, "of which there are [0], got 1; Python numbers"),
    "a position that is none": (with_options(wrt=False), ValueError, "of which there are [0], got False;"),
    "a name without names": (with_options(wrt=("x",)), ValueError, "of which there are [0], got 'x';"),
    "integers to differentiate": (with_options(inputs=(X, np.arange(3)), wrt=1), ValueError, "there are [0], got 1;"),
    "a number to differentiate": (
        with_options(inputs={"x": 1.5}, wrt="x"),
        ValueError,
        "there are [], got 'x'; Python",
    ),
    "no position": (
        with_options(wrt=1.5),
        TypeError,
        "`wrt` must be a position, a name or a sequence of them, got float.",
    ),
    "a negative tolerance": (with_options(tolerance=-1), ValueError, "must be finite and at least 0 ulps, got -1;"),
    "a tolerance that is NaN": (with_options(tolerance=np.nan), ValueError, "at least 0 ulps, got nan;"),
    "a tolerance of anything": (
        with_options(tolerance=np.inf),
        ValueError,
        "must be finite and at least 0 ulps, got inf;",
    ),
    "a tolerance in words": (with_options(tolerance="1"), TypeError, "`tolerance` must be a number of ulps, got str."),
    "a tolerance that is no number": (with_options(tolerance=True), TypeError, "must be a number of ulps, got bool."),
    "one of them negative": (with_options(tolerance={"out": -1}), ValueError, "`tolerance['out']` must be finite"),
    "a tolerance for no result": (
        with_options(tolerance={"out": 1, "loss": 2}),
        ValueError,
        "`tolerance` must name results, of which there are ['out', 'd/d inputs[0]'], got 'loss'.",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_that_names_the_argument(mistake):
    call, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=re.escape(message)):
        call()
