"""Batches laid out over devices."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
from jax.sharding import NamedSharding, PartitionSpec

AxisName: TypeAlias = str | tuple[str, ...] | None


def left_to_compiler(function: Callable[..., Any], *args: Any, like: Any) -> Any:
    """`function(*args)`, where the compiler lays out what is inside, whatever the kind of the mesh's axes.

    Explicit axes have no rule for a gather within groups, which the compiler partitions without communication. The
    results get the layout of `like`: a tree of arrays, or of specs on the mesh of those arrays.
    """
    arrays = [leaf for leaf in jax.tree.leaves(like) if isinstance(leaf, jax.Array)]
    meshes = [jax.typeof(array).sharding.mesh for array in arrays]
    mesh, explicit = next(((mesh, axes) for mesh in meshes if (axes := mesh.explicit_axes)), (None, ()))
    if mesh is None:
        return function(*args)

    def layout(leaf: jax.Array | PartitionSpec) -> NamedSharding:
        return NamedSharding(mesh, jax.typeof(leaf).sharding.spec if isinstance(leaf, jax.Array) else leaf)

    return jax.sharding.auto_axes(function, axes=explicit, out_sharding=jax.tree.map(layout, like))(*args)


def placed_like(x: jax.Array, other: jax.Array) -> jax.Array:
    """x, sharded over the explicit axes of both and varying over the manual axes of both, as results of both are.

    Else branches of which one uses x alone and another both would differ in type. The 0 that is added the compiler
    leaves out.
    """
    return x + ((other != other) & False).astype(x.dtype)
