"""The distance to the k-th nearest training example."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._api import public
from .._checks import check_axis_name, check_kind, check_size
from .._dtypes import wide
from .._sharding import AxisName
from ._features import as_rows, check_features, length
from ._layout import by_example, by_row


class KNNState(NamedTuple):
    """The bank of training features.

    Attributes:
      bank: (N, D), of unit length; a feature vector of zeros stays one.
    """

    bank: Float[Array, "n d"]


@public
def fit_knn(features: Float[Array, "*n d"]) -> KNNState:
    r"""The training features at unit length, $x / \|x\|$, which `knn_score` searches.

    Args:
      features: (..., D), any float dtype; kept in float32 or wider. No example should be padding: unlike moments, the
        bank has no mask.

    Returns:
      `KNNState(bank)`, with a row for each example. Zeros, which have no direction, stay zeros.

    Raises:
      TypeError: `features` is not floating-point.
      ValueError: `features` has no feature axis.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> print(ood_jax.scores.fit_knn(jnp.array([[3.0, 4.0], [0.0, 0.0]])).bank)
      [[0.6 0.8]
       [0.  0. ]]

    References:
      Yiyou Sun, Yifei Ming, Xiaojin Zhu, Yixuan Li, "Out-of-Distribution Detection with Deep Nearest Neighbors",
      ICML 2022, section 3.
    """
    check_features("features", features)
    return KNNState(bank_of(features))


def bank_of(features: Float[Array, "*n d"]) -> Float[Array, "m d"]:
    return by_row(lambda features: _normalized(as_rows(features)), features)


def _normalized(rows: Array) -> Array:
    """At unit length; zeros stay zeros."""
    # By the largest entry first, whose square could overflow or vanish; and before that by a power of two, for the
    # quotient is computed as a product with the reciprocal, which of the largest numbers vanishes.
    largest = jnp.max(jnp.abs(rows), axis=-1, keepdims=True)
    power = jnp.where(largest > 2.0**64, 2.0**-64, jnp.where(largest < 2.0**-64, 2.0**64, 1)).astype(rows.dtype)
    rows, largest = rows * power, largest * power
    rows = rows / jnp.where(largest == 0, 1, largest)
    return jnp.where(largest == 0, 0, rows / jnp.where(largest == 0, 1, length(rows)[:, None]))


@public
def knn_score(
    state: KNNState, features: Float[Array, "*n d"], *, k: int = 50, block: int = 1024, axis_name: AxisName = None
) -> Float[Array, "*n"]:
    r"""The Euclidean distance to the k-th nearest training example, both at unit length.

    $$\left\| \frac{x}{\|x\|} - z_{(k)} \right\|, \quad \text{z sorted by its distance}$$

    Every example of the bank is compared, a block at a time. Similarities rank them, and the distance to the one in
    place k is then taken from the difference of the two vectors, for √(2 - 2s) would have lost the digits of a near
    neighbour. Where squared distances differ by less than about 1e-6 in float32, the one ranked k-th may be another one
    of those.

    Args:
      state: the bank, from `fit_knn`.
      features: (..., D), any float dtype; computed in float32 or wider. Zeros stay zeros, at distance 1 from any
        direction.
      k: which neighbour, from 1 to N. An example that is in the bank itself is its own first. Static.
      block: how many rows of the bank are compared at once; memory is bounded by examples · (block + k). Static.
      axis_name: inside `shard_map` or `pmap`, the mesh axis or axes over which the bank is split, with `features` the
        same on each device: k candidates from each are compared, and the score is that of the whole bank. Static.

    Returns:
      Scores (...) in [0, 2] up to rounding, float32 or wider; higher is more OOD. NaN in `features` makes its own
      score NaN, NaN in the bank every score.

    Raises:
      TypeError: `state` is no `KNNState`, `features` is not floating-point, a size not an integer, or `axis_name` no
        name.
      ValueError: `features` do not have the bank's D units, `k` is not from 1 to N, `block` below 1, or `axis_name` no
        axis around the call.

    Example:
      >>> import jax.numpy as jnp
      >>> import ood_jax
      >>> state = ood_jax.scores.fit_knn(jnp.array([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]]))
      >>> print(ood_jax.scores.knn_score(state, jnp.array([[9.0, 0.0], [-3.0, -4.0]]), k=2).round(2))
      [1.41 1.79]

    References:
      Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022, section 3.
    """
    check_kind("state", state, KNNState, "fit_knn")
    check_features("features", features, state.bank.shape[-1])
    check_size("k", k, least=1)
    check_size("block", block, least=1)
    check_axis_name(axis_name)
    shards = 1 if axis_name is None else jax.lax.axis_size(axis_name)
    if k > shards * state.bank.shape[0]:
        raise ValueError(
            f"`k` must be at most the {shards * state.bank.shape[0]} rows of the bank, got {k}; fit on more, or choose "
            "a nearer neighbour."
        )
    dtype = wide(state.bank.dtype, features.dtype)

    def search(features: Array, bank: Array) -> Array:
        rows = _normalized(as_rows(features))
        best = _most_similar(jax.lax.stop_gradient(rows), jax.lax.stop_gradient(bank), k, block)
        if axis_name is None:
            distance = _distance(rows, bank, best.row[:, k - 1], best.similarity)
        else:
            distance = _distance_across(rows, bank, best, k, axis_name)
        return distance.reshape(features.shape[:-1])

    return by_example(search, features.astype(dtype), state.bank.astype(dtype))


class _Candidates(NamedTuple):
    """The most similar rows of the bank, best first."""

    similarity: Float[Array, "m k"]
    row: Array

    def best(self, count: int) -> "_Candidates":
        similarity, place = jax.lax.top_k(self.similarity, count)
        return _Candidates(similarity, jnp.take_along_axis(self.row, place, axis=-1))


def _most_similar(rows: Array, bank: Array, k: int, block: int) -> _Candidates:
    """The k most similar rows of the bank, or all if it has fewer."""
    size, block = bank.shape[0], min(block, bank.shape[0])
    k = min(k, size)

    def compared(start: Array | int, length: int) -> _Candidates:
        part = jax.lax.dynamic_slice_in_dim(bank, start, length)
        similarity = jnp.matmul(rows, part.T, precision=jax.lax.Precision.HIGHEST)
        # The squared distance is 1 + |z|² - 2s, and nearer by the missing 1 where z is zeros.
        similarity = similarity + jnp.where(jnp.any(part != 0, axis=-1), 0, 0.5).astype(similarity.dtype)[None]
        # NaN is taken for the nearest of all, so that it cannot hide in the ranking.
        similarity = jnp.where(jnp.isnan(similarity), jnp.inf, similarity)
        return _Candidates(similarity, jnp.broadcast_to((start + jnp.arange(length))[None], similarity.shape))

    def step(best: _Candidates, start: Array) -> tuple[_Candidates, None]:
        pool = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-1), best, compared(start, block))
        return pool.best(k), None

    # The first block is the odd one, so that all others have one size and the bank needs no padding.
    blocks = (size - 1) // block
    first = size - blocks * block
    best = compared(0, first)
    missing = max(k - first, 0)
    best = _Candidates(
        jnp.pad(best.similarity, ((0, 0), (0, missing)), constant_values=-jnp.inf),
        jnp.pad(best.row, ((0, 0), (0, missing))),
    ).best(k)
    if blocks == 0:  # a scan of nothing is none without jit
        return best
    return jax.lax.scan(step, best, first + block * jnp.arange(blocks))[0]


def _distance(rows: Array, bank: Array, neighbour: Array, similarity: Array) -> Float[Array, "m"]:
    """To a row of the bank; NaN if there is NaN among the most similar."""
    distance = length(rows - jnp.take(bank, neighbour, axis=0))
    return jnp.where(similarity[:, 0] == jnp.inf, jnp.nan, distance)


def _distance_across(
    rows: Array, bank: Array, candidates: _Candidates, k: int, axis_name: AxisName
) -> Float[Array, "m"]:
    """The distance to the k-th of all shards' candidates, from the shard that has it."""
    each = candidates.row.shape[-1]
    everywhere = jax.lax.all_gather(candidates.similarity, axis_name, axis=1, tiled=True)
    similarity, place = jax.lax.top_k(everywhere, k)
    shard, slot = jnp.divmod(place[:, k - 1], each)
    row = jnp.take_along_axis(candidates.row, slot[:, None], axis=-1)[:, 0]
    mine = shard == jax.lax.axis_index(axis_name)
    return jax.lax.psum(jnp.where(mine, _distance(rows, bank, row, similarity), 0), axis_name)
