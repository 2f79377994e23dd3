"""What is usually reported of a detector, all at once."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._api import checked, public
from .._dtypes import wide
from ._checks import check_given_scores, check_scores
from ._layout import on_every_device
from ._order import own_ranks, ranks, side
from ._rates import area_under_roc, average_precision, false_positive_rate, least_error


class OODMetrics(NamedTuple):
    """What is usually reported of a detector, all in [0, 1].

    Attributes:
      auroc: the area under the ROC curve.
      aupr_in: the average precision with the data positive.
      aupr_out: the average precision with the outliers positive.
      fpr95: the share of outliers accepted where 95 per cent of the data are.
      detection_error: the least mean of both error rates.
    """

    auroc: Float[Array, ""]
    aupr_in: Float[Array, ""]
    aupr_out: Float[Array, ""]
    fpr95: Float[Array, ""]
    detection_error: Float[Array, ""]


@checked(check_given_scores)
@public
@on_every_device
def ood_metrics(
    scores_in: Float[Array, "..."],
    scores_out: Float[Array, "..."],
    *,
    where_in: Bool[Array, "..."] | None = None,
    where_out: Bool[Array, "..."] | None = None,
) -> OODMetrics:
    """What is usually reported of a detector, with each side sorted once.

    The fields are what `auroc`, `aupr` with either side positive, `fpr_at_tpr` and `detection_error` give with their
    defaults.

    Args:
      scores_in: scores of the data, higher for what looks out-of-distribution; any shape, any float dtype. Infinite
        scores rank at the ends.
      scores_out: scores of the outliers, likewise, of a shape of their own; both sides hold fewer than 2**30 together.
      where_in: boolean, of the shape of `scores_in`: which of them count; None for all.
      where_out: the same for `scores_out`.

    Returns:
      `OODMetrics(auroc, aupr_in, aupr_out, fpr95, detection_error)`, scalars in [0, 1], float32 or wider. All are NaN
      if a score that counts is NaN or none counts on a side, where the arrays are traced.

    Raises:
      TypeError: scores are not floating-point, or a mask not boolean.
      ValueError: a mask has another shape than its scores, a given score that counts is NaN, or none counts on a side.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> metrics = ood_jax.metrics.ood_metrics(jnp.array([0.0, 1.0, 2.0, 3.0]), jnp.array([2.0, 4.0]))
      >>> for name, value in metrics._asdict().items():
      ...     print(name, round(float(value), 4))
      auroc 0.8125
      aupr_in 0.8875
      aupr_out 0.75
      fpr95 0.5
      detection_error 0.25

    References:
      Jingkang Yang et al., "OpenOOD: Benchmarking Generalized Out-of-Distribution Detection", NeurIPS 2022, section
      4.1, for the choice of metrics; `auroc`, `aupr`, `fpr_at_tpr` and `detection_error` name the definitions' sources.
    """
    check_scores(scores_in, scores_out, where_in, where_out)
    dtype = wide(scores_in.dtype, scores_out.dtype)
    inside, outside = side(scores_in, where_in, dtype).sorted(), side(scores_out, where_out, dtype).sorted()
    own_in, own_out = own_ranks(inside), own_ranks(outside)
    among_in, among_out = ranks(outside, among=inside), ranks(inside, among=outside)
    # With the outliers positive the highest score comes first.
    turned = own_out.turned(outside.total), among_in.turned(inside.total)
    metrics = OODMetrics(
        auroc=area_under_roc(outside, among_in, inside.total, dtype),
        aupr_in=average_precision(inside, own_in, among_out, dtype),
        aupr_out=average_precision(outside, *turned, dtype),
        fpr95=false_positive_rate(inside, outside, jnp.asarray(0.95, dtype), "first", dtype),
        detection_error=least_error(outside, own_out, among_in, inside.total, dtype),
    )
    valid = inside.valid & outside.valid
    return OODMetrics(*(jnp.where(valid, value, jnp.nan) for value in metrics))
