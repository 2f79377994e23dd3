"""The one place where the public functions are compiled.

Sizes, modes and forms decide which program is built, so they are static; every number is traced, so changing one
never compiles again.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ._checks import describe

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

    jitted = jax.jit(with_arrays, static_argnames=static)

    @functools.wraps(jitted)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return jitted(*args, **kwargs)
        except ValueError:  # of which jit has one for what is not hashable, that does not say which argument it was
            _check_static(signature.bind(*args, **kwargs).arguments, static)
            raise

    return _like_jit(call, jitted)


def _check_static(arguments: Mapping[str, Any], static: Sequence[str]) -> None:
    for name in arguments.keys() & static:
        value = arguments[name]
        try:
            hash(value)
        except TypeError as error:
            is_array = isinstance(value, jax.Array | np.ndarray)
            instead = "a Python number or tuple, known while the program is traced" if is_array else "a tuple"
            raise TypeError(f"`{name}` must be static, got {describe(value)}; pass {instead}.") from error


def _like_jit(call: Callable[..., Any], jitted: Callable[..., Any]) -> Any:
    """A function that can do what a jitted one can. Its type is that of the function inside, which jit's own drops."""
    for method in ("clear_cache", "eval_shape", "lower", "trace"):
        setattr(call, method, getattr(jitted, method))
    return call


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

        return _like_jit(with_check, function)

    return decorate
