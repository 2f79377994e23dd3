"""Per-example terms of the losses.

Logits have the classes on their last axis; all leading axes are the batch. Terms are computed in float32 or wider and
come unreduced, one value a row. They carry their own derivatives, because the obvious formulas lose every digit just
where training goes: log Σexp - z_y for a confident right answer, and KL(u‖p) for a uniform one.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float, Int, Num

from .._dtypes import wide, wide_integers
from .._sharding import placed_like
from ._probabilities import probability_cross_entropy
from ._rows import row_terms

# The class label that counts for nothing, as in PyTorch's cross entropy.
IGNORED = -100


class LogPartition(NamedTuple):
    """Log Σ_k exp(z_k) in two parts, the largest logit and the rest in [0, log K]: their sum, not yet rounded."""

    largest: Float[Array, "*n"]
    rest: Float[Array, "*n"]


class Entropy(NamedTuple):
    """Cross entropy a row, and which rows count."""

    values: Float[Array, "*n"]
    counted: Bool[Array, "*n"]


def widen(logits: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
    """Float32 or wider: the losses of bfloat16 and float16 logits are computed and returned in float32."""
    return logits.astype(wide(logits.dtype))


def widen_to(dtype: np.dtype, logits: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
    """Logits whose terms have the dtype. Those of bfloat16 that are computed in float32 anyhow stay as they are."""
    return logits if wide(logits.dtype) == dtype else logits.astype(dtype)


def placed_with(logits: Float[Array, "*n k"], where: Bool[Array, "*n"] | None) -> Float[Array, "*n k"]:
    """Logits that lie as their mask does, too: so do their derivatives, and the values have to lie as those."""
    return logits if where is None else placed_like(logits, where[..., None])


@jax.custom_jvp
def tempered(logits: Float[Array, "*n k"], temperature: Float[Array, ""]) -> Float[Array, "*n k"]:
    """Logits over T. It does not move an impossible class, -inf, where the derivative of the quotient is infinite."""
    return logits / temperature


@partial(tempered.defjvp, symbolic_zeros=True)
def _tempered_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array | SymbolicZero, Array | SymbolicZero]
) -> tuple[Array, Array]:
    scaled, temperature = tempered(*primals), primals[1]
    along = jnp.zeros_like(scaled)
    if not isinstance(tangents[0], SymbolicZero):
        along += tangents[0] / temperature
    if not isinstance(tangents[1], SymbolicZero):
        along -= jnp.where(scaled == -jnp.inf, 0, scaled) * (tangents[1] / temperature)
    return scaled, along


def all_rows(logits: Float[Array, "*n k"], where: Bool[Array, "*n"] | None) -> Bool[Array, "*n"]:
    return jnp.ones(logits.shape[:-1], bool) if where is None else where


def log_partition(logits: Float[Array, "*n k"], where: Bool[Array, "*n"] | None = None) -> LogPartition:
    row = row_terms(placed_with(logits, where), (), where)
    return LogPartition(row.largest, row.rest)


def cross_entropy(
    logits: Float[Array, "*n k"], targets: Num[Array, "..."], where: Bool[Array, "*n"] | None = None
) -> Entropy:
    """Targets are integer classes (-100 does not count; any other outside [0, K) gives NaN, in the gradient too) or
    class probabilities.
    """
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        return _with_probabilities(logits, targets, where)
    label = _as_label(logits, targets, where)
    row = row_terms(placed_with(logits, where), (label.classes,), label.counted)
    return Entropy(row.entropies[0] * label.poison, label.counted)


def two_cross_entropies(
    logits: Float[Array, "*n k"], first: Num[Array, "..."], second: Num[Array, "..."]
) -> tuple[Entropy, Entropy]:
    """Those of two targets of each row. Labels share the exponentials."""
    if not all(jnp.issubdtype(targets.dtype, jnp.integer) for targets in (first, second)):
        return cross_entropy(logits, first), cross_entropy(logits, second)
    labels = [_as_label(logits, targets, None) for targets in (first, second)]
    counted = labels[0].counted | labels[1].counted
    row = row_terms(logits, tuple(label.classes for label in labels), counted)
    a, b = (Entropy(e * label.poison, label.counted) for e, label in zip(row.entropies, labels, strict=True))
    return a, b


def cross_entropy_and_partition(
    logits: Float[Array, "*n k"], targets: Num[Array, "..."], where: Bool[Array, "*n"] | None
) -> tuple[Entropy, LogPartition]:
    """Both, for a label from the same exponentials."""
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        return _with_probabilities(logits, targets, where), log_partition(logits, where)
    label = _as_label(logits, targets, where)
    # The partition of a row without a label counts.
    row = row_terms(placed_with(logits, where), (label.classes,), where)
    return Entropy(row.entropies[0] * label.poison, label.counted), LogPartition(row.largest, row.rest)


class _Label(NamedTuple):
    classes: Int[Array, "*n"]
    counted: Bool[Array, "*n"]
    poison: Float[Array, "*n"]


def _as_label(logits: Array, targets: Array, where: Array | None) -> _Label:
    """Classes in [0, K), which of them count, and NaN for those that were outside."""
    counted = all_rows(logits, where)
    targets = wide_integers(targets)
    if jnp.issubdtype(targets.dtype, jnp.signedinteger):  # -100 as an unsigned number is a label out of range
        counted = counted & (targets != IGNORED)
    labels = jnp.where(counted, targets, 0)
    inside = (labels >= 0) & (labels < logits.shape[-1])
    classes = jnp.where(inside, labels, 0).astype(jnp.int32)
    return _Label(classes, counted, jnp.where(inside, 1, jnp.nan).astype(wide(logits.dtype)))


def _with_probabilities(logits: Array, targets: Array, where: Array | None) -> Entropy:
    entropies = probability_cross_entropy(placed_with(logits, where), targets, where)
    return Entropy(entropies, all_rows(logits, where))


def log_classes(logits: Float[Array, "*n k"]) -> Float[Array, ""]:
    """Log K, the entropy of the uniform distribution."""
    return jnp.asarray(np.log(logits.shape[-1]), wide(logits.dtype))
