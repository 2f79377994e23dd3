"""Cross entropy with class probabilities."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._dtypes import wide
from .._platform import on_gpu
from .._sum import positive_sum, split_sum
from ._exponentials import exp_difference, finite_or_zero, read_again, rounded
from ._one_pass import largest_rest_and_targets


@jax.custom_jvp
def probability_cross_entropy(
    logits: Float[Array, "*n k"], targets: Float[Array, "*n k"], counted: Bool[Array, "*n"] | None
) -> Float[Array, "*n"]:
    """-Σ_k t_k log softmax_k(z), with every digit also where t is one-hot and z agrees.

    It is computed in float32, or wider if the logits are. A row that does not count has derivatives of 0, whatever its
    logits and targets.
    """
    return _value(_sums(rounded(logits), targets))[..., 0]


@probability_cross_entropy.defjvp
def _probability_cross_entropy_jvp(
    primals: tuple[Array, Array, Array | None], tangents: tuple[Array, Array, Array | None]
) -> tuple[Array, Array]:
    logits, targets, counted = rounded(primals[0]), *primals[1:]
    sums = _sums(logits, targets)
    along_logits, along_targets = _wide(*tangents[:2])
    if counted is not None:
        # Zero cotangents do not stop the NaN of a row that does not count, for 0 · NaN is NaN; this does.
        along_logits, along_targets = (
            jnp.where(counted[..., None], along, 0) for along in (along_logits, along_targets)
        )
    by_logits, by_targets = _gradients(*_wide(read_again(logits), read_again(targets)), sums)
    return _value(sums)[..., 0], jnp.sum(by_logits * along_logits + by_targets * along_targets, axis=-1)


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


def _wide(logits: Array, targets: Array) -> tuple[Array, Array]:
    dtype = wide(logits.dtype)
    return logits.astype(dtype), targets.astype(dtype)


def _value(sums: _Sums) -> Array:
    return sums.targets * jnp.log1p(sums.rest) + sums.distance


def _gradients(logits: Array, targets: Array, sums: _Sums) -> tuple[Array, Array]:
    """p_k Σt - t_k and -log p_k."""
    below, exp, total = logits - sums.largest, exp_difference(logits, sums.largest), 1 + sums.rest
    # For a top class of more than a half from the complements, for both terms may be near 1. Its exp is 1, and says
    # here that not all of the sum's derivative is the others'.
    other_exps = sums.rest - (exp - 1)
    complement = sums.other_targets - sums.targets * (other_exps / total)
    is_sure_top = (below == 0) & (sums.rest < 1)
    by_logits = jnp.where(is_sure_top, complement, sums.targets * (exp / total) - targets)
    return by_logits, jnp.log1p(sums.rest) - below


@jax.custom_jvp
def _sums(logits: Array, targets: Array) -> _Sums:
    sums = on_gpu(_in_one_pass, _in_passes, logits, targets)
    rest = jnp.where(jnp.isfinite(sums.largest), sums.rest, jnp.nan)
    return sums._replace(largest=finite_or_zero(sums.largest), rest=rest)


@_sums.defjvp
def _sums_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[_Sums, _Sums]:
    sums = _sums(*primals)
    logits, targets = _wide(*primals)
    along_logits, along_targets = _wide(*tangents)
    below, exp = logits - sums.largest, exp_difference(logits, sums.largest)
    others = jnp.where(below == 0, 0, along_targets)
    terms = exp * along_logits, others, along_targets, -(along_targets * below + targets * along_logits)
    # The largest is the level that all is measured from. Moving it moves nothing.
    level = jnp.zeros_like(sums.largest)
    return sums, _Sums(level, *(jnp.sum(term, axis=-1, keepdims=True) for term in terms))


def _in_passes(logits: Array, targets: Array) -> _Sums:
    largest = jnp.max(logits, axis=-1, keepdims=True).astype(wide(logits.dtype))
    logits, targets = _wide(logits, targets)
    exp = exp_difference(logits, finite_or_zero(largest))
    # 1 for the top. (For ties too, where only the sum of all matters.)
    is_top = jnp.floor(exp)
    ties = jnp.sum(is_top, axis=-1, keepdims=True) - 1
    rest = positive_sum(exp - is_top) + ties
    other_targets = split_sum(targets - targets * is_top)
    at_top = jnp.sum(targets * is_top, axis=-1, keepdims=True)
    distance = split_sum(jnp.where(targets == 0, 0, targets * (largest - logits)))
    return _Sums(largest, rest, other_targets, other_targets + at_top, distance)


def _in_one_pass(logits: Array, targets: Array) -> _Sums:
    largest, rest, at_top, other_targets, distance = largest_rest_and_targets(*_wide(logits, targets))
    return _Sums(largest, rest, other_targets, other_targets + at_top, distance)
