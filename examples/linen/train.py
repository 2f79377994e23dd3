"""Training with Flax Linen and optax: a pure step, jitted, with donated state.

A Linen model holds no parameters: `apply` takes them, so a method's `apply` is the model with them filled in.
"""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from ..digits.data import SIDE, Train, draw_batch
from ..digits.methods import Method
from ..digits.train import BATCH, State, Trainer, make_optimizer
from .model import CNN


def make_trainer(method: Method, steps: int) -> Trainer:
    model = CNN()
    optimizer = make_optimizer(steps)

    def apply(params: Any, x: jax.Array) -> jax.Array:
        # `apply` can also return updated state, of which this model has none; the cast tells the type checker so.
        return cast(jax.Array, model.apply({"params": params}, x))

    def init(key: jax.Array) -> State:
        params = model.init(key, jnp.zeros((1, SIDE, SIDE, 1)))["params"]
        return State(params, optimizer.init(params), jnp.zeros((), jnp.int32))

    @functools.partial(jax.jit, donate_argnames="state")
    def step(state: State, key: jax.Array, train: Train) -> tuple[State, jax.Array]:
        key_batch, key_method = jax.random.split(jax.random.fold_in(key, state.step))
        batch = draw_batch(key_batch, train, BATCH)

        def loss_of(params: Any) -> jax.Array:
            return method(key_method, batch, functools.partial(apply, params))

        loss, gradients = jax.value_and_grad(loss_of)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        return State(optax.apply_updates(state.params, updates), opt_state, state.step + 1), loss

    return Trainer(init, step, predict=jax.jit(apply))
