"""Sums that round about once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# What roundings lose is summed plainly, so not too much of it at a time.
_BLOCK = 4096

# A plain sum of so many terms is good enough, but only in an array of so many numbers: those of fewer than 4,096 XLA's
# CPU compiler sums one term after the other, and of a batch each device may have but a part.
_MANY, _LARGE = 513, 2**15


@jax.custom_jvp
def accurate_sum(values: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """Σ over the last axis, to about half a unit in the last place.

    A plain float32 sum of a hundred terms is off by up to five units, and by thousands where they cancel. But what an
    addition loses is itself a float, so it is summed beside the terms, and added at the end: Sum2 of T. Ogita,
    S. M. Rump, S. Oishi, "Accurate Sum and Dot Product", SIAM Journal on Scientific Computing 26, 2005, algorithm 4.4.
    """
    total, lost = values, jnp.zeros_like(values)
    while total.shape[-1] > _BLOCK:
        total, lost = _sum_with_losses(in_blocks(total), in_blocks(lost))
    total, lost = _sum_with_losses(total, lost)
    return corrected(total, lost)


@accurate_sum.defjvp
def _accurate_sum_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return accurate_sum(*primals), jnp.sum(tangents[0], axis=-1)


def in_blocks(values: Array) -> Array:
    """The last axis cut into blocks, the last of them filled up with zeros."""
    filled = jnp.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % _BLOCK)])
    return filled.reshape(*values.shape[:-1], -1, _BLOCK)


def _sum_with_losses(total: Array, lost: Array) -> tuple[Array, Array]:
    """The sum over the last axis of what was summed before, and of what that lost."""
    zero = jnp.zeros((), total.dtype)
    return jax.lax.reduce((total, lost), (zero, zero), _add_with_losses, (total.ndim - 1,))


def _add_with_losses(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    total, lost = exact_add(a[0], b[0])
    return total, (a[1] + b[1]) + lost


def positive_sum(values: Float[Array, "*n k"]) -> Float[Array, "*n 1"]:
    """Σ over the last axis of values that are not negative, to about half a unit in the last place.

    But where plain sums do well enough it is one of these: the two more passes would cost as much as all else.
    """
    return jnp.sum(values, axis=-1, keepdims=True) if plain_sums_do(values) else split_sum(values)


def plain_sums_do(values: Float[Array, "*n k"]) -> bool:
    """Whether a plain sum over the last axis errs by little beside what a loss of so many classes errs by anyhow.

    In lanes and blocks a thousand terms that are alike are off by up to three units in the last place, on CPU; one
    after the other by up to fifteen.
    """
    if not all(isinstance(size, int) for size in values.shape):
        return False  # a symbol, to be exported, could be any number
    return values.shape[-1] >= _MANY and values.size >= _LARGE


def split_sum(values: Float[Array, "*n k"]) -> Float[Array, "*n 1"]:
    """Σ over the last axis of values that are not negative, to about half a unit in the last place.

    A plain sum of a hundred terms is off by up to five units, and of many that are alike by more. Adding a power of two
    above their sum, and taking it away again, leaves of each term the bits that sum without error; what is left is too
    small for its errors to show. A first plain sum says which power.
    """
    total, rest = split_sums(values)
    return total + rest


def split_sums(values: Float[Array, "*n k"]) -> tuple[Float[Array, "*n 1"], Float[Array, "*n 1"]]:
    """The sum of the leading bits, without error, and of what is left; all and 0 of a sum that is not finite."""
    rough = jax.lax.stop_gradient(jnp.sum(values, axis=-1, keepdims=True))
    above = _power_of_two(rough) * 2
    splits = jnp.isfinite(above)  # infinities just sum
    above = jnp.where(splits, above, 0)
    total = jnp.sum((above + values) - above, axis=-1, keepdims=True)
    # Differences that two sums share, the compiler would write to memory.
    again = jax.lax.optimization_barrier(above)
    rest = jnp.sum(values - ((again + values) - again), axis=-1, keepdims=True)
    return total, jnp.where(splits, rest, 0)


def _power_of_two(x: Array) -> Array:
    """A power of two between two thirds and four thirds of a positive number; infinite if that is too large."""
    return jax.lax.reduce_precision(x, jnp.finfo(x.dtype).nexp, 0)


def corrected(total: Array, lost: Array) -> Array:
    """A sum and what its additions lost."""
    return total + jnp.where(jnp.isfinite(lost), lost, 0)  # an infinite sum lost nothing


def accurate_add(*parts: Array) -> Array:
    """The sum of a few arrays, rounded once: two energies of 1e4, each rounded by itself, would leave 1e-3."""
    return corrected(*sum_with_loss(*parts))


def sum_with_loss(*parts: Array) -> tuple[Array, Array]:
    """The sum of a few arrays, and what its additions lost."""
    total, lost = parts[0], jnp.zeros((), parts[0].dtype)
    for part in parts[1:]:
        total, error = exact_add(total, part)
        lost = lost + error
    return total, lost


def exact_add(a: Array, b: Array) -> tuple[Array, Array]:
    """The sum a + b, rounded, and what the rounding lost, exactly.

    D. E. Knuth, "The Art of Computer Programming", volume 2, 4.2.2, theorem B.
    """
    total = a + b
    of_b = total - a
    return total, jax.lax.stop_gradient((a - (total - of_b)) + (b - of_b))
