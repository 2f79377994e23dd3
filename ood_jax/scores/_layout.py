"""Layouts of what is computed from rows that may be spread over devices."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from .._sharding import left_to_compiler

Result = TypeVar("Result")


def by_example(function: Callable[..., jax.Array], features: jax.Array, *args: object) -> jax.Array:
    """`function(features, *args)`, a number an example, which lies where its example lies."""
    return left_to_compiler(function, features, *args, like=jnp.max(features, axis=-1))


def on_every_device(function: Callable[..., Result], features: jax.Array, *args: object) -> Result:
    """`function(features, *args)`, sums over the examples, the same on every device.

    Explicit axes do not say how a sum over a split axis is to be laid out, so it is said here.
    """
    mesh = jax.typeof(features).sharding.mesh
    if not mesh.explicit_axes:
        return function(features, *args)
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.sharding.auto_axes(function, axes=mesh.explicit_axes, out_sharding=everywhere)(features, *args)
