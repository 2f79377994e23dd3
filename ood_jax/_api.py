"""The one place where the public functions are compiled.

Sizes, modes and forms decide which program is built, so they are static; every number is traced, so changing its value
never compiles again. (To leave it out, or to give an int for a float, does once.)
"""

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

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
        arguments = _bound(function, signature, args, kwargs).arguments
        return function(**{name: value if name in static else _as_arrays(value) for name, value in arguments.items()})

    jitted = jax.jit(with_arrays, static_argnames=static)

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return jitted(*args, **kwargs)
        except ValueError:  # of which jit has one for what is not hashable, that does not say which argument it was
            _check_static(signature.bind(*args, **kwargs).arguments, static)
            raise

    # The cast keeps the signature for type checkers and editors.
    return cast(_F, _Jitted(call, jitted))


def _check_static(arguments: Mapping[str, Any], static: Sequence[str]) -> None:
    for name in arguments.keys() & static:
        value = arguments[name]
        try:
            hash(value)
        except TypeError as error:
            raise TypeError(
                f"`{name}` must be static, got {describe(value)}; pass a Python number or string, or a tuple of them, "
                "that is known while the program is traced."
            ) from error


def _bound(
    function: Callable[..., Any], signature: inspect.Signature, args: Any, kwargs: Any
) -> inspect.BoundArguments:
    """The arguments of a call by name, or an error that says whose they were and how it is called."""
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        bare = [p.replace(annotation=p.empty, default=p.empty) for p in signature.parameters.values()]
        raise TypeError(
            f"`{function.__name__}` cannot be called like this, {error}; it is called as "
            f"{function.__name__}{inspect.Signature(bare)}, with what comes after a star by name."
        ) from None


class _Jitted:
    """A call of a jitted function, with something done before or after, that is like the jitted function.

    It has its methods, but not as attributes of its own: JAX's transforms copy those to what they make of it, so that
    `jax.jit(jax.grad(f)).lower` would be `f.lower`.
    """

    def __init__(self, call: Callable[..., Any], jitted: Callable[..., Any]):
        functools.update_wrapper(self, jitted)
        self._call = call
        self._jitted = jitted

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jitted, name)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a function's, by which it is also a method, and a function to `help`."""
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> str:
        return self.__qualname__


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

        def with_check(*args: Any, **kwargs: Any) -> Any:
            bound = _bound(function, signature, args, kwargs)
            bound.apply_defaults()
            check(*(bound.arguments[name] for name in names))
            return function(*args, **kwargs)

        return cast(_F, _Jitted(with_check, function))

    return decorate
