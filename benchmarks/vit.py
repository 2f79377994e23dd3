"""A vision transformer of the size of ViT-S/16, as a training step that a pod would run.

Alexey Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; the small size is that of Hugo Touvron et al.,
"Training data-efficient image transformers & distillation through attention", ICML 2021.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

import ood_jax

CLASSES = 1000


class Block(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        attended = nn.MultiHeadDotProductAttention(num_heads=6, dtype=jnp.bfloat16)(nn.LayerNorm(dtype=jnp.bfloat16)(x))
        x = x + attended
        hidden = nn.gelu(nn.Dense(4 * x.shape[-1], dtype=jnp.bfloat16)(nn.LayerNorm(dtype=jnp.bfloat16)(x)))
        return x + nn.Dense(x.shape[-1], dtype=jnp.bfloat16)(hidden)


class ViT(nn.Module):
    """From images (N, 224, 224, 3) to logits (N, 1000)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(384, (16, 16), strides=(16, 16), dtype=jnp.bfloat16)(x)
        x = x.reshape(len(x), -1, x.shape[-1])
        x = x + self.param("position", nn.initializers.normal(0.02), x.shape[1:]).astype(x.dtype)
        for _ in range(12):
            x = nn.remat(Block)()(x)
        return nn.Dense(CLASSES)(nn.LayerNorm()(x.mean(axis=1)))


MODEL: Any = ViT()  # Flax's annotations allow results that no call here gives
OPTIMIZER = optax.adamw(1e-3)


def initial_state(key: jax.Array) -> tuple[Any, Any]:
    """Parameters and optimizer state."""
    params = MODEL.init(key, jnp.zeros((1, 224, 224, 3), jnp.bfloat16))
    return params, OPTIMIZER.init(params)


def train_step(state: Any, key: jax.Array, x: jax.Array, y: jax.Array, outliers: jax.Array, *, groups: int) -> Any:
    """CutMix on the data, the energies of data and outliers pushed apart."""
    params, optimizer_state = state
    mixed = ood_jax.cutmix(key, x, y, groups=groups)
    targets = ood_jax.soft_targets(mixed, CLASSES)

    def loss(params: Any) -> jax.Array:
        logits, logits_out = MODEL.apply(params, mixed.x), MODEL.apply(params, outliers)
        return ood_jax.energy_regularized_loss(logits, targets, logits_out)

    value, gradient = jax.value_and_grad(loss)(params)
    updates, optimizer_state = OPTIMIZER.update(gradient, optimizer_state, params)
    return (optax.apply_updates(params, updates), optimizer_state), value
