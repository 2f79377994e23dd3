"""ReAct: features cut off at a percentile of the training data's, which is found while they stream by."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from .._api import checked, public
from .._checks import as_number
from .._dtypes import wide
from ._features import check_features, check_state, concrete
from ._layout import on_every_device

# The bins are runs of float32 numbers: in their order, floats are like the integers of the same bits, and the integers
# without their last bits number the runs. 2^16 of them an octave are each less than 2^-16 wide, and their middle is
# within 2^-17, or 8e-6, of any number in them. From 2^-32 to 2^32, of either sign, that is 2^23 bins, or 34 MB.
_DROPPED = 7
_LOWEST, _HIGHEST = (int(np.float32(2.0**power).view(np.int32)) >> _DROPPED for power in (-32, 32))
_EACH_SIGN = _HIGHEST - _LOWEST
_ZERO = _EACH_SIGN + 1  # beyond the bins of either sign lies one more, for what is larger
_COLUMNS = 4096
_ROWS = -(-(2 * _ZERO + 1) // _COLUMNS)


class ReactState(NamedTuple):
    """A histogram of all activations, and the percentile of them that is the threshold.

    Attributes:
      threshold: what activations are cut off at.
      percentile: which percentile it is.
      counts: how many activations are in each bin, 34 MB of whole numbers in floating point. They are for `update` and
        `merge`; `react_features` reads the threshold alone.
    """

    threshold: Float[Array, ""]
    percentile: Float[Array, ""]
    counts: Float[Array, "rows columns"]


def _check_percentile(percentile: Any) -> None:
    value = concrete(percentile)
    if value is not None and value.ndim == 0 and value.dtype.kind in "iuf" and not 0 <= value <= 100:
        raise ValueError(f"`percentile` must be from 0 to 100, got {percentile}; it is no fraction.")


@checked(_check_percentile)
@public
def fit_react(features: Float[Array, "*n d"], *, percentile: Real[Array, ""] | float = 90.0) -> ReactState:
    r"""The threshold of `react_features`: a percentile of all activations of the training data.

    The percentile is that of `numpy.percentile` on every unit of every example. Activations are counted in bins so
    narrow that the threshold of any number of batches, brought in by `update` and `merge` in any order, is within 1e-5
    of it, relative to its size; below 2^-32 in size it is 0. Its rank is rounded to float32, and so are the counts: a
    bin with 2^24 or more loses what is added to it in ones and twos.

    Args:
      features: (..., D), any float dtype, fewer than 2^31 numbers a call.
      percentile: from 0 to 100, of the activations that stay as they are. Kept in the state for `update`. One outside
        raises if its value is at hand, and makes the threshold NaN if it is traced. Traced.

    Returns:
      `ReactState(threshold, percentile, counts)`, float32. The threshold is NaN if there are no activations, one of
      them is NaN, or the percentile lies at 2^32 or beyond.

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
    counts = state.counts + _histogram(features)
    return ReactState(_threshold(counts, state.percentile), state.percentile, counts)


def merged_react(one: ReactState, other: ReactState) -> ReactState:
    """Of both states' activations, if both ask for the same percentile."""
    percentile = jnp.where(one.percentile == other.percentile, one.percentile, jnp.nan)
    counts = one.counts + other.counts
    return ReactState(_threshold(counts, percentile), percentile, counts)


def _histogram(features: Array) -> Float[Array, "rows columns"]:
    if features.size >= 2**31:
        raise ValueError(
            f"`features` must be fewer than 2^31 numbers a call, got shape {features.shape}; bring them in with "
            "`update`, a batch at a time."
        )
    return on_every_device(_counts, jax.lax.stop_gradient(features))


def _counts(features: Array) -> Float[Array, "rows columns"]:
    values = features.reshape(-1).astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)
    size = ((bits & 0x7FFFFFFF) >> _DROPPED) - _LOWEST
    size = jnp.clip(size, -1, _EACH_SIGN) + 1
    bins = _ZERO + jnp.where(bits < 0, -size, size)
    # Counted as integers, for a float32 that counts one by one stops at 2^24.
    counts = jnp.zeros(_ROWS * _COLUMNS, jnp.int32).at[bins].add(1).reshape(_ROWS, _COLUMNS)
    poison = jnp.where(jnp.any(jnp.isnan(values)), jnp.nan, 0).astype(jnp.float32)
    return counts.astype(jnp.float32) + poison


def _threshold(counts: Array, percentile: Array) -> Float[Array, ""]:
    in_row = jnp.sum(counts, axis=1)
    up_to_row = jnp.cumsum(in_row)
    # From 2^24 on the float32 below a number is more than 1 away, and one less than it would be the number again.
    last = jnp.minimum(up_to_row[-1] - 1, jnp.nextafter(up_to_row[-1], jnp.zeros_like(up_to_row[-1])))

    def value(rank: Array) -> Array:
        row = jnp.minimum(jnp.searchsorted(up_to_row, rank, side="right"), _last_filled(in_row))
        before = up_to_row[row] - in_row[row]
        column = jnp.searchsorted(before + jnp.cumsum(counts[row]), rank, side="right")
        return _middle(row * _COLUMNS + jnp.minimum(column, _last_filled(counts[row])))

    rank = last * percentile / 100
    below = jnp.floor(rank)
    lower, upper = value(below), value(jnp.minimum(below + 1, last))
    known = (last >= 0) & (percentile >= 0) & (percentile <= 100)
    # At a whole rank the next bin has no say, not even if it is beyond the last.
    between = jnp.where(rank == below, lower, lower + (upper - lower) * (rank - below))
    return jnp.where(known, between, jnp.nan)


def _last_filled(counts: Array) -> Int[Array, ""]:
    """Where rounded sums say that a rank lies beyond all, it lies in the last bin that has any."""
    return jnp.max(jnp.where(counts > 0, jnp.arange(counts.size), 0))


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
    check_state(state, ReactState, "fit_react")
    check_features("features", features)
    dtype = wide(features.dtype)
    return jnp.minimum(features.astype(dtype), state.threshold.astype(dtype))
