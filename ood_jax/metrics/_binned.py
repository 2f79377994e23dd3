"""Metrics of counts by bin, each with the range that the scores behind the counts leave open.

Within a bin the order is unknown. A metric is computed as if all its scores were tied, and the bound is its distance to
what the best or the worst order would give.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .._running import running_sum
from .._sum import accurate_sum
from ._exact import exact_product, exact_ratio, exact_sum, ratio
from ._rates import least_count
from ._summary import OODMetrics

_ROUNDINGS = 16
"""A metric is a few rounded operations on numbers up to 1, and so is the exact one that it is compared with."""


class _Bins(NamedTuple):
    """The counts of a side by bin, those of the bins before and up to each, and of all."""

    counts: Int[Array, " bins"]
    before: Int[Array, " bins"]
    up_to: Int[Array, " bins"]
    total: Int[Array, ""]

    def turned(self) -> "_Bins":
        """As if the highest bin came first."""
        return self._replace(before=self.total - self.up_to, up_to=self.total - self.before)


def _bins(counts: Int[Array, " bins"]) -> _Bins:
    up_to = running_sum(counts)
    return _Bins(counts, up_to - counts, up_to, up_to[-1])


def binned_metrics(
    counts_in: Int[Array, " bins"], counts_out: Int[Array, " bins"], dtype: np.dtype
) -> tuple[OODMetrics, OODMetrics]:
    """The metrics and their bounds, of counts in bins of rising scores."""
    inside, outside = _bins(counts_in), _bins(counts_out)
    pairs = [
        _area_under_roc(inside, outside, dtype),
        _average_precision(inside, outside, dtype),
        _average_precision(outside.turned(), inside.turned(), dtype),
        _false_positive_rate(inside, outside, dtype),
        _least_error(inside, outside, dtype),
    ]
    metrics, bounds = zip(*pairs, strict=True)
    rounding = _ROUNDINGS * float(jnp.finfo(dtype).eps)
    return OODMetrics(*metrics), OODMetrics(*(bound + rounding for bound in bounds))


def _area_under_roc(inside: _Bins, outside: _Bins, dtype: np.dtype) -> tuple[Array, Array]:
    out = outside.counts.astype(jnp.uint32)
    twice = exact_product(out, inside.before.astype(jnp.uint32) + inside.up_to.astype(jnp.uint32))
    level = exact_product(out, inside.counts.astype(jnp.uint32))
    pairs = exact_product(2 * inside.total.astype(jnp.uint32), outside.total.astype(jnp.uint32))
    return exact_ratio(exact_sum(twice), pairs, dtype), exact_ratio(exact_sum(level), pairs, dtype)


def _average_precision(positives: _Bins, negatives: _Bins, dtype: np.dtype) -> tuple[Array, Array]:
    def precision(true: Array, false: Array) -> Array:  # as floats, for the sum of two counts may not fit 32 bits
        return true / jnp.maximum(true + false, 1)

    counts, before, true = (count.astype(dtype) for count in positives[:3])
    _, false_before, false = (count.astype(dtype) for count in negatives[:3])
    tied = precision(true, false)
    first = precision(true, false_before)  # the positives of a bin tie, before all its negatives
    # The k-th positive of a bin comes after all its negatives. Its precision is concave in k, so a mean of several is
    # at least that of the first and the last.
    last = (precision(before + 1, false) + tied) / 2
    terms = jnp.stack([counts * tied, counts * first, counts * last])
    sums = accurate_sum(terms)
    value, most, least = ratio(sums, positives.total, dtype)
    return value, jnp.maximum(most - value, value - least)


def _false_positive_rate(inside: _Bins, outside: _Bins, dtype: np.dtype) -> tuple[Array, Array]:
    needed = least_count(inside.total, jnp.asarray(0.95, dtype))
    at = jnp.sum(inside.up_to < needed, dtype=jnp.int32)  # the bin of the last datum needed
    return ratio(outside.up_to[at], outside.total, dtype), ratio(outside.counts[at], outside.total, dtype)


def _least_error(inside: _Bins, outside: _Bins, dtype: np.dtype) -> tuple[Array, Array]:
    def error(rejected: Array, accepted: Array) -> Array:
        return jnp.min(ratio(rejected, inside.total, dtype) + ratio(accepted, outside.total, dtype)) / 2

    # A threshold between bins is one for the scores as well; one inside a bin at best divides it without an error.
    between = error(inside.total - inside.before, outside.before)
    within = error(inside.total - inside.up_to, outside.before)
    return between, between - within
