"""Digits where the obvious formulas lose them."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax
from ood_jax._sum import accurate_sum
from ood_jax.losses._reduce import masked_sum
from parity import truth


def only_outliers(logits_out):
    return ood_jax.outlier_exposure_loss(jnp.zeros((0, logits_out.shape[-1])), jnp.zeros(0, int), logits_out)


@pytest.mark.parametrize("confidence", [5.0, 12.0, 20.0, 40.0, 80.0])
def test_a_confident_right_answer_keeps_its_digits(confidence):
    # log(1 + 2·exp(-c)) in float32 is 0 from c = 17 on, and so is its gradient.
    logits = np.array([[confidence, 0.0, 0.0]], np.float32)
    value, gradient = jax.value_and_grad(ood_jax.outlier_exposure_loss)(jnp.asarray(logits), np.array([0]))
    np.testing.assert_allclose(value, np.log1p(2 * np.exp(-np.float64(confidence))), rtol=1e-6)
    share = np.exp(-np.float64(confidence)) / (1 + 2 * np.exp(-np.float64(confidence)))
    np.testing.assert_allclose(gradient, [[-2 * share, share, share]], rtol=1e-6)


@pytest.mark.parametrize("spread", [1e-4, 1e-2, 0.3, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_the_divergence_keeps_its_digits_near_its_minimum(spread, offset):
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((4, 100)) * spread + offset).astype(np.float32)
    value, gradient = jax.value_and_grad(only_outliers)(jnp.asarray(logits))
    exact = truth.outlier_exposure(np.zeros((0, 100)), np.zeros(0, int), logits, lambda_oe=0.5)
    np.testing.assert_allclose(value, float(exact.value), rtol=5e-7)
    largest = np.abs(exact.grad_out).max()
    np.testing.assert_allclose(gradient, exact.grad_out.astype(np.float64), rtol=0, atol=float(largest) * 5e-7)


@pytest.mark.parametrize("first", [0.0, -20.0, -50.0, 30.0, 55.0, -3e6, -1e12])
@pytest.mark.parametrize("spread", [1e-3, 0.1])
@pytest.mark.parametrize("gpu", [False, True])
def test_the_divergence_keeps_its_digits_beside_one_odd_logit(first, spread, gpu, as_on_gpu):
    # The largest entries of the gradient may be that logit's, or all others'.
    logits = (np.random.default_rng(0).standard_normal((4, 1000)) * spread + 5).astype(np.float32)
    logits[:, 0] = first
    with as_on_gpu() if gpu else contextlib.nullcontext():
        value, gradient = jax.value_and_grad(only_outliers)(jnp.asarray(logits))
    exact = truth.outlier_exposure(np.zeros((0, 1000)), np.zeros(0, int), logits, lambda_oe=0.5)
    np.testing.assert_allclose(value, float(exact.value), rtol=1e-6)
    largest = float(np.abs(exact.grad_out).max())
    np.testing.assert_allclose(gradient, exact.grad_out.astype(np.float64), rtol=0, atol=largest * 3e-7)


@pytest.mark.parametrize("scale", [1e9, 1e10, 1e20, 1e38])
def test_logits_of_any_size(scale):
    # Beside 1e10 no distance is small, but equal logits are equal.
    logits = np.array([[scale, 0, scale, -scale], [0, -scale, scale, scale / 2]], np.float32)
    value, gradient = jax.value_and_grad(ood_jax.outlier_exposure_loss)(logits, np.array([0, 2]))
    np.testing.assert_allclose(value, np.log(2) / 2, rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-0.25, 0, 0.25, 0], [0, 0, 0, 0]], atol=1e-7)
    np.testing.assert_allclose(ood_jax.free_energy(logits), -logits.max(-1))


@pytest.mark.parametrize("gpu", [False, True])
def test_classes_masked_out_by_the_lowest_number(gpu, as_on_gpu):
    lowest = np.finfo(np.float32).min
    logits = np.array([[lowest, 0.0, 1.0, 0.0], [lowest, 0.0, 1.0, lowest], [lowest] * 4], np.float32)
    with as_on_gpu() if gpu else contextlib.nullcontext():
        values, back = jax.vjp(lambda z: -ood_jax.scores.kl_uniform_score(z), logits)
        (gradient,) = back(jnp.ones(3))
        energies = ood_jax.free_energy(logits)
        entropy = ood_jax.mixup_cross_entropy(logits[2:, :2], np.array([0]), np.array([1]), 0.3)
        alone = ood_jax.mixup_cross_entropy(logits[:1, :1], np.array([0]), np.array([0]), 0.3)
    # Of the second row the distances' sum is too large for a float.
    np.testing.assert_allclose(values, [-lowest / 4, np.inf, 0], rtol=1e-6)
    p = np.exp([0.0, 1, 0]) / np.exp([0.0, 1, 0]).sum(), np.exp([0.0, 1]) / np.exp([0.0, 1]).sum()
    rows = [[-0.25, *(p[0] - 0.25)], [-0.25, *(p[1] - 0.25), -0.25], [0] * 4]
    np.testing.assert_allclose(gradient, rows, rtol=1e-5)
    np.testing.assert_allclose(energies, [-np.log(np.exp([0.0, 1, 0]).sum()), -np.log(1 + np.e), -lowest], rtol=1e-6)
    np.testing.assert_allclose([entropy, alone], [np.log(2), 0], rtol=1e-6)


def test_uniform_predictions_cost_exactly_nothing():
    for classes in (1, 2, 3, 1000):
        value, gradient = jax.value_and_grad(only_outliers)(jnp.full((3, classes), 7.7))
        assert float(value) == 0
        assert bool(jnp.all(gradient == 0))


@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_where_the_definition_overflows_the_value_and_gradient_are_right(scale):
    logits = np.array([[scale, 0.0, -scale], [0.0, -scale, scale / 2]], np.float32)
    value, gradient = jax.value_and_grad(only_outliers)(jnp.asarray(logits))
    exact = truth.outlier_exposure(np.zeros((0, 3)), np.zeros(0, int), logits, lambda_oe=0.5)
    np.testing.assert_allclose(value, float(exact.value), rtol=3e-7)
    np.testing.assert_allclose(gradient, exact.grad_out.astype(np.float64), atol=1e-7)


def test_energy_gaps_survive_large_energies():
    # Energies of 1e4 have a spacing of 1e-3; their gap is exact all the same.
    logits_in = np.array([[10_000.25, 0.0]], np.float32)
    logits_out = np.array([[9_999.125, 0.0]], np.float32)
    for form in ("pairwise", "mean"):
        loss = ood_jax.energy_regularized_loss(
            logits_in, np.array([0]), logits_out, lambda_energy=1.0, margin=2.0, form=form
        )
        assert float(loss) == 2.0 - 1.125


def test_minus_infinity_masks_a_class_out():
    logits = np.array([[1.0, -np.inf, 2.0], [0.0, 1.0, -np.inf]], np.float32)
    value, gradient = jax.value_and_grad(ood_jax.outlier_exposure_loss)(jnp.asarray(logits), np.array([0, 1]))
    kept = [ood_jax.outlier_exposure_loss(row[np.isfinite(row)][None], np.array([label])) for row, label in
            zip(logits, (0, 1), strict=True)]  # fmt: skip
    np.testing.assert_allclose(value, np.mean(kept), rtol=1e-6)
    assert bool(jnp.all(jnp.isfinite(gradient)))
    # A class that cannot occur is infinitely far from uniform.
    assert float(only_outliers(logits)) == np.inf


def test_nan_logits_are_not_hidden():
    logits = jnp.array([[1.0, jnp.nan], [0.0, 1.0]])
    targets = jnp.array([0, 1])
    for loss in (ood_jax.outlier_exposure_loss, ood_jax.energy_regularized_loss):
        assert bool(jnp.isnan(loss(logits, targets)))
        assert bool(jnp.isnan(loss(jnp.zeros((2, 2)), targets, logits)))


@pytest.mark.parametrize("classes", [3, 100, 3000, 21841])
@pytest.mark.parametrize("gpu", [False, True])
def test_nan_logits_are_not_hidden_among_many(classes, gpu, as_on_gpu):
    # XLA's minimum and maximum on CPU may leave out a NaN of long rows, here where no gradient is asked for.
    logits = np.random.default_rng(0).standard_normal((4, classes)).astype(np.float32)
    logits[1, classes // 2] = logits[2, 0] = np.nan
    logits[3] = 0
    logits[3, -1] = np.nan
    with as_on_gpu() if gpu else contextlib.nullcontext():
        alone = ood_jax.free_energy(logits)
        energies, back = jax.vjp(ood_jax.free_energy, logits)
        divergence, back_divergence = jax.vjp(ood_jax.scores.kl_uniform_score, logits)
        gradients = [pull(jnp.ones(4))[0] for pull in (back, back_divergence)]
    for values in (alone, energies, divergence, *(gradient.sum(-1) for gradient in gradients)):
        assert np.isnan(values).tolist() == [False, True, True, True]


def test_the_hinge_has_no_gradient_at_its_corner():
    # As PyTorch's relu; jnp.maximum would give a half.
    zeros = jnp.zeros((1, 2))
    for form in ("pairwise", "mean"):
        gradient = jax.grad(
            lambda out, form=form: ood_jax.energy_regularized_loss(zeros, jnp.array([0]), out, margin=0.0, form=form)
        )(zeros)
        assert gradient.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("terms", [1, 2, 3, 100, 4096, 4097, 8192, 21841, 262144])
@pytest.mark.parametrize("kind", ["cancelling", "skewed", "alike"])
def test_accurate_sum_rounds_about_once(terms, kind):
    values = np.random.default_rng(terms).standard_normal((20, terms))
    if kind != "cancelling":  # a few large terms among many tiny ones, or all of one size
        values = np.exp(3 * values - 10) if kind == "skewed" else 1 + values / 10
    values = values.astype(np.float32)
    exact = values.astype(np.longdouble).sum(-1)
    for total in (accurate_sum, jax.jit(accurate_sum)):
        result = total(values)
        ulps = np.abs(np.asarray(result).astype(np.longdouble) - exact) / np.spacing(np.abs(exact).astype(np.float32))
        assert ulps.max() <= 1


def test_accurate_sum_of_blocks_of_blocks(monkeypatch):
    # As more than 4096² terms are summed; of blocks of four, 300 take four levels.
    monkeypatch.setattr("ood_jax._sum._BLOCK", 4)
    values = np.exp(3 * np.random.default_rng(0).standard_normal((20, 300))).astype(np.float32)
    exact = values.astype(np.longdouble).sum(-1)
    ulps = np.abs(np.asarray(accurate_sum(values)).astype(np.longdouble) - exact) / np.spacing(exact.astype("f"))
    assert ulps.max() <= 0.51


def test_accurate_sum_of_infinities_and_zeros():
    infinite = jnp.array([[1.0, jnp.inf]])
    assert float(accurate_sum(infinite)[0]) == jnp.inf
    assert float(accurate_sum(jnp.zeros((1, 3)))[0]) == 0
    huge = jnp.full((1, 2), 1.5e38)
    assert float(accurate_sum(huge)[0]) == float(jnp.float32(3e38))


@pytest.mark.parametrize(
    ("level", "spread", "rows"),
    [(10.825, 0, 7), (10.825, 0, 256), (10.825, 0, 65536), (6.9, 0.1, 256), (6.9, 0.1, 65536), (0, 5, 7), (0, 5, 256)],
)
def test_the_sum_of_rows_rounds_about_once(level, spread, rows):
    # Losses all alike, at the start of training; about alike; and energies, whose sum all but cancels.
    values = (level + spread * np.random.default_rng(rows).standard_normal((20, rows))).astype(np.float32)
    exact = values.astype(np.longdouble).sum(-1)
    total = jax.jit(lambda row: masked_sum(row, jnp.ones(rows, bool)).sum)
    for row, truth_of_row in zip(values, exact, strict=True):
        # A sum that cancels is rounded where it was largest.
        unit = np.spacing(np.abs(row.cumsum()).max())
        assert abs(np.longdouble(total(row)) - truth_of_row) <= unit


@pytest.mark.parametrize("spread", [0.1, 2.0, 40.0])
def test_second_derivatives_are_those_of_the_plain_formulas(spread):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        logits_in, logits_out = rng.standard_normal((2, 3, 4)) * spread
        targets = np.array([0, 1, 2])

        def plain(form, logits_in, logits_out):
            log_p = jax.nn.log_softmax(logits_in)
            cross_entropy = -jnp.mean(jnp.take_along_axis(log_p, targets[:, None], axis=-1))
            if form == "outlier_exposure":
                return cross_entropy + 0.5 * (-jnp.mean(jax.nn.log_softmax(logits_out)) - jnp.log(4.0))
            gap = jax.nn.logsumexp(logits_out, axis=-1) - jax.nn.logsumexp(logits_in, axis=-1)
            return cross_entropy + 0.1 * jnp.mean(jax.nn.relu(gap + 10))

        for form, loss in (
            ("outlier_exposure", ood_jax.outlier_exposure_loss),
            ("energy", ood_jax.energy_regularized_loss),
        ):
            ours = jax.hessian(lambda i, o, loss=loss: loss(i, targets, o), argnums=(0, 1))(logits_in, logits_out)
            theirs = jax.hessian(lambda i, o, form=form: plain(form, i, o), argnums=(0, 1))(logits_in, logits_out)
            for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
