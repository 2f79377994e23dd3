"""Sums that round about once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Rests are summed one after the other, so not too many of them at a time.
_BLOCK = 4096

# Positive terms that may be summed one after the other.
_FEW = 512


@jax.custom_jvp
def accurate_sum(values: Float[Array, "*n k"], bound: Float[Array, "*n 1"]) -> Float[Array, "*n 1"]:
    """Σ over the last axis of values no larger than `bound`, to about half a unit in the last place.

    A plain float32 sum of a hundred terms is off by up to five units, and by thousands where they cancel. Adding a
    power of two well above the values, and taking it away again, leaves of each the leading bits; these sum without
    error. So do the leading bits of the rests, and what is then left is too small for its errors to show. Two steps of
    AccSum: S. M. Rump, T. Ogita, S. Oishi, "Accurate Floating-Point Summation Part I: Faithful Rounding", SIAM Journal
    on Scientific Computing 31, 2008.

    Args:
      values: what to sum.
      bound: of the size of the largest value. It must be computed from the data, for the compiler cancels a constant.
        A bound too small costs accuracy, no more.
    """
    terms = values.shape[-1]
    if terms <= _BLOCK:
        total, rest = _sum_in_parts(values, bound)
        return (total + rest)[..., None]
    # Very many are summed by blocks, the last of them filled up.
    filled = jnp.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, -terms % _BLOCK)])
    parts = _sum_in_parts(filled.reshape(*values.shape[:-1], -1, _BLOCK), bound[..., None])
    return accurate_sum(jnp.concatenate(parts, axis=-1), bound * _BLOCK)


@accurate_sum.defjvp
def _accurate_sum_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return accurate_sum(*primals), jnp.sum(tangents[0], axis=-1, keepdims=True)


def _sum_in_parts(values: Array, bound: Array) -> tuple[Array, Array]:
    """Two numbers whose sum, not yet rounded, is that of at most _BLOCK values."""
    info = jnp.finfo(values.dtype)
    bits = (values.shape[-1] + 1).bit_length()  # what a sum of so many can carry beyond its terms
    first = _power_of_two(bound) * 2.0 ** (bits + 1)
    splits = jnp.isfinite(first)  # infinities just sum
    first = jnp.where(splits, first, 0)
    second = first * 2.0 ** (bits - info.nmant)  # above every rest
    leading = (first + values) - first
    rest = jnp.where(splits, values - leading, 0)
    middle = (second + rest) - second
    # At once, for of three sums the compiler would write every operand to memory first.
    zero = jnp.zeros((), values.dtype)
    parts = (leading, middle, rest - middle)
    total, correction, last = jax.lax.reduce(parts, (zero,) * 3, _add_parts, (values.ndim - 1,))
    return total, correction + last


def _power_of_two(x: Array) -> Array:
    """A power of two between two thirds and four thirds of a positive number; infinite if that is too large."""
    return jax.lax.reduce_precision(x, jnp.finfo(x.dtype).nexp, 0)


def _add_parts(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def positive_sum(values: Float[Array, "*n k"]) -> Float[Array, "*n 1"]:
    """Σ over the last axis of values that are not negative, to about half a unit in the last place.

    A plain sum of a hundred terms is off by up to five units. Adding a power of two above their sum, and taking it away
    again, leaves of each term the bits that sum without error; what is left is too small for its errors to show. A
    first plain sum says which power. Long rows are summed in lanes, whose errors are small beside those that a loss of
    so many classes has anyhow, and there the two more passes would cost as much as all else.
    """
    if values.shape[-1] > _FEW:
        return jnp.sum(values, axis=-1, keepdims=True)
    rough = jax.lax.stop_gradient(jnp.sum(values, axis=-1, keepdims=True))
    above = _power_of_two(rough) * 2
    splits = jnp.isfinite(above)  # infinities just sum
    above = jnp.where(splits, above, 0)
    total = jnp.sum((above + values) - above, axis=-1, keepdims=True)
    # Differences that two sums share, the compiler would write to memory.
    again = jax.lax.optimization_barrier(above)
    rest = jnp.sum(values - ((again + values) - again), axis=-1, keepdims=True)
    return jnp.where(splits, total + rest, total)


def accurate_add(*parts: Array) -> Array:
    """The sum of a few arrays, rounded once: two energies of 1e4, each rounded by itself, would leave 1e-3."""
    total, lost = parts[0], jnp.zeros((), parts[0].dtype)
    for part in parts[1:]:
        total, error = exact_add(total, part)
        lost = lost + error
    return total + jnp.where(jnp.isfinite(lost), lost, 0)  # an infinite sum lost nothing


def exact_add(a: Array, b: Array) -> tuple[Array, Array]:
    """The sum a + b, rounded, and what the rounding lost, exactly.

    D. E. Knuth, "The Art of Computer Programming", volume 2, 4.2.2, theorem B.
    """
    total = a + b
    of_b = total - a
    return total, jax.lax.stop_gradient((a - (total - of_b)) + (b - of_b))
