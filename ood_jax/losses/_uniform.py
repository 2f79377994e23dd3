"""The divergence of predictions from the uniform distribution."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._sum import exact_add, positive_sum
from ._exponentials import power_of_two, reduced, widened_with_largest


@jax.custom_jvp
def uniform_divergence(logits: Float[Array, "*n k"], counted: Bool[Array, "*n"] | None) -> Float[Array, "*n"]:
    """KL(u‖softmax(z)), u the uniform distribution, with every digit also near its minimum at 0.

    It equals log mean_k exp(z_k) - mean_k z_k. Two shifts leave it unchanged: by the largest logit, after which
    nothing overflows but the two terms may cancel; and by the mean, after which the second term is 0 and the first is
    log1p(mean_k(exp(c_k) - 1 - c_k)), a mean of squares to leading order that cannot cancel. A row that does not count
    has derivatives of 0, whatever its logits.
    """
    return _uniform_divergence(logits)[0]


@uniform_divergence.defjvp
def _uniform_divergence_jvp(
    primals: tuple[Array, Array | None], tangents: tuple[Array, Array | None]
) -> tuple[Array, Array]:
    logits, counted = primals
    value, gradient = _uniform_divergence(logits)
    # Zero cotangents do not stop the NaN of a row that does not count, for 0 · NaN is NaN; this does.
    tangent = tangents[0].astype(value.dtype)
    tangent = tangent if counted is None else jnp.where(counted[..., None], tangent, 0)
    return value, jnp.sum(gradient * tangent, axis=-1)


def _uniform_divergence(logits: Array) -> tuple[Array, Array]:
    classes = logits.shape[-1]
    narrow = logits.dtype.itemsize < 4
    logits, shift = widened_with_largest(logits)
    below_max = logits - shift
    mean = jnp.mean(below_max, axis=-1, keepdims=True)
    # exp(60) times any number of classes stays finite in float32; NaN and -inf logits fail the test, as they should.
    centered = -mean <= 60
    one = centered.astype(logits.dtype)
    # About the mean; or below the largest, where -800 and less are 0 as well as -inf, which is no number to reduce.
    c, lost = exact_add(jnp.where(centered, below_max, jnp.maximum(below_max, -800)), jnp.where(centered, -mean, 0))
    n, r, q = reduced(c, lost)
    power = power_of_two(n)
    # exp(c) - 1 - c about the mean, without a difference for n = 0; exp(c) below the largest.
    excess = power * (r * r * q) + ((power - one) * r + ((power - one) - n * (one * math.log(2))))
    # The mean was rounded, so the sum of c is not quite 0. (Differences that two sums share, the compiler would write
    # to memory. Those of narrow logits it writes anyhow.)
    again = below_max if narrow else logits - jax.lax.optimization_barrier(shift)
    offset = jnp.where(centered, jnp.sum(again - mean, axis=-1, keepdims=True), 0)
    total_excess = positive_sum(excess) + offset
    mean_excess = total_excess / classes
    value = jnp.where(centered, jnp.log1p(mean_excess) - offset / classes, jnp.log(mean_excess) - mean)
    # p_k - 1/K, where p_k = exp(c_k) / Σ exp(c), and about the mean exp(c_k) = 1 + c_k + excess.
    gradient = (excess + (one * c - mean_excess)) * (1 / (one * classes + total_excess))
    return value[..., 0], gradient
