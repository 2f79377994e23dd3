"""Cross entropy with class probabilities."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float

from .._dtypes import wide
from .._platform import on_gpu
from .._sharding import placed_like
from .._sum import plain_sums_do, split_sum, split_sums
from ._exponentials import exp_difference, finite_or_zero, read_again, rounded
from ._known import known
from ._one_pass import largest_rest_and_targets


@jax.custom_jvp
def probability_cross_entropy(
    logits: Float[Array, "*n k"], targets: Float[Array, "*n k"], counted: Bool[Array, "*n"] | None
) -> Float[Array, "*n"]:
    """-Σ_k t_k log softmax_k(z), with every digit also where t is one-hot and z agrees.

    It is computed in float32, or wider if the logits are. A row that does not count has derivatives of 0, whatever its
    logits and targets.
    """
    return _value(_sums(*_placed(logits, targets)))[..., 0]


@partial(probability_cross_entropy.defjvp, symbolic_zeros=True)
def _probability_cross_entropy_jvp(
    primals: tuple[Array, Array, Array | None], tangents: tuple[Array | SymbolicZero, ...]
) -> tuple[Array, Array]:
    (logits, targets), counted = _placed(*primals[:2]), primals[2]
    sums = _sums(logits, targets)
    gradients = _gradients(*_wide(read_again(logits), read_again(targets)), sums)
    value = _value(sums)[..., 0]
    along = jnp.zeros_like(value)
    for gradient, tangent in zip(gradients, tangents[:2], strict=True):
        if isinstance(tangent, SymbolicZero):
            continue  # a product would be NaN where the gradient by a target of 0 is infinite
        # Zero cotangents do not stop the NaN of a row that does not count, for 0 · NaN is NaN; this does.
        tangent = tangent if counted is None else jnp.where(counted[..., None], tangent, 0)
        along += jnp.sum(gradient * tangent.astype(gradient.dtype), axis=-1)
    return known(probability_cross_entropy, value, *primals), along


class _Sums(NamedTuple):
    """Sums over a row. The class of the largest logit, the top, would swallow the rest, so it is left out of two.

    Attributes:
      largest: the largest logit m.
      rest: Σ exp(z_k - m) of all classes but the top; NaN if m is not finite.
      other_targets: Σ t_k of all but the top.
      targets: Σ t_k.
      distance: Σ t_k (m - z_k), of which no term is negative, so nothing cancels.
    """

    largest: Float[Array, "*n 1"]
    rest: Float[Array, "*n 1"]
    other_targets: Float[Array, "*n 1"]
    targets: Float[Array, "*n 1"]
    distance: Float[Array, "*n 1"]


def _placed(logits: Array, targets: Array) -> tuple[Array, Array]:
    return rounded(placed_like(logits, targets)), placed_like(targets, logits)


def _wide(logits: Array, targets: Array) -> tuple[Array, Array]:
    dtype = wide(logits.dtype)
    return logits.astype(dtype), targets.astype(dtype)


def _value(sums: _Sums) -> Array:
    return sums.targets * jnp.log1p(sums.rest) + sums.distance


def _gradients(logits: Array, targets: Array, sums: _Sums) -> tuple[Array, Array]:
    """p_k Σt - t_k and -log p_k."""
    below, exp, total = logits - sums.largest, _exps(logits, sums.largest), 1 + sums.rest
    # For a top class of more than a half from the complements, for both terms may be near 1. (Its exp is 1, and stands
    # here for its part of the total's derivative, which is not the others'.)
    other_exps = sums.rest - (exp - 1)
    complement = sums.other_targets - sums.targets * (other_exps / total)
    is_sure_top = (below == 0) & (sums.rest < 1)
    by_logits = jnp.where(is_sure_top, complement, sums.targets * (exp / total) - targets)
    return by_logits, jnp.log1p(sums.rest) - below


@jax.custom_jvp
def _exps(logits: Array, largest: Array) -> Array:
    """exp(z - m), on every machine 1 for m itself."""
    return jnp.where(logits == largest, 1, exp_difference(logits, largest))


@_exps.defjvp
def _exps_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    exp = _exps(*primals)
    return exp, exp * (tangents[0] - tangents[1])


@jax.custom_jvp
def _sums(logits: Array, targets: Array) -> _Sums:
    sums = on_gpu(_in_one_pass, _in_passes, logits, targets)
    # (A sum that goes on into the gradient as it is, XLA for CPUs would compute together with it, and slowly.)
    rest, others = (jnp.where(jnp.isfinite(sums.largest), of, jnp.nan) for of in (sums.rest, sums.other_targets))
    return sums._replace(largest=finite_or_zero(sums.largest), rest=rest, other_targets=others)


@partial(_sums.defjvp, symbolic_zeros=True)
def _sums_jvp(primals: tuple[Array, Array], tangents: tuple[Array | SymbolicZero, ...]) -> tuple[_Sums, _Sums]:
    sums, (logits, targets) = _sums(*primals), _wide(*primals)
    # The largest is the level that all is measured from. Moving it moves nothing.
    along = _Sums(*(jnp.zeros_like(part) for part in sums))
    below = logits - sums.largest
    if not isinstance(tangents[0], SymbolicZero):
        tangent = tangents[0].astype(below.dtype)
        along = along._replace(rest=_sum(_exps(logits, sums.largest) * tangent), distance=-_sum(targets * tangent))
    if not isinstance(tangents[1], SymbolicZero):
        tangent = tangents[1].astype(below.dtype)
        along = along._replace(
            other_targets=_sum(jnp.where(below == 0, 0, tangent)),
            targets=_sum(tangent),
            distance=along.distance - _sum(tangent * below),
        )
    return sums, along


def _sum(terms: Array) -> Array:
    return jnp.sum(terms, axis=-1, keepdims=True)


def _in_passes(logits: Array, targets: Array) -> _Sums:
    largest = jnp.max(logits, axis=-1, keepdims=True).astype(wide(logits.dtype))
    logits, targets = _wide(logits, targets)
    exp = _exps(logits, finite_or_zero(largest))
    return (_in_plain_sums if plain_sums_do(logits) else _in_split_sums)(largest, exp, logits, targets)


def _in_split_sums(largest: Array, exp: Array, logits: Array, targets: Array) -> _Sums:
    total, small = split_sums(exp)
    # 1 for the top. (For ties too, whose other targets do not matter.)
    other_targets = split_sum(targets - targets * jnp.floor(exp))
    distance = split_sum(jnp.where(targets == 0, 0, targets * (largest - logits)))
    return _Sums(largest, (total - 1) + small, other_targets, split_sum(targets), distance)


def _in_plain_sums(largest: Array, exp: Array, logits: Array, targets: Array) -> _Sums:
    """The same with one pass a sum."""
    (second,) = _as_others(exp)
    third, targets_again = _as_others(second, targets)
    rest = _sum(exp - jnp.floor(exp)) + (_sum(jnp.floor(second)) - 1)
    other_targets = _sum(targets_again - targets_again * jnp.floor(third))
    return _Sums(largest, rest, other_targets, _sum(targets), _sum(_distances(largest, logits, targets)))


def _as_others(*arrays: Array) -> tuple[Array, ...]:
    """The same arrays, to a CPU's compiler as if they were others: what two sums share, it would write to memory."""
    return jax.lax.platform_dependent(
        *arrays, tpu=lambda *same: same, default=lambda *same: jax.lax.optimization_barrier(same)
    )


def _distances(largest: Array, logits: Array, targets: Array) -> Array:
    """t_k (m - z_k), where an impossible class, -inf, that has no target counts 0; without the `where` for that, which
    a sum could not do on its way.
    """
    below, most = largest - logits, jnp.finfo(logits.dtype).max
    finite = jnp.minimum(below, most)
    distance = targets * finite
    # For an infinite one the largest number, whose product with any distance but 0 is infinite; else 0. (The sum of a
    # single row's products would become a matrix product, which adds up one term after the other. This is one of sums.)
    return distance + distance * jnp.minimum(below - finite, most)


def _in_one_pass(logits: Array, targets: Array) -> _Sums:
    largest, rest, at_top, other_targets, distance = largest_rest_and_targets(*_wide(logits, targets))
    return _Sums(largest, rest, other_targets, other_targets + at_top, distance)
