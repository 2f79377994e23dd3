"""Predicted probabilities and their labels: the checks, and what calibration needs of each row."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._checks import check_array, check_mask
from .._dtypes import wide, wide_integers
from ._checks import as_arrays, counted_and_bad, given


def check_predictions(probabilities: Any, labels: Any, where: Any) -> None:
    check_array("probabilities", probabilities)
    if not jnp.issubdtype(probabilities.dtype, jnp.floating):
        raise TypeError(
            f"`probabilities` must be floating-point, got dtype {probabilities.dtype}; apply `jax.nn.softmax` to the "
            "logits."
        )
    if probabilities.ndim < 1 or probabilities.shape[-1] < 1:
        raise ValueError(
            "`probabilities` must have shape (..., K) with at least one class on the last axis, got shape "
            f"{probabilities.shape}."
        )
    check_array("labels", labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"`labels` must be integer classes, got dtype {labels.dtype}; take `argmax` of one-hot ones.")
    if labels.shape != probabilities.shape[:-1]:
        raise ValueError(
            f"`labels` must have the shape {probabilities.shape[:-1]}, that of the probabilities without the class "
            f"axis, got {labels.shape}."
        )
    check_mask("where", where, "of `labels`", labels.shape)


def check_given_predictions(probabilities: Any, labels: Any, where: Any) -> None:
    probabilities, labels, where = as_arrays(probabilities, labels, where)
    check_predictions(probabilities, labels, where)
    if given(probabilities, where):
        counted, bad = counted_and_bad(_not_probabilities, where, probabilities)
        if counted == 0:
            raise ValueError(
                f"`probabilities` must have at least one row that counts, got shape {probabilities.shape} with none; "
                "a mean needs one, so check the data or `where`."
            )
        if bad:
            raise ValueError(
                f"`probabilities` must lie in [0, 1] in every row that counts, got {bad} of {counted} rows with others "
                "or NaN; apply `jax.nn.softmax` to logits."
            )
    if given(probabilities, labels, where):
        _, bad = counted_and_bad(_not_classes, where, labels, probabilities)
        if bad:
            raise ValueError(
                f"`labels` must lie in [0, {probabilities.shape[-1]}) in every row that counts, got {bad} rows with "
                "others; leave rows without a label out with `where`, as in `where=labels >= 0`."
            )


def _not_probabilities(probabilities: Float[Array, "*n k"]) -> Bool[Array, "*n"]:
    return jnp.any(~((probabilities >= 0) & (probabilities <= 1)), axis=-1)


def _not_classes(labels: Int[Array, "*n"], probabilities: Float[Array, "*n k"]) -> Bool[Array, "*n"]:
    return _out_of_range(labels, probabilities.shape[-1])


def _out_of_range(labels: Int[Array, "*n"], classes: int) -> Bool[Array, "*n"]:
    labels = wide_integers(labels)
    return (labels < 0) | (labels >= classes)


class Rows(NamedTuple):
    """Rows of probabilities and labels, zeros where they do not count, and whether all that count are usable."""

    probabilities: Float[Array, "n k"]
    labels: Int[Array, " n"]
    counted: Bool[Array, " n"]
    valid: Bool[Array, ""]

    @property
    def total(self) -> Int[Array, ""]:
        return jnp.sum(self.counted, dtype=jnp.int32)

    @property
    def confidence(self) -> Float[Array, " n"]:
        return jnp.max(self.probabilities, axis=-1)

    @property
    def accurate(self) -> Bool[Array, " n"]:
        return jnp.argmax(self.probabilities, axis=-1).astype(jnp.int32) == self.labels

    def poisoned(self, value: Float[Array, ""]) -> Float[Array, ""]:
        """The value, if it could be computed."""
        return jnp.where(self.valid & (self.total > 0), value, jnp.nan)


def rows_of(probabilities: Array, labels: Array, where: Array | None) -> Rows:
    classes = probabilities.shape[-1]
    probabilities, labels = probabilities.reshape(-1, classes), labels.reshape(-1)
    if labels.size == 0:  # no size of its own for what is empty anyway
        probabilities, labels, where = (
            jnp.zeros((1, classes), probabilities.dtype),
            jnp.zeros(1, int),
            jnp.zeros(1, bool),
        )
    counted = jnp.ones(labels.shape, jnp.bool_) if where is None else where.reshape(-1)
    bad = _not_probabilities(probabilities) | _out_of_range(labels, classes)
    usable = counted & ~bad
    probabilities = jnp.where(usable[:, None], probabilities.astype(wide(probabilities.dtype)), 0)
    return Rows(probabilities, jnp.where(usable, labels, 0).astype(jnp.int32), counted, ~jnp.any(counted & bad))
