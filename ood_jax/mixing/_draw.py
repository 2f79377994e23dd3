"""What the draws share: mixing weights and partners, one a batch, a group or a row.

A draw is the only place that sees a key. It depends on the key and the global shape alone, never on how the batch is
laid out over devices.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._checks import as_number, check_flag, check_groups, check_key, check_size
from ._beta import symmetric_beta


def check_draw(key: Array, n: int, groups: int | None, per_example: bool) -> None:
    check_key(key)
    check_size("n", n, least=0)
    check_groups(n, groups)
    check_flag("per_example", per_example)


def draws_shape(n: int, groups: int | None, per_example: bool) -> tuple[int, ...]:
    """The shape of what is drawn once a batch, a group or a row."""
    if per_example:
        return (n,)
    return () if groups is None else (groups,)


def draw_lam(key: Array, alpha: Array | float, shape: tuple[int, ...]) -> Array:
    """λ ~ Beta(α, α), or 1 unless α > 0."""
    alpha = as_number("alpha", alpha).astype(jnp.float32)
    drawn = symmetric_beta(key, jnp.where(alpha > 0, alpha, 1), shape)
    return jnp.where(alpha > 0, drawn, jnp.float32(1))


def draw_partner(key: Array, n: int, groups: int | None) -> Array:
    """A uniform permutation of the rows; with groups one inside each, of shape (g, n/g)."""
    if groups is None:
        return jax.random.permutation(key, n).astype(jnp.int32)
    keys = jax.random.split(key, groups)
    return jax.vmap(lambda group_key: jax.random.permutation(group_key, n // groups))(keys).astype(jnp.int32)


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
