"""Batches laid out over devices."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
from jax.sharding import NamedSharding, PartitionSpec

AxisName: TypeAlias = str | tuple[str, ...] | None


def left_to_compiler(function: Callable[..., Any], *args: Any, specs: Any = None) -> Any:
    """`function(*args)`, where the compiler lays out what is inside, whatever the kind of the mesh's axes.

    Explicit axes have no rule for a gather within groups, a sort or a sum over a split axis, nor for most reshapes. So
    only where the results lie is said: a tree of specs like the results, or one for all; None is on every device alike.
    """
    meshes = [jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(args)]
    mesh, explicit = next(((mesh, axes) for mesh in meshes if (axes := mesh.explicit_axes)), (None, ()))
    if mesh is None:
        return function(*args)
    layout = jax.tree.map(lambda spec: NamedSharding(mesh, spec), PartitionSpec() if specs is None else specs)
    return jax.sharding.auto_axes(function, axes=explicit, out_sharding=layout)(*args)


def spec_of(array: jax.Array) -> PartitionSpec:
    """Over which mesh axes each axis is split."""
    return jax.typeof(array).sharding.spec


def placed_like(x: jax.Array, other: jax.Array) -> jax.Array:
    """x, sharded over the explicit axes of both and varying over the manual axes of both, as results of both are.

    Else branches of which one uses x alone and another both would differ in type. The 0 that is added the compiler
    leaves out.
    """
    return x + ((other != other) & False).astype(x.dtype)
