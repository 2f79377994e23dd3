"""A small residual network in Flax NNX: 78,000 parameters, features of 64 numbers.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun, "Deep Residual Learning for Image Recognition", 2016, at a size that
trains on two cores. Padding is symmetric, as PyTorch's is.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

WIDTHS = (16, 32, 64)


class Block(nnx.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, *, rngs: nnx.Rngs) -> None:
        self.conv1 = _conv(inputs, outputs, stride, rngs)
        self.norm1 = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)
        self.conv2 = _conv(outputs, outputs, 1, rngs)
        self.norm2 = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)
        shortcut = nnx.Conv(inputs, outputs, (1, 1), stride, padding="VALID", use_bias=False, rngs=rngs)
        self.shortcut = nnx.data(shortcut if stride > 1 else None)

    def __call__(self, x: jax.Array) -> jax.Array:
        inner = nnx.relu(self.norm1(self.conv1(x)))
        inner = self.norm2(self.conv2(inner))
        return nnx.relu(inner + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nnx.Module):
    """From images (N, side, side, 1) to logits (N, K)."""

    def __init__(self, classes: int, *, stride: int, rngs: nnx.Rngs) -> None:
        self.stem = _conv(1, WIDTHS[0], stride, rngs)
        self.norm = nnx.BatchNorm(WIDTHS[0], momentum=0.9, rngs=rngs)
        self.blocks = nnx.List(
            Block(inputs, outputs, 1 if inputs == outputs else 2, rngs=rngs)
            for inputs, outputs in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False)
        )
        self.head = nnx.Linear(WIDTHS[-1], classes, rngs=rngs)

    def features(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return x.mean((1, 2))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.features(x))


Weights = Mapping[str, np.ndarray]
"""Parameters and running statistics by name, such as "blocks.0.conv1.kernel": what the frameworks exchange."""


def initial_weights(classes: int, stride: int, seed: int) -> Weights:
    return to_weights(*nnx.state(ResNet(classes, stride=stride, rngs=nnx.Rngs(seed)), nnx.Param, nnx.BatchStat))


def to_weights(*states: Any) -> Weights:
    return {name: np.asarray(variable[...]) for state in states for name, variable in _named(state)}


def from_weights(weights: Weights, like: Any) -> Any:
    """A state with the structure of this one and the values of the weights."""
    structure = jax.tree.structure(like, is_leaf=_is_variable)
    variables = [variable.replace(jnp.array(weights[name])) for name, variable in _named(like)]
    return jax.tree.unflatten(structure, variables)


def _named(state: Any) -> list[tuple[str, nnx.Variable[Any]]]:
    leaves = jax.tree_util.tree_leaves_with_path(state, is_leaf=_is_variable)
    return [(jax.tree_util.keystr(path, simple=True, separator="."), variable) for path, variable in leaves]


def _is_variable(value: Any) -> bool:
    return isinstance(value, nnx.Variable)


def _conv(inputs: int, outputs: int, stride: int, rngs: nnx.Rngs) -> nnx.Conv:
    return nnx.Conv(inputs, outputs, (3, 3), stride, padding=1, use_bias=False, rngs=rngs)
