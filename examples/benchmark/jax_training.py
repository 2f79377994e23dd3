"""Training with Flax NNX, optax and this library's methods.

Images and outliers go through the network as one batch, so that batch normalisation sees one set of statistics.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import ood_jax

from .data import Task
from .evaluate import Outputs
from .model import ResNet, Weights, from_weights, to_weights
from .recipe import CUTMIX_ALPHA, MIXUP_ALPHA, MOMENTUM, WEIGHT_DECAY, Rows

Apply: TypeAlias = Callable[[jax.Array], jax.Array]
# What to minimise, given a key, a batch, the network, and the bounds of the energies.
Loss: TypeAlias = Callable[[jax.Array, "Batch", Apply, ood_jax.Margins], jax.Array]


class Batch(NamedTuple):
    x: jax.Array
    y: jax.Array
    outliers: jax.Array


def cross_entropy(key: jax.Array, batch: Batch, apply: Apply, margins: ood_jax.Margins) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(apply(batch.x), batch.y).mean()


def mixup(key: jax.Array, batch: Batch, apply: Apply, margins: ood_jax.Margins) -> jax.Array:
    x, y_a, y_b, lam = ood_jax.mixup(key, batch.x, batch.y, alpha=MIXUP_ALPHA)
    return ood_jax.mixup_cross_entropy(apply(x), y_a, y_b, lam)


def cutmix(key: jax.Array, batch: Batch, apply: Apply, margins: ood_jax.Margins) -> jax.Array:
    x, y_a, y_b, lam = ood_jax.cutmix(key, batch.x, batch.y, alpha=CUTMIX_ALPHA)
    return ood_jax.mixup_cross_entropy(apply(x), y_a, y_b, lam)


def outlier_exposure(key: jax.Array, batch: Batch, apply: Apply, margins: ood_jax.Margins) -> jax.Array:
    logits_in, logits_out = apply_both(apply, batch)
    return ood_jax.outlier_exposure_loss(logits_in, batch.y, logits_out, form="cross_entropy")


def energy(key: jax.Array, batch: Batch, apply: Apply, margins: ood_jax.Margins) -> jax.Array:
    logits_in, logits_out = apply_both(apply, batch)
    return ood_jax.energy_regularized_loss(logits_in, batch.y, logits_out)


def energy_bounded(key: jax.Array, batch: Batch, apply: Apply, margins: ood_jax.Margins) -> jax.Array:
    logits_in, logits_out = apply_both(apply, batch)
    return ood_jax.energy_bounded_loss(logits_in, batch.y, logits_out, m_in=margins.m_in, m_out=margins.m_out)


def apply_both(apply: Apply, batch: Batch) -> tuple[jax.Array, jax.Array]:
    logits = apply(jnp.concatenate([batch.x, batch.outliers]))
    return logits[: len(batch.x)], logits[len(batch.x) :]


LOSSES: Mapping[str, Loss] = {
    "cross-entropy": cross_entropy,
    "mixup": mixup,
    "cutmix": cutmix,
    "outlier-exposure": outlier_exposure,
    "energy": energy,
    "energy-bounded": energy_bounded,
}


class State(NamedTuple):
    params: Any
    statistics: Any
    opt_state: optax.OptState


class Run:
    """One training run: its state between steps."""

    def __init__(
        self, task: Task, loss: Loss, stride: int, weights: Weights, seed: int, margins: ood_jax.Margins
    ) -> None:
        self._step = _make_step(loss, task.classes, stride)
        self._data = Batch(*map(jnp.asarray, (*task.train, task.outliers)))
        self._margins = margins
        self._key = jax.random.key(seed)
        self._count = 0
        graph = _graph(task.classes, stride)
        params, statistics = (from_weights(weights, like) for like in (graph.params, graph.statistics))
        self._state = State(params, statistics, _optimizer().init(params))

    def step(self, rows: Rows, learning_rate: float) -> jax.Array:
        """Takes a step; the loss is there when somebody reads it."""
        key = jax.random.fold_in(self._key, self._count)
        self._count += 1
        self._state, loss = self._step(self._state, key, self._data, rows, learning_rate, self._margins)
        return loss

    def weights(self) -> Weights:
        return to_weights(self._state.params, self._state.statistics)


def predict(weights: Weights, x: np.ndarray, classes: int, stride: int) -> Outputs:
    graph = _graph(classes, stride)
    state = [from_weights(weights, like) for like in (graph.params, graph.statistics)]
    parts = [_predict(graph.definition, state, part) for part in _parts(x)]
    return Outputs(*(jnp.concatenate(part)[: len(x)] for part in zip(*parts, strict=True)))


class _Graph(NamedTuple):
    definition: nnx.GraphDef[ResNet]
    params: Any
    statistics: Any


@functools.cache
def _graph(classes: int, stride: int) -> _Graph:
    return _Graph(*nnx.split(ResNet(classes, stride=stride, rngs=nnx.Rngs(0)), nnx.Param, nnx.BatchStat))


def _optimizer() -> optax.GradientTransformation:
    """What PyTorch's SGD does before it multiplies by the learning rate."""
    return optax.chain(optax.add_decayed_weights(WEIGHT_DECAY), optax.trace(MOMENTUM, nesterov=True))


@functools.cache
def _make_step(loss: Loss, classes: int, stride: int) -> Callable[..., tuple[State, jax.Array]]:
    """One program a loss, whatever the seed."""
    definition, optimizer = _graph(classes, stride).definition, _optimizer()

    @functools.partial(jax.jit, donate_argnames="state")
    def step(
        state: State, key: jax.Array, data: Batch, rows: Rows, learning_rate: jax.Array, margins: ood_jax.Margins
    ) -> tuple[State, jax.Array]:
        batch = Batch(data.x[rows.inside], data.y[rows.inside], data.outliers[rows.outside])

        def loss_of(params: Any) -> tuple[jax.Array, Any]:
            model = nnx.merge(definition, params, state.statistics, copy=True)
            model.train()
            value = loss(key, batch, model, margins)
            return value, nnx.state(model, nnx.BatchStat)

        (value, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        updates = jax.tree.map(lambda update: -learning_rate * update, updates)
        return State(optax.apply_updates(state.params, updates), statistics, opt_state), value

    return step


@functools.partial(jax.jit, static_argnames="definition")
def _predict(definition: nnx.GraphDef[ResNet], state: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    model = nnx.merge(definition, *state, copy=True)
    model.eval()
    features = model.features(x)
    return features, model.head(features)


def _parts(x: np.ndarray, size: int = 500) -> list[np.ndarray]:
    """Parts of one size, so that one program predicts them all; the last is filled up with zeros."""
    padded = np.concatenate([x, np.zeros((-len(x) % size, *x.shape[1:]), x.dtype)])
    return np.split(padded, len(padded) // size)
