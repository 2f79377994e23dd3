"""Mixup: convex combinations of pairs of examples."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Num, Real, Shaped

from .._api import public
from .._checks import as_number, check_batch, check_kind, check_partner
from .._dtypes import wide
from .._sharding import AxisName
from ._draw import check_draw, draw_by_group, flatten, mixing_weight, over_rows, partner_words, partners, per_row
from ._mixed import Mixed, mix_in_place
from ._partner import is_inside, take_partner
from ._words import random_words


class MixupDraw(NamedTuple):
    """The random part of mixup.

    Attributes:
      lam: the weight of each row itself, in [0, 1], float32: () for one a batch, (g,) a group, (n,) an example.
      partner: int32 row numbers, (n,); with groups (g, n/g), counted inside the group.
    """

    lam: Float[Array, ""] | Float[Array, " g"] | Float[Array, " n"]
    partner: Int[Array, " n"] | Int[Array, "g n/g"]


@public
def mixup(
    key: Key[Array, ""],
    x: Num[Array, "n ..."],
    y: Shaped[Array, "n ..."],
    *,
    alpha: Real[Array, ""] | float = 1.0,
    fold: bool = False,
    pairing: Literal["permute", "roll", "flip"] = "permute",
    groups: int | None = None,
    per_example: bool = False,
    axis_name: AxisName = None,
) -> Mixed:
    r"""Mixes each example with a random partner.

    $$\tilde x_i = \lambda x_i + (1 - \lambda) x_{\pi(i)}, \qquad \lambda \sim \mathrm{Beta}(\alpha, \alpha)$$

    with π a uniform permutation of the batch. Train with `mixup_criterion` or `mixup_cross_entropy`.

    Mix uint8 images before they are normalised: that is affine and the weights sum to one, so the order makes no
    difference but for rounding, and there are fewer bytes to read.

    Args:
      key: a typed PRNG key. Fold the step into the run's key, so that a restarted run draws the same.
      x: inputs (N, ...), any numeric dtype.
      y: targets (N, ...), any dtype.
      alpha: α of the Beta distribution; large values mix half and half. Unless α > 0, λ = 1 and the values are
        unchanged, as long as they are finite. Traced: changing it does not recompile.
      fold: replaces λ by the larger of λ and 1 - λ, so that a row is never less of the mix than its partner. Static.
      pairing: "permute" pairs by a uniform permutation; "roll" pairs each row with the one before it and "flip" the
        first with the last, the second with the last but one: fixed, so the batch must be shuffled. Static.
      groups: None mixes the whole batch with one λ. g splits the batch into g contiguous groups of N/g rows: partners
        stay inside the group, and each group draws its own λ. With one group a data shard no device needs another's
        rows. Static.
      per_example: draws a λ for each row. Static.
      axis_name: inside `shard_map` or `pmap`, the mesh axis or axes over which the batch is split: x and y are then one
        device's shard, `groups` still counts those of the whole batch, a multiple of the shards, and the result is this
        shard's part of the whole batch's. Static.

    Returns:
      `Mixed(x, y_a, y_b, lam)`. x keeps its float dtype (computed in float32 or wider, rounded once); integers and
      booleans give float32. lam has shape (), or (N,) with groups or per_example.

    Raises:
      TypeError: `key` is not a typed key, or x, alpha, fold, groups, per_example or axis_name have the wrong kind.
      ValueError: x has fewer than two axes, y another number of rows, alpha is not a scalar, pairing is unknown, groups
        does not divide N, or axis_name is no axis around the call.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import ood_jax
      >>> images, labels = jnp.arange(8.0).reshape(4, 2), jnp.arange(4)
      >>> x, y_a, y_b, lam = ood_jax.mixup(jax.random.key(0), images, labels, alpha=0.2)
      >>> bool(jnp.allclose(x, lam * images[y_a] + (1 - lam) * images[y_b]))
      True

    References:
      Hongyi Zhang, Moustapha Cisse, Yann N. Dauphin, David Lopez-Paz, "mixup: Beyond Empirical Risk Minimization",
      ICLR 2018, section 2. Per-example λ is the paper's form; one λ a batch is that of its published code.
    """
    check_batch(x, y)

    def mix(random: tuple[Array, Array], x: Array, y: Array) -> Mixed:
        key, alpha = random
        draw = draw_mixup(
            key,
            x.shape[0],
            alpha=alpha,
            fold=fold,
            pairing=pairing,
            groups=groups,
            per_example=per_example,
            axis_name=axis_name,
        )
        return apply_mixup(draw, x, y)

    one_lam = groups is None and not per_example
    return mix_in_place(mix, (key, as_number("alpha", alpha)), x, y, one_lam=one_lam)


@public
def draw_mixup(
    key: Key[Array, ""],
    n: int,
    *,
    alpha: Real[Array, ""] | float = 1.0,
    fold: bool = False,
    pairing: Literal["permute", "roll", "flip"] = "permute",
    groups: int | None = None,
    per_example: bool = False,
    axis_name: AxisName = None,
) -> MixupDraw:
    """Draws λ and the partners for `apply_mixup`.

    Args:
      key: a typed PRNG key.
      n: the number of rows. Static.
      alpha: as in `mixup`.
      fold: as in `mixup`.
      pairing: as in `mixup`.
      groups: as in `mixup`.
      per_example: as in `mixup`.
      axis_name: as in `mixup`; n is then the number of rows of one shard, and the draw is that shard's part.

    Returns:
      `MixupDraw(lam, partner)`. It depends on the arguments alone, never on the device layout.

    Raises:
      TypeError: `key` is not a typed key, or another argument has the wrong kind.
      ValueError: n < 0, groups < 1, alpha is not a scalar, pairing is unknown, groups does not divide n, or axis_name
        is no axis around the call.

    Example:
      >>> import jax
      >>> import ood_jax
      >>> draw = ood_jax.draw_mixup(jax.random.key(0), 6, groups=2)
      >>> draw.lam.shape, draw.partner.shape
      ((2,), (2, 3))

    References:
      Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, section 2.
    """
    check_draw(key, n, fold, pairing, groups, per_example, axis_name)

    def draw(key: Array, rows: int) -> MixupDraw:
        shape = (rows,) if per_example else ()
        for_lam, for_partner = random_words(key, (2, *shape), partner_words(rows, pairing))
        return MixupDraw(mixing_weight(for_lam, alpha, fold), partners(for_partner, rows, pairing))

    drawn = draw_by_group(draw, key, n, groups, axis_name)
    return drawn._replace(lam=flatten(drawn.lam, n, per_example))


@public
def apply_mixup(draw: MixupDraw, x: Num[Array, "n ..."], y: Shaped[Array, "n ..."]) -> Mixed:
    """Mixes with a given draw; the deterministic part of `mixup`.

    Args:
      draw: from `draw_mixup`, or injected, as when a run of another framework is replayed. A partner outside the
        batch, or the group, gives NaN rows, and its targets are NaN, or the extreme of their dtype if they are
        integers. λ outside [0, 1] extrapolates.
      x: inputs (N, ...), any numeric dtype.
      y: targets (N, ...), any dtype.

    Returns:
      `Mixed(x, y_a, y_b, lam)`, as `mixup`. In float32 each product is rounded before the sum, as PyTorch rounds it.

    Raises:
      TypeError: `draw` is not a `MixupDraw`, or x or y is not an array.
      ValueError: x has fewer than two axes, or the sizes of draw, x and y differ.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> draw = ood_jax.MixupDraw(lam=jnp.float32(0.75), partner=jnp.array([1, 0]))
      >>> mixed = ood_jax.apply_mixup(draw, jnp.array([[0.0], [4.0]]), jnp.array([7, 9]))
      >>> mixed.x.tolist(), mixed.y_b.tolist()
      ([[1.0], [3.0]], [9, 7])

    References:
      Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, section 2.
    """
    check_kind("draw", draw, MixupDraw, "draw_mixup")
    check_batch(x, y)
    check_partner(draw.partner, {"lam": draw.lam}, jnp.floating, x.shape[0])
    return mix_in_place(_mix, draw, x, y, one_lam=draw.lam.ndim == 0)


def _mix(draw: MixupDraw, x: Array, y: Array) -> Mixed:
    lam = per_row(draw.lam.astype(wide(draw.lam.dtype)), x.shape[0])
    share = lam
    if not jnp.issubdtype(x.dtype, jnp.inexact):  # of which a partner outside the batch is no NaN
        share = jnp.where(is_inside(draw.partner).reshape(-1), lam, jnp.nan)
    mixed = _interpolate(x, take_partner(x, draw.partner), over_rows(share, x.ndim))
    return Mixed(mixed, y, take_partner(y, draw.partner), lam)


def _interpolate(x: Array, partner: Array, lam: Array) -> Array:
    compute = wide(x.dtype)
    lam = lam.astype(compute)
    # A compiler may fuse a product and a sum into one operation with one rounding, which leaves errors of thousands of
    # ulp beside PyTorch where the terms cancel. A product plus zero rounds the same fused or not, and nothing is left
    # for the outer sum to fuse. λ·0 is such a zero: no compiler folds it, for λ could be NaN.
    zero = lam * 0
    mixed = (lam * x.astype(compute) + zero) + ((1 - lam) * partner.astype(compute) + zero)
    return mixed.astype(x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else compute)
