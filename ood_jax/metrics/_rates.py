"""What a curve gives: the areas under it and the points on it, from ranks alone.

Positives come first here: the lower a key, the more positive. A threshold accepts every score up to it, ties together,
so a curve has a point for each distinct score.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ._exact import exact_product, exact_ratio, exact_sum, mean, multiple, ratio, words
from ._order import Ranks, Side


def area_under_roc(out: Side, among_in: Ranks, total_in: Int[Array, ""], dtype: np.dtype) -> Float[Array, ""]:
    """The share of pairs in which the outlier scores higher; a tie is half a pair."""
    twice = jnp.where(out.counted, among_in.below.astype(jnp.uint32) + among_in.up_to.astype(jnp.uint32), 0)
    pairs = exact_product(2 * total_in.astype(jnp.uint32), out.total.astype(jnp.uint32))
    return exact_ratio(exact_sum(words(twice)), pairs, dtype)


def average_precision(positives: Side, own: Ranks, negatives: Ranks, dtype: np.dtype) -> Float[Array, ""]:
    """Σ_k (R_k - R_{k-1}) P_k, a step of recall being a share of the positives."""
    return mean(_precision(own.up_to, negatives.up_to, dtype), positives.counted, positives.total)


def trapezoid_precision(positives: Side, own: Ranks, negatives: Ranks, dtype: np.dtype) -> Float[Array, ""]:
    """Σ_k (R_k - R_{k-1}) (P_k + P_{k-1}) / 2, where the curve begins at a recall of 0 and a precision of 1.

    Thresholds between two positives lower the precision at the same recall, so the segment to the next begins with all
    negatives before it.
    """
    after, before = _precision(own.up_to, negatives.up_to, dtype), _precision(own.below, negatives.below, dtype)
    return mean((after + before) / 2, positives.counted, positives.total)


def _precision(true: Int[Array, " n"], false: Int[Array, " n"], dtype: np.dtype) -> Float[Array, " n"]:
    return jnp.where(true + false > 0, true.astype(dtype) / jnp.maximum(true + false, 1).astype(dtype), 1)


def least_error(out: Side, own: Ranks, among_in: Ranks, total_in: Int[Array, ""], dtype: np.dtype) -> Array:
    """The least (FPR + FNR) / 2 over thresholds; the best one is the score of some outlier."""
    false_positive = ratio(total_in - among_in.below, total_in, dtype)
    false_negative = ratio(own.below, out.total, dtype)
    return jnp.min(jnp.where(out.counted, (false_positive + false_negative) / 2, 1))


def false_positive_rate(
    positives: Side, negatives: Side, tpr: Float[Array, ""], method: str, dtype: np.dtype
) -> Float[Array, ""]:
    """The false-positive rate where the true-positive rate is `tpr`; the positives sorted, the negatives in any order.

    Only three thresholds matter: that of the positive with which the rate reaches `tpr`, and its neighbours.
    """

    def rate(count: Array) -> Array:
        return ratio(count, negatives.total, dtype)

    total = positives.total
    key = positives.keys[jnp.maximum(least_count(total, tpr), 1) - 1]
    true_before, true_at = _below(positives.keys, key), _up_to(positives.keys, key)
    false_before, false_at = _below(negatives.keys, key), _up_to(negatives.keys, key)
    if method == "first":
        return rate(false_at)
    # With as many true positives there are more thresholds, up to the next positive.
    false_after = _below(negatives.keys, positives.keys[jnp.minimum(true_at, positives.keys.size - 1)])
    if method == "nearest":
        at = jnp.where(true_at < total, false_after, false_at)
        # Nearer to the rate before than to the one after: below half of their sum.
        nearer_before = true_before + true_at > multiple(2 * total, tpr, rounded=1).whole
        is_point = (true_before > 0) | (false_before > 0)
        return rate(jnp.where(is_point & nearer_before, false_before, at))
    beyond = jnp.where(true_at < total, false_after, negatives.total)
    exact = multiple(total, tpr)
    step = (exact.whole - true_before).astype(dtype) + exact.rest
    low, high = rate(false_before), rate(false_at)
    between = low + step / (true_at - true_before).astype(dtype) * (high - low)
    return jnp.where(true_at <= multiple(total, tpr, rounded=1).whole, rate(beyond), between)


def least_count(total: Int[Array, ""], rate: Float[Array, ""]) -> Int[Array, ""]:
    """The least count whose share of a total is, rounded, at least a rate."""
    least = multiple(total, rate, rounded=-1)
    return least.whole + (~least.is_whole).astype(jnp.int32)


def _below(keys: Array, key: Array) -> Int[Array, ""]:
    return jnp.sum(keys < key, dtype=jnp.int32)


def _up_to(keys: Array, key: Array) -> Int[Array, ""]:
    return jnp.sum(keys <= key, dtype=jnp.int32)
