"""The divergence of predictions from the uniform distribution."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._dtypes import wide
from .._platform import on_gpu
from .._sum import exact_add, positive_sum
from ._exponentials import largest_logit, power_of_two, read_again, reduced, rounded
from ._known import known
from ._one_pass import largest_and_mean


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
    return known(uniform_divergence, value, *primals), jnp.sum(gradient * tangent, axis=-1)


def _uniform_divergence(logits: Array) -> tuple[Array, Array]:
    classes, narrow = logits.shape[-1], logits.dtype.itemsize < 4
    logits = rounded(logits)
    center = _center(logits)
    one = center.about_mean.astype(center.mean.dtype)
    _, excess = _excess(logits, center)
    # The mean was rounded, so the sum of c is not quite 0. (Differences that two sums share, the compiler would write
    # to memory. Those of narrow logits it writes anyhow.)
    shift = center.shift if narrow else jax.lax.optimization_barrier(center.shift)
    distances = logits.astype(shift.dtype) - shift - center.mean
    offset = jnp.sum(distances, axis=-1, keepdims=True)
    offset = jnp.where(jnp.isfinite(offset), offset, 0)  # an infinite mean is not off
    total_excess = positive_sum(excess) + one * offset
    mean_excess = total_excess / classes
    by_excess = jnp.where(center.about_mean, jnp.log1p(mean_excess), jnp.log(mean_excess) - center.mean)
    value = by_excess - offset / classes
    # p_k - 1/K, where p_k = exp(c_k) / Σ exp(c), and about the mean exp(c_k) = 1 + c_k + excess.
    c, excess = _excess(read_again(logits), center)
    risen = excess + (one * c - mean_excess)
    if not narrow:  # which has no digits for what is left of an excess and its c far below
        risen = jnp.where(c < -1, (jnp.exp(c) - one) - mean_excess, risen)
    gradient = risen * (1 / (one * classes + total_excess))
    return value[..., 0], gradient


class _Center(NamedTuple):
    """What a row is centred on: its mean, or its largest logit if it spreads too far.

    Attributes:
      shift: the largest logit.
      mean: the mean logit, less the largest.
      about_mean: whether it is centred on the mean.
    """

    shift: Float[Array, "*n 1"]
    mean: Float[Array, "*n 1"]
    about_mean: Bool[Array, "*n 1"]


def _center(logits: Array) -> _Center:
    largest, mean = _largest_and_mean(logits)
    # exp(60) times any number of classes stays finite in float32; NaN and -inf logits fail the test, as they should.
    return _Center(largest, mean, -mean <= 60)


@jax.custom_jvp
def _largest_and_mean(logits: Array) -> tuple[Array, Array]:
    """The largest logit of each row, 0 for an infinite one, and the mean of all less it."""
    return on_gpu(largest_and_mean, largest_then_mean, logits)


@_largest_and_mean.defjvp
def _largest_and_mean_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Any, Any]:
    largest, mean = _largest_and_mean(*primals)
    # The largest is but a level.
    return (largest, mean), (jnp.zeros_like(largest), jnp.mean(tangents[0].astype(mean.dtype), axis=-1, keepdims=True))


def largest_then_mean(logits: Array) -> tuple[Array, Array]:
    largest = largest_logit(logits).astype(wide(logits.dtype))
    return largest, jnp.mean(logits.astype(largest.dtype) - largest, axis=-1, keepdims=True)


def _excess(logits: Array, center: _Center) -> tuple[Array, Array]:
    """The centred logits c, and exp(c) - 1 - c about the mean, or exp(c) below the largest."""
    shift, mean, about_mean = center
    below_max = logits.astype(shift.dtype) - shift
    one = about_mean.astype(shift.dtype)
    # Below the largest, where -800 and less are 0 as well as -inf, which is no number to reduce.
    c, lost = exact_add(jnp.where(about_mean | ~(below_max < -800), below_max, -800), jnp.where(about_mean, -mean, 0))
    n, r, q = reduced(c, lost)
    power = power_of_two(n)
    # Without a difference for n = 0.
    return c, power * (r * r * q) + ((power - one) * r + ((power - one) - n * (one * math.log(2))))
