"""Layouts of what is computed from arrays that may be spread over devices.

Explicit axes have no rule for a sum or a sort over a split axis, nor for most reshapes. So the compiler lays out what
is inside, and only where the results lie is said here.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
from jax.sharding import NamedSharding, PartitionSpec

Result = TypeVar("Result")


def by_example(function: Callable[..., jax.Array], features: jax.Array, *args: object) -> jax.Array:
    """`function(features, *args)`, a number an example, which lies where its example lies."""
    return _laid_out(function, PartitionSpec(*_axes(features)[:-1]), features, *args)


def by_unit(function: Callable[..., jax.Array], features: jax.Array, *args: object) -> jax.Array:
    """`function(features, *args)`, as many features, which lie where those lie."""
    return _laid_out(function, PartitionSpec(*_axes(features)), features, *args)


def by_row(function: Callable[..., jax.Array], features: jax.Array) -> jax.Array:
    """`function(features)`, a row an example, split as the first axis was."""
    return _laid_out(function, PartitionSpec(*_axes(features)[:-1][:1]), features)


def on_every_device(function: Callable[..., Result], *args: object) -> Result:
    """`function(*args)`, such as sums over the examples, the same on every device."""
    return _laid_out(function, PartitionSpec(), *args)


def _axes(array: jax.Array) -> tuple[object, ...]:
    """Which mesh axes each axis is split over."""
    return tuple(jax.typeof(array).sharding.spec)


def _laid_out(function: Callable[..., Result], spec: PartitionSpec, *args: object) -> Result:
    """`function(*args)`, on the mesh of any of them."""
    meshes = [jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(args)]
    mesh = next((mesh for mesh in meshes if mesh.explicit_axes), None)
    if mesh is None:
        return function(*args)
    return jax.sharding.auto_axes(function, axes=mesh.explicit_axes, out_sharding=NamedSharding(mesh, spec))(*args)
