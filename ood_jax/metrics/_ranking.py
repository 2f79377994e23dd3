"""Metrics of how well scores rank data and outliers: AUROC, AUPR, FPR at a TPR, detection error."""

from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Real

from .._api import checked, public
from .._checks import as_number, check_choice
from .._dtypes import wide
from ._checks import check_given_scores, check_given_share, check_scores
from ._layout import on_every_device
from ._order import own_ranks, ranks, side
from ._rates import area_under_roc, average_precision, false_positive_rate, least_error, trapezoid_precision


@checked(check_given_scores)
@public
@on_every_device
def auroc(
    scores_in: Float[Array, "..."],
    scores_out: Float[Array, "..."],
    *,
    where_in: Bool[Array, "..."] | None = None,
    where_out: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    r"""The area under the ROC curve: the probability that an outlier scores higher than a datum, ties counting half.

    $$\frac{1}{N M} \sum_{i=1}^{N} \sum_{j=1}^{M} \left([s_i < s'_j] + \tfrac12 [s_i = s'_j]\right)$$

    Pairs are counted in integers, so nothing is lost however many there are.

    Args:
      scores_in: scores of the data, higher for what looks out-of-distribution; any shape, any float dtype. Infinite
        scores rank at the ends.
      scores_out: scores of the outliers, likewise, of a shape of their own; both sides hold fewer than 2**30 together.
      where_in: boolean, of the shape of `scores_in`: which of them count; None for all.
      where_out: the same for `scores_out`.

    Returns:
      The area in [0, 1], a scalar, float32 or wider. NaN if a score that counts is NaN or none counts on a side, where
      the arrays are traced.

    Raises:
      TypeError: scores are not floating-point, or a mask not boolean.
      ValueError: a mask has another shape than its scores, a given score that counts is NaN, or none counts on a side.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> float(ood_jax.metrics.auroc(jnp.array([0.0, 1.0, 2.0, 3.0]), jnp.array([2.0, 4.0])))
      0.8125

    References:
      James A. Hanley, Barbara J. McNeil, "The meaning and use of the area under a receiver operating characteristic
      (ROC) curve", Radiology 143, 1982: the area as a probability, with ties.
    """
    check_scores(scores_in, scores_out, where_in, where_out)
    dtype = wide(scores_in.dtype, scores_out.dtype)
    inside, outside = side(scores_in, where_in, dtype).sorted(), side(scores_out, where_out, dtype).sorted()
    area = area_under_roc(outside, ranks(outside, among=inside), inside.total, dtype)
    return jnp.where(inside.valid & outside.valid, area, jnp.nan)


@checked(check_given_scores)
@public
@on_every_device
def aupr(
    scores_in: Float[Array, "..."],
    scores_out: Float[Array, "..."],
    *,
    positive: Literal["ood", "id"] = "ood",
    method: Literal["average_precision", "trapezoid"] = "average_precision",
    where_in: Bool[Array, "..."] | None = None,
    where_out: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    r"""The area under the precision-recall curve.

    With $P_k$ and $R_k$ the precision and recall of the k-th highest distinct score as a threshold (the k-th lowest,
    with the data positive), `method` is

    - "average_precision": $\sum_k (R_k - R_{k-1}) P_k$, which interpolates nothing;
    - "trapezoid": $\sum_k (R_k - R_{k-1}) (P_k + P_{k-1}) / 2$, from $R_0 = 0$ and $P_0 = 1$. It is optimistic, most
      of all where the curve has few points.

    Unlike the AUROC, it depends on the ratio of outliers to data.

    Args:
      scores_in: scores of the data, higher for what looks out-of-distribution; any shape, any float dtype. Infinite
        scores rank at the ends.
      scores_out: scores of the outliers, likewise, of a shape of their own; both sides hold fewer than 2**30 together.
      positive: "ood" for outliers, with high scores first, or "id" for the data, with low ones first. Static.
      method: "average_precision" or "trapezoid". Static.
      where_in: boolean, of the shape of `scores_in`: which of them count; None for all.
      where_out: the same for `scores_out`.

    Returns:
      The area in [0, 1], a scalar, float32 or wider. NaN if a score that counts is NaN or none counts on a side, where
      the arrays are traced.

    Raises:
      TypeError: scores are not floating-point, or a mask not boolean.
      ValueError: a mask has another shape than its scores, a given score that counts is NaN, none counts on a side, or
        `positive` or `method` is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> scores_in, scores_out = jnp.array([0.0, 1.0, 2.0, 3.0]), jnp.array([2.0, 4.0])
      >>> for method in ("average_precision", "trapezoid"):
      ...     print(float(ood_jax.metrics.aupr(scores_in, scores_out, method=method)))
      0.75
      0.75
      >>> round(float(ood_jax.metrics.aupr(scores_in, scores_out, positive="id")), 4)
      0.8875

    References:
      Jesse Davis, Mark Goadrich, "The Relationship Between Precision-Recall and ROC Curves", ICML 2006, section 3: why
      not to interpolate linearly.
      Dan Hendrycks, Kevin Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
      Networks", ICLR 2017, section 2: both sides as the positive class.
    """
    check_scores(scores_in, scores_out, where_in, where_out)
    check_choice("positive", positive, ("ood", "id"))
    check_choice("method", method, ("average_precision", "trapezoid"))
    dtype = wide(scores_in.dtype, scores_out.dtype)
    falling = positive == "ood"
    inside = side(scores_in, where_in, dtype, falling=falling).sorted()
    outside = side(scores_out, where_out, dtype, falling=falling).sorted()
    positives, negatives = (outside, inside) if positive == "ood" else (inside, outside)
    area = average_precision if method == "average_precision" else trapezoid_precision
    value = area(positives, own_ranks(positives), ranks(positives, among=negatives), dtype)
    return jnp.where(inside.valid & outside.valid, value, jnp.nan)


def _check_fpr(scores_in: Any, scores_out: Any, tpr: Any, where_in: Any, where_out: Any) -> None:
    check_given_scores(scores_in, scores_out, where_in, where_out)
    check_given_share("tpr", tpr, least_is_legal=False)


@checked(_check_fpr)
@public
@on_every_device
def fpr_at_tpr(
    scores_in: Float[Array, "..."],
    scores_out: Float[Array, "..."],
    *,
    tpr: Real[Array, ""] | float = 0.95,
    positive: Literal["id", "ood"] = "id",
    method: Literal["first", "nearest", "interp"] = "first",
    where_in: Bool[Array, "..."] | None = None,
    where_out: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    """The false-positive rate at a true-positive rate; at 0.95 it is known as FPR95.

    A threshold accepts as positive every score from one end up to it, so each distinct score gives a point of the ROC
    curve. Seldom does one have exactly the true-positive rate asked for, and `method` says what to do then:

    - "first": the first point whose true-positive rate is at least `tpr`;
    - "nearest": the point whose rate is nearest to `tpr`; of two equally near the one with the higher rate, and of
      several with the same rate the one with the most false positives, but at a rate of 1 the one with the fewest;
    - "interp": between the last point below `tpr` and the first above on a straight line; of several points with
      exactly this rate the one with the most false positives.

    Args:
      scores_in: scores of the data, higher for what looks out-of-distribution; any shape, any float dtype. Infinite
        scores rank at the ends.
      scores_out: scores of the outliers, likewise, of a shape of their own; both sides hold fewer than 2**30 together.
      tpr: the true-positive rate, in (0, 1]. A rate that rounds to `tpr` in the dtype of the result counts as equal to
        it, so 19 of 20 are 0.95. Traced.
      positive: "id": the rate of data accepted as data, and the result the rate of outliers accepted with them. "ood":
        the rate of outliers noticed, and the result the rate of data taken for outliers. Static.
      method: "first", "nearest" or "interp". Static.
      where_in: boolean, of the shape of `scores_in`: which of them count; None for all.
      where_out: the same for `scores_out`.

    Returns:
      The rate in [0, 1], a scalar, float32 or wider. NaN if a score that counts is NaN, none counts on a side, or `tpr`
      is not in (0, 1], where these are traced.

    Raises:
      TypeError: scores are not floating-point, `tpr` not real, or a mask not boolean.
      ValueError: a mask has another shape than its scores, a given score that counts is NaN, none counts on a side,
        `tpr` is given and not in (0, 1] or not a scalar, or `positive` or `method` is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> scores_in, scores_out = jnp.array([0.0, 1.0, 2.0, 4.0]), jnp.array([1.5, 3.0, 3.0, 6.0])
      >>> for method in ("first", "nearest", "interp"):
      ...     print(float(ood_jax.metrics.fpr_at_tpr(scores_in, scores_out, tpr=0.5, method=method)))
      0.0
      0.25
      0.25
      >>> float(ood_jax.metrics.fpr_at_tpr(scores_in, scores_out, positive="ood"))
      0.5

    References:
      Shiyu Liang, Yixuan Li, R. Srikant, "Enhancing the Reliability of Out-of-distribution Image Detection in Neural
      Networks", ICLR 2018, section 4.2: FPR at 95% TPR with the data positive.
      Dan Hendrycks, Mantas Mazeika, Thomas Dietterich, "Deep Anomaly Detection with Outlier Exposure", ICLR 2019,
      section 4.1: with the outliers positive; the authors' code takes the nearest recall.
    """
    check_scores(scores_in, scores_out, where_in, where_out)
    check_choice("positive", positive, ("id", "ood"))
    check_choice("method", method, ("first", "nearest", "interp"))
    dtype = wide(scores_in.dtype, scores_out.dtype)
    level = as_number("tpr", tpr).astype(dtype)
    falling = positive == "ood"
    inside = side(scores_in, where_in, dtype, falling=falling)
    outside = side(scores_out, where_out, dtype, falling=falling)
    positives, negatives = (outside, inside) if positive == "ood" else (inside, outside)
    value = false_positive_rate(positives.sorted(), negatives, level, method, dtype)
    return jnp.where(inside.valid & outside.valid & (level > 0) & (level <= 1), value, jnp.nan)


@checked(check_given_scores)
@public
@on_every_device
def detection_error(
    scores_in: Float[Array, "..."],
    scores_out: Float[Array, "..."],
    *,
    where_in: Bool[Array, "..."] | None = None,
    where_out: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    r"""The least mean of both error rates: the error of the best threshold, where data and outliers are equally likely.

    $$\min_t \tfrac12 \left(\frac{|\{i: s_i \ge t\}|}{N} + \frac{|\{j: s'_j < t\}|}{M}\right)$$

    Args:
      scores_in: scores of the data, higher for what looks out-of-distribution; any shape, any float dtype. Infinite
        scores rank at the ends.
      scores_out: scores of the outliers, likewise, of a shape of their own; both sides hold fewer than 2**30 together.
      where_in: boolean, of the shape of `scores_in`: which of them count; None for all.
      where_out: the same for `scores_out`.

    Returns:
      The error in [0, 0.5], a scalar, float32 or wider. NaN if a score that counts is NaN or none counts on a side,
      where the arrays are traced.

    Raises:
      TypeError: scores are not floating-point, or a mask not boolean.
      ValueError: a mask has another shape than its scores, a given score that counts is NaN, or none counts on a side.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> float(ood_jax.metrics.detection_error(jnp.array([0.0, 1.0, 2.0, 3.0]), jnp.array([2.0, 4.0])))
      0.25

    References:
      Kimin Lee, Kibok Lee, Honglak Lee, Jinwoo Shin, "A Simple Unified Framework for Detecting Out-of-Distribution
      Samples and Adversarial Attacks", NeurIPS 2018, section 3.1: the detection accuracy is 1 minus this.
    """
    check_scores(scores_in, scores_out, where_in, where_out)
    dtype = wide(scores_in.dtype, scores_out.dtype)
    inside, outside = side(scores_in, where_in, dtype).sorted(), side(scores_out, where_out, dtype).sorted()
    error = least_error(outside, own_ranks(outside), ranks(outside, among=inside), inside.total, dtype)
    return jnp.where(inside.valid & outside.valid, error, jnp.nan)
