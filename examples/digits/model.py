"""A small convolutional network, in Flax NNX."""

import jax
from flax import nnx

from .data import KNOWN


class CNN(nnx.Module):
    """From images (N, 8, 8, 1) to logits (N, 6); 150,000 parameters."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.conv1 = nnx.Conv(1, 32, (3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(32, 64, (3, 3), strides=(2, 2), rngs=rngs)
        self.hidden = nnx.Linear(4 * 4 * 64, 128, rngs=rngs)
        self.output = nnx.Linear(128, KNOWN, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.conv1(x))
        x = nnx.relu(self.conv2(x))
        x = nnx.relu(self.hidden(x.reshape(len(x), -1)))
        return self.output(x)
