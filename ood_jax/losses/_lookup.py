"""One class of each row."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num


def logit_at(logits: Float[Array, "*n k"], label: Int[Array, "*n"]) -> Float[Array, "*n 1"]:
    """Each row's logit of its label, which is in [0, K)."""
    if jax.typeof(logits).sharding.spec[-1] is not None:  # explicit axes have no rule for a fetch from sharded classes
        return pick(logits, label)
    return jax.lax.platform_dependent(logits, label, tpu=pick, default=fetch)


def fetch(logits: Array, label: Array) -> Array:
    return jnp.take_along_axis(logits, label[..., None], axis=-1)


def pick(logits: Array, label: Array) -> Array:
    """The same by a sum with zeros, for a TPU fetches a tile of 4 kB for each, but sums beside another sum."""
    return jnp.sum(jnp.where(is_class(logits, label), logits, 0), axis=-1, keepdims=True)


def is_class(logits: Num[Array, "*n k"], label: Int[Array, "*n"]) -> Bool[Array, "*n k"]:
    """Which class is the label, which is in [0, K) and of a dtype that holds K; sharded as the logits are."""
    if not isinstance(logits.shape[-1], int):  # but a symbol, in a program to be exported
        return counted(logits, label)
    return jax.lax.platform_dependent(logits, label, cpu=listed, default=counted)


def counted(logits: Array, label: Array) -> Array:
    place = jax.typeof(logits).sharding
    return jax.lax.broadcasted_iota(label.dtype, logits.shape, logits.ndim - 1, out_sharding=place) == label[..., None]


def listed(logits: Array, label: Array) -> Array:
    """The same with the classes' numbers read from memory.

    XLA for CPUs counts in 64 bits, beside floats of 32 in vectors of twice their width. While it runs such, a processor
    has fewer units for the others, and the exponentials in the same loop take twice as long. The list begins at 1, for
    one that begins at 0 XLA recognizes, and counts.
    """
    numbers = np.arange(1, logits.shape[-1] + 1, dtype=np.int32)
    place = jax.typeof(logits).sharding
    everywhere = jax.lax.broadcast_in_dim(numbers, logits.shape, (logits.ndim - 1,), out_sharding=place)
    return everywhere == label[..., None].astype(jnp.int32) + 1
