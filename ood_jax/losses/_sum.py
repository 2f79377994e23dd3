"""Sums that round about once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def accurate_sum(values: Float[Array, "*n k"], bound: Float[Array, "*n 1"]) -> Float[Array, "*n 1"]:
    """Σ over the last axis of values no larger than `bound`, to about half a unit in the last place.

    A plain float32 sum of a hundred terms is off by up to five units, and by thousands where they cancel. Adding a
    power of two well above the values, and taking it away again, leaves of each the leading bits; these sum without
    error, and the rests are too small for their errors to show. One step of AccSum: S. M. Rump, T. Ogita, S. Oishi,
    "Accurate Floating-Point Summation Part I: Faithful Rounding", SIAM Journal on Scientific Computing 31, 2008.

    Args:
      values: what to sum.
      bound: of the size of the largest value. It must be computed from the data, for the compiler cancels a constant.
        A bound too small costs accuracy, no more.
    """
    bound = jax.lax.stop_gradient(bound)
    _, exponent = jnp.frexp(bound)
    power = jnp.ldexp(jnp.ones_like(bound), exponent + (values.shape[-1] + 1).bit_length())
    splits = jnp.isfinite(bound) & jnp.isfinite(power)  # infinities just sum
    leading = jnp.where(splits, (power + values) - power, values)
    rest = jnp.where(splits, values - leading, 0)
    return jnp.sum(leading, axis=-1, keepdims=True) + jnp.sum(rest, axis=-1, keepdims=True)
