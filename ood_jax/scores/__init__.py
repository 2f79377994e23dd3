"""Scores of how far an example is out of distribution: of logits, and of features by fitted detectors.

    >>> import jax.numpy as jnp
    >>> import ood_jax
    >>> features, labels = jnp.eye(4).repeat(3, axis=0), jnp.arange(4).repeat(3)
    >>> state = ood_jax.scores.fit_mahalanobis(features, labels, num_classes=4)
    >>> ood_jax.scores.mahalanobis_score(state, features).shape
    (12,)

A higher score means more out of distribution. Classes and features lie on the last axis; all leading axes are the
batch. A detector is fitted by a function that returns its state, a NamedTuple of arrays, which `update` brings up to
date with another batch and `merge` joins with the state of other data.
"""

from ._gen import gen_score
from ._knn import KNNState, fit_knn, knn_score
from ._logits import energy_score, entropy_score, kl_uniform_score, max_logit_score, msp_score
from ._mahalanobis import MahalanobisState, fit_mahalanobis, mahalanobis_score, relative_mahalanobis_score
from ._odin import odin_score
from ._react import ReactState, fit_react, react_features
from ._shaping import ash_features, scale_features
from ._state import merge, update
from ._vim import VimState, fit_vim, fit_vim_subspace, vim_score

__all__ = [
    "KNNState",
    "MahalanobisState",
    "ReactState",
    "VimState",
    "ash_features",
    "energy_score",
    "entropy_score",
    "fit_knn",
    "fit_mahalanobis",
    "fit_react",
    "fit_vim",
    "fit_vim_subspace",
    "gen_score",
    "kl_uniform_score",
    "knn_score",
    "mahalanobis_score",
    "max_logit_score",
    "merge",
    "msp_score",
    "odin_score",
    "react_features",
    "relative_mahalanobis_score",
    "scale_features",
    "update",
    "vim_score",
]
