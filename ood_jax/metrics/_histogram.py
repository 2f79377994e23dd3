"""Scores counted by bins: for more of them than fit, over batches and over devices."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Real

from .._api import checked, public
from .._checks import as_number, check_axis_name, check_kind, check_size, known_number
from .._dtypes import wide
from .._sharding import AxisName
from ._binned import binned_metrics
from ._checks import as_arrays, check_nans, check_scores, given
from ._layout import on_every_device
from ._order import number_below
from ._summary import OODMetrics

# Sums of counts are 32-bit integers; a total is also summed in float32, which tells whether one has overflowed.
_MOST_SCORES = 2_000_000_000


class ScoreHistogram(NamedTuple):
    """How many scores fall into each of B bins of equal width from `low` to `high`, and how many outside.

    Attributes:
      low: where the first bin begins.
      high: where the last bin ends.
      counts_in: (B + 2,) int32, the data: below `low`, in each bin, at `high` or above. -1 throughout in a histogram
        that is spoiled, by NaN scores, by merging unlike ranges, or by more than 2,000,000,000 scores a side.
      counts_out: the same for the outliers.
    """

    low: Float[Array, ""]
    high: Float[Array, ""]
    counts_in: Int[Array, " bins"]
    counts_out: Int[Array, " bins"]


def _check_histogram_input(scores_in: Any, scores_out: Any, low: Any, high: Any, where_in: Any, where_out: Any) -> None:
    scores_in, scores_out, where_in, where_out = as_arrays(scores_in, scores_out, where_in, where_out)
    check_scores(scores_in, scores_out, where_in, where_out)
    check_nans("in", scores_in, where_in)
    check_nans("out", scores_out, where_out)
    least, most, dtype = known_number(low), known_number(high), wide(scores_in.dtype, scores_out.dtype)
    if least is None or most is None:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        width = dtype.type(most) - dtype.type(least)
    if not 0 < width < np.inf:
        raise ValueError(
            f"`low` must be below `high`, both finite and their difference too, in {dtype}, got low={low} and "
            f"high={high}; take them from a first batch, for scores outside are counted too."
        )


@checked(_check_histogram_input)
@public
@on_every_device
def score_histogram(
    scores_in: Float[Array, "..."],
    scores_out: Float[Array, "..."],
    *,
    low: Real[Array, ""] | float,
    high: Real[Array, ""] | float,
    bins: int = 4096,
    where_in: Bool[Array, "..."] | None = None,
    where_out: Bool[Array, "..."] | None = None,
    axis_name: AxisName = None,
) -> ScoreHistogram:
    """A histogram of scores, to be added to others by `merge_histograms` and read by `histogram_metrics`.

    It keeps the order of scores in different bins and forgets it within one, which bounds how far its metrics are from
    the exact ones. Scores outside [low, high) are counted too, in two more bins. Counts are integers: nothing is lost
    up to 2,000,000,000 scores a side.

    Args:
      scores_in: scores of the data, higher for what looks out-of-distribution; any shape, any float dtype.
      scores_out: scores of the outliers, likewise, of a shape of their own. Either side may be empty here.
      low: where the first bin begins, in units of the scores. Traced.
      high: where the last bin ends, above `low`. Traced.
      bins: B >= 1, of equal width. Static.
      where_in: boolean, of the shape of `scores_in`: which of them count; None for all.
      where_out: the same for `scores_out`.
      axis_name: inside `shard_map` or `pmap`, the mesh axis or axes over which the scores are split: counts are summed
        over it, so each device gets the histogram of all. Static.

    Returns:
      The `ScoreHistogram`, the range in float32 or wider. Spoiled, with -1 for every count, if a score that counts is
      NaN, or if `low` and `high` are not finite and in order, where these are traced.

    Raises:
      TypeError: scores are not floating-point, a mask not boolean, a bound not real, `bins` not an int, or `axis_name`
        no name.
      ValueError: a mask has another shape than its scores, a given score that counts is NaN, bounds are not scalars or,
        where given, not finite and in order in the scores' dtype, `bins` is below 1, or `axis_name` no axis around the
        call.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> histogram = ood_jax.metrics.score_histogram(
      ...     jnp.array([0.1, 0.2, 0.7]), jnp.array([0.6, 1.5]), low=0.0, high=1.0, bins=2
      ... )
      >>> print(histogram.counts_in, histogram.counts_out)
      [0 2 1 0] [0 0 1 1]

    References:
      Charles E. Metz, "Basic principles of ROC analysis", Seminars in Nuclear Medicine 8, 1978: curves from ratings in
      a few categories.
    """
    check_scores(scores_in, scores_out, where_in, where_out)
    check_size("bins", bins, least=1)
    check_axis_name(axis_name)
    dtype = wide(scores_in.dtype, scores_out.dtype)
    least, most = as_number("low", low).astype(dtype), as_number("high", high).astype(dtype)
    width = most - least
    edges = _edges(least, most, bins)
    sides = [_count(scores_in, where_in, edges), _count(scores_out, where_out, edges)]
    counts, nans = zip(*sides, strict=True)
    spoiled = ~((width > 0) & jnp.isfinite(width)) | nans[0] | nans[1]
    if axis_name is not None:
        spoiled = jax.lax.psum(spoiled.astype(jnp.int32), axis_name) > 0
        totals = [jax.lax.psum(_total(side), axis_name) for side in counts]
        counts = tuple(jax.lax.psum(side, axis_name) for side in counts)
        spoiled = spoiled | _too_many(*totals)
    return ScoreHistogram(least, most, *(jnp.where(spoiled, -1, side) for side in counts))


def _edges(low: Array, high: Array, bins: int) -> Float[Array, " edges"]:
    """The edges of bins, the same in every program, so that no two programs disagree on which of two scores is higher.

    The product loses its last bit, for otherwise a compiler may add to it before it is rounded, or not.
    """
    shares = jnp.asarray(np.arange(1, bins) / bins, low.dtype)
    info = jnp.finfo(low.dtype)
    steps = jax.lax.reduce_precision((high - low) * shares, info.nexp, info.nmant - 1)
    return jnp.concatenate([low[None], jnp.minimum(low + steps, high), high[None]])


def _count(scores: Array, where: Array | None, edges: Array) -> tuple[Array, Array]:
    scores = scores.reshape(-1).astype(edges.dtype)
    counted = jnp.ones(scores.shape, jnp.bool_) if where is None else where.reshape(-1)
    index = edges.size - number_below(-edges[::-1], -scores)
    counts = jnp.zeros(edges.size + 1, jnp.int32).at[index].add(counted.astype(jnp.int32))
    return counts, jnp.any(counted & jnp.isnan(scores))


def _total(counts: Int[Array, " bins"]) -> Float[Array, ""]:
    return jnp.sum(counts.astype(jnp.float32))


def _too_many(*totals: Float[Array, ""]) -> Bool[Array, ""]:
    return jnp.any(jnp.stack(totals) > _MOST_SCORES)


def _check_merge(a: Any, b: Any) -> None:
    for name, histogram in (("a", a), ("b", b)):
        check_kind(name, histogram, ScoreHistogram, "score_histogram")
    if a.counts_in.shape != b.counts_in.shape:
        raise ValueError(
            f"`b` must have as many bins as `a`, {a.counts_in.size - 2}, got {b.counts_in.size - 2}; count both with "
            "the same `bins`."
        )
    ranges = [(histogram.low, histogram.high) for histogram in (a, b)]
    if given(*ranges[0], *ranges[1]):
        shown = [(float(low), float(high)) for low, high in ranges]
        if shown[0] != shown[1]:
            raise ValueError(
                f"`b` must have the range of `a`, {shown[0]}, got {shown[1]}; count both with the same `low` and "
                "`high`."
            )


@checked(_check_merge)
@public
@on_every_device
def merge_histograms(a: ScoreHistogram, b: ScoreHistogram) -> ScoreHistogram:
    """The histogram of the scores of two histograms together, the same in whatever order many are merged.

    Args:
      a: a histogram.
      b: another, with the same number of bins and the same range.

    Returns:
      The `ScoreHistogram` of both. Spoiled, with -1 for every count, if either is, if the ranges differ where they are
      traced, or if a side counts more than 2,000,000,000 scores.

    Raises:
      TypeError: an argument is not a `ScoreHistogram`.
      ValueError: the numbers of bins differ, or the given ranges.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> parts = [
      ...     ood_jax.metrics.score_histogram(scores, scores + 0.5, low=0.0, high=1.0, bins=2)
      ...     for scores in (jnp.array([0.1, 0.2]), jnp.array([0.3, 0.7]))
      ... ]
      >>> print(ood_jax.metrics.merge_histograms(*parts).counts_in)
      [0 3 1 0]

    References:
      Metz, "Basic principles of ROC analysis", Seminars in Nuclear Medicine 8, 1978: curves from ratings in a few
      categories, whose counts add up.
    """
    agree = (a.low == b.low) & (a.high == b.high) & ~_spoiled(a) & ~_spoiled(b)
    counts = a.counts_in + b.counts_in, a.counts_out + b.counts_out
    totals = _total(a.counts_in) + _total(b.counts_in), _total(a.counts_out) + _total(b.counts_out)
    whole = agree & ~_too_many(*totals)
    return ScoreHistogram(a.low, a.high, *(jnp.where(whole, side, -1) for side in counts))


def _spoiled(histogram: ScoreHistogram) -> Bool[Array, ""]:
    return jnp.any(histogram.counts_in < 0) | jnp.any(histogram.counts_out < 0)


def _check_readable(histogram: Any) -> None:
    check_kind("histogram", histogram, ScoreHistogram, "score_histogram")
    if not given(*histogram):
        return
    for side, counts in (("in", histogram.counts_in), ("out", histogram.counts_out)):
        counts = np.asarray(counts)
        if (counts < 0).any():
            raise ValueError(
                "`histogram` must not be spoiled, got negative counts; NaN scores, a range of no width, unlike ranges "
                "or too many scores do that, which an error tells where they are given and not traced."
            )
        if not counts.any():
            raise ValueError(
                f"`histogram` must count scores on both sides, got none in `counts_{side}`; merge in a part that has."
            )


@checked(_check_readable)
@public
@on_every_device
def histogram_metrics(histogram: ScoreHistogram) -> tuple[OODMetrics, OODMetrics]:
    """The metrics of a histogram, and how far each may be from that of the scores themselves.

    The metrics are those of scores that tie where they share a bin. The bounds hold for any scores with this histogram,
    and shrink with the bins: of the AUROC it is half the share of pairs that share a bin.

    Args:
      histogram: what `score_histogram` or `merge_histograms` returned.

    Returns:
      `(metrics, bounds)`, both `OODMetrics`: what `ood_metrics` gives for the scores themselves differs from `metrics`
      by at most `bounds`, the rounding of both included. All are NaN if the histogram is spoiled or a side is empty,
      where it is traced.

    Raises:
      TypeError: `histogram` is not a `ScoreHistogram`.
      ValueError: the given histogram is spoiled, or counts nothing on a side.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> scores_in, scores_out = jnp.linspace(0.0, 1.0, 1000), jnp.linspace(0.5, 1.5, 1000)
      >>> histogram = ood_jax.metrics.score_histogram(scores_in, scores_out, low=0.0, high=2.0, bins=100)
      >>> metrics, bounds = ood_jax.metrics.histogram_metrics(histogram)
      >>> print(round(float(metrics.auroc), 3), round(float(bounds.auroc), 3))
      0.875 0.005

    References:
      Hanley, McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve", Radiology
      143, 1982: the area with ties; the bounds follow from the best and the worst order within each bin.
    """
    counts_in, counts_out = histogram.counts_in, histogram.counts_out
    dtype = wide(histogram.low.dtype)
    usable = ~_spoiled(histogram) & jnp.any(counts_in > 0) & jnp.any(counts_out > 0)
    results = binned_metrics(counts_in, counts_out, dtype)
    metrics, bounds = (OODMetrics(*(jnp.where(usable, value, jnp.nan) for value in side)) for side in results)
    return metrics, bounds
