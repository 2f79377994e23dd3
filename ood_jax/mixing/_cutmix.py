"""CutMix: a box of each image replaced by its partner's."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Int, Key, Real, Shaped

from .._api import public
from .._checks import as_number, check_batch, check_choice, check_image_size, check_kind, check_partner
from .._sharding import AxisName
from ._box import Box, clip_box, cutmix_box, kornia_box, share_kept, timm_box
from ._draw import check_draw, draw_by_group, flatten, mixing_weight, partner_words, partners, per_row
from ._mixed import Mixed, mix_in_place
from ._partner import take_partner
from ._paste import AXES, paste
from ._words import below, random_words, uniform


class CutMixDraw(NamedTuple):
    """The random part of CutMix.

    Attributes:
      box: what is cut, int32: fields () for one a batch, (g,) a group, (n,) an example.
      partner: int32 row numbers, (n,); with groups (g, n/g), counted inside the group.
    """

    box: Box
    partner: Int[Array, " n"] | Int[Array, "g n/g"]


@public
def cutmix(
    key: Key[Array, ""],
    x: Shaped[Array, "n _ _ _"],
    y: Shaped[Array, "n ..."],
    *,
    alpha: Real[Array, ""] | float = 1.0,
    data_format: Literal["NHWC", "NCHW"] = "NHWC",
    geometry: Literal["paper", "timm", "kornia"] = "paper",
    fold: bool = False,
    pairing: Literal["permute", "roll", "flip"] = "permute",
    groups: int | None = None,
    per_example: bool = False,
    axis_name: AxisName = None,
) -> Mixed:
    r"""Pastes a box of a random partner into each image.

    $$\tilde x_i = M \odot x_i + (1 - M) \odot x_{\pi(i)}, \qquad \lambda \sim \mathrm{Beta}(\alpha, \alpha)$$

    with M zero in a box of about a share 1 - λ of the pixels around a uniform centre, and π a uniform permutation of
    the batch. Train with `mixup_criterion` or `mixup_cross_entropy`. Cut uint8 images before normalising: fewer bytes.

    Args:
      key: a typed PRNG key. Fold the step into the run's key, so that a restarted run draws the same.
      x: images (N, H, W, C), or (N, C, H, W) with data_format "NCHW", any dtype.
      y: targets (N, ...), any dtype.
      alpha: α of the Beta distribution. Unless α > 0, λ = 1 and the batch is unchanged. Traced: changing it does not
        recompile.
      data_format: "NHWC" or "NCHW". Static.
      geometry: the box of a λ: "paper" is `cutmix_box`, "timm" `timm_box`, "kornia" `kornia_box`. Static.
      fold: replaces λ by the larger of λ and 1 - λ, so that no box covers more than half an image. Static.
      pairing: "permute" pairs by a uniform permutation; "roll" pairs each row with the one before it and "flip" the
        first with the last, the second with the last but one: fixed, so the batch must be shuffled. Static.
      groups: None cuts one box for the whole batch. g splits the batch into g contiguous groups of N/g rows: partners
        stay inside the group, and each group draws its own box. With one group a data shard no device needs another's
        rows. Static.
      per_example: draws a box for each row. Static.
      axis_name: inside `shard_map` or `pmap`, the mesh axis or axes over which the batch is split: x and y are then one
        device's shard, `groups` still counts those of the whole batch, a multiple of the shards, and the result is this
        shard's part of the whole batch's. Static.

    Returns:
      `Mixed(x, y_a, y_b, lam)`. x keeps its dtype, bit for bit. lam is the exact share of pixels kept, not the λ
      drawn; shape (), or (N,) with groups or per_example.

    Raises:
      TypeError: `key` is not a typed key, or alpha, fold, groups, per_example or axis_name have the wrong kind.
      ValueError: x has not four axes or a side above 32,768, y another number of rows, alpha is not a scalar,
        data_format, geometry or pairing is unknown, groups does not divide N, or axis_name is no axis around the call.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import ood_jax
      >>> images = jnp.broadcast_to(jnp.arange(4)[:, None, None, None], (4, 8, 6, 1))
      >>> x, y_a, y_b, lam = ood_jax.cutmix(jax.random.key(0), images, jnp.arange(4))
      >>> bool(jnp.all((x == y_a[:, None, None, None]).mean((1, 2, 3)) >= lam))
      True

    References:
      Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019,
      equations 1 and 2.
    """
    check_batch(x, y)
    height, width = _height_width(x, data_format)

    def mix(random: tuple[Array, Array], x: Array, y: Array) -> Mixed:
        key, alpha = random
        draw = draw_cutmix(
            key,
            x.shape[0],
            (height, width),
            alpha=alpha,
            geometry=geometry,
            fold=fold,
            pairing=pairing,
            groups=groups,
            per_example=per_example,
            axis_name=axis_name,
        )
        return apply_cutmix(draw, x, y, data_format=data_format)

    one_lam = groups is None and not per_example
    return mix_in_place(mix, (key, as_number("alpha", alpha)), x, y, one_lam=one_lam)


@public
def draw_cutmix(
    key: Key[Array, ""],
    n: int,
    image_size: tuple[int, ...],
    *,
    alpha: Real[Array, ""] | float = 1.0,
    geometry: Literal["paper", "timm", "kornia"] = "paper",
    fold: bool = False,
    pairing: Literal["permute", "roll", "flip"] = "permute",
    groups: int | None = None,
    per_example: bool = False,
    axis_name: AxisName = None,
) -> CutMixDraw:
    """Draws the box and the partners for `apply_cutmix`.

    Args:
      key: a typed PRNG key.
      n: the number of rows. Static.
      image_size: (H, W), from 1 to 32,768. Static.
      alpha: as in `cutmix`.
      geometry: as in `cutmix`.
      fold: as in `cutmix`.
      pairing: as in `cutmix`.
      groups: as in `cutmix`.
      per_example: as in `cutmix`.
      axis_name: as in `cutmix`; n is then the number of rows of one shard, and the draw is that shard's part.

    Returns:
      `CutMixDraw(box, partner)`. It depends on the arguments alone, never on the device layout.

    Raises:
      TypeError: `key` is not a typed key, or another argument has the wrong kind.
      ValueError: n < 0, a side is not from 1 to 32,768, groups < 1, alpha is not a scalar, geometry or pairing is
        unknown, groups does not divide n, or axis_name is no axis around the call.

    Example:
      >>> import jax
      >>> import ood_jax
      >>> draw = ood_jax.draw_cutmix(jax.random.key(0), 6, (32, 48), per_example=True)
      >>> draw.box.top.shape, draw.partner.shape
      ((6,), (6,))

    References:
      Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019,
      equation 2.
    """
    check_draw(key, n, fold, pairing, groups, per_example, axis_name)
    check_image_size(image_size)
    check_choice("geometry", geometry, tuple(_GEOMETRIES))
    position_of, place = _GEOMETRIES[geometry]
    height, width = image_size

    def draw(key: Array, rows: int) -> CutMixDraw:
        shape = (rows,) if per_example else ()
        words = random_words(key, (2, *shape), shape, shape, partner_words(rows, pairing))
        for_lam, for_row, for_column, for_partner = words
        position = position_of(for_row, height), position_of(for_column, width)
        box = place(mixing_weight(for_lam, alpha, fold), position, image_size)
        return CutMixDraw(box, partners(for_partner, rows, pairing))

    drawn = draw_by_group(draw, key, n, groups, axis_name)
    return drawn._replace(box=Box(*(flatten(edge, n, per_example) for edge in drawn.box)))


# What a random word becomes along a side of this size, a pixel or a fraction, and the box that is placed there.
_GEOMETRIES = {
    "paper": (below, cutmix_box),
    "timm": (below, timm_box),
    "kornia": (lambda words, _size: uniform(words), kornia_box),
}


@public
def apply_cutmix(
    draw: CutMixDraw,
    x: Shaped[Array, "n _ _ _"],
    y: Shaped[Array, "n ..."],
    *,
    data_format: Literal["NHWC", "NCHW"] = "NHWC",
) -> Mixed:
    """Cuts and pastes with a given draw; the deterministic part of `cutmix`.

    Args:
      draw: from `draw_cutmix`, or injected, as when a run of another framework is replayed. What a box holds outside
        the image does not count. A partner outside the batch, or the group, gives a box of NaN pixels, and its targets
        are NaN; integers cannot show it, and get their dtype's extreme.
      x: images (N, H, W, C), or (N, C, H, W) with data_format "NCHW", any dtype.
      y: targets (N, ...), any dtype.
      data_format: "NHWC" or "NCHW". Static.

    Returns:
      `Mixed(x, y_a, y_b, lam)`, as `cutmix`.

    Raises:
      TypeError: `draw` is not a `CutMixDraw`.
      ValueError: x has not four axes, data_format is unknown, or the sizes of draw, x and y differ.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> box = ood_jax.Box(*jnp.array([0, 1, 2, 4]))
      >>> draw = ood_jax.CutMixDraw(box, partner=jnp.array([1, 0]))
      >>> images = jnp.stack([jnp.zeros((2, 4, 1)), jnp.ones((2, 4, 1))])
      >>> mixed = ood_jax.apply_cutmix(draw, images, jnp.array([7, 9]))
      >>> mixed.x[0, :, :, 0].tolist(), float(mixed.lam)
      ([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]], 0.75)

    References:
      Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019,
      equation 1.
    """
    check_kind("draw", draw, CutMixDraw, "draw_cutmix")
    check_batch(x, y)
    height, width = _height_width(x, data_format)
    n = x.shape[0]
    check_kind("draw.box", draw.box, Box, "cutmix_box")
    check_partner(draw.partner, {f"box.{name}": edge for name, edge in draw.box._asdict().items()}, jnp.integer, n)

    def mix(draw: CutMixDraw, x: Array, y: Array) -> Mixed:
        box = clip_box(draw.box, height, width)
        mixed = paste(x, draw.partner, Box(*(per_row(edge, n) for edge in box)), data_format)
        # A share is computed once a box. Were boxes spread to rows first, the compiler would divide in another way on a
        # device with a single group, and the last bit would depend on the layout.
        lam = per_row(share_kept(box, height, width), n)
        return Mixed(mixed, y, take_partner(y, draw.partner), lam)

    return mix_in_place(mix, draw, x, y, one_lam=draw.box.top.ndim == 0)


def _height_width(x: Array, data_format: str) -> tuple[int, int]:
    check_choice("data_format", data_format, tuple(AXES))
    if x.ndim != 4:
        raise ValueError(f"`x` must be images of four axes, {data_format}, got shape {x.shape}.")
    height, width = (x.shape[axis] for axis in AXES[data_format])
    if height < 1 or width < 1:
        raise ValueError(f"`x` must hold images of at least one pixel, {data_format}, got shape {x.shape}.")
    return height, width
