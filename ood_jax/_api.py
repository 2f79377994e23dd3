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

    def decorate(function: _F) -> _F:
        return cast(_F, _Checked(function, check))

    return decorate


class _Checked:
    """A jitted function, with all its attributes, behind a check."""

    def __init__(self, function: Callable[..., Any], check: Callable[..., None]):
        functools.update_wrapper(self, function)
        self._function = function
        self._check = check
        self._signature = inspect.signature(function)
        self._names = list(inspect.signature(check).parameters)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        self._check(*(bound.arguments[name] for name in self._names))
        return self._function(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if "_function" not in vars(self):  # a copy in the making
            raise AttributeError(name)
        return getattr(self._function, name)
