"""Whole training steps of a small convolutional network, with and without each method, in both frameworks.

The step without a method puts the same images and outliers through the network and takes the cross entropy of the
data alone, so what it lacks is the method and nothing else.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx
from torch import nn
from torch.nn import functional

import ood_jax
from parity import definitions

from .plain_losses import mean_cross_entropy
from .row import DEFINITION, Contest, Entry, Row, compile_torch, compiled

CLASSES, WIDTH, SIDE, RATE = 10, 16, 32, 0.01


class Batch(NamedTuple):
    """Images of each framework's layout, labels and outliers."""

    x: Any
    y: Any
    outliers: Any


class Network(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Conv(3, WIDTH, (3, 3), strides=2, rngs=rngs)
        self.second = nnx.Conv(WIDTH, 2 * WIDTH, (3, 3), strides=2, rngs=rngs)
        self.head = nnx.Linear(2 * WIDTH, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(nnx.relu(self.second(nnx.relu(self.first(x)))).mean((1, 2)))


class TorchNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, WIDTH, 3, 2, padding=1)
        self.second = nn.Conv2d(WIDTH, 2 * WIDTH, 3, 2, padding=1)
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(functional.relu(self.second(functional.relu(self.first(x)))).mean((2, 3)))


# From a network and a batch, in JAX a key before them, to what is minimised.
Method = Callable[..., Any]


class Pair(NamedTuple):
    ours: Method
    definition: Method
    outliers: bool = False


def training_rows(*, quick: bool) -> Iterator[Row]:
    n = 8 if quick else 64
    for name, pair in METHODS.items():
        yield Row(f"{name}, {n}x3x{SIDE}x{SIDE}", partial(contest, n, pair))


def contest(n: int, pair: Pair) -> Contest:
    rng = np.random.default_rng(0)
    x, outliers = rng.random((2, n, SIDE, SIDE, 3), np.float32)
    y = rng.integers(0, CLASSES, n)
    in_jax = Batch(*map(jnp.asarray, (x, y, outliers)))
    in_torch = Batch(*map(torch.from_numpy, (_nchw(x), y, _nchw(outliers))))
    plain = Pair(_plain_both, _torch_plain_both) if pair.outliers else Pair(_plain, _torch_plain)
    peers: dict[str, Entry] = {
        DEFINITION: TorchRun(pair.definition, in_torch),
        "network compiled": compiled(TorchRun(pair.definition, in_torch, compiles=True)),
    }
    without: dict[str, Entry] = {
        "JAX without": JaxRun(plain.ours, in_jax),
        "PyTorch without": TorchRun(plain.definition, in_torch),
    }
    return Contest(JaxRun(pair.ours, in_jax), peers, without)


class JaxRun:
    """A training run in one jit a step, its state given away to the next."""

    def __init__(self, method: Method, batch: Batch) -> None:
        definition, params = nnx.split(Network(nnx.Rngs(0)))
        optimizer = optax.sgd(RATE, momentum=0.9)
        self._key, self._count, self._batch = jax.random.key(0), 0, batch
        self._state = jax.tree.map(jnp.copy, (params, optimizer.init(params)))

        @partial(jax.jit, donate_argnums=0)
        def step(state: Any, key: jax.Array, count: int, batch: Batch) -> Any:
            params, opt_state = state
            key = jax.random.fold_in(key, count)
            loss, gradients = jax.value_and_grad(lambda p: method(key, nnx.merge(definition, p), batch))(params)
            updates, opt_state = optimizer.update(gradients, opt_state)
            return (optax.apply_updates(params, updates), opt_state), loss

        self._step = step

    def __call__(self) -> jax.Array:
        self._count += 1
        self._state, loss = self._step(self._state, self._key, self._count, self._batch)
        return loss


class TorchRun:
    """The same, the network compiled or not."""

    def __init__(self, method: Method, batch: Batch, *, compiles: bool = False) -> None:
        network = TorchNetwork()
        self._optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9)
        apply: Any = compile_torch(network) if compiles else network
        self._loss = partial(method, apply, batch)

    def __call__(self) -> torch.Tensor:
        loss = self._loss()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.detach()


def _nchw(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _plain(key: jax.Array, network: Any, batch: Batch) -> jax.Array:
    return mean_cross_entropy(network(batch.x), batch.y)


def _plain_both(key: jax.Array, network: Any, batch: Batch) -> jax.Array:
    return mean_cross_entropy(_both(network, batch)[0], batch.y)


def _both(network: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
    logits = network(jnp.concatenate([batch.x, batch.outliers]))
    return logits[: len(batch.x)], logits[len(batch.x) :]


def _mixing(function: Callable[..., ood_jax.Mixed]) -> Method:
    def loss(key: jax.Array, network: Any, batch: Batch) -> jax.Array:
        x, y_a, y_b, lam = function(key, batch.x, batch.y)
        return ood_jax.mixup_cross_entropy(network(x), y_a, y_b, lam)

    return loss


def _exposing(function: Callable[..., jax.Array]) -> Method:
    def loss(key: jax.Array, network: Any, batch: Batch) -> jax.Array:
        inside, outside = _both(network, batch)
        return function(inside, batch.y, outside)

    return loss


def _torch_plain(network: Any, batch: Batch) -> torch.Tensor:
    return functional.cross_entropy(network(batch.x), batch.y)


def _torch_plain_both(network: Any, batch: Batch) -> torch.Tensor:
    return functional.cross_entropy(_torch_both(network, batch)[0], batch.y)


def _torch_both(network: Any, batch: Batch) -> Any:
    return network(torch.cat([batch.x, batch.outliers])).chunk(2)


def _torch_mixing(function: Callable[..., Any]) -> Method:
    def loss(network: Any, batch: Batch) -> torch.Tensor:
        x, y_a, y_b, lam = function(batch.x, batch.y)
        return definitions.mixup_criterion(functional.cross_entropy, network(x), y_a, y_b, lam)

    return loss


def _torch_exposing(function: Callable[..., Any]) -> Method:
    def loss(network: Any, batch: Batch) -> torch.Tensor:
        inside, outside = _torch_both(network, batch)
        return function(inside, batch.y, outside)

    return loss


METHODS: Mapping[str, Pair] = {
    "cross entropy": Pair(_plain, _torch_plain),
    "mixup": Pair(_mixing(ood_jax.mixup), _torch_mixing(definitions.mixup_data)),
    "cutmix": Pair(_mixing(ood_jax.cutmix), _torch_mixing(definitions.CutMix())),
    "outlier_exposure": Pair(
        _exposing(ood_jax.outlier_exposure_loss), _torch_exposing(definitions.OutlierExposureLoss()), outliers=True
    ),
    "energy_regularized": Pair(
        _exposing(ood_jax.energy_regularized_loss), _torch_exposing(definitions.EnergyRegularizedLoss()), outliers=True
    ),
}
