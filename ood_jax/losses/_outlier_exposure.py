"""Outlier exposure: uniform predictions on auxiliary outliers."""

from typing import Literal

from jaxtyping import Array, Bool, Float, Num, Real

from .._api import public
from .._checks import as_number, check_choice, check_two_sided
from .._dtypes import wide
from .._sharding import AxisName
from ._reduce import check_reduction, joint_mean, masked_sum
from ._terms import all_rows, cross_entropy, log_classes, placed_with
from ._uniform import uniform_divergence


@public
def outlier_exposure_loss(
    logits_in: Float[Array, "*n_in k"],
    targets_in: Num[Array, "..."],
    logits_out: Float[Array, "*n_out k"] | None = None,
    *,
    lambda_oe: Real[Array, ""] | float = 0.5,
    form: Literal["kl", "cross_entropy"] = "kl",
    reduction: Literal["separate", "pooled"] = "separate",
    where_in: Bool[Array, "*n_in"] | None = None,
    where_out: Bool[Array, "*n_out"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Cross entropy on the data, and uniform predictions on outliers.

    $$\operatorname{mean}_i \mathrm{CE}(z_i, y_i)
      + \lambda_{OE} \operatorname{mean}_j \mathrm{KL}(u \,\|\, \operatorname{softmax}(z'_j)), \qquad u_k = 1/K$$

    Args:
      logits_in: logits of the training data (..., K), any float dtype; computed in float32 or wider.
      targets_in: integer classes (...), of which -100 counts for nothing and any other outside [0, K) makes the loss
        NaN, or class probabilities (..., K).
      logits_out: logits of the outliers (..., K). None leaves the cross entropy alone.
      lambda_oe: λ_OE, the weight of the outliers. Traced.
      form: "kl", or "cross_entropy" for H(u, softmax(z')), which is larger by log K and has the same gradient. Static.
      reduction: "separate" adds the mean over the data and the weighted mean over the outliers; "pooled" is one mean
        over the rows of both, so the ratio of outliers to data is part of the weight (pytorch-ood's "mean"). Static.
      where_in: boolean (...), the rows of `logits_in` that count; None for all.
      where_out: the same for `logits_out`.
      axis_name: inside `shard_map` or `pmap`, the mesh axis or axes over which the batch is split: sums and counts are
        reduced over it, so each device gets the loss of the whole batch. With the gradient taken inside `pmap`, average
        the parameters' gradients over the axis (`pmean`), as usual. Static.

    Returns:
      The loss, a scalar, float32 or wider. A term over no rows is 0, with gradient 0.

    Raises:
      TypeError: logits are not floating-point, targets neither integer nor floating-point, a mask not boolean, the
        weight not real, or `axis_name` no name.
      ValueError: shapes or numbers of classes differ, the weight is not a scalar, form or reduction is unknown,
        `where_out` comes without `logits_out`, or `axis_name` is no axis around the call.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> logits_in = jnp.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
      >>> unsure, sure = jnp.zeros((5, 3)), 9 * jnp.ones((5, 1)) * jnp.eye(3)[0]
      >>> for logits_out in (unsure, sure):
      ...     print(round(float(ood_jax.outlier_exposure_loss(logits_in, jnp.array([0, 1]), logits_out)), 4))
      0.036
      2.4868

    References:
      Dan Hendrycks, Mantas Mazeika, Thomas Dietterich, "Deep Anomaly Detection with Outlier Exposure", ICLR 2019,
      equation 1, for classification in section 4. Form "cross_entropy" is the paper's; "kl" subtracts its smallest
      value.
    """
    check_two_sided(logits_in, targets_in, logits_out, where_in, where_out)
    weight = as_number("lambda_oe", lambda_oe)
    check_choice("form", form, ("kl", "cross_entropy"))
    check_reduction(reduction)
    total_in = masked_sum(*cross_entropy(logits_in, targets_in, where_in), axis_name)
    if logits_out is None:
        return total_in.mean
    term = uniform_divergence(placed_with(logits_out, where_out), where_out)
    if form == "cross_entropy":
        term = term + log_classes(logits_out)
    total_out = masked_sum(term, all_rows(logits_out, where_out), axis_name)
    dtype = wide(logits_in.dtype, logits_out.dtype)
    return joint_mean(total_in.astype(dtype), total_out.astype(dtype), weight.astype(dtype), reduction)
