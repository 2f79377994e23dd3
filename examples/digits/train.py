"""Training with Flax NNX and optax: a pure step, jitted, that gives its state's memory back to its result.

An NNX model is split into a graph definition, which is static, and its parameters, which are a pytree. Then nothing
but `jax.jit` is needed. `donate_argnames` lets XLA write the new parameters and optimizer moments over the old, so they
are held once in memory, not twice; the old state is gone after the call, hence `state, loss = step(state, ...)`.

The step is called from a Python loop rather than rolled into `jax.lax.scan`: on a CPU, XLA runs a convolution inside a
loop of its own several times more slowly.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from .data import Train, draw_batch
from .methods import Method
from .model import CNN

BATCH = 64
LEARNING_RATE = 2e-3


class State(NamedTuple):
    params: Any
    opt_state: optax.OptState
    step: jax.Array


class Trainer(NamedTuple):
    init: Callable[[jax.Array], State]
    step: Callable[[State, jax.Array, Train], tuple[State, jax.Array]]
    predict: Callable[[Any, jax.Array], jax.Array]


def make_trainer(method: Method, steps: int) -> Trainer:
    optimizer = make_optimizer(steps)
    graph = nnx.graphdef(CNN(rngs=nnx.Rngs(0)))

    def init(key: jax.Array) -> State:
        params = nnx.state(CNN(rngs=nnx.Rngs(key)), nnx.Param)
        return State(params, optimizer.init(params), jnp.zeros((), jnp.int32))

    @functools.partial(jax.jit, donate_argnames="state")
    def step(state: State, key: jax.Array, train: Train) -> tuple[State, jax.Array]:
        # The key is the run's, the same at every step. Folding the step in gives each one its own draws, and the same
        # ones again if the run is restarted half-way.
        key_batch, key_method = jax.random.split(jax.random.fold_in(key, state.step))
        batch = draw_batch(key_batch, train, BATCH)

        def loss_of(params: Any) -> jax.Array:
            return method(key_method, batch, nnx.merge(graph, params))

        loss, gradients = jax.value_and_grad(loss_of)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        return State(optax.apply_updates(state.params, updates), opt_state, state.step + 1), loss

    @jax.jit
    def predict(params: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, params)(x)

    return Trainer(init, step, predict)


def make_optimizer(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))
