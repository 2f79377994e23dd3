"""The training step: data-parallel, and a function of the state and the batch alone.

The parameters are on every device; a batch is split over them along the mesh's only axis. Groups keep CutMix on the
device that holds the rows, so that all the devices exchange are gradients and sums.
"""

import functools
import hashlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import ood_jax

from .data import Data, Rows
from .model import CNN

METHOD = "CutMix and outlier exposure"
LEARNING_RATE = 0.05
MOMENTUM = 0.9


class State(NamedTuple):
    params: Any
    opt_state: optax.OptState
    step: jax.Array


class Batch(NamedTuple):
    """A global batch, split over the devices."""

    x: jax.Array
    y: jax.Array
    outliers: jax.Array


class Trainer(NamedTuple):
    mesh: Mesh
    init: Callable[[], State]
    step: Callable[[State, Batch], tuple[State, jax.Array]]
    predict: Callable[[Any, np.ndarray], jax.Array]


def make_trainer(data: Data, *, seed: int, groups: int) -> Trainer:
    side, classes = data.x.shape[1], int(data.y.max()) + 1
    graph = nnx.graphdef(nnx.eval_shape(lambda: CNN(side, classes, rngs=nnx.Rngs(0))))
    # Not Adam: it divides by the gradients' sizes, and so makes much of the last bits of a sum, which another number of
    # devices adds up in another order.
    optimizer = optax.sgd(LEARNING_RATE, momentum=MOMENTUM)
    # Devices in the order of their processes, so that a global batch is the processes' parts in a row.
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    mesh = Mesh(np.array(devices), ("data",))

    @jax.jit
    def init() -> State:
        key, _ = jax.random.split(jax.random.key(seed))
        params = nnx.state(CNN(side, classes, rngs=nnx.Rngs(key)), nnx.Param)
        return State(params, optimizer.init(params), jnp.zeros((), jnp.int32))

    @functools.partial(jax.jit, donate_argnames="state")
    def step(state: State, batch: Batch) -> tuple[State, jax.Array]:
        # The key follows from the seed and the step's number alone, so a restart draws what the run would have drawn.
        _, run_key = jax.random.split(jax.random.key(seed))
        key = jax.random.fold_in(run_key, state.step)

        def loss_of(params: Any) -> jax.Array:
            net = nnx.merge(graph, params)
            mixed = ood_jax.cutmix(key, batch.x, batch.y, groups=groups)
            targets = ood_jax.soft_targets(mixed, classes)
            # Two forwards, for nothing here is normalised over the batch. Where something is, docs/pods.md joins
            # images and outliers to one without moving them between devices.
            return ood_jax.outlier_exposure_loss(net(mixed.x), targets, net(batch.outliers))

        loss, gradients = jax.value_and_grad(loss_of)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        return State(optax.apply_updates(state.params, updates), opt_state, state.step + 1), loss

    @jax.jit
    def predict(params: Any, x: np.ndarray) -> jax.Array:
        return nnx.merge(graph, params)(x)

    return Trainer(mesh, init, step, predict)


def describe_model(state: State) -> str:
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params))
    return f"{CNN.__name__} with {count:,} parameters"


def split_over(mesh: Mesh, rows: Rows) -> Batch:
    """The global batch, to which each process gives its own rows."""
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return Batch(*(jax.make_array_from_process_local_data(sharding, part) for part in rows))


def copy_to_all(mesh: Mesh, tree: Any) -> Any:
    """The same values on every device; every process has them all."""
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, sharding, lambda index: x[index]), tree)


def flatten(state: State) -> dict[str, Any]:
    """The leaves by name, as "params.conv1.kernel": a checkpoint knows nothing of Flax's and optax's classes."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def unflatten(like: State, flat: dict[str, Any]) -> State:
    return jax.tree.unflatten(jax.tree.structure(like), [flat[name] for name in flatten(like)])


def digest(flat: dict[str, Any]) -> str:
    """SHA-256 over names, types, shapes and every bit: two states are the same if and only if their digests are."""
    total = hashlib.sha256()
    for name, value in sorted(jax.device_get(flat).items()):
        total.update(f"{name} {value.dtype} {value.shape}\n".encode())
        total.update(np.ascontiguousarray(value).tobytes())
    return total.hexdigest()
