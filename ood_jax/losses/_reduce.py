"""From one value a row to one for the batch: sums over the rows that count, and what they are divided by."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from .._checks import check_axis_name, check_choice
from .._sharding import AxisName


class Total(NamedTuple):
    """A sum over the rows that count, and how many do."""

    sum: Float[Array, ""]
    rows: Int[Array, ""]

    @property
    def mean(self) -> Float[Array, ""]:
        """0 if no row counts."""
        return self.sum / jnp.maximum(self.rows, 1).astype(self.sum.dtype)

    def astype(self, dtype: DTypeLike) -> "Total":
        """The sum in another dtype."""
        return self._replace(sum=self.sum.astype(dtype))


def masked_sum(values: Float[Array, "*n"], counted: Bool[Array, "*n"], axis_name: AxisName = None) -> Total:
    """The sum of the rows that count; over `axis_name` too."""
    check_axis_name(axis_name)
    count = jnp.sum(counted)
    values = jnp.where(counted, values, 0)
    # Many that are alike would all be rounded alike. Of so few bits 65,536 of them sum without error, and what is left
    # is too small for its errors to show.
    leading = jax.lax.stop_gradient(jax.lax.reduce_precision(values, jnp.finfo(values.dtype).nexp, 7))
    leading = jnp.where(jnp.isfinite(leading), leading, 0)
    parts = jnp.sum(leading), jnp.sum(values - leading)
    if axis_name is not None:
        parts, count = jax.lax.psum((parts, count), axis_name)
    # The compiler must not add the parts on each device before it sums over devices.
    total, rest = jax.lax.optimization_barrier(parts)
    return Total(total + rest, count)


def check_reduction(reduction: str) -> None:
    check_choice("reduction", reduction, ("separate", "pooled"))


def joint_mean(side_in: Total, side_out: Total, weight: Array, reduction: str) -> Float[Array, ""]:
    """Data and weighted outliers in one number: the mean of each added, or one mean over the rows of both."""
    if reduction == "separate":
        return side_in.mean + weight * side_out.mean
    return Total(side_in.sum + weight * side_out.sum, side_in.rows + side_out.rows).mean
