"""The geometries of CutMix's box, exact to the pixel.

Libraries place it differently, so models trained with them have seen different boxes. Drawing chooses the geometry;
applying does not care.
"""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from .._api import public
from .._checks import as_real, check_array, check_image_size, describe
from .._dtypes import wide, wide_integers


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
      center: (c_y, c_x), integers in [0, H) and [0, W), each of the shape of `lam`. About one outside, the box is
        clipped to the image too, and may be empty.
      image_size: (H, W), from 1 to 32,768. Static.

    Returns:
      `Box(top, bottom, left, right)`, each int32 of the shape of `lam`.

    Raises:
      TypeError: `lam` is not real, `center` not a pair of integers, or `image_size` not a pair of ints.
      ValueError: the shapes of `lam` and `center` differ, or a side is not from 1 to 32,768.

    Example:
      >>> import ood_jax
      >>> box = ood_jax.cutmix_box(0.75, (3, 30), (16, 32))
      >>> [int(edge) for edge in box]
      [0, 7, 22, 32]

    References:
      Sangdoo Yun, Dongyoon Han, Seong Joon Oh, Sanghyuk Chun, Junsuk Choe, Youngjoon Yoo, "CutMix: Regularization
      Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019, equation 2 and algorithm A1.
    """
    lam, position = _check_placed(lam, "center", center, image_size, jnp.integer)
    edges = [_around(c, _side(lam, size), size) for c, size in zip(position, image_size, strict=True)]
    return Box(*edges[0], *edges[1])


@public
def timm_box(
    lam: Real[Array, "..."] | float,
    center: tuple[Int[ArrayLike, "..."], Int[ArrayLike, "..."]],
    image_size: tuple[int, ...],
) -> Box:
    r"""The box that timm cuts for λ around a centre: `cutmix_box` without the pixel that an odd side loses.

    $$h = \lfloor H \sqrt{1 - \lambda} \rfloor, \quad \mathrm{top} = \max(c_y - \lfloor h/2 \rfloor, 0), \quad
      \mathrm{bottom} = \min(c_y + \lceil h/2 \rceil, H),$$

    and the same for the columns with W.

    Args:
      lam: λ in [0, 1], as in `cutmix_box`.
      center: (c_y, c_x), integers in [0, H) and [0, W), each of the shape of `lam`. About one outside, the box is
        clipped to the image too, and may be empty.
      image_size: (H, W), from 1 to 32,768. Static.

    Returns:
      `Box(top, bottom, left, right)`, each int32 of the shape of `lam`.

    Raises:
      TypeError: `lam` is not real, `center` not a pair of integers, or `image_size` not a pair of ints.
      ValueError: the shapes of `lam` and `center` differ, or a side is not from 1 to 32,768.

    Example:
      >>> import ood_jax
      >>> [int(edge) for edge in ood_jax.timm_box(0.75, (3, 30), (6, 32))]
      [2, 5, 22, 32]
      >>> [int(edge) for edge in ood_jax.cutmix_box(0.75, (3, 30), (6, 32))]
      [2, 4, 22, 32]

    References:
      Ross Wightman, "PyTorch Image Models", 2019, `timm.data.mixup.rand_bbox` of version 1.0.31; its side is that of
      Yun et al., ICCV 2019, equation 2.
    """
    lam, position = _check_placed(lam, "center", center, image_size, jnp.integer)
    edges = [_around(c, _side(lam, size), size, odd=1) for c, size in zip(position, image_size, strict=True)]
    return Box(*edges[0], *edges[1])


@public
def kornia_box(
    lam: Real[Array, "..."] | float,
    start: tuple[Float[ArrayLike, "..."], Float[ArrayLike, "..."]],
    image_size: tuple[int, ...],
) -> Box:
    r"""The box that kornia cuts for λ: always whole, somewhere inside the image.

    $$h = \lfloor H \sqrt{1 - \lambda} \rfloor, \quad \mathrm{top} = \lfloor s_y (H - h + 1) \rfloor, \quad
      \mathrm{bottom} = \mathrm{top} + h,$$

    and the same for the columns with W. The side is rounded as kornia rounds it, in float32, which in a few of a
    million draws is another than that of `cutmix_box`, and in more where α is small.

    Args:
      lam: λ in [0, 1], float32 or narrower. NaN and λ > 1 give an empty box, λ < 0 the box of λ = 0.
      start: (s_y, s_x) in [0, 1), float32, each of the shape of `lam`: how far down and right the box starts, of the
        places where it fits. One below is taken for the first place, one above for the last.
      image_size: (H, W), from 1 to 32,768. Static.

    Returns:
      `Box(top, bottom, left, right)`, each int32 of the shape of `lam`.

    Raises:
      TypeError: `lam` is not real or is float64, `start` is not a pair of floats, or `image_size` not a pair of ints.
      ValueError: the shapes of `lam` and `start` differ, or a side is not from 1 to 32,768.

    Example:
      >>> import ood_jax
      >>> [int(edge) for edge in ood_jax.kornia_box(0.75, (0.0, 0.99), (16, 32))]
      [0, 8, 16, 32]

    References:
      Edgar Riba, Dmytro Mishkin, Daniel Ponsa, Ethan Rublee, Gary Bradski, "Kornia: an Open Source Differentiable
      Computer Vision Library for PyTorch", WACV 2020; `RandomCutMixV2` of version 0.9.0.
    """
    lam, position = _check_placed(lam, "start", start, image_size, jnp.floating)
    if lam.dtype == jnp.float64:
        raise TypeError("`lam` must be float32, in which kornia computes the side, got float64; cast it first.")
    edges = [_inside(s, _side(lam, size, "float32"), size) for s, size in zip(position, image_size, strict=True)]
    return Box(*edges[0], *edges[1])


def _check_placed(
    lam: Array | float, name: str, position: object, image_size: tuple[int, ...], kind: Any
) -> tuple[Array, tuple[Array, Array]]:
    """λ, in float32 or wider, and a position (vertical, horizontal), of one shape."""
    lam = as_real("lam", lam)
    check_image_size(image_size)
    if not isinstance(position, tuple) or len(position) != 2:
        raise TypeError(f"`{name}` must be a pair (vertical, horizontal), got {describe(position)}; pass a tuple.")
    for i, value in enumerate(position):
        check_array(f"{name}[{i}]", value)
        if not jnp.issubdtype(value.dtype, kind):
            raise TypeError(f"`{name}[{i}]` must be {_KINDS[kind]}, got dtype {value.dtype}; cast it first.")
        if value.shape != lam.shape:
            raise ValueError(f"`{name}[{i}]` must have the shape of `lam`, {lam.shape}, got {value.shape}.")
    return lam.astype(wide(lam.dtype)), position


_KINDS = {jnp.integer: "an integer", jnp.floating: "floating-point"}


def _around(center: Array, side: Array, size: int, *, odd: int = 0) -> tuple[Array, Array]:
    """An interval about a centre, clipped; one side is rounded down, the other too unless `odd` is 1."""
    center = center.astype(jnp.int32)
    return jnp.clip(center - side // 2, 0, size), jnp.clip(center + (side + odd) // 2, 0, size)


def _inside(start: Array, side: Array, size: int) -> tuple[Array, Array]:
    """An interval that lies whole in [0, size), a fraction of the way along."""
    room = size - side
    first = jnp.floor(start.astype(jnp.float32) * (room + 1).astype(jnp.float32)).astype(jnp.int32)
    first = jnp.clip(first, 0, room)  # a fraction just below 1 may round up
    return first, first + side


def _side(lam: Array, size: int, arithmetic: str = "float64") -> Array:
    """⌊size·√(1 - λ)⌋ as this arithmetic gives it."""
    thresholds = jnp.expand_dims(_thresholds(size, lam.dtype.name, arithmetic), tuple(range(lam.ndim)))
    return jnp.sum(lam[..., None] <= thresholds, axis=-1, dtype=jnp.int32)


@functools.cache
def _thresholds(size: int, dtype: str, arithmetic: str) -> Float[np.ndarray, " size"]:
    """For each side k from 1 to size, the largest λ of the dtype with int(size·√(1 - λ)) >= k in that arithmetic.

    In float32 the compiled formula rounds some λ to another side, and not alike everywhere. The side falls as λ grows,
    though, so it is the number of thresholds not below λ, and comparisons are exact. Floats in [0, 1] are ordered as
    their bits are, so each threshold is found by bisection over the bits.
    """
    one = np.ones((), arithmetic)
    bits = np.dtype(f"uint{np.dtype(dtype).itemsize * 8}")
    sides = np.arange(1, size + 1)
    low = np.zeros(size, bits)  # λ = 0 gives the whole side, so every threshold is at least 0
    high = np.full(size, np.ones((), dtype).view(bits))  # λ = 1 gives side 0, so every threshold is below 1
    while np.any(high - low > 1):
        middle = low + (high - low) // 2
        reached = (size * one * np.sqrt(one - middle.view(dtype).astype(arithmetic))).astype(np.int64) >= sides
        low, high = np.where(reached, middle, low), np.where(reached, high, middle)
    return low.view(dtype)


def clip_box(box: Box, height: int, width: int) -> Box:
    """The part of a box in the image, in int32. A reversed one ends where it starts."""

    def clip(edge: Array, size: int) -> Array:
        return jnp.clip(wide_integers(edge), 0, size).astype(jnp.int32)

    top, left = clip(box.top, height), clip(box.left, width)
    return Box(top, jnp.maximum(clip(box.bottom, height), top), left, jnp.maximum(clip(box.right, width), left))


def share_kept(box: Box, height: int, width: int) -> Array:
    """1 - area / (H·W), counted in whole pixels and rounded once."""
    kept = height * width - (box.bottom - box.top) * (box.right - box.left)
    # The maximum is H·W everywhere. Dividing by the constant itself, the compiler would multiply by its reciprocal
    # instead, which rounds twice.
    return kept.astype(jnp.float32) / jnp.maximum(kept, height * width).astype(jnp.float32)
