"""The largest logit of a row, with the sum of the exponentials or with the mean, read once.

A GPU's arithmetic costs less than its memory. The usual way reads the row for its largest logit and again for the
exponentials, which XLA may also write out for the gradient, for they are expected there too. Here the largest and the
sum come from one reduction, and what the gradient needs is computed from the logits again.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._dtypes import wide

# Levels are multiples of it, so that a logit less its level is exact: either is within a factor of two of the other, or
# the level is 0. A term two levels down is less than exp(-step) of the largest, which no sum would notice.
_STEPS = {jnp.dtype("float32"): 32, jnp.dtype("float64"): 64}


def largest_and_rest(logits: Float[Array, "*n k"]) -> tuple[Float[Array, "*n 1"], Float[Array, "*n 1"]]:
    """The largest logit m of each row, and Σ exp(z_k - m) over all others; m = -∞ and 0 of a row of -∞.

    Parts of the row are summed from the level of their own largest logit, and scaled when they meet another level.
    Were they summed from that logit itself, a rising row would scale, and round, its sum at every term.
    """
    largest, rest = _reduced((logits, jnp.zeros_like(logits)), (-jnp.inf, 0), _merged)
    above_level = jnp.where(jnp.isfinite(largest), largest - _level(largest), 0)
    return largest, rest * jnp.exp(-above_level)


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


def largest_and_mean(logits: Float[Array, "*n k"]) -> tuple[Float[Array, "*n 1"], Float[Array, "*n 1"]]:
    """The largest logit of each row, 0 for an infinite one, and the mean of all less it."""
    logits = logits.astype(wide(logits.dtype))
    terms = (logits, jnp.zeros_like(logits), jnp.ones_like(logits))
    largest, below, _ = _reduced(terms, (-jnp.inf, 0, 0), _with_distances)
    infinite = jnp.isinf(largest)
    return jnp.where(infinite, 0, largest), jnp.where(infinite, largest, below / logits.shape[-1])


def _with_distances(a: tuple[Array, Array, Array], b: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """The largest of two parts of a row, the sum of the distances to it, and the number of logits."""
    largest = jnp.maximum(a[0], b[0])
    # Nothing falls from -∞, which is the largest of no logits.
    fallen = [
        below + jnp.where((own == largest) | (count == 0), 0, count * (own - largest)) for own, below, count in (a, b)
    ]
    return largest, fallen[0] + fallen[1], a[2] + b[2]


def _reduced(terms: tuple[Array, ...], initial: tuple[float, ...], merge: Callable[..., Any]) -> list[Array]:
    """The reduction over classes, which stay as an axis of one."""
    dtype, axis = terms[0].dtype, terms[0].ndim - 1
    parts = jax.lax.reduce(terms, tuple(jnp.array(value, dtype) for value in initial), merge, (axis,))
    return [part[..., None] for part in parts]
