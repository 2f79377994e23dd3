"""ReAct: features cut off at a percentile of the training data's, which is found while they stream by."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real, UInt32

from .._api import checked, public
from .._checks import as_number, check_kind, known_number
from .._dtypes import wide
from .._running import running_max
from .._sharding import left_to_compiler
from ._features import check_features

# The bins are runs of float32 numbers: in their order, floats are like the integers of the same bits, and the integers
# without their last bits number the runs. 2^16 of them an octave are each less than 2^-16 wide, and their middle is
# within 2^-17, or 8e-6, of any number in them. From 2^-32 to 2^32, of either sign, that is 2^23 bins, or 34 MB.
_DROPPED = 7
_LOWEST, _HIGHEST = (int(np.float32(2.0**power).view(np.int32)) >> _DROPPED for power in (-32, 32))
_EACH_SIGN = _HIGHEST - _LOWEST
_ZERO = _EACH_SIGN + 1  # beyond the bins of either sign lies one more, for what is larger
_COLUMNS = 4096
_ROWS = -(-(2 * _ZERO + 2) // _COLUMNS)
_NAN = _ROWS * _COLUMNS - 1
_FULL = 2**32 - 1  # a bin that has so many, or more


class ReactState(NamedTuple):
    """A histogram of all activations, and the percentile of them that is the threshold.

    Attributes:
      threshold: what activations are cut off at.
      percentile: which percentile it is.
      counts: how many activations are in each bin, 34 MB; NaN have the last one. They are for `update` and `merge`;
        `react_features` reads the threshold alone.
    """

    threshold: Float[Array, ""]
    percentile: Float[Array, ""]
    counts: UInt32[Array, "rows columns"]


def _check_percentile(percentile: Any) -> None:
    value = known_number(percentile)
    if value is not None and not 0 <= value <= 100:
        raise ValueError(f"`percentile` must be from 0 to 100, got {value:g}; it is no fraction.")


@checked(_check_percentile)
@public
def fit_react(features: Float[Array, "*n d"], *, percentile: Real[Array, ""] | float = 90.0) -> ReactState:
    r"""The threshold of `react_features`: a percentile of all activations of the training data.

    The percentile is that of `numpy.percentile` on every unit of every example. Activations are counted in bins so
    narrow that the threshold of any number of batches, brought in by `update` and `merge` in any order, is within 1e-5
    of it, relative to its size; below 2^-32 in size it is 0. Counts are exact, up to 2^32 - 2 a bin, which of features
    after a ReLU the zeros reach first. Of more than 2^24 activations the percentile's rank is rounded to float32, but
    0 and 100 are always the smallest and the largest.

    Args:
      features: (..., D), any float dtype, fewer than 2^31 numbers a call.
      percentile: from 0 to 100, of the activations that stay as they are. Kept in the state for `update`. One outside
        raises if its value is at hand, and makes the threshold NaN if it is traced. Traced.

    Returns:
      `ReactState(threshold, percentile, counts)`, float32 and counts uint32. The threshold is NaN if there are no
      activations, one of them is NaN, a bin is full, or the percentile lies at 2^32 or beyond.

    Raises:
      TypeError: `features` is not floating-point, or `percentile` not real.
      ValueError: `features` has no feature axis or too many numbers, or `percentile` is not from 0 to 100.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> state = ood_jax.scores.fit_react(jnp.arange(101.0)[None], percentile=90)
      >>> print(state.threshold.round(2))
      90.0

    References:
      Yiyou Sun, Chuan Guo, Yixuan Li, "ReAct: Out-of-distribution Detection With Rectified Activations", NeurIPS 2021,
      section 3.
    """
    check_features("features", features)
    percentile = as_number("percentile", percentile).astype(jnp.float32)
    counts = _histogram(features)
    return ReactState(_threshold(counts, percentile), percentile, counts)


def updated_react(state: ReactState, features: Float[Array, "*n d"]) -> ReactState:
    counts = _sum(state.counts, _histogram(features))
    return ReactState(_threshold(counts, state.percentile), state.percentile, counts)


def merged_react(one: ReactState, other: ReactState) -> ReactState:
    """Of both states' activations, if both ask for the same percentile."""
    percentile = jnp.where(one.percentile == other.percentile, one.percentile, jnp.nan)
    counts = _sum(one.counts, other.counts)
    return ReactState(_threshold(counts, percentile), percentile, counts)


def _sum(one: Array, other: Array) -> UInt32[Array, "rows columns"]:
    """Of both counts; a bin that is full stays so, in whatever order."""
    both = one + other
    return jnp.where(both < one, jnp.uint32(_FULL), both)


def _histogram(features: Array) -> UInt32[Array, "rows columns"]:
    if features.size >= 2**31:
        raise ValueError(
            f"`features` must be fewer than 2^31 numbers a call, got shape {features.shape}; bring them in with "
            "`update`, a batch at a time."
        )
    return left_to_compiler(_counts, jax.lax.stop_gradient(features))


def _counts(features: Array) -> UInt32[Array, "rows columns"]:
    values = features.reshape(-1).astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)
    size = ((bits & 0x7FFFFFFF) >> _DROPPED) - _LOWEST
    size = jnp.clip(size, -1, _EACH_SIGN) + 1
    bins = jnp.where(jnp.isnan(values), _NAN, _ZERO + jnp.where(bits < 0, -size, size))
    return jnp.zeros(_ROWS * _COLUMNS, jnp.uint32).at[bins].add(jnp.uint32(1)).reshape(_ROWS, _COLUMNS)


def _threshold(counts: Array, percentile: Array) -> Float[Array, ""]:
    in_row = jnp.sum(counts.astype(jnp.float32), axis=1)
    total = jnp.sum(in_row)

    def value(rank: Array) -> Array:
        row, rank = _place(in_row, rank)
        column, _ = _place(counts[row].astype(jnp.float32), rank)
        return _middle(row * _COLUMNS + column)

    last = total - 1
    rank = last * percentile / 100
    below = jnp.floor(rank)
    # A loop, for it is compiled once for both.
    lower, upper = jax.lax.map(value, jnp.stack([below, jnp.minimum(below + 1, last)]))
    known = (total > 0) & (percentile >= 0) & (percentile <= 100)
    known = known & (counts.reshape(-1)[_NAN] == 0) & jnp.all(counts < jnp.uint32(_FULL))
    # At a whole rank the next bin has no say, not even if it is beyond the last.
    between = jnp.where(rank == below, lower, lower + (upper - lower) * (rank - below))
    row = _last(in_row)
    largest = _middle(row * _COLUMNS + _last(counts[row]))
    return jnp.where(known, jnp.where(percentile == 100, largest, between), jnp.nan)


def _last(counts: Array) -> Int[Array, ""]:
    """The last place that has some."""
    return jnp.max(jnp.where(counts > 0, jnp.arange(counts.size), 0))


def _place(counts: Array, rank: Array) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """Where the number of a rank is, counted from 0, and its rank there: always a place that has some."""
    # Sums are rounded. They grow only where there is something, and a rank that lies at the last sum, as one less than
    # a number beyond 2^24 may do, comes before it: the factor gives the next smaller float32.
    up_to = running_max(jnp.where(counts > 0, jnp.cumsum(counts), 0))
    place = jnp.argmax(up_to > jnp.minimum(rank, up_to[-1] * (1 - 2**-24)))
    before = jnp.where(place > 0, up_to[place - 1], 0)
    return place, rank - before


def _middle(place: Int[Array, ""]) -> Float[Array, ""]:
    """The number in the middle of a bin; 0 for the one about 0, NaN for those beyond the largest."""
    size = jnp.abs(place - _ZERO).astype(jnp.int32)
    bits = ((size - 1 + _LOWEST) << _DROPPED) + (1 << (_DROPPED - 1))
    middle = jax.lax.bitcast_convert_type(bits, jnp.float32)
    middle = jnp.where(size == 0, 0, jnp.where(size > _EACH_SIGN, jnp.nan, middle))
    return jnp.where(place < _ZERO, -middle, middle)


@public
def react_features(state: ReactState, features: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    r"""Features cut off at the threshold, $\min(x, c)$, to be given to the network's head and scored by its logits.

    Args:
      state: from `fit_react`.
      features: (..., D), any float dtype; computed in float32 or wider.

    Returns:
      Features (..., D), float32 or wider, none larger than the threshold.

    Raises:
      TypeError: `state` is no `ReactState`, or `features` is not floating-point.
      ValueError: `features` has no feature axis.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> state = ood_jax.scores.fit_react(jnp.arange(101.0)[None], percentile=90)
      >>> print(ood_jax.scores.react_features(state, jnp.array([3.0, 500.0])).round(2))
      [ 3. 90.]

    References:
      Sun et al., "ReAct: Out-of-distribution Detection With Rectified Activations", NeurIPS 2021, equation 1.
    """
    check_kind("state", state, ReactState, "fit_react")
    check_features("features", features)
    dtype = wide(features.dtype)
    return jnp.minimum(features.astype(dtype), state.threshold.astype(dtype))
