"""Scores that are spread over devices."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax

from .._sharding import left_to_compiler

_F = TypeVar("_F", bound=Callable[..., Any])


def on_every_device(function: _F) -> _F:
    """Makes a function of arrays leave the layout to the compiler, and its results the same on every device.

    Arrays with explicit axes say how they are spread, and most of what orders or counts them has no rule for that.
    """

    @functools.wraps(function)
    def with_layout(**arguments: Any) -> Any:
        arrays = {name: value for name, value in arguments.items() if _is_arrays(value)}
        options = {name: value for name, value in arguments.items() if name not in arrays}
        return left_to_compiler(lambda arrays: function(**arrays, **options), arrays)

    return cast(_F, with_layout)


def _is_arrays(value: Any) -> bool:
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(isinstance(leaf, jax.Array) for leaf in leaves)
