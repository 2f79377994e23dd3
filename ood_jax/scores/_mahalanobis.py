"""Distances to Gaussians with one covariance: the moments they are fitted by, and two scores."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax.linalg import triangular_solve
from jaxtyping import Array, Bool, Float, Int, Real

from .._api import checked, public
from .._checks import as_number, check_axis_name, check_kind, check_mask, check_size
from .._dtypes import wide, wide_integers
from .._sharding import AxisName, left_to_compiler
from ._features import as_rows, check_features, check_known_labels, check_labels
from ._layout import by_example

# On accelerators a float32 product is by default one of bfloat16 or TF32, whose errors a covariance does not survive.
EXACT = jax.lax.Precision.HIGHEST


class MahalanobisState(NamedTuple):
    """The moments of features by class: all that a Gaussian for each, of one covariance, is fitted from.

    Attributes:
      count: (K,), how many rows each class has; whole numbers in floating point, so that NaN can mark a bad fit.
      mean: (K, D), their means; 0 for a class without rows.
      scatter: (D, D), Σ (x - mean of its class)(x - mean of its class)ᵀ over all rows.
    """

    count: Float[Array, "k"]  # type: ignore[assignment]  # a tuple has a method of that name, which nobody misses
    mean: Float[Array, "k d"]
    scatter: Float[Array, "d d"]


@checked(check_known_labels)
@public
def fit_mahalanobis(
    features: Float[Array, "*n d"],
    labels: Int[Array, "*n"],
    *,
    num_classes: int,
    where: Bool[Array, "*n"] | None = None,
    axis_name: AxisName = None,
) -> MahalanobisState:
    r"""The moments by class that `mahalanobis_score` and `relative_mahalanobis_score` need.

    $$n_k, \quad \mu_k = \frac1{n_k} \sum_{y_i = k} x_i, \quad S = \sum_i (x_i - \mu_{y_i}) (x_i - \mu_{y_i})^\top$$

    No raw squares are summed, so features far from 0 keep the digits of their variance. `update` adds a batch, and
    `merge` joins the moments of two parts of the data; for a batch that has a mask or lies on several devices, merge
    its own fit.

    Args:
      features: (..., D), any float dtype; computed in float32 or wider.
      labels: integer classes (...) in [0, K). Another one raises if its value is at hand, and makes the state NaN if it
        is traced.
      num_classes: K. Static.
      where: boolean (...), the rows that count, as in a padded batch; None for all.
      axis_name: inside `shard_map` or `pmap`, the mesh axis or axes over which the rows are split, in parts of any
        size: each device gets the moments of all of them. Static.

    Returns:
      `MahalanobisState(count, mean, scatter)`, float32 or wider. No rows give zeros.

    Raises:
      TypeError: `features` is not floating-point, `labels` not integer, `num_classes` not an int, `where` not boolean,
        or `axis_name` no name.
      ValueError: shapes differ, `num_classes` is below 1, a label outside [0, K), or `axis_name` no axis around the
        call.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> features = jnp.array([[0.0, 1.0], [0.0, 3.0], [4.0, 0.0], [6.0, 0.0]])
      >>> state = ood_jax.scores.fit_mahalanobis(features, jnp.array([0, 0, 1, 1]), num_classes=2)
      >>> state.mean.tolist(), state.scatter.tolist()
      ([[0.0, 2.0], [5.0, 0.0]], [[2.0, 0.0], [0.0, 2.0]])

    References:
      Kimin Lee, Kibok Lee, Honglak Lee, Jinwoo Shin, "A Simple Unified Framework for Detecting Out-of-Distribution
      Samples and Adversarial Attacks", NeurIPS 2018, equation 1. Merged as in Tony F. Chan, Gene H. Golub, Randall J.
      LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979, equation 2.1.
    """
    check_features("features", features)
    check_labels(labels, features)
    check_size("num_classes", num_classes, least=1)
    check_mask("where", where, "row of `features`", features.shape[:-1])
    check_axis_name(axis_name)
    return moments_of(features, labels, where, num_classes, axis_name)


def moments_of(
    features: Float[Array, "*n d"],
    labels: Int[Array, "*n"] | None,
    where: Bool[Array, "*n"] | None,
    num_classes: int,
    axis_name: AxisName = None,
) -> MahalanobisState:
    """`fit_mahalanobis` of what is checked; without labels, all rows are of class 0."""
    labels = jnp.zeros(features.shape[:-1], jnp.int32) if labels is None else labels
    counted = jnp.ones(features.shape[:-1], bool) if where is None else where

    def fit(features: Array, labels: Array, counted: Array) -> MahalanobisState:
        return _moments(as_rows(features), labels.reshape(-1), counted.reshape(-1), num_classes, axis_name)

    return left_to_compiler(fit, features, labels, counted)


def _moments(rows: Array, labels: Array, counted: Array, num_classes: int, axis_name: AxisName) -> MahalanobisState:

    def total(part: Any) -> Any:
        return part if axis_name is None else jax.lax.psum(part, axis_name)

    def by_class(values: Array) -> Array:
        return jnp.matmul(member.T, values, precision=EXACT)

    labels = wide_integers(labels)
    outside = jnp.any(counted & ((labels < 0) | (labels >= num_classes)))
    rows = jnp.where(counted[:, None], rows, 0)
    belongs = (labels[:, None] == jnp.arange(num_classes, dtype=labels.dtype)[None]) & counted[:, None]
    # Products with a one-hot matrix, not a scatter: in order on every device, and split over devices like the rows.
    member = belongs.astype(rows.dtype)
    poison = jnp.where(outside, jnp.nan, 0).astype(rows.dtype)
    count, sums = total((jnp.sum(belongs, axis=0).astype(rows.dtype) + poison, by_class(rows)))
    share = 1 / jnp.where(count == 0, 1, count)[:, None]
    mean = sums * share
    centered = rows - jnp.matmul(member, mean, precision=EXACT)
    # What the means lost to rounding is left in the centred rows' sums. Of a million rows far from 0 it may be some
    # standard deviations, so they are centred once more; what is left then goes back into both moments.
    shift = total(by_class(centered)) * share
    mean, centered = mean + shift, centered - jnp.matmul(member, shift, precision=EXACT)
    left, scatter = total((by_class(centered), jnp.matmul(centered.T, centered, precision=EXACT)))
    shift = left * share
    return MahalanobisState(count, mean + shift, scatter - jnp.matmul(left.T, shift, precision=EXACT))


def merged_moments(one: MahalanobisState, other: MahalanobisState) -> MahalanobisState:
    """The moments of two parts of the data together."""
    dtype = wide(one.mean.dtype, other.mean.dtype)
    one, other = (MahalanobisState(*(part.astype(dtype) for part in state)) for state in (one, other))
    count = one.count + other.count
    share = other.count / jnp.where(count == 0, 1, count)
    apart = other.mean - one.mean
    between = jnp.matmul((apart * (one.count * share)[:, None]).T, apart, precision=EXACT)
    return MahalanobisState(count, one.mean + apart * share[:, None], one.scatter + other.scatter + between)


def scatter_about(state: MahalanobisState, origin: Float[Array, "d"]) -> Float[Array, "d d"]:
    """Σ (x - origin)(x - origin)ᵀ over all rows."""
    apart = state.mean - origin[None]
    return state.scatter + jnp.matmul((apart * state.count[:, None]).T, apart, precision=EXACT)


# Of spectra like those of features (steep, with dead units, of fewer rows than units) float32 factorises every one from
# 1e-5 on. At 1e-4 its distances are within 0.3% of float64's on the worst of them, and within 1e-6 on well-conditioned
# ones, which the ridge itself moves by less than 0.1%.
RIDGE = 1e-4


@public
def mahalanobis_score(
    state: MahalanobisState, features: Float[Array, "*n d"], *, ridge: Real[Array, ""] | float = RIDGE
) -> Float[Array, "*n"]:
    r"""The squared Mahalanobis distance to the nearest class mean, with the covariance that all classes share.

    $$\min_k\, (x - \mu_k)^\top \Sigma^{-1} (x - \mu_k), \qquad
      \Sigma = \frac1n S + \rho\, \frac{\operatorname{tr} S}{n D} I$$

    The covariance is factorised in each call, D³/3 operations: 3e9 for 2,048 units, which a ResNet-50 spends on one
    image. Score batches, not single rows.

    Args:
      state: the moments of the training data, from `fit_mahalanobis`.
      features: (..., D), any float dtype; computed in float32 or wider.
      ridge: ρ >= 0, what is added to every variance, as a share of their mean. Dead units and fewer rows than units
        make the covariance singular, so it should not be 0; at 1e-4 float32 factorises all that were tried. ρ < 0 and
        NaN give NaN. Traced.

    Returns:
      Scores (...) no lower than 0, float32 or wider; higher is more OOD. A class without rows is no class. NaN if there
      are no rows at all, a label was out of range, or the covariance is not positive definite: raise `ridge`. (With one
      row a class it is 0, and so is any share of it: there is nothing to measure by.) An infinite feature makes its own
      example's score NaN or infinite.

    Raises:
      TypeError: `state` is no `MahalanobisState`, `features` is not floating-point, or `ridge` not real.
      ValueError: `features` do not have the state's D units, or `ridge` is not a scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> features = jnp.array([[0.0, 1.0], [0.0, 3.0], [4.0, 0.0], [6.0, 0.0]])
      >>> state = ood_jax.scores.fit_mahalanobis(features, jnp.array([0, 0, 1, 1]), num_classes=2)
      >>> print(ood_jax.scores.mahalanobis_score(state, jnp.array([[0.0, 2.5], [9.0, 9.0]])).round(2))
      [  0.5  193.98]

    References:
      Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
      NeurIPS 2018, equation 2, with the sign turned.
    """
    return by_example(_nearest, *_prepared(state, features, ridge))


@public
def relative_mahalanobis_score(
    state: MahalanobisState, features: Float[Array, "*n d"], *, ridge: Real[Array, ""] | float = RIDGE
) -> Float[Array, "*n"]:
    r"""How much nearer the nearest class is than the data as a whole, $\min_k (\mathrm{MD}_k(x) - \mathrm{MD}_0(x))$.

    MD_k is the squared Mahalanobis distance to class k, as in `mahalanobis_score`, and MD_0 that to one Gaussian fitted
    to all rows. The moments by class hold both. What makes every class far alike, such as a feature that no class
    depends on, cancels.

    Args:
      state: the moments of the training data, from `fit_mahalanobis`.
      features: (..., D), any float dtype; computed in float32 or wider.
      ridge: ρ >= 0, as in `mahalanobis_score`; each covariance gets its own mean variance's share. Traced.

    Returns:
      Scores (...), of either sign, float32 or wider; higher is more OOD. NaN as in `mahalanobis_score`.

    Raises:
      TypeError: `state` is no `MahalanobisState`, `features` is not floating-point, or `ridge` not real.
      ValueError: `features` do not have the state's D units, or `ridge` is not a scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> features = jnp.array([[0.0, 1.0], [0.0, 3.0], [4.0, 0.0], [6.0, 0.0]])
      >>> state = ood_jax.scores.fit_mahalanobis(features, jnp.array([0, 0, 1, 1]), num_classes=2)
      >>> print(ood_jax.scores.relative_mahalanobis_score(state, jnp.array([[0.0, 2.5], [2.5, 1.0]])).round(1))
      [-1.  14.5]

    References:
      Jie Ren, Stanislav Fort, Jeremiah Liu, Abhijit Guha Roy, Shreyas Padhy, Balaji Lakshminarayanan, "A Simple Fix to
      Mahalanobis Distance for Improving Near-OOD Detection", 2021, equations 3 and 4.
    """
    return by_example(_relative, *_prepared(state, features, ridge))


def _prepared(state: Any, features: Any, ridge: Any) -> tuple[Array, MahalanobisState, Array]:
    """The inputs checked, in one dtype."""
    check_kind("state", state, MahalanobisState, "fit_mahalanobis")
    check_features("features", features, state.mean.shape[-1])
    dtype = wide(state.mean.dtype, features.dtype)
    ridge = as_number("ridge", ridge).astype(dtype)
    state = MahalanobisState(*(part.astype(dtype) for part in state))
    return features.astype(dtype), state, jnp.where(ridge >= 0, ridge, jnp.nan)


def _center(state: MahalanobisState) -> Float[Array, "d"]:
    """The mean of all rows."""
    return jnp.sum(state.count[:, None] * state.mean, axis=0) / jnp.sum(state.count)


def _relative(features: Array, state: MahalanobisState, ridge: Array) -> Array:
    """The smallest squared distance to a class, from which that to all rows' Gaussian is taken."""
    center = _center(state)
    whitened = _whitener(scatter_about(state, center), state, ridge)
    background = jnp.sum(whitened(as_rows(features) - center[None]) ** 2, axis=-1)
    return _nearest(features, state, ridge) - background.reshape(features.shape[:-1])


def _nearest(features: Array, state: MahalanobisState, ridge: Array) -> Array:
    """The smallest squared distance to a class."""
    whitened = _whitener(state.scatter, state, ridge)
    center = _center(state)[None]
    points, means = whitened(as_rows(features) - center), whitened(state.mean - center)
    # Differences, not |a|² - 2ab + |b|²: classes may lie apart by much more than a row lies from its own. The compiler
    # fuses them into the sum. For the gradient the class is given, or N·K·D numbers would be kept.
    apart = jnp.sum((jax.lax.stop_gradient(points)[:, None] - jax.lax.stop_gradient(means)[None]) ** 2, axis=-1)
    nearest = jnp.argmin(jnp.where(state.count[None] == 0, jnp.inf, apart), axis=-1)
    distance = jnp.sum((points - jnp.take(means, nearest, axis=0)) ** 2, axis=-1)
    return distance.reshape(features.shape[:-1])


def _whitener(scatter: Array, state: MahalanobisState, ridge: Array) -> Callable[[Array], Array]:
    """Maps rows to where the covariance is the identity."""
    covariance = scatter / jnp.sum(state.count)
    units = covariance.shape[0]
    covariance = covariance + ridge * (jnp.trace(covariance) / units) * jnp.eye(units, dtype=covariance.dtype)
    factor = jnp.linalg.cholesky(covariance)
    # A product with the inverse: as accurate here, and faster than to solve for all rows, for which a CPU's compiler
    # would gather those of all devices. (jax.scipy.linalg has the same solver, and would take a fifth of our import.)
    whiten = triangular_solve(factor, jnp.eye(units, dtype=factor.dtype), lower=True, transpose_a=True)
    return lambda rows: jnp.matmul(rows, whiten, precision=EXACT)
