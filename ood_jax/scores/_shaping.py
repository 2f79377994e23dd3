"""ASH and SCALE: each example's features weighed by how much of their sum the largest of them hold."""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Real

from .._api import checked, public
from .._checks import as_number, check_choice, known_number
from .._dtypes import wide
from ._features import check_features
from ._layout import by_unit


def _check_percentile(features: Any, percentile: Any) -> None:
    value = known_number(percentile)
    if value is None:
        return
    if not 0 <= value < 100:
        raise ValueError(f"`percentile` must be from 0 to below 100, got {value:g}; it is no fraction.")
    units = np.shape(features)[-1:]
    if units and round(units[0] * value / 100) == units[0]:
        raise ValueError(f"`percentile` must leave one of the {units[0]} units, got {value:g}; choose a lower one.")


@checked(_check_percentile)
@public
def ash_features(
    features: Float[Array, "*n d"], *, percentile: Real[Array, ""] | float = 90.0, form: Literal["s", "b", "p"] = "s"
) -> Float[Array, "*n d"]:
    r"""Activation shaping: each example's smallest activations pruned, and the others changed to make up for it.

    With $s_1$ the sum of all D activations and $s_2$ that of the M = D - round(D·p/100) largest, which stay: form "p"
    leaves them as they are, "b" makes each $s_1 / M$, "s" multiplies them by $\exp(s_1 / s_2)$. The result is given to
    the network's head and scored by its logits: `energy_score(head(ash_features(features)))`. The factor of "s" is at
    most $\exp(D / M)$, or about $\exp(100 / (100 - p))$, which it reaches where all activations are equal: from
    p = 98.9 on it may be too large for float32, and what stays infinite.

    Args:
      features: (..., D), no less than 0, as after a ReLU; any float dtype, computed in float32 or wider. Feature maps
        are flattened to one axis an example.
      percentile: p, how many in a hundred are pruned, from 0 to below 100, with at least one left; taken as a float32
        or in the features' wider dtype. Another one raises if its value is at hand, and gives NaN if it is traced. The
        paper takes on ImageNet 90 with form "s", 65 with "b", 60 with "p". Traced.
      form: "s" (scale), "b" (binarise) or "p" (prune). Static.

    Returns:
      Features (..., D), float32 or wider. Zeros stay zeros. Of activations that are equal the first stay. NaN makes its
        whole example NaN.

    Raises:
      TypeError: `features` is not floating-point, or `percentile` not real.
      ValueError: `features` has no feature axis, `percentile` leaves no unit, or `form` is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> features = jnp.array([1.0, 2.0, 0.0, 5.0])
      >>> for form in ("p", "b"):
      ...     print(ood_jax.scores.ash_features(features, percentile=50, form=form))
      [0. 2. 0. 5.]
      [0. 4. 0. 4.]

    References:
      Andrija Djurisic, Nebojsa Bozanic, Arjun Ashok, Rosanne Liu, "Extremely Simple Activation Shaping for
      Out-of-Distribution Detection", ICLR 2023, algorithms 1 to 3.
    """
    check_choice("form", form, ("s", "b", "p"))
    features, largest = _prepared(features, percentile)
    total, pruned = _total(features), jnp.where(largest.kept, features, 0)
    if form == "b":
        pruned = jnp.where(largest.kept, total / largest.number, 0)
    if form == "s":
        pruned = _scaled(pruned, total, _total(pruned))
    return jnp.where(jnp.isnan(total), jnp.nan, pruned)  # an example with NaN must not lose it to the pruning


@checked(_check_percentile)
@public
def scale_features(
    features: Float[Array, "*n d"], *, percentile: Real[Array, ""] | float = 85.0
) -> Float[Array, "*n d"]:
    r"""SCALE: each example's activations times $\exp(s_1 / s_2)$, none of them pruned.

    s₁ is the sum of all D activations and s₂ that of the D - round(D·p/100) largest. The result is given to the
    network's head and scored by its logits: `energy_score(head(scale_features(features)))`. The factor is at most about
    $\exp(100 / (100 - p))$, as in `ash_features`.

    Args:
      features: (..., D), no less than 0, as after a ReLU; any float dtype, computed in float32 or wider.
      percentile: p, how many in a hundred are left out of s₂, as in `ash_features`. Traced.

    Returns:
      Features (..., D), float32 or wider. Zeros stay zeros. NaN makes its whole example NaN.

    Raises:
      TypeError: `features` is not floating-point, or `percentile` not real.
      ValueError: `features` has no feature axis, or `percentile` leaves no unit.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> print(ood_jax.scores.scale_features(jnp.array([0.0, 0.0, 0.0, 5.0]), percentile=50).round(1))
      [ 0.   0.   0.  13.6]

    References:
      Kai Xu, Rongyu Chen, Gianni Franchi, Angela Yao, "Scaling for Training Time and Post-hoc Out-of-distribution
      Detection Enhancement", ICLR 2024, equations 5 and 6.
    """
    features, largest = _prepared(features, percentile)
    return _scaled(features, _total(features), _total(jnp.where(largest.kept, features, 0)))


class _Largest(NamedTuple):
    kept: Bool[Array, "*n d"]
    number: Float[Array, ""]


def _prepared(features: Any, percentile: Any) -> tuple[Array, _Largest]:
    """The features, NaN where the percentile leaves none, and which of each example's are the largest."""
    check_features("features", features)
    features = features.astype(wide(features.dtype))
    percentile = as_number("percentile", percentile).astype(features.dtype)
    # By a constant the compiler would not divide, but multiply with its reciprocal, and halves would be none any more.
    hundred = jnp.where(jnp.isnan(percentile), percentile, 100)
    count = features.shape[-1] - jnp.round(features.shape[-1] * percentile / hundred)
    features = jnp.where((percentile >= 0) & (count >= 1), features, jnp.nan)
    return features, _Largest(by_unit(_is_among, features, count), count)


def _is_among(features: Array, count: Array) -> Bool[Array, "*n d"]:
    """Whether a unit is among so many largest of its example."""
    # The place of each in the order of size, so that a percentile is a number like others and compiles nothing anew.
    order = jnp.argsort(features, axis=-1, stable=True, descending=True)
    place = jnp.argsort(order, axis=-1)
    return place.astype(features.dtype) < count


def _total(features: Array) -> Float[Array, "*n 1"]:
    return jnp.sum(features, axis=-1, keepdims=True)


def _scaled(features: Array, total: Array, part: Array) -> Float[Array, "*n d"]:
    """Times exp(s₁ / s₂); of an example that is all zeros any factor is right."""
    ratio = total / jnp.where(part == 0, 1, part)
    factor = jnp.exp(jnp.where((part == 0) & (total != 0), jnp.nan, ratio))
    return jnp.where((features == 0) & jnp.isinf(factor), 0, features * factor)  # 0 · ∞ is NaN
