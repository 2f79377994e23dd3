"""The one place where the public functions are compiled.

Sizes, modes and forms decide which program is built, so they are static; every number is traced, so changing one
never compiles again.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

_STATIC = frozenset(
    {
        "apply",
        "axis_name",
        "bins",
        "block",
        "criterion",
        "data_format",
        "dim",
        "fold",
        "form",
        "geometry",
        "groups",
        "image_size",
        "k",
        "method",
        "n",
        "num_classes",
        "pairing",
        "per_example",
        "positive",
        "reduction",
        "shape",
        "top",
    }
)

# What a jitted function can do besides being called.
_OF_JIT = ("clear_cache", "eval_shape", "lower", "trace")

_F = TypeVar("_F", bound=Callable[..., Any])


def public(function: _F) -> _F:
    """Jits a public function, with the arguments that shape the program static."""
    signature = inspect.signature(function)
    static = [name for name in signature.parameters if name in _STATIC]

    @functools.wraps(function)
    def with_arrays(*args: Any, **kwargs: Any) -> Any:
        # jit has made tracers of everything by now, but under jax.disable_jit arguments come as they were given.
        arguments = signature.bind(*args, **kwargs).arguments
        return function(**{name: value if name in static else _as_arrays(value) for name, value in arguments.items()})

    # The cast keeps the signature for type checkers and editors; jax.jit's own return type drops it.
    return cast(_F, jax.jit(with_arrays, static_argnames=static))


def _as_arrays(value: Any) -> Any:
    numbers = (np.ndarray, np.generic, bool, int, float, complex)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, numbers) else leaf, value)


def checked(check: Callable[..., None]) -> Callable[[_F], _F]:
    """Adds a check to a public function that sees numbers as they were given, before jit makes tracers of them.

    `check` takes some of the function's arguments, by the same names. Traced numbers pass it by: the program itself
    has to answer for those.
    """
    names = list(inspect.signature(check).parameters)

    def decorate(function: _F) -> _F:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def with_check(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            check(*(bound.arguments[name] for name in names))
            return function(*args, **kwargs)

        for method in _OF_JIT:
            setattr(with_check, method, getattr(function, method))
        return cast(_F, with_check)

    return decorate
