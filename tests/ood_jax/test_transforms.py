"""Every public function eager and under jit, vmap, grad, scan and shard_map, with the same result."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

import ood_jax

RNG = np.random.default_rng(0)
COPIES = 4
N, K, IMAGE = 8, 5, (6, 10)

KEYS = jax.random.split(jax.random.key(0), COPIES)
X = jnp.asarray(RNG.standard_normal((COPIES, N, *IMAGE, 2)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, K, (COPIES, N)))
Z_IN, Z_OUT = (jnp.asarray(RNG.standard_normal((COPIES, N, K)), jnp.float32) for _ in range(2))
LAM = jnp.asarray(RNG.beta(1, 1, COPIES), jnp.float32)
ROW, COLUMN = jnp.asarray(RNG.integers(0, 6, (2, COPIES)))
MASK = jnp.asarray(RNG.random((COPIES, N)) < 0.7)


def squared_error(pred, y):
    return jnp.mean(pred**2, axis=-1) * y.astype(pred.dtype)


# function of batched arguments, the arguments with a leading axis of copies
FUNCTIONS = {
    "mixup": (partial(ood_jax.mixup, alpha=0.3), (KEYS, X, Y)),
    "mixup groups": (partial(ood_jax.mixup, groups=2), (KEYS, X, Y)),
    "mixup per_example": (partial(ood_jax.mixup, per_example=True), (KEYS, X, Y)),
    "cutmix": (partial(ood_jax.cutmix, alpha=0.3), (KEYS, X, Y)),
    "cutmix groups": (partial(ood_jax.cutmix, groups=4, per_example=True), (KEYS, X, Y)),
    "draw_mixup": (lambda key: ood_jax.draw_mixup(key, N), (KEYS,)),
    "draw_cutmix": (lambda key: ood_jax.draw_cutmix(key, N, IMAGE), (KEYS,)),
    "apply_mixup": (lambda key, x, y: ood_jax.apply_mixup(ood_jax.draw_mixup(key, N), x, y), (KEYS, X, Y)),
    "apply_cutmix": (lambda key, x, y: ood_jax.apply_cutmix(ood_jax.draw_cutmix(key, N, IMAGE), x, y), (KEYS, X, Y)),
    "cutmix_box": (lambda lam, row, column: ood_jax.cutmix_box(lam, (row, column), IMAGE), (LAM, ROW, COLUMN)),
    "mixup roll": (partial(ood_jax.mixup, pairing="roll", fold=True), (KEYS, X, Y)),
    "cutmix kornia": (partial(ood_jax.cutmix, geometry="kornia", pairing="flip", groups=2, fold=True), (KEYS, X, Y)),
    "draw_cutmix timm": (lambda key: ood_jax.draw_cutmix(key, N, IMAGE, geometry="timm"), (KEYS,)),
    "timm_box": (lambda lam, row, column: ood_jax.timm_box(lam, (row, column), IMAGE), (LAM, ROW, COLUMN)),
    "kornia_box": (lambda lam, start: ood_jax.kornia_box(lam, (start, start), IMAGE), (LAM, LAM[::-1])),
    "soft_targets": (
        lambda x, y, lam: ood_jax.soft_targets(ood_jax.Mixed(x, y, y[::-1], lam), K, smoothing=0.1),
        (X, Y, LAM),
    ),
    "soft_targets of probabilities": (
        lambda x, y, lam: ood_jax.soft_targets(ood_jax.Mixed(x, y, y[::-1], lam), K),
        (X, Z_IN, LAM),
    ),
    "symmetric_beta": (lambda key, alpha: ood_jax.symmetric_beta(key, alpha, (3,)), (KEYS, LAM)),
    "mixup_criterion": (partial(ood_jax.mixup_criterion, squared_error), (Z_IN, Y, Y[:, ::-1], LAM)),
    "mixup_cross_entropy": (ood_jax.mixup_cross_entropy, (Z_IN, Y, Y[:, ::-1], LAM)),
    "outlier_exposure_loss": (ood_jax.outlier_exposure_loss, (Z_IN, Y, Z_OUT)),
    "outlier_exposure_loss masked": (
        lambda *a: ood_jax.outlier_exposure_loss(*a[:3], where_in=a[3], form="cross_entropy"),
        (Z_IN, Y, Z_OUT, MASK),
    ),
    "energy_regularized_loss": (ood_jax.energy_regularized_loss, (Z_IN, Y, Z_OUT)),
    "energy_regularized_loss mean": (partial(ood_jax.energy_regularized_loss, form="mean"), (Z_IN, Y, Z_OUT)),
    "outlier_exposure_loss pooled": (partial(ood_jax.outlier_exposure_loss, reduction="pooled"), (Z_IN, Y, Z_OUT)),
    # Energies lie about -2, so that both hinges are open.
    "energy_bounded_loss": (partial(ood_jax.energy_bounded_loss, m_in=-2.5, m_out=-1.5), (Z_IN, Y, Z_OUT)),
    "energy_bounded_loss pooled": (
        lambda *a: ood_jax.energy_bounded_loss(*a[:3], m_in=a[3] - 4, m_out=a[3], where_in=a[4], reduction="pooled"),
        (Z_IN, Y, Z_OUT, LAM, MASK),
    ),
    "energy_bounded_loss without outliers": (partial(ood_jax.energy_bounded_loss, m_in=-2.5, m_out=-1.5), (Z_IN, Y)),
    "calibrate_margins": (ood_jax.calibrate_margins, (Z_IN, Z_OUT)),
    "free_energy": (lambda z, temperature: ood_jax.free_energy(z, temperature=temperature), (Z_IN, LAM)),
}
EVERY = pytest.mark.parametrize("name", FUNCTIONS)


def one_by_one(name):
    """The function called on each copy alone, as a stack: what every transform must give."""
    function, arguments = FUNCTIONS[name]
    results = [function(*(argument[i] for argument in arguments)) for i in range(COPIES)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def assert_same(result, expected):
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        if jnp.issubdtype(a.dtype, jnp.integer):
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-7)


@EVERY
def test_eager(name):
    function, arguments = FUNCTIONS[name]
    with jax.disable_jit():
        result = function(*(argument[0] for argument in arguments))
    assert_same(result, jax.tree.map(lambda leaf: leaf[0], one_by_one(name)))


@EVERY
@pytest.mark.parametrize("x64", [False, True])
def test_strict_promotion_in_either_width(name, x64):
    function, arguments = FUNCTIONS[name]
    first = [argument[0] for argument in arguments]
    with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"):
        jax.eval_shape(lambda *a: function(*a), *first)  # a function of its own, that nobody has traced


@EVERY
def test_eager_with_numpy_arrays(name):
    # Debugging without jit must not need other arguments.
    function, arguments = FUNCTIONS[name]
    first = [argument[0] for argument in arguments]
    given = [a if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else np.asarray(a) for a in first]
    with jax.disable_jit():
        assert_same(function(*given), function(*first))


@EVERY
def test_jit(name):
    function, arguments = FUNCTIONS[name]
    traced = []

    @jax.jit
    def outer(*arguments):
        traced.append(1)
        return function(*arguments)

    results = [outer(*(argument[i] for argument in arguments)) for i in range(COPIES)]
    assert_same(jax.tree.map(lambda *leaves: jnp.stack(leaves), *results), one_by_one(name))
    assert len(traced) == 1


@EVERY
def test_vmap(name):
    function, arguments = FUNCTIONS[name]
    assert_same(jax.vmap(function)(*arguments), one_by_one(name))


@EVERY
def test_scan(name):
    function, arguments = FUNCTIONS[name]
    _, result = jax.lax.scan(lambda carry, step: (carry, function(*step)), 0, arguments)
    assert_same(result, one_by_one(name))


@EVERY
@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map(name, check_vma):
    function, arguments = FUNCTIONS[name]
    mesh = jax.make_mesh((COPIES,), ("device",), axis_types=(AxisType.Auto,))

    def body(*shards):
        result = function(*(shard[0] for shard in shards))
        return jax.tree.map(lambda leaf: leaf[None], result)

    spec = PartitionSpec("device")
    mapped = jax.shard_map(body, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=check_vma)
    assert_same(jax.jit(mapped)(*arguments), one_by_one(name))


WHOLE = ("draw_mixup", "draw_cutmix", "draw_cutmix timm", "cutmix_box", "timm_box", "kornia_box")
DIFFERENTIABLE = {name: pair for name, pair in FUNCTIONS.items() if name not in WHOLE}


def inexact(function, arguments):
    """The function of its float arguments alone, summed with fixed weights to a scalar."""
    floats = [i for i, argument in enumerate(arguments) if jnp.issubdtype(argument.dtype, jnp.floating)]

    def of_floats(*values):
        full = list(arguments)
        for i, value in zip(floats, values, strict=True):
            full[i] = value
        leaves = [leaf for leaf in jax.tree.leaves(function(*full)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        return sum(
            jnp.sum(leaf * jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape)) for leaf in leaves
        )

    return of_floats, [arguments[i] for i in floats]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_reverse_and_forward_derivatives_agree_with_differences(name):
    function, arguments = DIFFERENTIABLE[name]
    scalar, values = inexact(function, [argument[1] for argument in arguments])
    argnums = tuple(range(len(values)))
    reverse = jax.jit(jax.grad(scalar, argnums))(*values)
    rng = np.random.default_rng(1)
    for _ in range(2):
        direction = [jnp.asarray(rng.standard_normal(value.shape), value.dtype) for value in values]
        _, forward = jax.jvp(scalar, values, direction)
        along = sum(jnp.vdot(a, b) for a, b in zip(reverse, direction, strict=True))
        np.testing.assert_allclose(along, forward, rtol=1e-3, atol=1e-3)
        step = 1e-2 if "beta" not in name else 1e-3
        ahead, behind = (
            scalar(*(value + sign * step * d for value, d in zip(values, direction, strict=True))) for sign in (1, -1)
        )
        np.testing.assert_allclose((ahead - behind) / (2 * step), forward, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    "name", ["outlier_exposure_loss", "energy_regularized_loss", "energy_bounded_loss", "mixup_cross_entropy"]
)
def test_second_derivatives_exist(name):
    function, arguments = FUNCTIONS[name]
    scalar, values = inexact(function, [argument[1] for argument in arguments])
    product = jax.jvp(jax.grad(scalar), values, [jnp.ones_like(value) for value in values])[1]
    assert bool(jnp.all(jnp.isfinite(product)))


NUMBERS = {
    "alpha of mixup": (ood_jax.mixup, lambda v: ood_jax.mixup(KEYS[0], X[0], Y[0], alpha=v)),
    "alpha of cutmix": (ood_jax.cutmix, lambda v: ood_jax.cutmix(KEYS[0], X[0], Y[0], alpha=v)),
    "alpha of draw_mixup": (ood_jax.draw_mixup, lambda v: ood_jax.draw_mixup(KEYS[0], N, alpha=v)),
    "alpha of draw_cutmix": (ood_jax.draw_cutmix, lambda v: ood_jax.draw_cutmix(KEYS[0], N, IMAGE, alpha=v)),
    "alpha of symmetric_beta": (ood_jax.symmetric_beta, lambda v: ood_jax.symmetric_beta(KEYS[0], v)),
    "lam of cutmix_box": (ood_jax.cutmix_box, lambda v: ood_jax.cutmix_box(v, (1, 2), IMAGE)),
    "lam of timm_box": (ood_jax.timm_box, lambda v: ood_jax.timm_box(v, (1, 2), IMAGE)),
    "lam of kornia_box": (ood_jax.kornia_box, lambda v: ood_jax.kornia_box(v, (0.1, 0.2), IMAGE)),
    "start of kornia_box": (ood_jax.kornia_box, lambda v: ood_jax.kornia_box(0.5, (v, 0.2), IMAGE)),
    "smoothing": (
        ood_jax.soft_targets,
        lambda v: ood_jax.soft_targets(ood_jax.Mixed(X[0], Y[0], Y[1], LAM[0]), K, smoothing=v),
    ),
    "lam of mixup_criterion": (
        ood_jax.mixup_criterion,
        lambda v: ood_jax.mixup_criterion(squared_error, Z_IN[0], Y[0], Y[1], v),
    ),
    "lam of mixup_cross_entropy": (
        ood_jax.mixup_cross_entropy,
        lambda v: ood_jax.mixup_cross_entropy(Z_IN[0], Y[0], Y[1], v),
    ),
    "lambda_oe": (
        ood_jax.outlier_exposure_loss,
        lambda v: ood_jax.outlier_exposure_loss(Z_IN[0], Y[0], Z_OUT[0], lambda_oe=v),
    ),
    "lambda_energy": (
        ood_jax.energy_regularized_loss,
        lambda v: ood_jax.energy_regularized_loss(Z_IN[0], Y[0], Z_OUT[0], lambda_energy=v),
    ),
    "margin": (
        ood_jax.energy_regularized_loss,
        lambda v: ood_jax.energy_regularized_loss(Z_IN[0], Y[0], Z_OUT[0], margin=v),
    ),
    "lambda_energy of the bounded loss": (
        ood_jax.energy_bounded_loss,
        lambda v: ood_jax.energy_bounded_loss(Z_IN[0], Y[0], Z_OUT[0], lambda_energy=v),
    ),
    "m_in": (
        ood_jax.energy_bounded_loss,
        lambda v: ood_jax.energy_bounded_loss(Z_IN[0], Y[0], Z_OUT[0], m_in=v - 3, m_out=0.0),
    ),
    "m_out": (
        ood_jax.energy_bounded_loss,
        lambda v: ood_jax.energy_bounded_loss(Z_IN[0], Y[0], Z_OUT[0], m_out=v),
    ),
    "temperature": (ood_jax.free_energy, lambda v: ood_jax.free_energy(Z_IN[0], temperature=v)),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_changing_a_number_never_compiles_again(name):
    function, call = NUMBERS[name]
    results = [jax.tree.leaves(call(0.25))]
    compiled = function._cache_size()
    results += [jax.tree.leaves(call(value)) for value in (0.5, 0.75, 0.0)]
    assert function._cache_size() == compiled
    # The number is used, not frozen into the first program.
    assert any(not np.array_equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))
