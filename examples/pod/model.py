"""A small convolutional network, in Flax NNX.

It is smooth, and has no batch normalisation. The kinks of ReLU would make a large difference of a sum's last bits now
and then, and losses on another number of devices would drift apart within a hundred steps.
"""

import math

import jax
from flax import nnx


class CNN(nnx.Module):
    """From images (N, side, side, 1) to logits (N, classes)."""

    def __init__(self, side: int, classes: int, *, rngs: nnx.Rngs) -> None:
        half = math.ceil(side / 2)
        self.conv1 = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(16, 32, (3, 3), strides=(2, 2), rngs=rngs)
        self.hidden = nnx.Linear(half * half * 32, 64, rngs=rngs)
        self.output = nnx.Linear(64, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.silu(self.conv1(x))
        x = nnx.silu(self.conv2(x))
        x = nnx.silu(self.hidden(x.reshape(len(x), -1)))
        return self.output(x)
