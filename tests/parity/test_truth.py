"""The truth itself, against 50 digits and against differences."""

import mpmath
import numpy as np
import pytest

from parity import truth

mpmath.mp.dps = 50


def rows(seed, n=5, k=6, scale=3.0):
    return (np.random.default_rng(seed).standard_normal((n, k)) * scale).astype(np.longdouble)


def exact_log_sum_exp(row):
    return mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(float(z))) for z in row))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_terms_to_fifty_digits(scale):
    logits = rows(0, scale=scale).astype(np.float32).astype(np.longdouble)
    targets = np.array([0, 1, 2, 3, int(logits[4].argmax())])
    exact = {
        "cross_entropy": [exact_log_sum_exp(row) - float(row[t]) for row, t in zip(logits, targets, strict=True)],
        "divergence": [
            exact_log_sum_exp(row) - mpmath.fsum(map(float, row)) / 6 - mpmath.log(6) for row in logits
        ],
        "energy": [-exact_log_sum_exp(row) for row in logits],
    }  # fmt: skip
    values = {
        "cross_entropy": truth.cross_entropy(logits, targets)[0],
        "divergence": truth.uniform_divergence(logits)[0],
        "energy": truth.energy(logits)[0],
    }
    for name, value in values.items():
        np.testing.assert_allclose(value.astype(float), [float(e) for e in exact[name]], rtol=1e-11)


@pytest.mark.parametrize("term", ["cross_entropy", "soft cross_entropy", "divergence", "energy"])
def test_gradients_are_those_of_the_values(term):
    targets = np.array([0, 1, 2, 3, 4])
    soft = np.random.default_rng(1).dirichlet(np.ones(6), 5)
    function = {
        "cross_entropy": lambda z: truth.cross_entropy(z, targets),
        "soft cross_entropy": lambda z: truth.cross_entropy(z, soft),
        "divergence": truth.uniform_divergence,
        "energy": truth.energy,
    }[term]
    logits, step = rows(2), np.longdouble(1e-6)
    _, gradient = function(logits)
    for k in range(6):
        shift = np.zeros(6, np.longdouble)
        shift[k] = step
        slope = (function(logits + shift)[0] - function(logits - shift)[0]) / (2 * step)
        np.testing.assert_allclose(gradient[:, k].astype(float), slope.astype(float), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("loss", ["outlier_exposure", "energy pairwise", "energy mean"])
def test_gradients_of_the_losses(loss):
    logits_in, logits_out = rows(3), rows(4, n=5)
    targets = np.array([0, 1, 2, 3, 4])
    where = {"where_in": np.array([1, 1, 0, 1, 1], bool), "where_out": np.array([0, 1, 1, 1, 1], bool)}
    function, form = (
        (truth.outlier_exposure, "kl") if loss == "outlier_exposure" else (truth.energy_regularized, loss.split()[1])
    )
    result = function(logits_in, targets, logits_out, form=form, **where)
    for side, gradient in (("in", result.grad_in), ("out", result.grad_out)):
        for i, k in ((0, 0), (1, 2), (2, 1), (3, 5)):
            ends = []
            for sign in (1, -1):
                moved = {"in": logits_in.astype(float), "out": logits_out.astype(float)}
                moved[side] = moved[side].copy()
                moved[side][i, k] += sign * 1e-5
                ends.append(function(moved["in"], targets, moved["out"], form=form, **where).value)
            np.testing.assert_allclose(float(gradient[i, k]), float(ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-9)


def exact_energy(row):
    return -exact_log_sum_exp(row)


@pytest.mark.parametrize("reduction", ["separate", "pooled"])
def test_whole_losses_to_fifty_digits(reduction):
    logits_in, logits_out = rows(5), rows(6, n=3)
    targets = np.array([0, 1, 2, 3, 4])
    entropy = mpmath.fsum(-exact_energy(z) - float(z[t]) for z, t in zip(logits_in, targets, strict=True))
    divergence = mpmath.fsum(-exact_energy(z) - mpmath.fsum(map(float, z)) / 6 - mpmath.log(6) for z in logits_out)
    hinge_in = mpmath.fsum(max(exact_energy(z) + 4, 0) ** 2 for z in logits_in)
    hinge_out = mpmath.fsum(max(-2 - exact_energy(z), 0) ** 2 for z in logits_out)
    rows_in, rows_out = (5, 3) if reduction == "separate" else (8, 8)
    exposure = entropy / rows_in + mpmath.mpf(0.5) * divergence / rows_out
    bounded = entropy / rows_in + mpmath.mpf(0.1) * (hinge_in / rows_in + hinge_out / rows_out)
    value = truth.outlier_exposure(logits_in, targets, logits_out, reduction=reduction).value
    assert float(value) == pytest.approx(float(exposure), rel=1e-14)
    value = truth.energy_bounded(logits_in, targets, logits_out, m_in=-4.0, m_out=-2.0, reduction=reduction).value
    assert float(value) == pytest.approx(float(bounded), rel=1e-14)


def of_numbers(loss, logits_in, logits_out, targets):
    """A loss as a function of its numbers by name, and their values."""
    if loss == "outlier_exposure":
        return lambda **n: truth.outlier_exposure(logits_in, targets, logits_out, reduction="pooled", **n), {
            "lambda_oe": 0.5
        }
    if loss == "energy_regularized":
        numbers = {"lambda_energy": 0.1, "margin": 1.0}
        return lambda **n: truth.energy_regularized(logits_in, targets, logits_out, **n), numbers
    if loss == "energy_bounded":
        numbers = {"lambda_energy": 0.1, "m_in": -4.0, "m_out": -2.0}
        return lambda **n: truth.energy_bounded(logits_in, targets, logits_out, reduction="pooled", **n), numbers
    return lambda **n: truth.mixup_cross_entropy(logits_in, targets, targets[::-1], **n), {"lam": 0.3}


@pytest.mark.parametrize("loss", ["outlier_exposure", "energy_regularized", "energy_bounded", "mixup_cross_entropy"])
def test_gradients_by_numbers(loss):
    function, numbers = of_numbers(loss, rows(7), rows(8), np.array([0, 1, 2, 3, 4]))
    gradients = function(**numbers).others
    assert set(gradients) == set(numbers)
    for name, value in numbers.items():
        ends = [function(**(numbers | {name: value + step})).value for step in (1e-5, -1e-5)]
        assert float(gradients[name]) == pytest.approx(float(ends[0] - ends[1]) / 2e-5, rel=1e-7), name
        assert gradients[name] != 0


@pytest.mark.parametrize("reduction", ["separate", "pooled"])
def test_gradients_of_the_bounded_energy_loss(reduction):
    logits_in, logits_out, targets = rows(9), rows(10, n=3), np.array([0, 1, 2, 3, 4])
    options = {"m_in": -4.0, "m_out": -2.0, "reduction": reduction}
    result = truth.energy_bounded(logits_in, targets, logits_out, **options)
    for side, gradient in (("in", result.grad_in), ("out", result.grad_out)):
        for i, k in ((0, 0), (1, 2), (2, 5)):
            ends = []
            for sign in (1, -1):
                moved = {"in": logits_in.copy(), "out": logits_out.copy()}
                moved[side][i, k] += sign * np.longdouble(1e-5)
                ends.append(truth.energy_bounded(moved["in"], targets, moved["out"], **options).value)
            assert float(gradient[i, k]) == pytest.approx(float(ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-9)
