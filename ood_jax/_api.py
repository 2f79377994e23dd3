"""The one place where the public functions are compiled.

Sizes, modes and forms decide which program is built, so they are static; every number is traced, so changing one
never compiles again.
"""

import inspect
from collections.abc import Callable
from typing import TypeVar, cast

import jax

_STATIC = frozenset(
    {"axis_name", "criterion", "data_format", "form", "groups", "image_size", "n", "per_example", "shape"}
)

_F = TypeVar("_F", bound=Callable[..., object])


def public(function: _F) -> _F:
    """Jits a public function, with the arguments that shape the program static."""
    static = [name for name in inspect.signature(function).parameters if name in _STATIC]
    # The cast keeps the signature for type checkers and editors; jax.jit's own return type drops it.
    return cast(_F, jax.jit(function, static_argnames=static))
