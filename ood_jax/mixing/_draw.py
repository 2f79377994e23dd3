"""What the draws share: mixing weights and partners.

A draw is the only place that sees a key. It depends on the key and the global shape alone, never on how the batch is
laid out over devices.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._checks import as_number, check_choice, check_flag, check_groups, check_key, check_size
from ._beta import symmetric_beta


def check_draw(key: Array, n: int, fold: bool, pairing: str, groups: int | None, per_example: bool) -> None:
    check_key(key)
    check_size("n", n, least=0)
    check_flag("fold", fold)
    check_choice("pairing", pairing, ("permute", "roll", "flip"))
    check_groups(n, groups)
    check_flag("per_example", per_example)


def draws_shape(n: int, groups: int | None, per_example: bool) -> tuple[int, ...]:
    """The shape of what is drawn once a batch, a group or a row."""
    if per_example:
        return (n,)
    return () if groups is None else (groups,)


def draw_lam(key: Array, alpha: Array | float, fold: bool, shape: tuple[int, ...]) -> Array:
    """λ ~ Beta(α, α), or 1 unless α > 0; folded, the larger of λ and 1 - λ."""
    alpha = as_number("alpha", alpha).astype(jnp.float32)
    drawn = symmetric_beta(key, jnp.where(alpha > 0, alpha, 1), shape)
    lam = jnp.where(alpha > 0, drawn, jnp.float32(1))
    return jnp.maximum(lam, 1 - lam) if fold else lam


def draw_partner(key: Array, n: int, pairing: str, groups: int | None) -> Array:
    """Each row's partner; with groups inside each, of shape (g, n/g). Only "permute" is random."""
    if groups is None:
        return _pair(key, n, pairing)
    keys = jax.random.split(key, groups)
    return jax.vmap(lambda group_key: _pair(group_key, n // groups, pairing))(keys)


def _pair(key: Array, n: int, pairing: str) -> Array:
    if pairing == "permute":
        return jax.random.permutation(key, n).astype(jnp.int32)
    rows = jnp.arange(n, dtype=jnp.int32)
    return jnp.roll(rows, 1) if pairing == "roll" else rows[::-1]


def take_partner(values: Array, partner: Array) -> Array:
    """Each row's partner. A partner outside the batch or group gives NaN (for integers the dtype's extreme)."""
    if partner.ndim == 1:
        return _take(values, partner)
    # Gathering inside each group, rather than by rows of the whole batch, lets the compiler see that it is local.
    grouped = values.reshape(partner.shape + values.shape[1:])
    return jax.vmap(_take)(grouped, partner).reshape(values.shape)


def _take(values: Array, rows: Array) -> Array:
    return values.at[rows].get(mode="fill", wrap_negative_indices=False)


def per_row(values: Array, n: int) -> Array:
    """Spreads one value a group to the group's rows; a single value stays single."""
    if values.shape in ((), (n,)):
        return values
    groups = values.shape[0]
    return jnp.broadcast_to(values[:, None], (groups, n // groups)).reshape(n)


def over_rows(values: Array, ndim: int) -> Array:
    """Gives values of shape () or (n,) the trailing axes that line them up with an array (n, ...) of rank ndim."""
    return values.reshape(values.shape + (1,) * (ndim - 1)) if values.ndim else values
