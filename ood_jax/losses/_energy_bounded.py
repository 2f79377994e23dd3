"""The energy loss of Liu et al.: a bound for each side's energy."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num, Real

from .._api import checked, public
from .._checks import as_number, check_logits, check_same_classes, check_two_sided, known_number
from .._dtypes import wide
from .._sharding import AxisName
from .._sum import accurate_add
from ._reduce import Total, check_reduction, joint_mean, masked_sum
from ._terms import LogPartition, all_rows, cross_entropy_and_partition, log_partition, widen_to


class Margins(NamedTuple):
    """The bounds of `energy_bounded_loss`, in units of the logits.

    Attributes:
      m_in: the data's energy should be below it.
      m_out: the outliers' energy should be above it.
    """

    m_in: Float[Array, ""]
    m_out: Float[Array, ""]


@public
def calibrate_margins(logits_in: Float[Array, "*n_in k"], logits_out: Float[Array, "*n_out k"]) -> Margins:
    r"""Margins for `energy_bounded_loss` from a pretrained model: the mean energies of data and outliers.

    Energies grow with the logits, so margins that suit one network ruin another: with the default -23 and -5, a network
    whose data have energies about -8 gives up accuracy to lower them.

    Args:
      logits_in: the pretrained model's logits of training data (..., K), any float dtype; computed in float32 or wider.
      logits_out: its logits of auxiliary outliers (..., K).

    Returns:
      `Margins(m_in, m_out)`, scalars in units of the logits, float32 or wider. A model that gives outliers the lower
      mean energy has m_in >= m_out, which `energy_bounded_loss` refuses, and so NaN, which NaN logits give.

    Raises:
      TypeError: logits are not floating-point.
      ValueError: logits have no class axis or no rows, or their numbers of classes differ.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> logits_in, logits_out = 12 * jnp.eye(3), jnp.zeros((4, 3))
      >>> margins = ood_jax.calibrate_margins(logits_in, logits_out)
      >>> round(float(margins.m_in), 3), round(float(margins.m_out), 3)
      (-12.0, -1.099)
      >>> loss = ood_jax.energy_bounded_loss(logits_in, jnp.arange(3), logits_out, **margins._asdict())

    References:
      Weitang Liu, Xiaoyun Wang, John D. Owens, Yixuan Li, "Energy-based Out-of-distribution Detection", NeurIPS 2020,
      equation 4; section 4.1 chooses the margins about the mean energies of a pretrained classifier.
    """
    check_logits("logits_in", logits_in)
    check_logits("logits_out", logits_out)
    check_same_classes(logits_in, logits_out)
    for name, logits in (("logits_in", logits_in), ("logits_out", logits_out)):
        if logits.size == 0:
            raise ValueError(f"`{name}` must have at least one row, got shape {logits.shape}; a mean needs one.")
    return Margins(_mean_energy(logits_in), _mean_energy(logits_out))


def _mean_energy(logits: Array) -> Array:
    return masked_sum(-accurate_add(*log_partition(logits)), all_rows(logits, None)).mean


def _check_margins(m_in: Any, m_out: Any) -> None:
    lower, upper = known_number(m_in), known_number(m_out)
    if lower is not None and upper is not None and not lower < upper:
        raise ValueError(
            f"`m_in` must be below `m_out`, for the data's energy is to lie below the outliers', got m_in={m_in} and "
            f"m_out={m_out}; swap them, or take both from `calibrate_margins`."
        )


@checked(_check_margins)
@public
def energy_bounded_loss(
    logits_in: Float[Array, "*n_in k"],
    targets_in: Num[Array, "..."],
    logits_out: Float[Array, "*n_out k"] | None = None,
    *,
    lambda_energy: Real[Array, ""] | float = 0.1,
    m_in: Real[Array, ""] | float = -23.0,
    m_out: Real[Array, ""] | float = -5.0,
    reduction: Literal["separate", "pooled"] = "separate",
    where_in: Bool[Array, "*n_in"] | None = None,
    where_out: Bool[Array, "*n_out"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Cross entropy on the data, and squared hinges that keep their energy below m_in and the outliers' above m_out.

    $$\operatorname{mean}_i \mathrm{CE}(z_i, y_i)
      + \lambda_E \left(\operatorname{mean}_i \max(0, E(z_i) - m_{in})^2
      + \operatorname{mean}_j \max(0, m_{out} - E(z'_j))^2\right)$$

    It is meant for fine-tuning a trained network; take the margins from its own energies (`calibrate_margins`).

    Args:
      logits_in: logits of the training data (..., K), any float dtype; computed in float32 or wider.
      targets_in: integer classes (...), of which -100 counts for nothing and any other outside [0, K) makes the loss
        NaN, or class probabilities (..., K). The energy term counts the rows of -100 too; `where_in` drops them there.
      logits_out: logits of the outliers (..., K). None is no outliers, so the term that bounds their energy is 0.
      lambda_energy: λ_E, the weight of both hinges. Traced.
      m_in: the upper bound of the data's energy, in units of the logits, below m_out. Traced.
      m_out: the lower bound of the outliers' energy. Traced.
      reduction: "separate" takes a mean over the data and one over the outliers, as above; "pooled" one mean over the
        rows of both, so the ratio of outliers to data is part of the weight, and a row of -100 one of those that the
        cross entropy is divided by. Static.
      where_in: boolean (...), the rows of `logits_in` that count; None for all.
      where_out: the same for `logits_out`.
      axis_name: inside `shard_map` or `pmap`, the mesh axis or axes over which the batch is split: sums and counts are
        reduced over it, so each device gets the loss of the whole batch. With the gradient taken inside `pmap`, average
        the parameters' gradients over the axis (`pmean`), as usual. Static.

    Returns:
      The loss, a scalar, float32 or wider. A term over no rows is 0, with gradient 0. Margins that are traced, so not
      known when the program is built, make the loss NaN unless m_in < m_out.

    Raises:
      TypeError: logits are not floating-point, targets neither integer nor floating-point, a mask not boolean, the
        weight or a margin not real, or `axis_name` no name.
      ValueError: m_in >= m_out, shapes or numbers of classes differ, the weight or a margin is not a scalar, reduction
        is unknown, `where_out` comes without `logits_out`, or `axis_name` is no axis around the call.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> logits_in, labels = jnp.array([[25.0, 0.0, 0.0], [0.0, 22.0, 0.0]]), jnp.array([0, 1])
      >>> # one datum lies 1 above m_in, one outlier 1 below m_out
      >>> logits_out = jnp.array([[6.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
      >>> round(float(ood_jax.energy_bounded_loss(logits_in, labels, logits_out)), 4)
      0.1005

    References:
      Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020, equation 7.
      The default margins are those of the authors' code for CIFAR-10.
    """
    check_two_sided(logits_in, targets_in, logits_out, where_in, where_out)
    weight = as_number("lambda_energy", lambda_energy)
    bound_in, bound_out = as_number("m_in", m_in), as_number("m_out", m_out)
    check_reduction(reduction)
    dtype = wide(logits_in.dtype) if logits_out is None else wide(logits_in.dtype, logits_out.dtype)
    weight, bound_in, bound_out = (number.astype(dtype) for number in (weight, bound_in, bound_out))
    weight = jnp.where(bound_in < bound_out, weight, jnp.nan)
    entropies, partition = cross_entropy_and_partition(widen_to(dtype, logits_in), targets_in, where_in)
    entropy = masked_sum(*entropies, axis_name)
    over = _hinge(partition, all_rows(logits_in, where_in), -1, bound_in, axis_name)
    if logits_out is None:
        under = Total(jnp.zeros((), dtype), jnp.zeros((), over.rows.dtype))
    else:
        partition = log_partition(widen_to(dtype, logits_out), where_out)
        under = _hinge(partition, all_rows(logits_out, where_out), 1, bound_out, axis_name)
    if reduction == "separate":
        return entropy.mean + weight * (over.mean + under.mean)
    return joint_mean(over._replace(sum=entropy.sum + weight * over.sum), under, weight, reduction)


def _hinge(partition: LogPartition, counted: Array, sign: int, bound: Array, axis_name: AxisName) -> Total:
    """The sum of max(0, sign·(bound - E))²."""
    excess = accurate_add(sign * partition.largest, sign * partition.rest, sign * bound)
    return masked_sum(jax.nn.relu(excess) ** 2, counted, axis_name)
