"""The histogram: its counts exact, its bounds kept by the exact metrics, its parts added in any way."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from ood_jax.metrics import OODMetrics, histogram_metrics, merge_histograms, ood_metrics, score_histogram


def test_counts_equal_numpys_and_scores_outside_have_bins_of_their_own():
    rng = np.random.default_rng(0)
    s_in, s_out = rng.normal(0, 2, 500).astype(np.float32), rng.normal(1, 2, (20, 15)).astype(np.float32)
    s_in[:4] = -np.inf, np.inf, -2, 2  # both ends: the lower is inside, the upper is not
    where_out = rng.random((20, 15)) < 0.7
    histogram = score_histogram(s_in, s_out, low=-2, high=2, bins=8, where_out=where_out)
    edges = np.r_[-np.inf, np.linspace(-2, 2, 9), np.inf]
    for counts, scores in ((histogram.counts_in, s_in), (histogram.counts_out, s_out[where_out])):
        assert counts.dtype == jnp.int32
        np.testing.assert_array_equal(counts, np.diff([*[(scores < edge).sum() for edge in edges[:-1]], len(scores)]))


def random_scores(rng, i):
    """Smooth, tied, far apart, constant and nearly equal scores, with sides of one up to 300."""
    n, m = rng.integers(1, 301, 2)
    scale, shift = rng.choice([0.01, 0.3, 1, 5]), rng.choice([0, 0.1, 1, 4])
    s_in, s_out = rng.normal(0, scale, n), rng.normal(shift, scale, m)
    if i % 3 == 0:
        s_in, s_out = (np.round(s * 4) / 4 for s in (s_in, s_out))
    return s_in, s_out


def test_exact_metrics_lie_within_the_bounds():
    rng = np.random.default_rng(1)
    nearest = dict.fromkeys(OODMetrics._fields, np.inf)
    for i in range(150):
        s_in, s_out = random_scores(rng, i)
        masks = {"where_in": np.arange(300) < len(s_in), "where_out": np.arange(300) < len(s_out)}
        s_in, s_out = (np.pad(s, (0, 300 - len(s))).astype(np.float32) for s in (s_in, s_out))
        exact = ood_metrics(s_in, s_out, **masks)
        for bins in (2, 60):
            metrics, bounds = histogram_metrics(score_histogram(s_in, s_out, low=-1, high=2, bins=bins, **masks))
            for name, value, approximate, bound in zip(OODMetrics._fields, exact, metrics, bounds, strict=True):
                distance = abs(float(value) - float(approximate))
                assert distance <= float(bound), (i, bins, name)
                if distance > 1e-3:
                    nearest[name] = min(nearest[name], float(bound) / distance)
    # The bounds are near what some scores need, so they are no wider than they must be.
    assert max(nearest.values()) < 1.5, nearest


def test_bounds_are_reached_by_the_best_and_the_worst_order_within_a_bin():
    # Two bins of four scores, with a datum and an outlier level by bin, then in order, then in reverse.
    def histogram(s_in, s_out):
        return score_histogram(jnp.array(s_in), jnp.array(s_out), low=0.0, high=2.0, bins=2)

    metrics, bounds = histogram_metrics(histogram([0.5, 1.5], [0.5, 1.5]))
    assert (float(metrics.auroc), float(bounds.auroc)) == pytest.approx((0.5, 0.25), abs=4e-6)
    assert (float(metrics.fpr95), float(bounds.fpr95)) == pytest.approx((1, 0.5), abs=4e-6)
    assert (float(metrics.detection_error), float(bounds.detection_error)) == pytest.approx((0.5, 0.25), abs=4e-6)
    for s_in, s_out, area in (([0.4, 1.4], [0.6, 1.6], 0.75), ([0.6, 1.6], [0.4, 1.4], 0.25)):
        exact = ood_metrics(jnp.array(s_in), jnp.array(s_out))
        assert float(exact.auroc) == area
        assert float(exact.aupr_out) <= float(metrics.aupr_out) + float(bounds.aupr_out)
        assert float(exact.aupr_out) >= float(metrics.aupr_out) - float(bounds.aupr_out)


def test_scores_that_share_no_bin_give_the_exact_metrics():
    grid = np.resize(np.random.default_rng(2).permutation(60), 300).astype(np.float32)
    masks = {"where_in": np.arange(300) < 40, "where_out": (np.arange(300) >= 40) & (np.arange(300) < 60)}
    metrics, bounds = histogram_metrics(score_histogram(grid, grid, low=0, high=60, bins=60, **masks))
    assert list(map(float, metrics)) == pytest.approx(list(map(float, ood_metrics(grid, grid, **masks))), abs=3e-7)
    assert max(float(bounds.auroc), float(bounds.aupr_in), float(bounds.aupr_out)) < 3e-6


def test_parts_merge_to_the_whole_in_any_order():
    rng = np.random.default_rng(3)
    s_in, s_out = rng.normal(0, 1, (4, 50)).astype(np.float32), rng.normal(1, 1, (4, 50)).astype(np.float32)
    count = functools.partial(score_histogram, low=-1, high=1, bins=16)
    whole = count(s_in, s_out)
    parts = [count(*part) for part in zip(s_in, s_out, strict=True)]
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        merged = functools.reduce(merge_histograms, [parts[i] for i in order])
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), merged, whole))

    def step(histogram, scores):
        return merge_histograms(histogram, count(*scores)), None

    scanned, _ = jax.lax.scan(step, parts[0], (s_in[1:], s_out[1:]))
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), scanned, whole))


def test_counts_beyond_float32_are_exact():
    one = score_histogram(jnp.zeros(3), jnp.zeros(3), low=0.0, high=1.0, bins=2)
    many = one._replace(counts_in=jnp.array([0, 2**24, 0, 1], jnp.int32), counts_out=jnp.array([0, 0, 1, 0], jnp.int32))
    merged = merge_histograms(many, one._replace(counts_in=jnp.array([0, 1, 0, 0], jnp.int32)))
    assert merged.counts_in.tolist() == [0, 2**24 + 1, 0, 1]
    # One datum of 2**24 + 2 lies above one outlier of four; the other three tie with the rest.
    metrics, _ = histogram_metrics(merged)
    total = 2**24 + 2
    assert float(metrics.auroc) == pytest.approx((2**24 + 1 + 3 * (2**24 + 1) / 2) / (4 * total), abs=2e-7)


def test_devices_count_together():
    rng = np.random.default_rng(4)
    s_in, s_out = rng.normal(0, 1, 800).astype(np.float32), rng.normal(1, 1, 160).astype(np.float32)
    where_in = np.arange(800) < 250  # on some devices nothing counts
    whole = score_histogram(s_in, s_out, low=-2, high=2, bins=32, where_in=where_in)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def body(s_in, s_out, where_in, low):
        return score_histogram(s_in, s_out, low=low, high=2, bins=32, where_in=where_in, axis_name="data")

    split, same = PartitionSpec("data"), PartitionSpec()
    for check_vma in (True, False):
        specs = {"in_specs": (split, split, split, same), "out_specs": same, "check_vma": check_vma}
        mapped = jax.jit(jax.shard_map(body, mesh=mesh, **specs))
        histogram = mapped(s_in, s_out, where_in, -2.0)
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), histogram, whole))
    # A NaN on one device spoils the histogram on all.
    s_out[3] = np.nan
    assert (mapped(s_in, s_out, where_in, -2.0).counts_in == -1).all()


def test_no_two_programs_disagree_on_the_bin_of_a_score():
    # Scores on and beside the edges, where a rounding more or less matters; the range known when compiling, or not.
    low, high, bins = np.float32(-1.3), np.float32(1.7), 240
    edges = (low + (high - low) * np.arange(bins + 1) / bins).astype(np.float32)
    scores = np.concatenate([edges, np.nextafter(edges, low), np.nextafter(edges, high)])

    def count(low, high):
        return score_histogram(scores, scores, low=low, high=high, bins=bins).counts_in

    traced = count(low, high)
    np.testing.assert_array_equal(jax.jit(lambda: count(float(low), float(high)))(), traced)
    np.testing.assert_array_equal(jax.vmap(count)(low[None], high[None])[0], traced)
