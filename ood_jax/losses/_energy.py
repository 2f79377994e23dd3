"""The free energy, and the loss that separates it on data and outliers.

A low energy means in-distribution: E(x) = -log Σ_k exp(z_k).
"""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num, Real

from .._api import public
from .._checks import as_number, check_choice, check_logits, check_two_sided
from .._dtypes import wide
from .._sharding import AxisName
from .._sum import accurate_add
from ._reduce import Total, masked_sum
from ._terms import (
    LogPartition,
    all_rows,
    cross_entropy,
    cross_entropy_and_partition,
    log_partition,
    tempered,
    widen,
    widen_to,
)


@public
def free_energy(logits: Float[Array, "*n k"], *, temperature: Real[Array, ""] | float = 1.0) -> Float[Array, "*n"]:
    r"""The free energy $E(x) = -T \log \sum_k \exp(z_k / T)$ of each example; low in-distribution.

    Args:
      logits: (..., K), any float dtype; computed in float32 or wider.
      temperature: T > 0. T <= 0 and NaN give NaN. Traced.

    Returns:
      Energies (...), in units of the logits, float32 or wider.

    Raises:
      TypeError: `logits` is not floating-point, or `temperature` not real.
      ValueError: `logits` has no class axis, or `temperature` is not a scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> print(ood_jax.free_energy(jnp.array([[9.0, 0.0, 0.0], [1.0, 1.0, 1.0]])).round(2))
      [-9.  -2.1]

    References:
      Weitang Liu, Xiaoyun Wang, John D. Owens, Yixuan Li, "Energy-based Out-of-distribution Detection", NeurIPS 2020,
      equation 4.
    """
    check_logits("logits", logits)
    logits = widen(logits)
    scale = as_number("temperature", temperature).astype(logits.dtype)
    scale = jnp.where(scale > 0, scale, jnp.nan)
    largest, rest = log_partition(tempered(logits, scale))
    return -scale * (largest + rest)


@public
def energy_regularized_loss(
    logits_in: Float[Array, "*n_in k"],
    targets_in: Num[Array, "..."],
    logits_out: Float[Array, "*n_out k"] | None = None,
    *,
    lambda_energy: Real[Array, ""] | float = 0.1,
    margin: Real[Array, ""] | float = 10.0,
    form: Literal["pairwise", "mean"] = "pairwise",
    where_in: Bool[Array, "*n_in"] | None = None,
    where_out: Bool[Array, "*n_out"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Cross entropy on the data, and a hinge that keeps their energy a margin below the outliers'.

    $$\operatorname{mean}_i \mathrm{CE}(z_i, y_i)
      + \lambda_E \operatorname{mean}_i \max(0,\; E(z_i) - E(z'_i) + \mathrm{margin})$$

    Args:
      logits_in: logits of the training data (..., K), any float dtype; computed in float32 or wider.
      targets_in: integer classes (...), of which -100 counts for nothing and any other outside [0, K) makes the loss
        NaN, or class probabilities (..., K). The energy term counts the rows of -100 too; `where_in` drops them there.
      logits_out: logits of the outliers (..., K). None leaves the cross entropy alone.
      lambda_energy: λ_E, the weight of the energy term. Traced.
      margin: the gap asked for between the energies, in units of the logits. Traced.
      form: "pairwise" compares the i-th datum with the i-th outlier, so both sides have the same shape or one of them
        is a single row (not with `axis_name`), and rows that stand for missing outliers are masked by `where_out`;
        "mean" puts one hinge on the two mean energies, for any sizes. Static.
      where_in: boolean (...), the rows of `logits_in` that count; None for all. A pair counts when both its rows do.
      where_out: the same for `logits_out`.
      axis_name: inside `shard_map` or `pmap`, the mesh axis or axes over which the batch is split: sums and counts are
        reduced over it, so each device gets the loss of the whole batch. With the gradient taken inside `pmap`, average
        the parameters' gradients over the axis (`pmean`), as usual. Static.

    Returns:
      The loss, a scalar, float32 or wider. A term over no rows is 0, with gradient 0.

    Raises:
      TypeError: logits are not floating-point, targets neither integer nor floating-point, a mask not boolean, the
        weight or the margin not real, or `axis_name` no name.
      ValueError: shapes or numbers of classes differ, the weight or the margin is not a scalar, form is unknown, the
        sides do not pair, `where_out` comes without `logits_out`, or `axis_name` is no axis around the call.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> logits_in, labels = jnp.array([[12.0, 0.0, 0.0], [0.0, 12.0, 0.0]]), jnp.array([0, 1])
      >>> for logits_out in (jnp.zeros((2, 3)), logits_in):
      ...     print(round(float(ood_jax.energy_regularized_loss(logits_in, labels, logits_out)), 4))
      0.0
      1.0

    References:
      Weitang Liu, Xiaoyun Wang, John D. Owens, Yixuan Li, "Energy-based Out-of-distribution Detection", NeurIPS 2020,
      equations 4 and 7. The paper bounds each side's energy with a squared hinge of its own; here, as in the PyTorch
      definition, one linear hinge bounds the gap.
    """
    check_two_sided(logits_in, targets_in, logits_out, where_in, where_out)
    weight, gap = as_number("lambda_energy", lambda_energy), as_number("margin", margin)
    check_choice("form", form, ("pairwise", "mean"))
    if logits_out is None:
        return masked_sum(*cross_entropy(logits_in, targets_in, where_in), axis_name).mean
    dtype = wide(logits_in.dtype, logits_out.dtype)
    partition_out = log_partition(widen_to(dtype, logits_out), where_out)
    entropy, partition_in = cross_entropy_and_partition(widen_to(dtype, logits_in), targets_in, where_in)
    counted_in, counted_out = all_rows(logits_in, where_in), all_rows(logits_out, where_out)
    hinge = _pairwise_hinge if form == "pairwise" else _mean_hinge
    term = hinge(_Side(partition_in, counted_in), _Side(partition_out, counted_out), gap.astype(dtype), axis_name)
    return masked_sum(*entropy, axis_name).mean + weight.astype(dtype) * term


class _Side(NamedTuple):
    partition: LogPartition
    counted: Bool[Array, "*n"]


def _pairwise_hinge(side_in: _Side, side_out: _Side, margin: Array, axis_name: AxisName) -> Array:
    a, b = side_in.partition, side_out.partition
    _check_pairs(a.largest.shape, b.largest.shape, axis_name)
    # E_in - E_out + margin. A single row pairs with every row of the other side.
    gap = accurate_add(b.largest, -a.largest, b.rest, -a.rest, margin)
    pairs = jnp.logical_and(*jnp.broadcast_arrays(side_in.counted, side_out.counted))
    return masked_sum(jax.nn.relu(gap), pairs, axis_name).mean


def _mean_hinge(side_in: _Side, side_out: _Side, margin: Array, axis_name: AxisName) -> Array:
    # Both means are taken from a level of their own, a margin apart: at the corner of the hinge both are then near 0,
    # and what the levels themselves differ by is added last.
    level_out = jax.lax.stop_gradient(_total_energy(side_out, jnp.zeros_like(margin), axis_name).mean)
    level_out = jnp.where(jnp.isfinite(level_out), level_out, 0)
    level_in = jax.lax.stop_gradient(level_out - margin)
    total_in = _total_energy(side_in, level_in, axis_name)
    total_out = _total_energy(side_out, level_out, axis_name)
    gap = accurate_add(total_in.mean, -total_out.mean, level_in, -level_out, margin)
    return jnp.where((total_in.rows > 0) & (total_out.rows > 0), jax.nn.relu(gap), 0)


def _total_energy(side: _Side, level: Array, axis_name: AxisName) -> Total:
    """The sum of the energies above a level."""
    largest, rest = side.partition
    return masked_sum(accurate_add(-largest, -level, -rest), side.counted, axis_name)


def _check_pairs(shape_in: tuple[int, ...], shape_out: tuple[int, ...], axis_name: AxisName) -> None:
    # Of a batch that is split, a row may be the only one of each device.
    is_single = axis_name is None and 1 in (math.prod(shape_in), math.prod(shape_out))
    if shape_in != shape_out and not is_single:
        raise ValueError(
            "`logits_out` must pair with `logits_in` in form 'pairwise': the same leading shape, or a single row on "
            f"one side where there is no `axis_name`; got {shape_in} and {shape_out}. Use form='mean' for any sizes."
        )
