"""Counts that are never rounded: pairs of scores need more than 32 bits, and 64-bit integers are off by default."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Real, UInt

from .._sum import accurate_sum


class Words(NamedTuple):
    """Unsigned integers of 64 bits, as their lower and their higher halves."""

    low: UInt[Array, "*n"]
    high: UInt[Array, "*n"]

    def astype(self, dtype: np.dtype) -> Float[Array, "*n"]:
        """As floats."""
        return self.high.astype(dtype) * 2.0**32 + self.low.astype(dtype)


def words(counts: UInt[Array, "*n"]) -> Words:
    """Integers of 32 bits as those of 64."""
    return Words(counts, jnp.zeros_like(counts))


def exact_sum(counts: Words) -> Words:
    """The sum over the one axis."""
    zero = np.uint32(0)
    return Words(*jax.lax.reduce(tuple(counts), (zero, zero), _add, (0,)))


def exact_product(a: UInt[Array, "*n"], b: UInt[Array, "*n"]) -> Words:
    """The product of two integers of 32 bits, from those of their halves."""
    (a_low, a_high), (b_low, b_high) = ((x & np.uint32(0xFFFF), x >> np.uint32(16)) for x in (a, b))
    low = a_low * b_low
    parts = Words(low, a_high * b_high)
    for middle in (a_low * b_high, a_high * b_low):
        parts = _sum(parts, Words(middle << np.uint32(16), middle >> np.uint32(16)))
    return parts


def _sum(a: Words, b: Words) -> Words:
    return Words(*_add(a, b))


def _add(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    low = a[0] + b[0]
    return low, a[1] + b[1] + (low < b[0]).astype(jnp.uint32)


def exact_ratio(numerator: Words, denominator: Words, dtype: np.dtype) -> Float[Array, ""]:
    """The ratio of two integers, the first no larger than the second."""
    # Rounded one by one, the larger may come out the smaller.
    return jnp.minimum(ratio(numerator, denominator, dtype), 1)


class Multiple(NamedTuple):
    """A count times a share: its whole part, and the rest in [0, 1)."""

    whole: Int[Array, ""]
    rest: Float[Array, ""]
    is_whole: Bool[Array, ""]


def multiple(count: Int[Array, ""], share: Float[Array, ""], rounded: int = 0) -> Multiple:
    """The product of a count and a share in [0, 1], of which 62 binary places count; rounded nowhere else.

    A float stands for all that is rounded to it: as a float32, 0.95 lies below 19 / 20 and 0.8 above 8 / 10, and both
    are meant to be equal. So with `rounded` 1 or -1 the share is the largest or the least that rounds to the given one.
    To round quotients would not do, because compilers round them one way or another.
    """
    towards = jnp.asarray({-1: 0, 0: 0, 1: 2}[rounded], share.dtype)
    neighbour = jnp.nextafter(share, towards) if rounded else share
    # Twice the mean of the two, in units of 2**-63. (Only a float64 below 2**-10 has more places.)
    scaled = _sum(*(_fixed(end, upwards=rounded > 0) for end in (share, neighbour)))
    doubled = 2 * count.astype(jnp.uint32)
    below, above = exact_product(doubled, scaled.low), exact_product(doubled, scaled.high)
    total = _sum(above, words(below.high))
    rest = (below.low.astype(share.dtype) / 2.0**32 + total.low.astype(share.dtype)) / 2.0**32
    return Multiple(total.high.astype(jnp.int32), rest, (total.low == 0) & (below.low == 0))


def _fixed(share: Float[Array, ""], *, upwards: bool) -> Words:
    """A share in units of 2**-62."""
    scaled = jnp.clip(share, 0, 1) * 2.0**30
    high = jnp.floor(scaled)
    low = (scaled - high) * 2.0**32
    # No quotient of two counts lies so near below a multiple of 2**-30 that it would have to be rounded up to that.
    low = jnp.minimum(jnp.ceil(low), 2.0**32 - 1) if upwards else low
    return Words(low.astype(jnp.uint32), high.astype(jnp.uint32))


def mean(values: Float[Array, " n"], counted: Array, count: Int[Array, ""]) -> Float[Array, ""]:
    """The mean of the values that count, none negative, to about an ulp however many they are."""
    return ratio(accurate_sum(jnp.where(counted, values, 0)), count, values.dtype)


def ratio(a: Real[Array, "*n"] | Words, b: Real[Array, ""] | Words, dtype: np.dtype) -> Float[Array, "*n"]:
    """The quotients a / b, which are 1 where they are equal: a compiler may multiply with the reciprocal instead."""
    numerator, denominator = a.astype(dtype), b.astype(dtype)
    return jnp.where(numerator == denominator, 1, numerator / denominator)
