"""Scores that are spread over devices."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
from jax.sharding import NamedSharding, PartitionSpec

_F = TypeVar("_F", bound=Callable[..., Any])


def on_every_device(function: _F) -> _F:
    """Makes a function of arrays leave the layout to the compiler, and its results the same on every device.

    Arrays with explicit axes say how they are spread, and most of what orders or counts them has no rule for that.
    """

    @functools.wraps(function)
    def with_layout(**arguments: Any) -> Any:
        arrays = {name: value for name, value in arguments.items() if _is_arrays(value)}
        options = {name: value for name, value in arguments.items() if name not in arrays}
        meshes = [jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(arrays)]
        mesh, explicit = next(((mesh, axes) for mesh in meshes if (axes := mesh.explicit_axes)), (None, ()))
        if mesh is None:
            return function(**arguments)
        inside = jax.sharding.auto_axes(
            lambda arrays: function(**arrays, **options),
            axes=explicit,
            out_sharding=NamedSharding(mesh, PartitionSpec()),
        )
        return inside(arrays)

    return cast(_F, with_layout)


def _is_arrays(value: Any) -> bool:
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(isinstance(leaf, jax.Array) for leaf in leaves)
