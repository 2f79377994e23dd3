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


def differences(
    actual: ArrayLike, expected: ArrayLike, dtype: DTypeLike, *, scale: float = 0
) -> NDArray[np.longdouble]:
    """Elementwise distances, in ulps at the expected value or at `scale`, whichever is larger.

    They are infinite where one side alone is finite. The ulp of integers is 1.
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        return _integer_distances(actual, expected)
    actual, expected = _same_shape(actual, expected)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    magnitude = np.maximum(np.abs(np.where(np.isfinite(expected), expected, 0)), scale)
    with np.errstate(invalid="ignore"):
        distance = np.abs(actual - expected) / ulp(magnitude, dtype)
    return np.where(same, np.longdouble(0), np.where(np.isfinite(distance), distance, np.longdouble(np.inf)))


def _integer_distances(actual: ArrayLike, expected: ArrayLike) -> NDArray[np.longdouble]:
    wide_actual, wide_expected = _same_shape(actual, expected)
    # Only integers compare exactly beyond 2**53, so it is they who say where the two differ.
    unlike = np.asarray(actual) != np.asarray(expected)
    return np.where(unlike, np.maximum(np.abs(wide_actual - wide_expected), 1), np.longdouble(0))


def error(actual: ArrayLike, truth: ArrayLike, dtype: DTypeLike, *, scale: float = 0) -> float:
    """The error of a result as a whole: its largest, in ulps at the truth's largest entry, or at `scale` if larger.

    For a scalar this is the error in ulps. For a gradient it is the error of the vector in the maximum norm: entries
    such as softmax - target pass through zero, where an elementwise ratio would measure chance.
    """
    actual, truth = _same_shape(actual, truth)
    if not np.isfinite(actual).all():
        return np.inf
    return _largest(np.abs(actual - truth)) / float(ulp(max(_largest(np.abs(truth)), scale), dtype))


def _same_shape(actual: ArrayLike, expected: ArrayLike) -> tuple[NDArray[np.longdouble], NDArray[np.longdouble]]:
    actual, expected = wide(actual), wide(expected)
    if actual.shape != expected.shape:
        raise ValueError(f"results have unlike shapes: {actual.shape} and {expected.shape}")
    return actual, expected


def wide(array: ArrayLike) -> NDArray[np.longdouble]:
    """In NumPy's widest float."""
    array = np.asarray(array)
    # Everything but a longdouble goes by way of float64, because bfloat16 has no direct cast.
    return array if array.dtype == np.longdouble else array.astype(np.float64).astype(np.longdouble)


def _largest(array: NDArray[np.longdouble]) -> float:
    return float(array.max(initial=0))


EXTRA_ULPS = 2
"""How much less accurate than the source a result may be."""


class Worst(NamedTuple):
    """Where two arrays are furthest apart."""

    at: tuple[int, ...]
    ours: float
    source: float


class Result(NamedTuple):
    """One compared array: a value, or a derivative of it.

    Attributes:
      name: which of the comparison's results.
      difference: ours from the source's, in ulps; infinite where the source overflows.
      tolerance: the largest difference allowed.
      error: ours from the truth, in ulps; None where there is no third opinion.
      source_error: the source's from the truth, in ulps; infinite where it overflows.
      worst: where the largest difference sits.
      problem: why the two could not be compared, as when their shapes differ; None if they could.
      notes: what a reader should know besides, though it changes no verdict.
      unit: what the difference is counted in, where it is not ulps.
    """

    name: str
    difference: float
    tolerance: float
    error: float | None = None
    source_error: float | None = None
    worst: Worst | None = None
    problem: str | None = None
    notes: tuple[str, ...] = ()
    unit: str = "ulp"

    @property
    def agrees(self) -> bool:
        """Equal to the source within the tolerance, and no less accurate; right where the source overflows."""
        if self.problem is not None:
            return False
        if self.error is None or self.source_error is None:
            return self.difference <= self.tolerance
        if np.isinf(self.source_error):
            return self.error <= 2 * EXTRA_ULPS
        return self.difference <= self.tolerance and self.error <= self.source_error + EXTRA_ULPS

    def __str__(self) -> str:
        """What there is to know of the result, in a line."""
        if self.problem is not None:
            return f"{self.name}: {self.problem}"
        parts = [f"{self.difference:.3g} {self.unit} apart of {self.tolerance:.3g} allowed"]
        if self.worst is not None and self.difference > 0:
            index = f"[{', '.join(map(str, self.worst.at))}]" if self.worst.at else "the value"
            ours, source = _told_apart(self.worst.ours, self.worst.source)
            parts.append(f"most at {index}: ours {ours}, the source's {source}")
        if self.error is not None:
            parts.append(f"from the truth ours {self.error:.3g}, the source {self.source_error:.3g}")
        return f"{self.name}: {'; '.join([*parts, *self.notes])}"


def _told_apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with digits enough to see that they differ."""
    short = f"{one:.9g}", f"{other:.9g}"
    return short if short[0] != short[1] else (str(one), str(other))


class Agreement(NamedTuple):
    """All that one comparison found. It agrees if there is at least one result and every one does."""

    name: str
    results: tuple[Result, ...]

    @property
    def agrees(self) -> bool:
        """Whether every result agrees; nothing compared is no agreement."""
        return bool(self.results) and all(result.agrees for result in self.results)

    @property
    def disagreeing(self) -> tuple[Result, ...]:
        """The results that do not agree."""
        return tuple(result for result in self.results if not result.agrees)

    def __bool__(self) -> bool:
        """As `agrees`, so that `assert compare(...)` says what a test wants to know."""
        return self.agrees

    def __str__(self) -> str:
        """The verdict, and a line a result."""
        verdict = "agrees" if self.agrees else "DISAGREES"
        lines = [str(result) if result.agrees else f"DISAGREES {result}" for result in self.results]
        return "\n    ".join([f"{self.name}: {verdict}", *(lines or ["nothing was compared"])])

    def __repr__(self) -> str:
        """The verdict and the first result that disagrees in a line, for that is what a failing assert has room for."""
        if self.agrees:
            return f"{self.name}: agrees"
        first, *more = self.disagreeing or ["nothing was compared"]
        return f"{self.name}: DISAGREES {first}{f'; and {len(more)} more' if more else ''}"


def compared(
    name: str,
    ours: ArrayLike,
    source: ArrayLike,
    dtype: DTypeLike,
    tolerance: float,
    *,
    truth: ArrayLike | None = None,
    scale: float = 0,
    error_scale: float = 0,
) -> Result:
    """The result of ours beside the source's and, where given, the truth, in ulps of a dtype.

    Numbers that are a difference of larger ones carry the rounding of those: `scale` is their size, at which smaller
    numbers' differences are measured, and `error_scale` the same for errors.
    """
    if np.shape(ours) != np.shape(source):
        problem = f"unlike shapes, ours {np.shape(ours)} and the source's {np.shape(source)}"
        return Result(name, np.inf, tolerance, problem=problem)
    distances = differences(ours, source, dtype, scale=scale)
    worst = None
    if distances.size:
        index = tuple(int(i) for i in np.unravel_index(int(distances.argmax()), distances.shape))
        worst = Worst(index, np.asarray(ours)[index].item(), np.asarray(source)[index].item())
    result = Result(name, _largest(distances), tolerance, worst=worst)
    if truth is None:
        return result
    ours_error, source_error = (error(side, truth, dtype, scale=error_scale) for side in (ours, source))
    return result._replace(error=ours_error, source_error=source_error)
