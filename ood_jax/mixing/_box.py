"""The geometry of CutMix's box, exact to the pixel."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from .._api import public
from .._checks import as_real, check_array, check_image_size, describe
from .._dtypes import wide


class Box(NamedTuple):
    """A half-open box of pixels: rows top to bottom - 1, columns left to right - 1; int32, all of one shape."""

    top: Int[Array, "..."]
    bottom: Int[Array, "..."]
    left: Int[Array, "..."]
    right: Int[Array, "..."]


@public
def cutmix_box(
    lam: Real[Array, "..."] | float,
    center: tuple[Int[ArrayLike, "..."], Int[ArrayLike, "..."]],
    image_size: tuple[int, ...],
) -> Box:
    r"""The box that CutMix cuts for λ around a centre.

    $$h = \lfloor H \sqrt{1 - \lambda} \rfloor, \quad \mathrm{top} = \max(c_y - \lfloor h/2 \rfloor, 0), \quad
      \mathrm{bottom} = \min(c_y + \lfloor h/2 \rfloor, H),$$

    and the same for the columns with W. A box over the edge is clipped, so the share of pixels kept is at least λ;
    `apply_cutmix` returns the exact share.

    Args:
      lam: λ in [0, 1]. Float32 is exact: the side is the one that float64 arithmetic gives. So is float64 with
        `jax_enable_x64`. NaN and λ > 1 give an empty box, λ < 0 the box of λ = 0.
      center: (c_y, c_x), integers in [0, H) and [0, W), each of the shape of `lam`.
      image_size: (H, W), at least 1. Static.

    Returns:
      `Box(top, bottom, left, right)`, each int32 of the shape of `lam`.

    Raises:
      TypeError: `lam` is not real, `center` not a pair of integers, or `image_size` not a pair of ints.
      ValueError: the shapes of `lam` and `center` differ, or a side is below 1.

    Example:
      >>> import ood_jax
      >>> box = ood_jax.cutmix_box(0.75, (3, 30), (16, 32))
      >>> [int(edge) for edge in box]
      [0, 7, 22, 32]

    References:
      Sangdoo Yun, Dongyoon Han, Seong Joon Oh, Sanghyuk Chun, Junsuk Choe, Youngjoon Yoo, "CutMix: Regularization
      Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019, equation 2 and algorithm A1.
    """
    lam = as_real("lam", lam)
    check_image_size(image_size)
    row, column = _as_center(center, lam.shape)
    lam = lam.astype(wide(lam.dtype))
    top, bottom = _interval(lam, row, image_size[0])
    left, right = _interval(lam, column, image_size[1])
    return Box(top, bottom, left, right)


def _as_center(center: object, shape: tuple[int, ...]) -> tuple[Array, Array]:
    if not isinstance(center, tuple) or len(center) != 2:
        raise TypeError(f"`center` must be a pair (c_y, c_x), got {describe(center)}; pass a tuple.")
    for name, value in zip(("center[0]", "center[1]"), center, strict=True):
        check_array(name, value)
        if not jnp.issubdtype(value.dtype, jnp.integer):
            raise TypeError(f"`{name}` must be an integer, got dtype {value.dtype}; round it first.")
        if value.shape != shape:
            raise ValueError(f"`{name}` must have the shape of `lam`, {shape}, got {value.shape}.")
    return center


def _interval(lam: Array, center: Array, size: int) -> tuple[Array, Array]:
    thresholds = jnp.expand_dims(_thresholds(size, lam.dtype.name), tuple(range(lam.ndim)))
    side = jnp.sum(lam[..., None] <= thresholds, axis=-1, dtype=jnp.int32)
    center = center.astype(jnp.int32)
    return jnp.clip(center - side // 2, 0, size), jnp.clip(center + side // 2, 0, size)


@functools.cache
def _thresholds(size: int, dtype: str) -> Float[np.ndarray, " size"]:
    """For each side k from 1 to size, the largest λ of the dtype with int(size·√(1 - λ)) >= k in float64.

    In float32 the formula itself rounds to another side in about 1% of draws. The side falls as λ grows, though, so it
    is the number of thresholds not below λ, and comparisons are exact. Floats in [0, 1] are ordered as their bits are,
    so each threshold is found by bisection over the bits.
    """
    bits = np.dtype(f"uint{np.dtype(dtype).itemsize * 8}")
    sides = np.arange(1, size + 1)
    low = np.zeros(size, bits)  # λ = 0 gives the whole side, so every threshold is at least 0
    high = np.full(size, np.ones((), dtype).view(bits))  # λ = 1 gives side 0, so every threshold is below 1
    while np.any(high - low > 1):
        middle = low + (high - low) // 2
        reached = (size * np.sqrt(1.0 - middle.view(dtype).astype(np.float64))).astype(np.int64) >= sides
        low, high = np.where(reached, middle, low), np.where(reached, high, middle)
    return low.view(dtype)
