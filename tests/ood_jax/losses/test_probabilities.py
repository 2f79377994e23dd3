"""Class probabilities: the digits of their losses, and rows of which some classes are infinite."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax
from parity import truth


@pytest.mark.parametrize("confidence", [0.0, 5.0, 20.0, 30.0])  # past that the truth runs out of digits
@pytest.mark.parametrize("smoothing", [0.0, 1e-6, 0.1])
@pytest.mark.parametrize("classes", [100, 5000])  # of many the sums are others
def test_class_probabilities_keep_their_digits_too(classes, confidence, smoothing):
    rng = np.random.default_rng(0)
    labels = np.arange(8) % 100
    logits = rng.standard_normal((8, classes)).astype(np.float32)
    logits[np.arange(8), labels] += np.float32(confidence)
    targets = ((1 - smoothing) * np.eye(classes)[labels] + smoothing / classes).astype(np.float32)
    value, gradient = jax.value_and_grad(ood_jax.outlier_exposure_loss)(jnp.asarray(logits), targets)
    terms, slopes = truth.cross_entropy(logits.astype(np.longdouble), targets)
    np.testing.assert_allclose(value, float(terms.mean()), rtol=1e-6)
    if smoothing == 0:  # the truth of the gradient, p - t, without its cancellation
        _, slopes = truth.cross_entropy(logits.astype(np.longdouble), labels)
    largest = float(np.abs(slopes).max()) / 8
    np.testing.assert_allclose(gradient, slopes.astype(float) / 8, rtol=0, atol=2e-6 * largest + 1e-7 * smoothing)
    by_targets = jax.grad(ood_jax.outlier_exposure_loss, argnums=1)(jnp.asarray(logits), targets)
    log_p = logits + truth.energy(logits.astype(np.longdouble))[0][:, None]
    np.testing.assert_allclose(by_targets, -log_p.astype(float) / 8, rtol=2e-6)


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("classes", [1000, 40_000])
def test_targets_that_are_alike_or_small_beside_another_are_not_lost(classes, gpu, as_on_gpu):
    # Added one by one to a target near 1, a thousand of 1e-9 would all be lost; and equal ones are all rounded alike.
    rng = np.random.default_rng(0)
    loss = jax.jit(ood_jax.outlier_exposure_loss)
    for smoothing in (1e-6, 1e-3, 0.3, 1.0):
        for spread in (0.01, 1.0, 10.0):
            for leads in (False, True):
                logits = (rng.standard_normal((1, classes)) * spread).astype(np.float32)
                label = rng.integers(0, classes)
                logits[0, label] += 10 if leads else 0
                targets = ((1 - smoothing) * np.eye(1, classes, label) + smoothing / classes).astype(np.float32)
                with as_on_gpu() if gpu else contextlib.nullcontext():
                    value = loss(logits, targets)
                terms, _ = truth.cross_entropy(logits.astype(np.longdouble), targets)
                np.testing.assert_allclose(value, float(terms[0]), rtol=2.5e-7, err_msg=f"{smoothing} {spread} {leads}")


@pytest.mark.parametrize("copies", [1, 10_000])
@pytest.mark.parametrize(
    "row", [[0, np.inf, 1], [np.inf, np.inf, 0], [-np.inf] * 3, [0, np.nan, 1], [np.inf, np.nan, 0]]
)
def test_class_probabilities_of_a_row_without_a_largest_logit_are_nan(row, copies):
    # As log_softmax has it. (It was -∞ for one infinite logit, and +∞ for three of -∞.)
    logits = np.tile(np.array([row, [1, 2, 3]], np.float32), copies)
    targets = np.full((2, 3 * copies), 1 / (3 * copies), np.float32)
    value, (by_logits, by_targets) = jax.value_and_grad(ood_jax.outlier_exposure_loss, argnums=(0, 1))(logits, targets)
    assert np.isnan(value)
    for gradient in (by_logits, by_targets):
        np.testing.assert_array_equal(np.isnan(gradient), [[True] * (3 * copies), [False] * (3 * copies)])


@pytest.mark.parametrize("classes", [4, 40_000])
def test_class_probabilities_of_a_row_of_ties(classes):
    # Of one row XLA makes some sums a matrix product, which adds up one term after the other.
    logits = jnp.tile(jnp.array([[3.0, 1.0]]), (1, classes // 2))
    value = ood_jax.outlier_exposure_loss(logits, jnp.full_like(logits, 1 / classes))
    np.testing.assert_allclose(value, np.log(classes / 2 * (1 + np.exp(-2))) + 1, rtol=2.5e-7)


@pytest.mark.parametrize(("rows", "copies"), [(1, 1), (30, 400)])
def test_class_probabilities_of_masked_classes(rows, copies):
    logits = np.tile(np.array([[1, -np.inf, 2, 3]], np.float32), (rows, copies))
    targets = np.tile(np.array([[0.2, 0, 0.3, 0.5]], np.float32), (rows, copies)) / copies
    value, gradient = jax.value_and_grad(ood_jax.outlier_exposure_loss)(logits, targets)
    possible = np.isfinite(logits[0])
    expected = jax.value_and_grad(ood_jax.outlier_exposure_loss)(logits[:, possible], targets[:, possible])
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    np.testing.assert_allclose(gradient[:, possible], expected[1], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(gradient[:, ~possible], 0)
    terms, slopes = truth.cross_entropy(logits[:, possible].astype(np.longdouble), targets[:, possible])
    np.testing.assert_allclose(value, float(terms[0]), rtol=1e-6)
    np.testing.assert_allclose(gradient[:, possible], slopes.astype(float) / rows, rtol=1e-5, atol=1e-7 / copies)
    for least in (0.25, 1e-37):  # whose product with the largest number is finite
        assert np.isposinf(ood_jax.outlier_exposure_loss(logits, np.full_like(logits, least)))
    # By the targets the derivative is infinite, which is no matter where they do not move.
    along = jnp.ones_like(logits)
    both = jax.value_and_grad(lambda logits: ood_jax.outlier_exposure_loss(logits, targets))
    (_, again), (slope, second) = jax.jvp(both, (logits,), (along,))
    np.testing.assert_allclose(again, gradient)
    np.testing.assert_allclose(slope, 0, atol=1e-6)
    np.testing.assert_allclose(second, np.zeros_like(logits), atol=1e-6)
