"""Features, labels and masks as the fitted detectors take them: checks, and rows of them."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_array, check_size, concrete
from .._dtypes import wide


def check_features(name: str, features: Any, width: int | None = None) -> None:
    """Floating-point features (..., D), of a detector's width where one is given."""
    check_array(name, features)
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise TypeError(
            f"`{name}` must be floating-point, got dtype {features.dtype}; cast with `{name}.astype(jnp.float32)`."
        )
    if features.ndim < 1 or features.shape[-1] < 1:
        raise ValueError(
            f"`{name}` must have shape (..., D) with at least one unit on the last axis, got shape {features.shape}."
        )
    if width is not None and features.shape[-1] != width:
        raise ValueError(
            f"`{name}` must have the {width} units that the detector was fitted on, on the last axis, got shape "
            f"{features.shape}; take both from the same layer."
        )


def check_labels(labels: Any, features: Array) -> None:
    if labels is None:
        raise TypeError("`labels` must be an array of classes, got NoneType; give each row of `features` its class.")
    check_array("labels", labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"`labels` must be integer classes, got dtype {labels.dtype}; cast them to int32.")
    if labels.shape != features.shape[:-1]:
        raise ValueError(
            f"`labels` must have one class for each of `features`, shape {features.shape[:-1]}, got {labels.shape}; "
            "both come from one batch."
        )


def check_known_labels(labels: Any, num_classes: Any, where: Any = None) -> None:
    """Labels whose values are at hand lie in [0, K), in the rows that count."""
    check_size("num_classes", num_classes, least=1)
    values = concrete(labels)
    if values is None or not np.issubdtype(values.dtype, np.integer):
        return
    wrong = (values < 0) | (values >= num_classes)
    if where is not None:
        counted = concrete(where)
        if counted is None or counted.shape != values.shape:
            return
        wrong &= counted.astype(bool)
    if wrong.any():
        raise ValueError(
            f"`labels` must lie in [0, {num_classes}), got {values[wrong].flat[0]}; leave such rows out, or mask them "
            "with the `where` of `fit_mahalanobis`."
        )


def as_rows(features: Float[Array, "*n d"]) -> Float[Array, "m d"]:
    """One axis of examples, in float32 or wider."""
    return features.reshape(-1, features.shape[-1]).astype(wide(features.dtype))


def length(rows: Float[Array, "m d"]) -> Float[Array, "m"]:
    """Of vectors on the last axis; with gradient 0 for zeros."""
    squares = jnp.sum(rows**2, axis=-1)
    return jnp.where(squares == 0, 0, jnp.sqrt(jnp.where(squares == 0, 1, squares)))
