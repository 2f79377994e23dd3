"""What a box covers, from the partner; the rest is the row's own."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._box import Box
from ._draw import over_rows
from ._partner import take_partner

AXES = {"NHWC": (1, 2), "NCHW": (2, 3)}


def paste(x: Array, partner: Array, box: Box, data_format: str) -> Array:
    """The partner's values inside of the box, which lies in the image."""
    by_axes = partial(_paste_along, axes=AXES[data_format])
    if data_format == "NCHW":
        return by_axes(x, partner, box)
    # On CPU and GPU a row of pixels and channels is one loop; loops over three colours are two to three times slower.
    # A TPU lays images out in another order, in which they can't be merged without a copy.
    return jax.lax.platform_dependent(x, partner, box, tpu=by_axes, default=_paste_pixel_rows)


def _paste_along(x: Array, partner: Array, box: Box, axes: tuple[int, int]) -> Array:
    def number(axis: int) -> Array:
        shape = tuple(size if i == axis else 1 for i, size in enumerate(x.shape))
        return jax.lax.broadcasted_iota(jnp.int32, shape, axis)

    rows, columns = (number(axis) for axis in axes)
    top, bottom, left, right = (over_rows(edge, x.ndim) for edge in box)
    inside = (top <= rows) & (rows < bottom) & (left <= columns) & (columns < right)
    return jnp.where(inside, take_partner(x, partner), x)


def _paste_pixel_rows(x: Array, partner: Array, box: Box) -> Array:
    n, height, width, channels = x.shape
    values = x.reshape(n, height, width * channels)
    top, bottom, left, right = (over_rows(edge, values.ndim) for edge in box)
    rows, numbers = jnp.arange(height, dtype=jnp.int32)[None, :, None], _numbers(width * channels)[None, None, :]
    # So many values of each row are in the box, of most none. Then one comparison a value is enough: unsigned, for what
    # is left of the box is then far to the right.
    covered = jnp.where((top <= rows) & (rows < bottom), (right - left) * channels, 0)
    inside = (numbers - (left * channels + 1)).astype(jnp.uint32) < covered.astype(jnp.uint32)
    return jnp.where(inside, take_partner(values, partner), values).reshape(x.shape)


def _numbers(size: int) -> Array | np.ndarray:
    """1 to size. A constant where it can be, for XLA on CPU loads numbers faster than it counts them.

    One that begins at 0 it recognizes, and counts.
    """
    return (np if isinstance(size, int) else jnp).arange(1, size + 1, dtype=np.int32)
