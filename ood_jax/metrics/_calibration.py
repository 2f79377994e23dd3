"""How far confidence is from accuracy, and probabilities from labels."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt

from .._api import checked, public
from .._checks import check_size
from .._sum import accurate_sum, in_blocks
from ._exact import mean
from ._layout import on_every_device
from ._order import number_below
from ._predictions import Rows, check_given_predictions, check_predictions, rows_of


@checked(check_given_predictions)
@public
@on_every_device
def expected_calibration_error(
    probabilities: Float[Array, "*n k"],
    labels: Int[Array, "*n"],
    *,
    bins: int = 15,
    where: Bool[Array, "*n"] | None = None,
) -> Float[Array, ""]:
    r"""The expected calibration error (ECE): how far accuracy is from confidence, by bins of equal width.

    $$\sum_{b=1}^{B} \frac{|I_b|}{N} \left|\operatorname{acc}(I_b) - \operatorname{conf}(I_b)\right|$$

    A row's confidence is its largest probability, and it is accurate if that is the label's; of equal ones the first
    counts. $I_b$ are the rows with a confidence in $((b - 1) / B, b / B]$, edges in float64; a confidence of 0 is in
    the first bin.

    Args:
      probabilities: (..., K), in [0, 1], any float dtype; computed in float32 or wider.
      labels: integer classes (...), in [0, K).
      bins: B >= 1. Static.
      where: boolean (...), the rows that count; None for all.

    Returns:
      The error in [0, 1], a scalar, float32 or wider. NaN if a row that counts has a probability outside [0, 1] or a
      label outside [0, K), or none counts, where these are traced.

    Raises:
      TypeError: `probabilities` are not floating-point, `labels` not integers, `bins` not an int, or `where` not
        boolean.
      ValueError: shapes differ, `bins` is below 1, a given row that counts has a probability or label out of range, or
        none counts.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> # right at 60 per cent, right and wrong at 90
      >>> probabilities = jnp.array([[0.6, 0.4], [0.9, 0.1], [0.1, 0.9]])
      >>> round(float(ood_jax.metrics.expected_calibration_error(probabilities, jnp.array([0, 0, 0]))), 4)
      0.4

    References:
      Chuan Guo, Geoff Pleiss, Yu Sun, Kilian Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
      equation 3 and the bins of section 2.
    """
    check_predictions(probabilities, labels, where)
    check_size("bins", bins, least=1)
    rows = rows_of(probabilities, labels, where)
    edges, confidence = jnp.asarray(_lower_edges(bins, rows.probabilities.dtype)), rows.confidence
    bin_of = jnp.maximum(number_below(edges, confidence) - 1, 0)
    return rows.poisoned(_gap(rows, confidence, rows.accurate, rows.counted, bin_of, bins))


@checked(check_given_predictions)
@public
@on_every_device
def adaptive_expected_calibration_error(
    probabilities: Float[Array, "*n k"],
    labels: Int[Array, "*n"],
    *,
    bins: int = 15,
    where: Bool[Array, "*n"] | None = None,
) -> Float[Array, ""]:
    r"""The adaptive expected calibration error: as `expected_calibration_error`, by bins of equally many rows.

    The N rows are sorted by confidence. Each bin gets the next ⌊N / B⌋, and the last also the N mod B that are left:
    all of them, if there are fewer rows than bins. Of rows with equal confidence the inaccurate ones come first, so
    the result does not depend on the order in which rows are given.

    Args:
      probabilities: (..., K), in [0, 1], any float dtype; computed in float32 or wider.
      labels: integer classes (...), in [0, K).
      bins: B >= 1. Static.
      where: boolean (...), the rows that count; None for all.

    Returns:
      The error in [0, 1], a scalar, float32 or wider. NaN if a row that counts has a probability outside [0, 1] or a
      label outside [0, K), or none counts, where these are traced.

    Raises:
      TypeError: `probabilities` are not floating-point, `labels` not integers, `bins` not an int, or `where` not
        boolean.
      ValueError: shapes differ, `bins` is below 1, a given row that counts has a probability or label out of range, or
        none counts.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> # wrong at 60 and 70 per cent, right at 80 and 90
      >>> probabilities = jnp.array([[0.6, 0.4], [0.3, 0.7], [0.8, 0.2], [0.9, 0.1]])
      >>> labels = jnp.array([1, 0, 0, 0])
      >>> round(float(ood_jax.metrics.adaptive_expected_calibration_error(probabilities, labels, bins=2)), 4)
      0.4

    References:
      Jeremy Nixon, Michael W. Dusenberry, Linchuan Zhang, Ghassen Jerfel, Dustin Tran, "Measuring Calibration in Deep
      Learning", CVPR Workshops 2019, section 4, here of the top prediction alone.
    """
    check_predictions(probabilities, labels, where)
    check_size("bins", bins, least=1)
    rows = rows_of(probabilities, labels, where)
    confidence, accurate = _sorted(rows)
    index = jnp.arange(rows.labels.size, dtype=jnp.int32)
    each = rows.total // bins
    bin_of = jnp.where(each > 0, jnp.minimum(index // jnp.maximum(each, 1), bins - 1), bins - 1)
    return rows.poisoned(_gap(rows, confidence, accurate, index < rows.total, bin_of, bins))


@checked(check_given_predictions)
@public
@on_every_device
def brier_score(
    probabilities: Float[Array, "*n k"], labels: Int[Array, "*n"], *, where: Bool[Array, "*n"] | None = None
) -> Float[Array, ""]:
    r"""The Brier score: the mean squared distance between predicted probabilities and one-hot labels.

    $$\frac{1}{N} \sum_{i=1}^{N} \sum_{k=1}^{K} (p_{ik} - [y_i = k])^2$$

    With two classes it is twice the score that looks at the positive class alone.

    Args:
      probabilities: (..., K), in [0, 1], any float dtype; computed in float32 or wider.
      labels: integer classes (...), in [0, K).
      where: boolean (...), the rows that count; None for all.

    Returns:
      The score, a scalar in [0, 2] where rows sum to 1, float32 or wider. NaN if a row that counts has a probability
      outside [0, 1] or a label outside [0, K), or none counts, where these are traced.

    Raises:
      TypeError: `probabilities` are not floating-point, `labels` not integers, or `where` not boolean.
      ValueError: shapes differ, a given row that counts has a probability or label out of range, or none counts.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> probabilities = jnp.array([[0.5, 0.5], [1.0, 0.0]])
      >>> float(ood_jax.metrics.brier_score(probabilities, jnp.array([0, 0])))
      0.25

    References:
      Glenn W. Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review 78, 1950,
      equation 2.
    """
    check_predictions(probabilities, labels, where)
    rows = rows_of(probabilities, labels, where)
    one_hot = jax.nn.one_hot(rows.labels, probabilities.shape[-1], dtype=rows.probabilities.dtype)
    distances = jnp.sum((rows.probabilities - one_hot) ** 2, axis=-1)
    return rows.poisoned(mean(distances, rows.counted, rows.total))


def _sorted(rows: Rows) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """Confidence and accuracy by rising confidence, the inaccurate of equal ones first, what does not count last."""
    confidence = rows.confidence
    unsigned = np.uint64 if confidence.dtype.itemsize == 8 else np.uint32
    # From 0 to 1 the bits of a float rise with it, and leave two unused: one sort of integers takes both along.
    keys = (jax.lax.bitcast_convert_type(confidence, unsigned) << unsigned(1)) | rows.accurate.astype(unsigned)
    keys, confidence = _in_order(jnp.where(rows.counted, keys, ~jnp.zeros_like(keys)), confidence)
    counted = keys != ~jnp.zeros_like(keys)
    return jnp.where(counted, confidence, 0), (keys & unsigned(1)) == 1


@jax.custom_jvp
def _in_order(keys: UInt[Array, " n"], confidence: Float[Array, " n"]) -> tuple[UInt[Array, " n"], Float[Array, " n"]]:
    """The keys sorted, and the confidence in them."""
    keys = jax.lax.sort(keys, is_stable=False)
    return keys, jax.lax.bitcast_convert_type(keys >> keys.dtype.type(1), confidence.dtype)


@_in_order.defjvp
def _in_order_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Any, Any]:
    keys, confidence = _in_order(*primals)
    # Bits have no derivative, and a sort that takes indices along is slower, so only what differentiates pays for one.
    return (keys, confidence), (np.zeros(keys.shape, jax.dtypes.float0), tangents[1][jnp.argsort(primals[0])])


def _lower_edges(bins: int, dtype: np.dtype) -> np.ndarray:
    """Where each bin begins, (b - 1) / B in float64; in float32 rounded down, so that they divide its numbers alike."""
    edges = np.arange(bins) / bins
    rounded = edges.astype(dtype)
    return np.where(rounded > edges, np.nextafter(rounded, rounded.dtype.type(0)), rounded)


def _gap(
    rows: Rows, confidence: Array, accurate: Array, counted: Array, bin_of: Int[Array, " n"], bins: int
) -> Float[Array, ""]:
    """Σ_b |Σ (accurate - confidence)| / N, each inner sum over the rows of a bin."""
    # Plain sums of a few thousand numbers are quick and good; what adds them up loses nothing, however many there are.
    gaps = in_blocks(jnp.where(counted, accurate.astype(confidence.dtype) - confidence, 0))
    bin_of = in_blocks(bin_of)

    def of_bin(b: Array) -> Array:  # one bin after the other: all at once would take as many copies of the rows
        return accurate_sum(jnp.sum(jnp.where(bin_of == b, gaps, 0), axis=-1))

    by_bin = jax.lax.map(of_bin, jnp.arange(bins, dtype=jnp.int32))
    return jnp.sum(jnp.abs(by_bin)) / rows.total.astype(gaps.dtype)
