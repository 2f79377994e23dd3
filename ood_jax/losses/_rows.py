"""What the losses need of a row of logits: log Σ exp, and the cross entropy of each of its labels.

They come together because they share the exponentials. The logits are read for their largest and for the exponentials;
these are summed, and the gradient is written over them.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._dtypes import wide
from .._platform import on_gpu
from .._sharding import placed_like
from .._sum import positive_sum
from ._exponentials import exp_difference, finite_or_zero, largest_logit, rounded
from ._known import known
from ._lookup import is_class, logit_at
from ._one_pass import largest_and_rest

Labels: TypeAlias = tuple[Int[Array, "*n"], ...]


class Row(NamedTuple):
    """Per-example terms.

    Attributes:
      largest: the largest logit, or 0 for an infinite one.
      rest: log Σ_k exp(z_k) - largest; the sum of both is not yet rounded.
      entropies: log Σ_k exp(z_k) - z_y, for each label y.
    """

    largest: Float[Array, "*n"]
    rest: Float[Array, "*n"]
    entropies: tuple[Float[Array, "*n"], ...]


@jax.custom_jvp
def row_terms(logits: Float[Array, "*n k"], labels: Labels, counted: Bool[Array, "*n"] | None) -> Row:
    """The terms of each row.

    A confident right answer has the entropy log(1 + ε), and the derivative p_y - 1: both formulas would lose ε. So the
    labels' exponentials are left out of the sum, and added at the end.

    Args:
      logits: (..., K), any float dtype; the terms are computed in float32 or wider.
      labels: none, one or two, each in [0, K).
      counted: rows that are False have derivatives of 0, whatever their logits.
    """
    return _row_terms(rounded(logits), labels)[0]


@row_terms.defjvp
def _row_terms_jvp(
    primals: tuple[Array, Labels, Array | None], tangents: tuple[Array, Labels, Array | None]
) -> tuple[Row, Row]:
    logits, labels, counted = rounded(primals[0]), *primals[1:]
    row, total, label_exps, others = _row_terms(logits, labels)
    exp = _other_exps(logits, row.largest[..., None], labels)
    tangent = tangents[0].astype(exp.dtype)
    # Zero cotangents do not stop the NaN of a row that does not count, for 0 · NaN is NaN; this does.
    tangent = tangent if counted is None else jnp.where(counted[..., None], tangent, 0)
    scale = 1 / total
    # Both derivatives are Σ_k p_k dz_k, but for the part of the entropy's own label: p_y - 1 = -Σ_{k≠y} p_k, which does
    # not cancel.
    unlabelled = scale * jnp.sum(exp * tangent, axis=-1)
    at_labels = [scale * jnp.sum(jnp.where(hit, tangent, 0), axis=-1) for hit in _hits(logits, labels)]
    parts = [e * t for e, t in zip(label_exps, at_labels, strict=True)]
    by_entropies = tuple(
        unlabelled + _beside(label, labels, parts) - rest * t
        for label, rest, t in zip(labels, others, at_labels, strict=True)
    )
    by_rest = unlabelled + _beside(labels[0], labels, parts) + parts[0] if labels else unlabelled
    # The largest is the level that rest is measured from. Moving it moves nothing.
    return known(row_terms, row, *primals), Row(jnp.zeros_like(row.largest), by_rest, by_entropies)


def _row_terms(logits: Array, labels: Labels) -> tuple[Row, Array, list[Array], list[Array]]:
    """The terms, and of the exponentials less the largest logit: the sum of all, the labels', all but a label's."""
    shift, unlabelled = _sums(logits, labels)
    label_logits = [logit_at(logits, label).astype(shift.dtype) for label in labels]
    label_exps = [exp_difference(logit, shift)[..., 0] for logit in label_logits]
    others = [unlabelled[..., 0] + _beside(label, labels, label_exps) for label in labels]
    total = others[0] + label_exps[0] if labels else unlabelled[..., 0]
    below = [(logit - shift)[..., 0] for logit in label_logits]
    # Where the label's logit is the largest, total is 1 + others, and the sum would swallow small others.
    entropies = tuple(
        jnp.where(b == 0, jnp.log1p(rest), jnp.log(total) - b) for b, rest in zip(below, others, strict=True)
    )
    return Row(shift[..., 0], jnp.log(total), entropies), total, label_exps, others


@jax.custom_jvp
def _sums(logits: Array, labels: Labels) -> tuple[Array, Array]:
    """The largest logit of each row, and the sum of the exponentials less it, without the labels'."""
    for label in labels:
        logits = placed_like(logits, label[..., None])
    return on_gpu(in_one_pass, in_two_passes, logits, labels)


@_sums.defjvp
def _sums_jvp(primals: tuple[Array, Labels], tangents: tuple[Array, Labels]) -> tuple[Any, Any]:
    logits, labels = primals
    shift, unlabelled = _sums(logits, labels)
    along = _other_exps(logits, shift, labels) * tangents[0].astype(shift.dtype)
    return (shift, unlabelled), (jnp.zeros_like(shift), jnp.sum(along, axis=-1, keepdims=True))


def in_two_passes(logits: Array, labels: Labels) -> tuple[Array, Array]:
    shift = largest_logit(logits).astype(wide(logits.dtype))
    return shift, positive_sum(_other_exps(logits, shift, labels))


def in_one_pass(logits: Array, labels: Labels) -> tuple[Array, Array]:
    others = logits.astype(wide(logits.dtype))
    for hit in _hits(logits, labels):
        others = jnp.where(hit, -jnp.inf, others)
    largest_other, rest = largest_and_rest(others)
    largest = functools.reduce(
        jnp.maximum, [logit_at(logits, label).astype(others.dtype) for label in labels], largest_other
    )
    shift = finite_or_zero(largest)
    unlabelled = (1 + rest) * exp_difference(largest_other, shift)
    return shift, jnp.where(largest_other == -jnp.inf, 0, unlabelled)


def _other_exps(logits: Array, shift: Array, labels: Labels) -> Array:
    """exp(z_k - shift), 0 for the labels."""
    exp = exp_difference(logits.astype(shift.dtype), shift)
    for hit in _hits(logits, labels):
        exp = jnp.where(hit, 0, exp)
    return exp


def _hits(logits: Array, labels: Labels) -> list[Bool[Array, "*n k"]]:
    return [is_class(logits, label) for label in labels]


def _beside(label: Array, labels: Labels, values: Sequence[Array]) -> Array:
    """The value of the row's other label, 0 if that is none or the same."""
    others = [jnp.where(y == label, 0, value) for y, value in zip(labels, values, strict=True)]
    return sum(others[1:], others[0])
