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
