"""Values by hand, the contract of targets and masks, and both forms of both losses against the float64 truth."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ood_jax
from parity import truth

N, K = 6, 5
LOSSES = {
    "outlier_exposure kl": (ood_jax.outlier_exposure_loss, truth.outlier_exposure, {"form": "kl", "lambda_oe": 0.7}),
    "outlier_exposure cross_entropy": (
        ood_jax.outlier_exposure_loss,
        truth.outlier_exposure,
        {"form": "cross_entropy", "lambda_oe": 0.7},
    ),
    "energy pairwise": (
        ood_jax.energy_regularized_loss,
        truth.energy_regularized,
        {"form": "pairwise", "lambda_energy": 0.3, "margin": 1.5},
    ),
    "energy mean": (
        ood_jax.energy_regularized_loss,
        truth.energy_regularized,
        {"form": "mean", "lambda_energy": 0.3, "margin": 1.5},
    ),
}
EVERY_LOSS = pytest.mark.parametrize("name", LOSSES)


def inputs(seed=0, n_out=N, scale=2.0):
    rng = np.random.default_rng(seed)
    logits_in, logits_out = (rng.standard_normal((n, K)).astype(np.float32) * np.float32(scale) for n in (N, n_out))
    return logits_in, rng.integers(0, K, N), logits_out


def value_and_gradients(loss, *arguments, **options):
    return jax.value_and_grad(lambda a, b: loss(a, arguments[1], b, **options), argnums=(0, 1))(
        jnp.asarray(arguments[0]), jnp.asarray(arguments[2])
    )


def assert_is_truth(result, exact, rtol=2e-6):
    value, (grad_in, grad_out) = result
    np.testing.assert_allclose(value, float(exact.value), rtol=rtol)
    np.testing.assert_allclose(grad_in, exact.grad_in.astype(np.float64), rtol=rtol, atol=1e-7)
    np.testing.assert_allclose(grad_out, exact.grad_out.astype(np.float64), rtol=rtol, atol=1e-7)


def masks(seed=1, n_out=N):
    rng = np.random.default_rng(seed)
    return {"where_in": rng.random(N) < 0.6, "where_out": rng.random(n_out) < 0.6}


# By hand.


def test_outlier_exposure_by_hand():
    logits_in = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    logits_out = jnp.log(jnp.array([[0.5, 0.25, 0.25]]))
    cross_entropy = -(math.log(0.5) + math.log(0.8)) / 2
    divergence = -(math.log(0.5) + 2 * math.log(0.25)) / 3 - math.log(3)
    targets = jnp.array([0, 2])
    loss = ood_jax.outlier_exposure_loss(logits_in, targets, logits_out)
    np.testing.assert_allclose(loss, cross_entropy + 0.5 * divergence, rtol=1e-6)
    larger = ood_jax.outlier_exposure_loss(logits_in, targets, logits_out, form="cross_entropy")
    np.testing.assert_allclose(larger - loss, 0.5 * math.log(3), rtol=1e-6)
    np.testing.assert_allclose(ood_jax.outlier_exposure_loss(logits_in, targets), cross_entropy, rtol=1e-6)


def test_energy_by_hand():
    # Energies -log 4 and -log 8 in, -log 2 and -log 2 out; both classes are equally likely, so CE is log 2.
    logits_in, logits_out = jnp.log(jnp.array([[2.0, 2.0], [4.0, 4.0]])), jnp.zeros((2, 2))
    targets = jnp.array([0, 1])
    loss = ood_jax.energy_regularized_loss(logits_in, targets, logits_out, lambda_energy=1.0, margin=1.0)
    pairs = (1 - math.log(2)) / 2 + 0  # gaps 1 - log 2 and 1 - log 4, the second below 0
    np.testing.assert_allclose(loss, math.log(2) + pairs, rtol=1e-6)
    mean = ood_jax.energy_regularized_loss(logits_in, targets, logits_out, lambda_energy=1.0, margin=2.0, form="mean")
    np.testing.assert_allclose(mean, math.log(2) + 2 - 1.5 * math.log(2), rtol=1e-6)


def test_default_weights_are_the_definitions():
    logits_in, targets, logits_out = inputs()
    oe, energy = ood_jax.outlier_exposure_loss, ood_jax.energy_regularized_loss
    assert float(oe(logits_in, targets, logits_out)) == float(oe(logits_in, targets, logits_out, lambda_oe=0.5))
    default = energy(logits_in, targets, logits_out)
    assert float(default) == float(energy(logits_in, targets, logits_out, lambda_energy=0.1, margin=10.0))


# Against the truth, masks included.


@EVERY_LOSS
@pytest.mark.parametrize("masked", [False, True])
def test_value_and_gradients_are_the_truth(name, masked):
    loss, exact, options = LOSSES[name]
    arguments = inputs(seed=2)
    options = options | (masks() if masked else {})
    assert_is_truth(value_and_gradients(loss, *arguments, **options), exact(*arguments, **options))


@pytest.mark.parametrize("name", ["outlier_exposure kl", "outlier_exposure cross_entropy", "energy mean"])
@pytest.mark.parametrize("n_out", [1, 4, 17])
def test_any_number_of_outliers(name, n_out):
    loss, exact, options = LOSSES[name]
    arguments = inputs(seed=3, n_out=n_out)
    options = options | masks(n_out=n_out) | {"where_out": np.arange(n_out) % 3 == 0}
    assert_is_truth(value_and_gradients(loss, *arguments, **options), exact(*arguments, **options))


@pytest.mark.parametrize("single", ["in", "out"])
def test_a_single_row_pairs_with_every_row(single):
    loss, exact, options = LOSSES["energy pairwise"]
    logits_in, targets, logits_out = inputs(seed=4)
    arguments = (logits_in[:1], targets[:1], logits_out) if single == "in" else (logits_in, targets, logits_out[:1])
    assert_is_truth(value_and_gradients(loss, *arguments, **options), exact(*arguments, **options))
    where = {"where_in" if single == "out" else "where_out": np.arange(N) % 2 == 0}
    options = options | where
    assert_is_truth(value_and_gradients(loss, *arguments, **options), exact(*arguments, **options))


@EVERY_LOSS
@pytest.mark.parametrize("empty", ["where_in", "where_out", "both"])
def test_a_term_over_no_rows_is_zero_with_zero_gradients(name, empty):
    loss, _, options = LOSSES[name]
    logits_in, targets, logits_out = inputs()
    where = {side: np.zeros(N, bool) for side in ("where_in", "where_out") if empty in (side, "both")}
    value, (grad_in, grad_out) = value_and_gradients(loss, logits_in, targets, logits_out, **options, **where)
    alone = loss(logits_in, targets, lambda_oe=0.7) if "outlier" in name else loss(logits_in, targets)
    if empty == "both":
        assert float(value) == 0
    elif empty == "where_out":
        np.testing.assert_allclose(value, alone, rtol=1e-6)
    if empty != "where_in":
        assert bool(jnp.all(grad_out == 0))
    if empty != "where_out":
        assert bool(jnp.all(grad_in == 0))
    assert bool(jnp.all(jnp.isfinite(grad_in)) & jnp.all(jnp.isfinite(grad_out)))


@pytest.mark.parametrize("empty", ["where_in", "where_out"])
def test_a_mean_hinge_without_one_side_is_zero_though_the_margin_is_not(empty):
    logits_in, targets, logits_out = inputs()
    options = {"form": "mean", "margin": 10.0, empty: np.zeros(N, bool)}
    value, gradients = value_and_gradients(ood_jax.energy_regularized_loss, logits_in, targets, logits_out, **options)
    alone = 0 if empty == "where_in" else ood_jax.energy_regularized_loss(logits_in, targets)
    np.testing.assert_allclose(value, alone, rtol=1e-6)
    assert bool(jnp.all(gradients[1] == 0))


def test_infinite_outlier_logits_in_the_mean_form():
    logits_in, targets = jnp.zeros((2, 3)), jnp.array([0, 1])
    never = jnp.full((1, 3), -jnp.inf)  # energy inf, so the hinge is off
    np.testing.assert_allclose(ood_jax.energy_regularized_loss(logits_in, targets, never, form="mean"), math.log(3))
    sure = jnp.array([[jnp.inf, 0.0, 0.0]])
    assert float(ood_jax.energy_regularized_loss(logits_in, targets, sure, form="mean")) == np.inf


def test_a_row_of_minus_100_may_hold_anything():
    logits_in, targets, _ = inputs()
    targets[1] = -100
    clean = jax.value_and_grad(ood_jax.outlier_exposure_loss)(jnp.asarray(logits_in), targets)
    logits_in[1] = np.nan
    dirty = jax.value_and_grad(ood_jax.outlier_exposure_loss)(jnp.asarray(logits_in), targets)
    for a, b in zip(clean, dirty, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("soft", [False, True])
@EVERY_LOSS
def test_rows_that_do_not_count_may_hold_anything(name, soft):
    loss, _, options = LOSSES[name]
    logits_in, targets, logits_out = inputs()
    targets = np.eye(K, dtype=np.float32)[targets] if soft else targets
    options = options | {"where_in": np.arange(N) != 1, "where_out": np.arange(N) != 2}
    clean = value_and_gradients(loss, logits_in, targets, logits_out, **options)
    logits_in[1], targets[1], logits_out[2] = np.nan, np.nan if soft else 99, np.inf
    dirty = value_and_gradients(loss, logits_in, targets, logits_out, **options)
    for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
        np.testing.assert_array_equal(a, b)


@EVERY_LOSS
def test_empty_batches_count_as_no_rows(name):
    loss, _, options = LOSSES[name]
    empty = jnp.zeros((0, K))
    assert float(loss(empty, jnp.zeros(0, int), empty, **options)) == 0


@EVERY_LOSS
def test_leading_axes_are_all_batch(name):
    loss, _, options = LOSSES[name]
    logits_in, targets, logits_out = inputs()
    flat = loss(logits_in, targets, logits_out, **options, **masks())
    where = {side: mask.reshape(2, 3) for side, mask in masks().items()}
    folded = loss(logits_in.reshape(2, 3, K), targets.reshape(2, 3), logits_out.reshape(2, 3, K), **options, **where)
    np.testing.assert_allclose(folded, flat, rtol=1e-6)
    one = loss(logits_in[0], targets[0], logits_out[0], **options)
    np.testing.assert_allclose(one, loss(logits_in[:1], targets[:1], logits_out[:1], **options), rtol=1e-6)


# Targets.


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32])
def test_targets_of_any_integer_dtype(dtype):
    logits_in, targets, _ = inputs()
    expected = optax.softmax_cross_entropy_with_integer_labels(logits_in, targets.astype(np.int32)).mean()
    np.testing.assert_allclose(ood_jax.outlier_exposure_loss(logits_in, targets.astype(dtype)), expected, rtol=1e-6)


def test_narrow_labels_do_not_wrap_around():
    logits = np.random.default_rng(0).standard_normal((4, 300)).astype(np.float32)
    assert bool(jnp.isnan(ood_jax.outlier_exposure_loss(logits, np.array([-1, 0, 1, 2], np.int8))))
    assert bool(jnp.isfinite(ood_jax.outlier_exposure_loss(logits, np.array([127, 0, 1, 2], np.int8))))


def test_minus_100_as_an_unsigned_number_is_out_of_range():
    logits = np.zeros((2, 3), np.float32)
    assert bool(jnp.isnan(ood_jax.outlier_exposure_loss(logits, np.array([2**32 - 100, 0], np.uint32))))


def test_minus_100_counts_for_nothing():
    logits_in, targets, _ = inputs()
    targets[[1, 4]] = -100
    keep = targets != -100
    value, gradient = jax.value_and_grad(ood_jax.outlier_exposure_loss)(jnp.asarray(logits_in), targets)
    np.testing.assert_allclose(value, ood_jax.outlier_exposure_loss(logits_in[keep], targets[keep]), rtol=1e-6)
    assert bool(jnp.all(gradient[jnp.array([1, 4])] == 0))
    assert float(ood_jax.outlier_exposure_loss(logits_in, np.full(N, -100))) == 0


@pytest.mark.parametrize("label", [-1, -99, -101, K, 10**6])
def test_any_other_label_out_of_range_is_nan_in_value_and_gradient(label):
    logits_in, targets, logits_out = inputs()
    targets[3] = label
    for loss in (ood_jax.outlier_exposure_loss, ood_jax.energy_regularized_loss):
        value, (grad_in, _) = value_and_gradients(loss, logits_in, targets, logits_out)
        assert bool(jnp.isnan(value))
        assert bool(jnp.all(jnp.isnan(grad_in[3])))
    assert bool(jnp.isnan(ood_jax.mixup_cross_entropy(logits_in, targets, np.zeros(N, int), 0.5)))
    assert bool(jnp.isnan(ood_jax.mixup_cross_entropy(logits_in, np.zeros(N, int), targets, 0.5)))


def test_class_probabilities():
    logits_in, targets, logits_out = inputs()
    one_hot = np.eye(K, dtype=np.float32)[targets]
    for loss, exact, options in LOSSES.values():
        hard = loss(logits_in, targets, logits_out, **options)
        np.testing.assert_allclose(loss(logits_in, one_hot, logits_out, **options), hard, rtol=1e-6)
        soft = np.random.default_rng(1).dirichlet(np.ones(K), N).astype(np.float32)
        result = value_and_gradients(loss, logits_in, soft, logits_out, **options, **masks())
        assert_is_truth(result, exact(logits_in, soft, logits_out, **options, **masks()))


# Dtypes.


@EVERY_LOSS
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_logits_are_computed_in_float32(name, dtype):
    loss, exact, options = LOSSES[name]
    logits_in, targets, logits_out = (a.astype(jnp.dtype(dtype)) if a.dtype == np.float32 else a for a in inputs())
    value, gradients = value_and_gradients(loss, logits_in, targets, logits_out, **options)
    assert value.dtype == jnp.float32
    assert all(gradient.dtype == jnp.dtype(dtype) for gradient in gradients)
    np.testing.assert_allclose(value, float(exact(logits_in, targets, logits_out, **options).value), rtol=1e-6)
    assert ood_jax.free_energy(jnp.asarray(logits_in)).dtype == jnp.float32


@EVERY_LOSS
def test_float64_stays_float64(name):
    loss, exact, options = LOSSES[name]
    with jax.enable_x64(True):
        logits_in, targets, logits_out = inputs()
        logits_in, logits_out = logits_in + 1e-9 * np.arange(K), logits_out.astype(np.float64)
        value, gradients = value_and_gradients(loss, logits_in, targets, logits_out, **options)
        assert value.dtype == jnp.float64
        truth = exact(logits_in, targets, logits_out, **options)
        np.testing.assert_allclose(value, float(truth.value), rtol=1e-12)
        for gradient, expected in zip(gradients, (truth.grad_in, truth.grad_out), strict=True):
            np.testing.assert_allclose(gradient, expected.astype(np.float64), rtol=1e-12, atol=1e-16)


@EVERY_LOSS
def test_sides_of_different_dtypes_meet_in_the_wider(name):
    loss, _, options = LOSSES[name]
    logits_in, targets, logits_out = inputs()
    value = loss(jnp.asarray(logits_in, jnp.bfloat16), targets, logits_out, **options)
    assert value.dtype == jnp.float32
    with jax.enable_x64(True):
        assert loss(logits_in, targets, logits_out.astype(np.float64), **options).dtype == jnp.float64
