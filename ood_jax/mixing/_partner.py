"""Each row's partner: a gather, and on TPU a product with a matrix of zeros and ones.

A TPU lays images out with the batch innermost, where a gather of rows moves thirty times their bytes. A product reads
the batch as it lies, fuses with what uses the result, and is partitioned over devices like any other product.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .._dtypes import wide_integers

# Numbers of 8, 16 or 32 bits.
_MULTIPLIED = tuple(
    jnp.dtype(kind)
    for kind in (bool, "uint8", "int8", "uint16", "int16", "bfloat16", "float16", "uint32", "int32", "float32")
)

# A product takes an operation for each row of the batch where a gather takes one. At the peak speeds of v5e and v5p it
# is ahead up to 5,000 rows of images, and up to 600 of tokens, of which a gather moves three times the bytes.
_MOST_ROWS = 1024

# Of a TPU's vector: numbers in a row of its memory.
_LANES = 128


def take_partner(values: Array, partner: Array) -> Array:
    """Each row's partner. A partner outside the batch or group gives NaN (for integers the dtype's extreme)."""
    if partner.ndim == 1:
        return _take(values, partner)
    blocks, rows = _in_blocks(values, partner)
    return jax.vmap(_take)(blocks, rows).reshape(values.shape)


def _in_blocks(values: Array, partner: Array) -> tuple[Array, Array]:
    """The rows as blocks of whole groups (b, n / b, ...), and their partners in the block (b, n / b).

    Taking inside blocks, rather than by rows of the whole batch, lets the compiler see that it is local. One block a
    device is best, for a TPU has the rows in lanes, out of which smaller ones must be cut.
    """
    groups, size = partner.shape
    devices = _devices(values)
    joined = groups // math.gcd(groups, devices) if devices and isinstance(groups, int) else 1
    if joined > 1 and _few(joined * size):
        partner, groups, size = _join(partner, joined), groups // joined, joined * size
    return values.reshape(groups, size, *values.shape[1:]), partner


def _join(partner: Array, joined: int) -> Array:
    """Partners in the group as partners in a block of so many groups; those outside the group as -1."""
    groups, size = partner.shape
    first = jnp.arange(groups, dtype=jnp.int32) % joined * size
    rows = jnp.where(is_inside(partner), partner.astype(jnp.int32) + first[:, None], -1)
    return rows.reshape(groups // joined, joined * size)


def is_inside(partner: Array) -> Bool[Array, "..."]:
    """Whether each is a row of the batch, or of its group."""
    partner = wide_integers(partner)
    return (partner >= 0) & (partner < partner.shape[-1])


def _devices(values: Array) -> int:
    """Over how many devices the values may lie: a multiple of how many they do. 0 if that is not known."""
    mesh = jax.typeof(values).sharding.mesh
    return 0 if mesh.empty else math.prod(mesh.shape[axis] for axis in (*mesh.auto_axes, *mesh.explicit_axes))


def _take(values: Array, rows: Array) -> Array:
    if values.ndim > 1 and _few(values.shape[0]) and values.dtype in _MULTIPLIED:
        return jax.lax.platform_dependent(values, rows, tpu=multiply, default=gather)
    return gather(values, rows)


def _few(rows: int) -> bool:
    """Whether so many are multiplied. A number that is a symbol, in a program to be exported, could be any."""
    return isinstance(rows, int) and rows <= _MOST_ROWS


def gather(values: Array, rows: Array, *, outside: float | None = None) -> Array:
    return values.at[rows].get(mode="fill", wrap_negative_indices=False, fill_value=outside)


@jax.custom_jvp
def multiply(values: Array, rows: Array) -> Array:
    """What `gather` gives, bit for bit.

    The bits are multiplied, as whole numbers: an infinity or NaN of one row stays out of the others, and its payload,
    like the sign of a zero, survives. A number of 16 bits is two of bfloat16, so a TPU's precision "high", products of
    such pairs with sums in float32, is exact.
    """
    rows = rows.astype(jnp.int32)  # as bytes, the numbers of more rows than 256 would begin again at 0
    n, ones = values.shape[0], (1,) * (values.ndim - 1)
    outside = ((rows < 0) | (rows >= n)).reshape(n, *ones)
    missing = gather(jnp.zeros((1, *ones), values.dtype), jnp.ones(1, rows.dtype))
    one_hot = jax.nn.one_hot(rows, n, dtype=jnp.float32)

    def pick(bits: Array) -> Array:
        return jnp.tensordot(one_hot, bits.astype(jnp.float32), 1, precision="high").astype(bits.dtype)

    bits = values.view(f"uint{8 * values.dtype.itemsize}")
    if bits.dtype == jnp.uint32:
        low, high = (pick(half.astype(jnp.uint16)).astype(jnp.uint32) for half in (bits & 0xFFFF, bits >> 16))
        picked = low | high << 16
    else:
        picked = pick(bits)
    return jnp.where(outside, missing.view(bits.dtype), picked).view(values.dtype)


@multiply.defjvp
def _multiply_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """The derivative of the gather, itself a gather, and its transpose a sum of rows.

    A product of floats would be faster, but a NaN in the gradient of one row would reach all. A gather puts the last
    axis into lanes; three colours there leave 125 lanes empty, hence the flattened rows.
    """
    values, rows = primals
    tangent = tangents[0]
    if values.shape[-1] < _LANES:
        tangent = tangent.reshape(values.shape[0], -1)
    return multiply(values, rows), gather(tangent, rows, outside=0).reshape(values.shape)
