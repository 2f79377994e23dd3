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

from ._gen import gen_score as gen_score
from ._knn import KNNState as KNNState
from ._knn import fit_knn as fit_knn
from ._knn import knn_score as knn_score
from ._logits import energy_score as energy_score
from ._logits import entropy_score as entropy_score
from ._logits import kl_uniform_score as kl_uniform_score
from ._logits import max_logit_score as max_logit_score
from ._logits import msp_score as msp_score
from ._mahalanobis import MahalanobisState as MahalanobisState
from ._mahalanobis import fit_mahalanobis as fit_mahalanobis
from ._mahalanobis import mahalanobis_score as mahalanobis_score
from ._mahalanobis import relative_mahalanobis_score as relative_mahalanobis_score
from ._odin import odin_score as odin_score
from ._react import ReactState as ReactState
from ._react import fit_react as fit_react
from ._react import react_features as react_features
from ._shaping import ash_features as ash_features
from ._shaping import scale_features as scale_features
from ._state import merge as merge
from ._state import update as update
from ._vim import VimState as VimState
from ._vim import fit_vim as fit_vim
from ._vim import fit_vim_subspace as fit_vim_subspace
from ._vim import vim_score as vim_score
