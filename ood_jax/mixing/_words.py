"""Random words of 32 bits, and what is made of them.

XLA compiles each call of the generator anew, in as long as all that is done with its words. So a draw calls it once,
for all that it needs, where keys split for each part would take a dozen calls.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt32


def random_words(key: Key[Array, ""], *shapes: tuple[int, ...]) -> list[UInt32[Array, "..."]]:
    """Arrays of these shapes."""
    ends = [0]
    for shape in shapes:
        ends.append(ends[-1] + math.prod(shape))
    words = jax.random.bits(key, (ends[-1],), jnp.uint32)
    return [words[start:end].reshape(shape) for start, end, shape in zip(ends, ends[1:], shapes, strict=False)]


def open_uniform(words: UInt32[Array, "..."]) -> Float[Array, "..."]:
    """Uniform on the midpoints of 2^23 equal cells of (0, 1), so never 0 or 1; float32."""
    return ((words >> 9).astype(jnp.float32) + 0.5) * 2.0**-23


def uniform(words: UInt32[Array, "..."]) -> Float[Array, "..."]:
    """Uniform on the 2^24 multiples of 2^-24 in [0, 1); float32."""
    return (words >> 8).astype(jnp.float32) * 2.0**-24


def below(words: UInt32[Array, "..."], size: int) -> Int[Array, "..."]:
    """Uniform on [0, size) for a size of at most 2^16: ⌊size · word / 2^32⌋; int32.

    No number is likelier than another by more than a share of size / 2^32.
    """
    high, low = words >> 16, words & 0xFFFF  # for the product has up to 48 bits
    return ((high * size + (low * size >> 16)) >> 16).astype(jnp.int32)


def permutation(words: UInt32[Array, "2 n"]) -> Int[Array, " n"]:
    """The rows in the order of their words, which are equal in one of 2^64 pairs; int32."""
    rows = jnp.arange(words.shape[1], dtype=jnp.int32)
    return jax.lax.sort((*words, rows), num_keys=2)[-1]
