"""Our side: the network in Flax, trained with optax on the losses of ood_jax."""

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen

from .data import Array, Batch, batches
from .methods import LOSSES
from .setting import CHANNELS, CLASSES, HEIGHT, LEARNING_RATE, MOMENTUM, SEED, STEPS, WIDTH, WIDTHS
from .trajectory import Curve


class Network(linen.Module):
    """From images (N, H, W, C) to logits (N, K). Smooth, for a rounding that crosses a kink is no longer small."""

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The logits."""
        for number, width in enumerate(WIDTHS, 1):
            x = jnp.tanh(linen.Conv(width, (3, 3), name=f"conv{number}")(x))
            x = linen.avg_pool(x, (2, 2), (2, 2))
        return linen.Dense(CLASSES, name="output")(x.reshape(len(x), -1))


def initial_weights() -> dict[str, dict[str, Array]]:
    """Those that every run starts from, float32, in Flax's layout."""
    with jax.enable_x64(False):
        params = Network().init(jax.random.key(SEED), jnp.zeros((1, HEIGHT, WIDTH, CHANNELS)))["params"]
        return cast(dict[str, dict[str, Array]], jax.tree.map(np.asarray, params))


# Both keep m ← μ·m + g, which starts as g, and step by -η·m; PyTorch's dampening is 0 unless asked for.
_OPTIMIZER = optax.sgd(LEARNING_RATE, MOMENTUM)


@functools.cache
def _step(method: str) -> Callable[..., Any]:
    @jax.jit
    def step(params: Any, state: Any, batch: Batch) -> tuple[Any, Any, jax.Array]:
        def loss_of(params: Any) -> jax.Array:
            return LOSSES[method].ours(lambda x: cast(jax.Array, Network().apply({"params": params}, x)), batch)

        loss, gradients = jax.value_and_grad(loss_of)(params)
        updates, state = _OPTIMIZER.update(gradients, state)
        return optax.apply_updates(params, updates), state, loss

    return cast(Callable[..., Any], step)


def train_ours(method: str, dtype: str, *, steps: int = STEPS, perturbation: float = 0, seed: int = 0) -> Curve:
    """Our losses; with a perturbation, of a run whose weights change by up to that share of them before each step."""
    rng = np.random.default_rng([SEED, seed])
    step, losses = _step(method), []
    with jax.enable_x64(dtype == "float64"):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), initial_weights())
        state = _OPTIMIZER.init(params)
        for batch in batches(steps):
            if perturbation:
                params = jax.tree.map(lambda leaf: leaf * (1 + perturbation * rng.uniform(-1, 1, leaf.shape)), params)
            cast_batch = batch._replace(images=batch.images.astype(dtype), outliers=batch.outliers.astype(dtype))
            params, state, loss = step(params, state, cast_batch)
            losses.append(loss)
        return np.array([loss.item() for loss in losses], np.float64)
