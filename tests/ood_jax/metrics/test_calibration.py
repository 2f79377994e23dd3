"""Calibration beside its definitions in NumPy, at bin edges, with ties and masks."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ood_jax.metrics import adaptive_expected_calibration_error, brier_score, expected_calibration_error
from ood_jax.metrics._calibration import _lower_edges


def gap(confidence, accurate, groups):
    return sum(abs(accurate[g].sum() - confidence[g].sum()) for g in groups) / len(confidence)


def reference(p, labels, bins):
    """The three in float64, the first two by Guo's bins and by incerto's equally large groups."""
    confidence, accurate = p.max(axis=-1).astype(np.float64), p.argmax(axis=-1) == labels
    edges = np.linspace(0, 1, bins + 1)
    width = [(confidence > low) & (confidence <= high) for low, high in pairwise(edges)]
    width[0] |= confidence == 0
    order = np.lexsort([accurate, confidence])
    each = len(p) // bins
    mass = [order[i * each : (i + 1) * each if i < bins - 1 else None] for i in range(bins)]
    one_hot = np.eye(p.shape[-1])[labels]
    return [
        gap(confidence, accurate, width),
        gap(confidence, accurate, mass),
        np.mean(np.sum((p - one_hot) ** 2, axis=-1)),
    ]


@partial(jax.jit, static_argnums=2)
def all_three(p, labels, bins, where):
    options = {"bins": bins, "where": where}
    return [
        expected_calibration_error(p, labels, **options),
        adaptive_expected_calibration_error(p, labels, **options),
        brier_score(p, labels, where=where),
    ]


def ours(p, labels, bins, where=None):
    return [float(value) for value in all_three(p, labels, bins, where)]


def drawn(rng, n, k, grid=None):
    p = rng.dirichlet(np.full(k, 0.3), n)
    if grid:  # ties, and confidences on the edges of bins
        p = np.round(p * grid) / grid
    return p, rng.integers(0, k, n)


def test_values_equal_the_definitions_in_both_precisions():
    rng = np.random.default_rng(0)
    for bins, k, grid in ((1, 2, None), (15, 3, None), (5, 3, 20)):
        for n in (1, 37, 300):
            p, labels = drawn(rng, n, k, grid)
            # In one shape, the rest masked.
            full, where = np.full((300, k), np.nan), rng.permutation(300) < n
            full_labels = np.full(300, -7)
            full[where], full_labels[where] = p, labels
            narrow = ours(full.astype(np.float32), full_labels, bins, where)
            assert narrow == pytest.approx(reference(p.astype(np.float32), labels, bins), abs=5e-7), (bins, k, n)
            with jax.enable_x64(True):
                assert ours(full, full_labels, bins, where) == pytest.approx(reference(p, labels, bins), abs=1e-14)


def test_a_confidence_on_an_edge_is_in_the_bin_below_it():
    # 0.5 and 0.75 are edges of four bins and floats: one bin each, where the other way round both share one with 0.7.
    p = jnp.array([[0.5, 0.5], [0.7, 0.3], [0.75, 0.25]])
    labels = jnp.array([0, 1, 0])
    assert float(expected_calibration_error(p, labels, bins=4)) == pytest.approx((0.5 + 0.45) / 3, abs=1e-7)
    # A zero is in the first bin, not before it.
    assert float(expected_calibration_error(jnp.zeros((2, 3)), jnp.array([0, 0]), bins=2)) == 1


def test_the_order_of_rows_does_not_matter_where_confidences_tie():
    rng = np.random.default_rng(1)
    p, labels = drawn(rng, 90, 3, 4)
    one = ours(np.float32(p), labels, 7)
    for _ in range(3):
        order = rng.permutation(90)
        assert ours(np.float32(p[order]), labels[order], 7) == pytest.approx(one, abs=2e-7)


def test_leading_axes_are_rows_and_half_precision_is_computed_in_float32():
    rng = np.random.default_rng(2)
    p, labels = drawn(rng, 24, 5)
    half = jnp.asarray(p, jnp.bfloat16)
    expected = reference(np.asarray(half.astype(jnp.float32)), labels, 6)
    shaped = half.reshape(2, 3, 4, 5), labels.reshape(2, 3, 4).astype(np.int8)
    assert ours(*shaped, 6) == pytest.approx(expected, abs=5e-7)
    assert brier_score(*shaped).dtype == jnp.float32


def test_a_million_rows_are_summed_accurately():
    rng = np.random.default_rng(3)
    p, labels = drawn(rng, 1_000_000, 2)
    p = p.astype(np.float32)
    assert ours(p, labels, 15) == pytest.approx(reference(p.astype(np.float64), labels, 15), rel=3e-7)


@pytest.mark.parametrize("x64", [False, True])
def test_a_half_is_the_edge_of_an_even_number_of_bins(x64):
    # Of 98 bins: 49 * (1 / 98) is a float below a half, and 0.5 lies in the 49th bin, 0.505 in the 50th.
    p, labels = jnp.array([[0.5, 0.5], [0.505, 0.495]]), jnp.array([1, 0])
    with jax.enable_x64(x64):
        assert float(expected_calibration_error(p, labels, bins=98)) == pytest.approx(0.4975, abs=1e-6)


def test_edges_divide_the_numbers_of_float32_as_those_of_float64_do():
    for bins in range(2, 400):
        edges, exact = _lower_edges(bins, np.dtype(np.float32)), np.arange(bins) / bins
        assert np.all(edges.astype(np.float64) <= exact)
        assert np.all(exact < np.nextafter(edges, np.float32(1)).astype(np.float64))


def test_all_three_have_derivatives():
    # One row a bin, right or wrong, whose gap changes as its confidence does.
    p, labels = jnp.array([[0.95, 0.05], [0.55, 0.45], [0.25, 0.75]]), jnp.array([0, 0, 0])
    confidence = jnp.array([[-1.0, 0], [-1, 0], [0, 1]]) / 3
    for score, bins in ((expected_calibration_error, 10), (adaptive_expected_calibration_error, 3)):
        by_confidence = jax.jit(jax.grad(lambda p, score=score, bins=bins: score(p, labels, bins=bins)))(p)
        np.testing.assert_allclose(by_confidence, confidence, rtol=1e-6)
    brier = 2 * (p - jax.nn.one_hot(labels, 2)) / 3
    np.testing.assert_allclose(jax.grad(lambda p: brier_score(p, labels))(p), brier, rtol=1e-6)
