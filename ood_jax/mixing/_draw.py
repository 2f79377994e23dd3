"""What the draws share: mixing weights and partners.

A draw is the only place that sees a key. It depends on the key and the global shape alone, never on how the batch is
laid out over devices.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from .._checks import (
    as_number,
    check_axis_name,
    check_choice,
    check_flag,
    check_groups,
    check_key,
    check_shards,
    check_size,
)
from .._sharding import AxisName
from ._beta import beta_of
from ._words import permutation

_Draw = TypeVar("_Draw")


def check_draw(
    key: Array, n: int, fold: bool, pairing: str, groups: int | None, per_example: bool, axis_name: AxisName
) -> None:
    check_key(key)
    check_size("n", n, least=0)
    check_flag("fold", fold)
    check_choice("pairing", pairing, ("permute", "roll", "flip"))
    check_flag("per_example", per_example)
    check_axis_name(axis_name)
    shards = 1 if axis_name is None else jax.lax.axis_size(axis_name)
    check_groups(n * shards, groups)
    if axis_name is not None:
        check_shards(groups, shards, axis_name)


def draw_by_group(
    draw: Callable[[Array, int], _Draw], key: Array, n: int, groups: int | None, axis_name: AxisName
) -> _Draw:
    """`draw(key, n)` of the whole batch, or one a group, stacked: with `axis_name` of the groups of this shard.

    A group's draw depends on the key, the group's number and its size, so any device can make it by itself.
    """
    key = _as_threefry(key)
    if groups is None:
        return draw(key, n)
    if axis_name is not None:
        groups //= jax.lax.axis_size(axis_name)
    numbers = jnp.arange(groups, dtype=jnp.int32)
    if axis_name is not None:
        numbers += jax.lax.axis_index(axis_name) * groups
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)
    return jax.vmap(lambda group_key: draw(group_key, n // groups))(keys)


def _as_threefry(key: Array) -> Array:
    """A key of JAX's default generator, made from any.

    What another generator ("rbg") gives for many keys at a time depends on how many they are, and on the platform.
    """
    if jax.random.key_impl(key) == _THREEFRY:
        return key
    folded = jax.random.key(0, impl=_THREEFRY)
    for word in jax.random.key_data(key).reshape(-1):
        folded = jax.random.fold_in(folded, word)
    return folded


_THREEFRY = "threefry2x32"


def flatten(values: Array, n: int, per_example: bool) -> Array:
    """Draws a row as (n,), also when they come by group."""
    return values.reshape(n) if per_example else values


def mixing_weight(words: UInt32[Array, "2 ..."], alpha: Array | float, fold: bool) -> Float[Array, "..."]:
    """λ ~ Beta(α, α), or 1 unless α > 0; folded, the larger of λ and 1 - λ."""
    alpha = as_number("alpha", alpha).astype(jnp.float32)
    drawn = beta_of(words, jnp.where(alpha > 0, alpha, 1))
    lam = jnp.where(alpha > 0, drawn, jnp.float32(1))
    return jnp.maximum(lam, 1 - lam) if fold else lam


def partner_words(n: int, pairing: str) -> tuple[int, int]:
    """The shape of the random words that `partners` needs: none but for "permute"."""
    return 2, n if pairing == "permute" else 0


def partners(words: UInt32[Array, "2 _"], n: int, pairing: str) -> Int[Array, " n"]:
    """Each row's partner."""
    if pairing == "permute":
        return permutation(words)
    rows = jnp.arange(n, dtype=jnp.int32)
    return jnp.roll(rows, 1) if pairing == "roll" else rows[::-1]


def per_row(values: Array, n: int) -> Array:
    """Spreads one value a group to the group's rows; a single value stays single."""
    if values.shape in ((), (n,)):
        return values
    groups = values.shape[0]
    return jnp.broadcast_to(values[:, None], (groups, n // groups)).reshape(n)


def over_rows(values: Array, ndim: int) -> Array:
    """Gives values of shape () or (n,) the trailing axes that line them up with an array (n, ...) of rank ndim."""
    return values.reshape(values.shape + (1,) * (ndim - 1)) if values.ndim else values
