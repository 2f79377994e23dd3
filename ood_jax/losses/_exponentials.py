"""Exponentials of a row's logits, shifted so that none overflows, and free of the error of the shift."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._platform import on_gpu
from .._sum import exact_add


def rounded(logits: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
    """The logits, those of half precision for certain as they are rounded.

    A compiler that has just computed them in float32 may use them unrounded in one place and rounded in another, where
    the largest would not be the largest. The barrier keeps it from that.
    """
    return jax.lax.optimization_barrier(logits) if logits.dtype.itemsize < 4 else logits


def read_again(logits: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
    """The logits, to a GPU as if they were others: what is computed from them a second time, it computes again."""
    return on_gpu(jax.lax.optimization_barrier, lambda logits: logits, logits)


def largest_logit(logits: Float[Array, "*n k"]) -> Float[Array, "*n 1"]:
    """The largest of each row, to shift by: what is computed from shifted logits does not depend on the shift.

    An infinite one is 0 instead: then a sum of exponentials is 0 or infinite, as it should. Half precision need not be
    widened before it is known.
    """
    return finite_or_zero(jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True)))


def finite_or_zero(x: Array) -> Array:
    return jnp.where(jnp.isfinite(x), x, 0)


def exp_difference(x: Array, shift: Array) -> Array:
    """exp(x - s) where no finite x is above s.

    The exponential magnifies the rounding error of the difference |x - s| times, so that is put back.
    """
    # The exponential of such a distance is 0 or infinite, and so it is of more. An infinite one would leave NaN to put
    # back. (Beside a shift of 1e10 no distance as small as 110 is left.)
    far = (110 if x.dtype == jnp.float32 else 800) + jnp.abs(shift) * (4 * jnp.finfo(x.dtype).eps)
    # Not by `clip`: on CPU, XLA's minimum and maximum may lose a NaN.
    near = jnp.where(x < shift - far, shift - far, x)
    difference, lost = exact_add(jnp.where(near > shift + far, shift + far, near), -shift)
    return jnp.exp(difference) * (1 + lost)


def reduced(x: Array, lost: Array) -> tuple[Array, Array, Array]:
    """n, r and q with exp(x + lost) = 2ⁿ(1 + r + r²q), |r| <= log(2)/2, so that r²q is exp(x) - 1 - x for n = 0.

    W. J. Cody, W. Waite, "Software Manual for the Elementary Functions", 1980, chapter 6; q by its power series.
    """
    high = 0.693359375  # log 2 to nine bits, so that n times this is exact
    low = -2.121944400546905827679e-4
    n = jax.lax.round(x * (1 / math.log(2)), jax.lax.RoundingMethod.TO_NEAREST_EVEN)
    r = ((x - n * high) - n * low) + lost
    q = jnp.zeros_like(r)
    for k in range(14 if x.dtype == jnp.float64 else 8, 1, -1):
        q = q * r + 1 / math.factorial(k)
    return n, r, q


def power_of_two(n: Array) -> Array:
    """2ⁿ for a whole number n; 0 below the smallest normal number, infinity above the largest."""
    info = jnp.finfo(n.dtype)
    bias = info.maxexp - 1
    biased = (jnp.clip(n, -bias, bias + 1) + bias).astype(f"int{info.bits}")
    return jax.lax.bitcast_convert_type(biased << info.nmant, n.dtype)
