"""Cross entropy with class probabilities."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._sum import accurate_sum
from ._exponentials import exp_difference, largest_logit


@jax.custom_jvp
def probability_cross_entropy(
    logits: Float[Array, "*n k"], targets: Float[Array, "*n k"], counted: Bool[Array, "*n"] | None
) -> Float[Array, "*n"]:
    """-Σ_k t_k log softmax_k(z), with every digit also where t is one-hot and z agrees.

    A row that does not count has derivatives of 0, whatever its logits and targets.
    """
    return _probability_cross_entropy(logits, targets)[0]


@probability_cross_entropy.defjvp
def _probability_cross_entropy_jvp(
    primals: tuple[Array, Array, Array | None], tangents: tuple[Array, Array, Array | None]
) -> tuple[Array, Array]:
    logits, targets, counted = primals
    value, by_logits, by_targets = _probability_cross_entropy(logits, targets)
    # Zero cotangents do not stop the NaN of a row that does not count, for 0 · NaN is NaN; this does.
    along_logits, along_targets = (
        tangent if counted is None else jnp.where(counted[..., None], tangent, 0) for tangent in tangents[:2]
    )
    return value, jnp.sum(by_logits * along_logits + by_targets * along_targets, axis=-1)


def _probability_cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array, Array]:
    top = jnp.argmax(logits, axis=-1, keepdims=True)
    is_top = jax.lax.broadcasted_iota(top.dtype, logits.shape, logits.ndim - 1) == top
    largest = largest_logit(logits)
    shifted, exp = logits - largest, exp_difference(logits, largest)
    # Sums without the top class, which would swallow the rest.
    rest = accurate_sum(jnp.where(is_top, 0, exp))
    other_targets = jnp.where(is_top, 0, targets)
    targets_rest = accurate_sum(other_targets)
    mass = targets_rest + jnp.sum(targets - other_targets, axis=-1, keepdims=True)
    # -log p_k: no term is negative, so nothing cancels.
    surprise = jnp.log1p(rest) - shifted
    terms = jnp.where(targets == 0, 0, targets * surprise)
    value = accurate_sum(terms)
    # mass·p_k - t_k; for a top class of more than a half from the complements, for both may be near 1.
    complement = targets_rest - mass * (rest / (1 + rest))
    by_logits = jnp.where(is_top & (rest < 1), complement, mass * (exp / (1 + rest)) - targets)
    return value[..., 0], by_logits, surprise
