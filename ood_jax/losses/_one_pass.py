"""The largest logit of a row, with the sum of the exponentials, of class probabilities, or the mean, read once.

A GPU's arithmetic costs less than its memory. The usual way reads the row for its largest logit and again for the
exponentials, which XLA may also write out for the gradient, for they are expected there too. Here the largest and the
sum come from one reduction, and what the gradient needs is computed from the logits again.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._dtypes import wide
from .._sum import corrected, sum_with_loss

# Levels are multiples of it, so that a logit less its level is exact: either is within a factor of two of the other, or
# the level is 0. A term two levels down is less than exp(-step) of the largest, which no sum would notice.
_STEPS = {jnp.dtype("float32"): 32, jnp.dtype("float64"): 64}


def largest_and_rest(logits: Float[Array, "*n k"]) -> tuple[Float[Array, "*n 1"], Float[Array, "*n 1"]]:
    """The largest logit m of each row, and Σ exp(z_k - m) over all others; m = -∞ and 0 of a row of -∞.

    Parts of the row are summed from the level of their own largest logit, and scaled when they meet another level.
    Were they summed from that logit itself, a rising row would scale, and round, its sum at every term.
    """
    largest, rest = _reduced((logits, jnp.zeros_like(logits)), (-jnp.inf, 0), _merged)
    return largest, _from_largest(largest, rest)


def _from_largest(largest: Array, rest: Array) -> Array:
    """The rest in units of exp(largest)."""
    above_level = jnp.where(jnp.isfinite(largest), largest - _level(largest), 0)
    return rest * jnp.exp(-above_level)


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


class _Targets(NamedTuple):
    """Of a part of a row: the target of its largest logit m, Σ t_k over all others, and Σ t_k (m - z_k).

    Smoothed targets are alike, and would all be rounded alike, so what the two sums lose is summed beside them.
    """

    top: Array
    others: Array
    others_lost: Array
    distance: Array
    distance_lost: Array

    def fallen(self, height: Array) -> Array:
        """What is added to the distance where the largest logit is so much larger."""
        mass = self.top + (self.others + self.others_lost)
        return jnp.where(mass == 0, 0, mass * height)


def largest_rest_and_targets(logits: Float[Array, "*n k"], targets: Float[Array, "*n k"]) -> tuple[Array, ...]:
    """The largest logit m of each row and Σ exp(z_k - m) over all others; the target t of the class that has it and
    Σ t_k over all others; and Σ t_k (m - z_k).
    """
    zero = jnp.zeros_like(logits)
    terms = logits, zero, *_Targets(targets, zero, zero, zero, zero)
    largest, rest, *sums = _reduced(terms, (-jnp.inf, *(0,) * 6), _with_targets)
    of = _Targets(*sums)
    others, distance = corrected(of.others, of.others_lost), corrected(of.distance, of.distance_lost)
    return largest, _from_largest(largest, rest), of.top, others, distance


def _with_targets(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
    (largest_a, rest_a), (largest_b, rest_b), of_a, of_b = a[:2], b[:2], _Targets(*a[2:]), _Targets(*b[2:])
    largest, rest = _merged((largest_a, rest_a), (largest_b, rest_b))
    ahead = largest_a >= largest_b
    top, top_of_other = jnp.where(ahead, of_a.top, of_b.top), jnp.where(ahead, of_b.top, of_a.top)
    others, others_lost = sum_with_loss(of_a.others, of_b.others, top_of_other)
    falls = (
        of.fallen(jnp.where(own == largest, 0, largest - own)) for of, own in ((of_a, largest_a), (of_b, largest_b))
    )
    distance, distance_lost = sum_with_loss(of_a.distance, of_b.distance, *falls)
    others_lost += of_a.others_lost + of_b.others_lost
    distance_lost += of_a.distance_lost + of_b.distance_lost
    return largest, rest, *_Targets(top, others, others_lost, distance, distance_lost)


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
