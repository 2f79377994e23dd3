"""How far apart two results are, in units in the last place (ulp)."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from numpy.typing import ArrayLike, NDArray


def ulp(value: ArrayLike, dtype: DTypeLike) -> NDArray[np.float64]:
    """The spacing of a float dtype at a value; at least its smallest normal number, for XLA flushes smaller ones."""
    info = jnp.finfo(dtype)
    value = np.maximum(np.abs(np.asarray(value, np.float64)), np.finfo(np.float64).tiny)  # 0 has no exponent
    _, exponent = np.frexp(value)
    return np.maximum(np.ldexp(1.0, exponent - 1 - info.nmant), float(info.smallest_normal))


def difference(actual: ArrayLike, expected: ArrayLike, dtype: DTypeLike, *, scale: float = 0) -> float:
    """The largest elementwise distance, in ulps at the expected value or at `scale`, whichever is larger.

    It is infinite where one side alone is finite.
    """
    actual, expected = _same_shape(actual, expected)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    magnitude = np.maximum(np.abs(np.where(np.isfinite(expected), expected, 0)), scale)
    with np.errstate(invalid="ignore"):
        distance = np.abs(actual - expected) / ulp(magnitude, dtype)
    return _largest(np.where(same, 0, np.where(np.isfinite(distance), distance, np.inf)))


def error(actual: ArrayLike, truth: ArrayLike, dtype: DTypeLike) -> float:
    """The error of a result as a whole: its largest, in ulps at the truth's largest entry.

    For a scalar this is the error in ulps. For a gradient it is the error of the vector in the maximum norm: entries
    such as softmax - target pass through zero, where an elementwise ratio would measure chance.
    """
    actual, truth = _same_shape(actual, truth)
    if not np.isfinite(actual).all():
        return np.inf
    return _largest(np.abs(actual - truth)) / float(ulp(_largest(np.abs(truth)), dtype))


def _same_shape(actual: ArrayLike, expected: ArrayLike) -> tuple[NDArray[np.longdouble], NDArray[np.longdouble]]:
    actual, expected = _wide(actual), _wide(expected)
    if actual.shape != expected.shape:
        raise ValueError(f"results have unlike shapes: {actual.shape} and {expected.shape}")
    return actual, expected


def _wide(array: ArrayLike) -> NDArray[np.longdouble]:
    array = np.asarray(array)
    # Everything but a longdouble goes by way of float64, because bfloat16 has no direct cast.
    return array if array.dtype == np.longdouble else array.astype(np.float64).astype(np.longdouble)


def _largest(array: NDArray[np.longdouble]) -> float:
    return float(array.max(initial=0))


EXTRA_ULPS = 2
"""How much less accurate than the source a result may be."""


class Agreement(NamedTuple):
    """One compared result.

    Attributes:
      name: which of the case's results.
      difference: ours from the source's, in ulps; infinite where the source overflows.
      tolerance: the largest difference allowed.
      error: ours from the truth, in ulps; None where there is no third opinion.
      source_error: the source's from the truth, in ulps; infinite where it overflows.
    """

    name: str
    difference: float
    tolerance: float
    error: float | None = None
    source_error: float | None = None

    @property
    def agrees(self) -> bool:
        """Equal to the source within the tolerance, and no less accurate; right where the source overflows."""
        if self.error is None or self.source_error is None:
            return self.difference <= self.tolerance
        if np.isinf(self.source_error):
            return self.error <= 2 * EXTRA_ULPS
        return self.difference <= self.tolerance and self.error <= self.source_error + EXTRA_ULPS
