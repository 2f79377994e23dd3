"""Log Σ exp of a row that is read once.

A GPU's arithmetic costs less than its memory. The usual way reads the row for its largest logit and again for the
exponentials, which XLA may also write out for the gradient, for they are expected there too. Here the largest and the
sum come from one reduction, and what the gradient needs is computed from the logits again.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Levels are multiples of it, so that a logit less its level is exact: either is within a factor of two of the other, or
# the level is 0. A term two levels down is less than exp(-step) of the largest, which no sum would notice.
_STEPS = {jnp.dtype("float32"): 32, jnp.dtype("float64"): 64}


def largest_and_rest(logits: Float[Array, "*n k"]) -> tuple[Float[Array, "*n 1"], Float[Array, "*n 1"]]:
    """The largest logit m of each row, and Σ exp(z_k - m) over all others; m = -∞ and 0 of a row of -∞.

    Parts of the row are summed from the level of their own largest logit, and scaled when they meet another level.
    Were they summed from that logit itself, a rising row would scale, and round, its sum at every term.
    """
    initial = jnp.array(-jnp.inf, logits.dtype), jnp.zeros((), logits.dtype)
    terms = (logits, jnp.zeros_like(logits))
    largest, rest = jax.lax.reduce(terms, initial, _merged, (logits.ndim - 1,))
    above_level = jnp.where(jnp.isfinite(largest), largest - _level(largest), 0)
    return largest[..., None], (rest * jnp.exp(-above_level))[..., None]


def _merged(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """The largest logit of two parts of a row, and the terms of all others in units of exp(its level)."""
    (largest_a, rest_a), (largest_b, rest_b) = a, b
    largest, other = jnp.maximum(largest_a, largest_b), jnp.minimum(largest_a, largest_b)
    ahead = largest_a >= largest_b
    rest, rest_of_other = jnp.where(ahead, rest_a, rest_b), jnp.where(ahead, rest_b, rest_a)
    level, level_of_other = _level(largest), _level(other)
    # The smaller of the two largest is now one of the rest.
    term = jnp.where(jnp.isfinite(other), jnp.exp(other - level_of_other), 0)
    step = _STEPS[level.dtype]
    scale = jnp.where(level_of_other == level - step, math.exp(-step), 0)
    scale = jnp.where(level_of_other == level, 1, scale)
    return largest, rest + (rest_of_other + term) * scale


def _level(logit: Array) -> Array:
    step = _STEPS[logit.dtype]
    return jax.lax.round(logit * (1 / step), jax.lax.RoundingMethod.TO_NEAREST_EVEN) * step
