"""States brought up to date: with another batch, or with the state of other data."""

from typing import Any, TypeVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._api import checked, public
from .._checks import describe
from .._dtypes import wide
from ._features import check_features, check_known_labels, check_labels
from ._knn import KNNState, bank_of
from ._mahalanobis import MahalanobisState, merged_moments, moments_of
from ._react import ReactState, merged_react, updated_react
from ._vim import VimState, merged_vim, updated_vim

State = TypeVar("State", MahalanobisState, KNNState, VimState, ReactState)
_STATES = (MahalanobisState, KNNState, VimState, ReactState)


def _check_values(state: Any, labels: Any) -> None:
    if isinstance(state, MahalanobisState):
        check_known_labels(labels, state.count.shape[-1])


@checked(_check_values)
@public
def update(state: State, features: Float[Array, "*n d"], labels: Int[Array, "*n"] | None = None) -> State:
    """The state of a detector that has seen another batch: what a fit of all the data would give, to rounding.

    Whatever the batches, of 0 rows too, a `MahalanobisState` or `VimState` differs from that of the whole by about
    1e-6 after a thousand updates, a `ReactState` has the same counts. Each update rounds once more: after a hundred
    thousand, of a few rows each, moments differ by up to 1e-4, and sums stop growing where a batch adds less than half
    a unit in the last place. Join small batches before, or fit parts by themselves and `merge` those. A `KNNState`
    grows by the batch's rows, in order, so its shape changes: update it outside of `scan`, or better fit it once. For a
    batch that has a mask or is split over a mesh axis, merge the state with the batch's own fit.

    Args:
      state: from any `fit_*` function, or `fit_vim_subspace`; for ViM the subspace stays, and its sums grow.
      features: (..., D), any float dtype.
      labels: integer classes (...) for a `MahalanobisState`, as in `fit_mahalanobis`; None for every other.

    Returns:
      A state of the same kind.

    Raises:
      TypeError: `state` is none of a detector, `features` not floating-point, `labels` missing or not integer.
      ValueError: shapes do not fit the state, a label is outside [0, K), or labels come where none are used.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> features, labels = jnp.array([[0.0, 1.0], [0.0, 3.0], [4.0, 0.0], [6.0, 0.0]]), jnp.array([0, 1, 0, 1])
      >>> state = ood_jax.scores.fit_mahalanobis(features[:2], labels[:2], num_classes=2)
      >>> state = ood_jax.scores.update(state, features[2:], labels[2:])
      >>> state.count.tolist(), state.mean.tolist()
      ([2.0, 2.0], [[2.0, 0.5], [3.0, 1.5]])

    References:
      Tony F. Chan, Gene H. Golub, Randall J. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
      Variances", 1979, equation 2.1, for the moments.
    """
    _check_state(state)
    if isinstance(state, MahalanobisState):
        check_features("features", features, state.mean.shape[-1])
        check_labels(labels, features)
        return merged_moments(state, moments_of(features, labels, None, len(state.count)))
    if labels is not None:
        raise ValueError(f"`labels` must be None for a {type(state).__name__}, got {describe(labels)}; leave them out.")
    if isinstance(state, ReactState):
        check_features("features", features)
        return updated_react(state, features)
    if isinstance(state, VimState):
        check_features("features", features, state.kernel.shape[0])
        return updated_vim(state, features)
    check_features("features", features, state.bank.shape[-1])
    return _joined(state.bank, bank_of(features))


@public
def merge(state: State, other: State) -> State:
    """One state for the data of two, such as those of two hosts, or of two halves of the data.

    Args:
      state: from a `fit_*` function or `update`.
      other: another of the same kind and sizes, fitted on other data. Both of a `VimState` must have the same subspace,
        from one call of `fit_vim_subspace`, and both of a `ReactState` the same percentile, or the result is NaN.

    Returns:
      A state of the same kind, as `update` would give, to rounding; the bank of `other` comes last.

    Raises:
      TypeError: `state` is none of a detector, or `other` of another kind.
      ValueError: the sizes of the two differ.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> features, labels = jnp.array([[0.0, 1.0], [0.0, 3.0], [4.0, 0.0], [6.0, 0.0]]), jnp.array([0, 1, 0, 1])
      >>> halves = [
      ...     ood_jax.scores.fit_mahalanobis(features[i : i + 2], labels[i : i + 2], num_classes=2) for i in (0, 2)
      ... ]
      >>> ood_jax.scores.merge(*halves).mean.tolist()
      [[2.0, 0.5], [3.0, 1.5]]

    References:
      Chan et al., "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979, equation 2.1, for
      the moments.
    """
    _check_state(state)
    if type(other) is not type(state):
        raise TypeError(f"`other` must be a {type(state).__name__} like `state`, got {describe(other)}.")
    mine, theirs = ([part.shape for part in each] for each in (state, other))
    if mine != theirs and not isinstance(state, KNNState):
        raise ValueError(
            f"`other` must have the shapes of `state`, {mine}, got {theirs}; fit both for the same layer and classes."
        )
    if isinstance(state, MahalanobisState):
        return merged_moments(state, other)
    if isinstance(state, VimState):
        return merged_vim(state, other)
    if isinstance(state, ReactState):
        return merged_react(state, other)
    check_features("other.bank", other.bank, state.bank.shape[-1])
    return _joined(state.bank, other.bank)


def _check_state(state: Any) -> None:
    if not isinstance(state, _STATES):
        kinds = ", ".join(kind.__name__ for kind in _STATES)
        raise TypeError(f"`state` must be one of {kinds}, got {describe(state)}; make one with a `fit_*` function.")


def _joined(*banks: Array) -> KNNState:
    dtype = wide(*(bank.dtype for bank in banks))
    return KNNState(jnp.concatenate([bank.astype(dtype) for bank in banks]))
