"""Metrics of open-set recognition: known classes are to be classified, unknown ones rejected."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Real

from .._api import checked, public
from .._checks import as_number, check_array
from .._dtypes import wide
from ._checks import as_arrays, check_given_scores, check_given_share, check_scores
from ._exact import multiple, ratio
from ._layout import on_every_device
from ._order import flat_mask, ranks, side
from ._rates import area_under_roc


def _check_correct(correct_in: Any, scores_in: Any) -> None:
    check_array("correct_in", correct_in)
    if correct_in.dtype != jnp.bool_:
        raise TypeError(f"`correct_in` must be boolean, got dtype {correct_in.dtype}; compare, as in `predicted == y`.")
    if correct_in.shape != scores_in.shape:
        raise ValueError(
            f"`correct_in` must have the shape {scores_in.shape}, one entry for each of `scores_in`, got "
            f"{correct_in.shape}."
        )


def _check_oscr(scores_in: Any, correct_in: Any, scores_out: Any, where_in: Any, where_out: Any) -> None:
    check_given_scores(scores_in, scores_out, where_in, where_out)
    _check_correct(*as_arrays(correct_in, scores_in))


def _check_ccr(scores_in: Any, correct_in: Any, scores_out: Any, fpr: Any, where_in: Any, where_out: Any) -> None:
    _check_oscr(scores_in, correct_in, scores_out, where_in, where_out)
    check_given_share("fpr", fpr, least_is_legal=True)


@checked(_check_ccr)
@public
@on_every_device
def ccr_at_fpr(
    scores_in: Float[Array, "..."],
    correct_in: Bool[Array, "..."],
    scores_out: Float[Array, "..."],
    *,
    fpr: Real[Array, ""] | float = 0.05,
    where_in: Bool[Array, "..."] | None = None,
    where_out: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    r"""The correct-classification rate at a false-positive rate: of the known, accepted and classified correctly.

    $$\max_t \{\mathrm{CCR}(t) : \mathrm{FPR}(t) \le f\}, \quad
      \mathrm{CCR}(t) = \frac{|\{i: c_i, s_i \le t\}|}{N}, \quad \mathrm{FPR}(t) = \frac{|\{j: s'_j \le t\}|}{M}$$

    A known score that ties with an unknown one is accepted only where that one is.

    Args:
      scores_in: scores of the known, higher for what looks unknown; any shape, any float dtype. Infinite scores rank at
        the ends.
      correct_in: boolean, of the shape of `scores_in`: which of the known are classified correctly.
      scores_out: scores of the unknown, of a shape of their own; both sides hold fewer than 2**30 together.
      fpr: f, the share of the unknown that may be accepted, in [0, 1]. A rate that rounds to f in the
        dtype of the result counts as equal to it. Traced.
      where_in: boolean, of the shape of `scores_in`: which of them count; None for all.
      where_out: the same for `scores_out`.

    Returns:
      The rate in [0, 1], a scalar, float32 or wider. NaN if a score that counts is NaN, none counts on a side, or `fpr`
      is not in [0, 1], where these are traced.

    Raises:
      TypeError: scores are not floating-point, `fpr` not real, or `correct_in` or a mask not boolean.
      ValueError: `correct_in` or a mask has another shape than its scores, a given score that counts is NaN, none
        counts on a side, or `fpr` is given and not in [0, 1] or not a scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> scores_in, correct_in = jnp.array([0.0, 1.0, 2.0, 3.0]), jnp.array([True, False, True, True])
      >>> float(ood_jax.metrics.ccr_at_fpr(scores_in, correct_in, jnp.array([2.5, 4.0]), fpr=0.0))
      0.5

    References:
      Akshay Raj Dhamija, Manuel Günther, Terrance E. Boult, "Reducing Network Agnostophobia", NeurIPS 2018, section 4,
      the definitions of the rates of the open-set classification rate curve.
    """
    check_scores(scores_in, scores_out, where_in, where_out)
    _check_correct(correct_in, scores_in)
    dtype = wide(scores_in.dtype, scores_out.dtype)
    level = as_number("fpr", fpr).astype(dtype)
    known, unknown = side(scores_in, where_in, dtype), side(scores_out, where_out, dtype).sorted()
    accepted = multiple(unknown.total, level, rounded=1).whole
    # Every threshold below the next unknown accepts no more of them.
    next_key = unknown.keys[jnp.minimum(accepted, unknown.keys.size - 1)]
    correct = flat_mask(correct_in, scores_in) & flat_mask(where_in, scores_in)
    count = jnp.sum(correct & ((known.keys < next_key) | (accepted >= unknown.total)), dtype=jnp.int32)
    rate = ratio(count, known.total, dtype)
    return jnp.where(known.valid & unknown.valid & (level >= 0) & (level <= 1), rate, jnp.nan)


@checked(_check_oscr)
@public
@on_every_device
def oscr(
    scores_in: Float[Array, "..."],
    correct_in: Bool[Array, "..."],
    scores_out: Float[Array, "..."],
    *,
    where_in: Bool[Array, "..."] | None = None,
    where_out: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    r"""The area under the open-set classification rate curve: correct-classification rate over false-positive rate.

    $$\frac{1}{N M} \sum_{i: c_i} \sum_{j=1}^{M} \left([s_i < s'_j] + \tfrac12 [s_i = s'_j]\right)$$

    The curve has a point for each distinct score, as in `ccr_at_fpr`, and straight lines between, so ties count half.
    The area is at most the accuracy, and the AUROC if everything is classified correctly.

    Args:
      scores_in: scores of the known, higher for what looks unknown; any shape, any float dtype. Infinite scores rank at
        the ends.
      correct_in: boolean, of the shape of `scores_in`: which of the known are classified correctly.
      scores_out: scores of the unknown, of a shape of their own; both sides hold fewer than 2**30 together.
      where_in: boolean, of the shape of `scores_in`: which of them count; None for all.
      where_out: the same for `scores_out`.

    Returns:
      The area in [0, 1], a scalar, float32 or wider. NaN if a score that counts is NaN or none counts on a side, where
      the arrays are traced.

    Raises:
      TypeError: scores are not floating-point, or `correct_in` or a mask not boolean.
      ValueError: `correct_in` or a mask has another shape than its scores, a given score that counts is NaN, or none
        counts on a side.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> scores_in, correct_in = jnp.array([0.0, 1.0, 2.0, 3.0]), jnp.array([True, False, True, True])
      >>> float(ood_jax.metrics.oscr(scores_in, correct_in, jnp.array([2.5, 4.0])))
      0.625

    References:
      Dhamija, Günther, Boult, "Reducing Network Agnostophobia", NeurIPS 2018, section 4: the curve.
      Sagar Vaze, Kai Han, Andrea Vedaldi, Andrew Zisserman, "Open-Set Recognition: A Good Closed-Set Classifier Is All
      You Need", ICLR 2022: the area under it.
    """
    check_scores(scores_in, scores_out, where_in, where_out)
    _check_correct(correct_in, scores_in)
    dtype = wide(scores_in.dtype, scores_out.dtype)
    known, unknown = side(scores_in, where_in, dtype), side(scores_out, where_out, dtype).sorted()
    correct = flat_mask(correct_in, scores_in) & flat_mask(where_in, scores_in)
    # Without those that are wrong, though they count in the denominator.
    right = known._replace(keys=jnp.where(correct, known.keys, ~jnp.zeros_like(known.keys))).sorted()
    area = area_under_roc(unknown, ranks(unknown, among=right), known.total, dtype)
    return jnp.where(known.valid & unknown.valid, area, jnp.nan)
