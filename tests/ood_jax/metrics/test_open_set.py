"""Open-set metrics beside the curve written out."""

import jax.numpy as jnp
import numpy as np
import pytest

from ood_jax.metrics import auroc, ccr_at_fpr, oscr


def curve(known, correct, unknown):
    """False-positive and correct-classification rates by rising threshold, from accepting nothing."""
    thresholds = np.r_[-np.inf, np.unique(np.r_[known, unknown])]
    false = [(unknown <= t).sum() / len(unknown) for t in thresholds]
    right = [(correct & (known <= t)).sum() / len(known) for t in thresholds]
    return np.array(false), np.array(right)


def test_both_equal_the_curve():
    rng = np.random.default_rng(0)
    size = 64
    for i in range(60):
        n, m = rng.integers(1, size + 1, 2)
        known, unknown = (np.round(rng.normal(shift, 1, k) * 4) / 4 for k, shift in ((n, 0), (m, 1)))
        correct, fpr = rng.random(n) < 0.8, float(rng.choice([0, 0.05, 0.1, 0.3, 0.5, 1]))
        false, right = curve(known, correct, unknown)
        s_in, s_out = (
            np.pad(s, (0, size - len(s)), constant_values=np.nan).astype(np.float32) for s in (known, unknown)
        )
        arguments = s_in, np.pad(correct, (0, size - n), constant_values=True), s_out
        masks = {"where_in": np.arange(size) < n, "where_out": np.arange(size) < m}
        assert float(oscr(*arguments, **masks)) == pytest.approx(np.trapezoid(right, false), abs=3e-7), i
        assert float(ccr_at_fpr(*arguments, fpr=fpr, **masks)) == pytest.approx(right[false <= fpr].max(), abs=1e-7), i


def test_values_by_hand():
    # Known 0, 1, 2 (wrong), 3 and unknown 1, 3.
    known, correct, unknown = jnp.arange(4.0), jnp.array([True, True, False, True]), jnp.array([1.0, 3.0])
    # By unknown, known that are right and below, ties half: 1 + 1/2, 2 + 1/2.
    assert float(oscr(known, correct, unknown)) == 4 / 8
    # Below 1 is one that is right; below 3 are two; at or below 3 are three.
    assert [float(ccr_at_fpr(known, correct, unknown, fpr=fpr)) for fpr in (0.0, 0.49, 0.5, 0.99, 1.0)] == [
        0.25, 0.25, 0.5, 0.5, 0.75]  # fmt: skip


def test_a_rate_of_exactly_the_limit_is_allowed_and_none_means_none():
    unknown = jnp.arange(1.0, 21.0)
    known = unknown - 0.5
    right = jnp.ones(20, bool)
    # One of 20 is 0.05, though as a float32 0.05 may be less; three are 0.15.
    assert [float(ccr_at_fpr(known, right, unknown, fpr=fpr)) for fpr in (0.0, 0.05, 0.15, 0.95)] == pytest.approx(
        [0.05, 0.1, 0.2, 1.0]
    )


def test_a_closed_set_without_errors_gives_the_auroc():
    rng = np.random.default_rng(1)
    known, unknown = rng.normal(0, 1, 50).astype(np.float32), rng.normal(1, 1, 40).astype(np.float32)
    assert oscr(known, np.ones(50, bool), unknown) == auroc(known, unknown)
    assert float(oscr(known, np.zeros(50, bool), unknown)) == 0
