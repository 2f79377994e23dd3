"""ViM: what the principal subspace of the features leaves over, as the logit of one more class."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._api import public
from .._checks import check_array, check_kind, check_size
from .._dtypes import wide
from .._sharding import left_to_compiler
from ..losses._energy import free_energy
from ._features import as_rows, check_features, length
from ._layout import by_example
from ._mahalanobis import EXACT, MahalanobisState, moments_of, scatter_about


class VimState(NamedTuple):
    """A network's last layer, the subspace that its training features leave empty, and the scale of what lies there.

    Attributes:
      origin: (D,), the features for which the last layer's logits are as near to 0 as they come.
      residual: (D, D - dim), an orthonormal basis of the directions of least variance about the origin.
      kernel: (D, K), the last layer's weights.
      bias: (K,), its biases.
      logit_sum: Σ max_k z_k over the training features.
      residual_sum: Σ ‖residual‖ over the same.
    """

    origin: Float[Array, "d"]
    residual: Float[Array, "d r"]
    kernel: Float[Array, "d k"]
    bias: Float[Array, "k"]
    logit_sum: Float[Array, ""]
    residual_sum: Float[Array, ""]


@public
def fit_vim(
    features: Float[Array, "*n d"], kernel: Float[Array, "d k"], bias: Float[Array, "k"], *, dim: int
) -> VimState:
    r"""All that `vim_score` needs, from training features that are at hand at once.

    The origin $-(W^\top)^+ b$, the `dim` directions of most variance about it, which are taken away, and the scale
    $\alpha = \sum_i \max_k z_{ik} / \sum_i \|x_i^\perp\|$. Where features come in batches, the subspace and the scale
    take a pass each: `fit_vim_subspace`, then `update`.

    Args:
      features: the last layer's inputs (..., D) for the training data, any float dtype; computed in float32 or wider.
      kernel: W, the last layer's weights (D, K), as Flax has them; PyTorch's is the transpose.
      bias: b, its biases (K,); zeros for a layer without.
      dim: how many directions the principal subspace has, from 1 to D - 1. The paper takes 1,000 of 2,048 and more,
        512 of 768 and fewer. Static.

    Returns:
      A `VimState`, float32 or wider; NaN if there are no rows. Where the variances on both sides of the cut are alike,
      rounding turns the subspace, by about 1e-7 times the largest variance over their difference.

    Raises:
      TypeError: an array is not floating-point, or `dim` not an integer.
      ValueError: shapes do not fit, or `dim` is not from 1 to D - 1.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> features = jnp.array([[5.0, 0.0, 1.0], [-5.0, 0.0, 1.0], [0.0, 4.0, -1.0], [0.0, -4.0, -1.0]])
      >>> state = ood_jax.scores.fit_vim(features, jnp.eye(3), jnp.zeros(3), dim=2)
      >>> float(state.logit_sum), float(state.residual_sum)
      (10.0, 4.0)

    References:
      Haoqi Wang, Zhizhong Li, Litong Feng, Wayne Zhang, "ViM: Out-Of-Distribution with Virtual-logit Matching",
      CVPR 2022, sections 3.2 and 4.
    """
    check_features("features", features)
    # A subspace has no classes, so all rows are of one.
    return updated_vim(_subspace(moments_of(features, None, None, 1), kernel, bias, dim, "features"), features)


@public
def fit_vim_subspace(
    moments: MahalanobisState, kernel: Float[Array, "d k"], bias: Float[Array, "k"], *, dim: int
) -> VimState:
    r"""The subspace of `fit_vim` from moments, with no scale yet: `update` adds to its sums on a second pass.

    Args:
      moments: the training features' moments from `fit_mahalanobis`, over any classes: their scatter about the origin
        is the same. Without labels, take zeros and `num_classes=1`.
      kernel: W, the last layer's weights (D, K), any float dtype.
      bias: b, its biases (K,).
      dim: how many directions the principal subspace has, from 1 to D - 1. Static.

    Returns:
      A `VimState` with sums of 0, whose scores are NaN until `update` has seen features.

    Raises:
      TypeError: `moments` is no `MahalanobisState`, an array is not floating-point, or `dim` not an integer.
      ValueError: shapes do not fit, or `dim` is not from 1 to D - 1.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> batches = jnp.array([[[5.0, 0.0, 1.0], [0.0, 4.0, -1.0]], [[-5.0, 0.0, 1.0], [0.0, -4.0, -1.0]]])
      >>> no_labels = jnp.zeros(2, int)
      >>> moments = ood_jax.scores.fit_mahalanobis(batches[0], no_labels, num_classes=1)
      >>> moments = ood_jax.scores.update(moments, batches[1], no_labels)
      >>> state = ood_jax.scores.fit_vim_subspace(moments, jnp.eye(3), jnp.zeros(3), dim=2)
      >>> for batch in batches:
      ...     state = ood_jax.scores.update(state, batch)
      >>> float(state.logit_sum), float(state.residual_sum)
      (10.0, 4.0)

    References:
      Wang et al., "ViM: Out-Of-Distribution with Virtual-logit Matching", CVPR 2022, section 4.
    """
    check_kind("moments", moments, MahalanobisState, "fit_mahalanobis")
    return _subspace(moments, kernel, bias, dim, "moments")


def _subspace(moments: MahalanobisState, kernel: Any, bias: Any, dim: Any, name: str) -> VimState:
    _check_head(kernel, bias, moments.mean.shape[-1], name)
    units = kernel.shape[0]
    check_size("dim", dim, least=1)
    if dim >= units:
        raise ValueError(
            f"`dim` must be below the {units} units of `{name}`, for something to be left over, got {dim}."
        )
    dtype = wide(moments.mean.dtype, kernel.dtype, bias.dtype)

    def fit(kernel: Array, bias: Array, moments: MahalanobisState) -> VimState:
        origin = -jnp.matmul(jnp.linalg.pinv(kernel.T), bias, precision=EXACT)
        # A fraction without rows is NaN, where a scatter of 0 would have some basis or other.
        _, directions = jnp.linalg.eigh(scatter_about(moments, origin) / jnp.sum(moments.count))
        nothing = jnp.zeros((), dtype)
        return VimState(origin, directions[:, : units - dim], kernel, bias, nothing, nothing)

    moments = MahalanobisState(*(part.astype(dtype) for part in moments))
    return left_to_compiler(fit, kernel.astype(dtype), bias.astype(dtype), moments)


def _check_head(kernel: Any, bias: Any, width: int, name: str) -> None:
    if bias is None:
        raise TypeError("`bias` must be an array, got NoneType; pass zeros for a layer without.")
    for part, value in (("kernel", kernel), ("bias", bias)):
        check_array(part, value)
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise TypeError(f"`{part}` must be floating-point, got dtype {value.dtype}; pass the last layer's own.")
    if kernel.ndim != 2 or kernel.shape[0] != width or kernel.shape[1] < 1:
        raise ValueError(
            f"`kernel` must have shape ({width}, K) for the {width} units of `{name}`, got {kernel.shape}; transpose a "
            "PyTorch layer's weight."
        )
    if bias.shape != kernel.shape[1:]:
        raise ValueError(
            f"`bias` must have shape {kernel.shape[1:]}, an entry for each class of `kernel`, got {bias.shape}; pass "
            "zeros for a layer without."
        )


def updated_vim(state: VimState, features: Float[Array, "*n d"]) -> VimState:
    """The sums with these features in them."""
    return left_to_compiler(_updated, features, state)


def _updated(features: Array, state: VimState) -> VimState:
    dtype = wide(state.kernel.dtype, features.dtype)
    logits, residual = _parts(state, as_rows(features).astype(dtype))
    logit_sum = state.logit_sum.astype(dtype) + jnp.sum(jnp.max(logits, axis=-1))
    return state._replace(logit_sum=logit_sum, residual_sum=state.residual_sum.astype(dtype) + jnp.sum(residual))


def merged_vim(one: VimState, other: VimState) -> VimState:
    """The sums of both, if both belong to one subspace."""
    dtype = wide(one.kernel.dtype, other.kernel.dtype)
    one, other = (VimState(*(part.astype(dtype) for part in state)) for state in (one, other))
    same = jnp.asarray(True)
    for mine, theirs in zip(one[:4], other[:4], strict=True):
        same = same & jnp.all(mine == theirs)
    logit_sum = jnp.where(same, one.logit_sum + other.logit_sum, jnp.nan)
    return one._replace(logit_sum=logit_sum, residual_sum=one.residual_sum + other.residual_sum)


@public
def vim_score(state: VimState, features: Float[Array, "*n d"]) -> Float[Array, "*n"]:
    r"""How far the features leave their principal subspace, beside the evidence of the logits.

    $$\alpha \|x^\perp\| - \log \sum_k \exp(z_k)$$

    The paper scores by the softmax probability of a virtual class with the logit α‖x⊥‖, which is the sigmoid of this,
    so both rank alike; but a sigmoid is 1 in float32 from 17 on, where this goes on telling examples apart.

    Args:
      state: from `fit_vim`, or `fit_vim_subspace` and `update`.
      features: the last layer's inputs (..., D), any float dtype; computed in float32 or wider.

    Returns:
      Scores (...), in units of the logits, float32 or wider; higher is more OOD. NaN where the state has seen no
      features.

    Raises:
      TypeError: `state` is no `VimState`, or `features` is not floating-point.
      ValueError: `features` do not have the state's D units.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> features = jnp.array([[5.0, 0.0, 1.0], [-5.0, 0.0, 1.0], [0.0, 4.0, -1.0], [0.0, -4.0, -1.0]])
      >>> state = ood_jax.scores.fit_vim(features, jnp.eye(3), jnp.zeros(3), dim=2)
      >>> print(ood_jax.scores.vim_score(state, jnp.array([[5.0, 0.0, 0.0], [5.0, 0.0, -4.0]])).round(1))
      [-5.  5.]

    References:
      Wang et al., "ViM: Out-Of-Distribution with Virtual-logit Matching", CVPR 2022, equation 6.
    """
    check_kind("state", state, VimState, "fit_vim")
    check_features("features", features, state.kernel.shape[0])
    return by_example(_virtual, features, state)


def _virtual(features: Array, state: VimState) -> Array:
    rows = as_rows(features).astype(wide(state.kernel.dtype, features.dtype))
    logits, residual = _parts(state, rows)
    scores = state.logit_sum.astype(rows.dtype) / state.residual_sum.astype(rows.dtype) * residual + free_energy(logits)
    return scores.reshape(features.shape[:-1])


def _parts(state: VimState, rows: Array) -> tuple[Float[Array, "m k"], Float[Array, "m"]]:
    """Logits, and lengths of the residuals."""
    origin, residual, kernel, bias = (part.astype(rows.dtype) for part in state[:4])
    logits = jnp.matmul(rows, kernel, precision=EXACT) + bias[None]
    return logits, length(jnp.matmul(rows - origin[None], residual, precision=EXACT))
