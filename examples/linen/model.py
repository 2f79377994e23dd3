"""The network of `examples.digits`, in Flax Linen."""

import jax
from flax import linen as nn

from ..digits.data import KNOWN


class CNN(nn.Module):
    """From images (N, 8, 8, 1) to logits (N, 6); layers named as in the NNX model, so parameters carry over."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(32, (3, 3), name="conv1")(x))
        x = nn.relu(nn.Conv(64, (3, 3), strides=(2, 2), name="conv2")(x))
        x = nn.relu(nn.Dense(128, name="hidden")(x.reshape(len(x), -1)))
        return nn.Dense(KNOWN, name="output")(x)
