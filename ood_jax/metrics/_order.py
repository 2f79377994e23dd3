"""Scores in order, and how many lie below each: all that a metric of ranks needs.

Scores become unsigned integers of the same order, because those sort several times faster than floats that bring a
label along, and because integers compare alike everywhere: subnormal numbers keep their rank where the processor
flushes them to zero.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt

from .._running import running_max


class Side(NamedTuple):
    """The scores of one side.

    Attributes:
      keys: (N,) what orders them; the largest of all where a score does not count.
      total: how many count.
      valid: whether any counts, and none that does is NaN.
    """

    keys: UInt[Array, " n"]
    total: Int[Array, ""]
    valid: Bool[Array, ""]

    def sorted(self) -> "Side":
        """The keys in rising order, so the first `total` are those that count."""
        return self._replace(keys=jax.lax.sort(self.keys, is_stable=False))

    @property
    def counted(self) -> Bool[Array, " n"]:
        """Of sorted keys, which count."""
        return jnp.arange(self.keys.size, dtype=jnp.int32) < self.total


def side(
    scores: Float[Array, "..."], where: Bool[Array, "..."] | None, dtype: np.dtype, *, falling: bool = False
) -> Side:
    """The scores of a side, in a dtype that holds both sides' exactly; with `falling` the highest comes first."""
    counted = flat_mask(where, scores)
    # No size of its own for what is empty anyway.
    scores = scores.reshape(-1).astype(dtype) if scores.size else jnp.zeros(1, dtype)
    keys = _keys(scores)
    # No score but a NaN has the largest key, either way round.
    keys = jnp.where(counted, ~keys if falling else keys, ~jnp.zeros_like(keys))
    total = jnp.sum(counted, dtype=jnp.int32)
    return Side(keys, total, (total > 0) & ~jnp.any(counted & jnp.isnan(scores)))


def flat_mask(mask: Bool[Array, "..."] | None, scores: Float[Array, "..."]) -> Bool[Array, " n"]:
    """Which of the scores count, for the keys that `side` gives them."""
    if scores.size == 0:
        return jnp.zeros(1, jnp.bool_)
    return jnp.ones(scores.size, jnp.bool_) if mask is None else mask.reshape(-1)


def _keys(scores: Float[Array, " n"]) -> UInt[Array, " n"]:
    """Unsigned integers in the order of the scores: the bits of a float, negative ones inverted."""
    unsigned = np.uint64 if scores.dtype.itemsize == 8 else np.uint32
    sign = unsigned(1) << unsigned(8 * scores.dtype.itemsize - 1)
    bits = jax.lax.bitcast_convert_type(scores, unsigned)
    bits = jnp.where(bits == sign, unsigned(0), bits)  # -0.0 ties with 0.0
    return jnp.where(bits >= sign, ~bits, bits | sign)


class Ranks(NamedTuple):
    """How many scores lie below each score of a side, and how many below or level with it."""

    below: Int[Array, " n"]
    up_to: Int[Array, " n"]

    def turned(self, total: Int[Array, ""]) -> "Ranks":
        """The ranks among `total` scores when the order is turned round."""
        return Ranks(total - self.up_to, total - self.below)


def ranks(side: Side, among: Side) -> Ranks:
    """The ranks of one sorted side's scores among another's."""
    below = number_below(among.keys, side.keys)
    # Where a tie begins, the other side knows where it ends: cheaper than another search.
    tie = jnp.minimum(below, among.keys.size - 1)
    return Ranks(below, jnp.where(among.keys[tie] == side.keys, own_ranks(among).up_to[tie], below))


def number_below(ordered: Array, keys: Array) -> Int[Array, "*n"]:
    """How many of some ordered numbers are below each key.

    As `jnp.searchsorted`, with a power of two to go on by, halved each time, in place of the interval's two ends: a
    third of the time.
    """
    size = ordered.size
    steps = size.bit_length()

    def go_on(step: Array | int, below: Array) -> Array:
        further = below + jnp.left_shift(1, steps - 1 - step)
        last = ordered[jnp.minimum(further, size) - 1]
        return jnp.where((further <= size) & (last < keys), further, below)

    # The first step is taken before the loop. Inside `shard_map` its result varies over the devices as the arguments
    # do; zeros would not, and a loop refuses to begin with another type than it goes on with.
    return jax.lax.fori_loop(1, steps, go_on, go_on(0, jnp.zeros(keys.shape, jnp.int32)))


def own_ranks(side: Side) -> Ranks:
    """The ranks of a sorted side's scores among themselves: where each group of ties begins and ends."""
    size = side.keys.size
    index = jnp.arange(size, dtype=jnp.int32)
    edge = side.keys[1:] != side.keys[:-1]
    first, last = (jax.lax.pad(edge, np.True_, [ends]) for ends in ((1, 0, 0), (0, 1, 0)))
    below = running_max(jnp.where(first, index, 0))
    above = running_max(jnp.where(last, size - 1 - index, 0), reverse=True)
    return Ranks(below, size - above)
