"""The two sides of a comparison: the inputs taken apart, and each function called and differentiated with them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax
import numpy as np
import torch
from jax.tree_util import PyTreeDef, keystr, tree_flatten_with_path, tree_unflatten
from numpy.typing import NDArray

from .convert import dtype_name, to_jax, to_numpy, to_torch

Inputs = tuple[Any, ...] | list[Any] | Mapping[str, Any]
Names = int | str | Sequence[int | str]


class Arguments(NamedTuple):
    """The inputs taken apart into leaves, each with its name and the key of the input it belongs to."""

    names: list[str]
    keys: list[int | str]
    leaves: list[Any]
    structure: PyTreeDef
    by_name: bool

    @classmethod
    def of(cls, inputs: Inputs) -> Self:
        """The inputs of both sides, which must be arrays, Python numbers or None."""
        if not isinstance(inputs, tuple | list | Mapping):
            raise TypeError(
                "`inputs` must be a tuple or list of positional arguments, or a mapping of keyword arguments, got "
                f"{type(inputs).__name__}; for one argument x pass `(x,)`."
            )
        by_name = isinstance(inputs, Mapping)
        if by_name and not all(isinstance(name, str) for name in inputs):
            raise TypeError(f"`inputs` as a mapping must have names as keys, got {list(inputs)}.")
        paths, structure = tree_flatten_with_path(dict(inputs if by_name else enumerate(inputs)))
        names, keys = [f"inputs{keystr(path)}" for path, _ in paths], [path[0].key for path, _ in paths]
        arguments = cls(names, keys, [leaf for _, leaf in paths], structure, by_name)
        arguments.converted(to_numpy)  # which fails for anything but arrays
        return arguments

    def converted(self, conversion: Callable[[Any], Any]) -> list[Any]:
        """The leaves, arrays converted and numbers as they are."""
        converted = []
        for name, leaf in zip(self.names, self.leaves, strict=True):
            try:
                converted.append(conversion(leaf) if _is_array(leaf) else leaf)
            except TypeError as error:
                raise TypeError(f"`{name}`: {error}; bind other arguments with `functools.partial`.") from None
            except ValueError as error:
                raise ValueError(f"`{name}`: {error}.") from None
        return converted

    def call(self, function: Callable[..., Any], leaves: list[Any]) -> dict[str, Any]:
        """What a function returns for these leaves, each of its own leaves by name."""
        arguments = tree_unflatten(self.structure, leaves)
        out = function(**arguments) if self.by_name else function(*arguments.values())
        return {f"out{keystr(path)}": leaf for path, leaf in tree_flatten_with_path(out)[0]}

    @property
    def in_float64(self) -> bool:
        """Whether any leaf is a float64 array."""
        return any(_is_array(leaf) and dtype_name(leaf) == "float64" for leaf in self.leaves)

    def floating(self, wrt: Names | None) -> list[int]:
        """Where the leaves to differentiate are."""
        floating = [i for i, leaf in enumerate(self.leaves) if _is_array(leaf) and is_float(leaf)]
        if wrt is None:
            return floating
        if not isinstance(wrt, int | str | Sequence):
            raise TypeError(f"`wrt` must be a position, a name or a sequence of them, got {type(wrt).__name__}.")
        wanted = [wrt] if isinstance(wrt, int | str) else list(wrt)
        known = dict.fromkeys(self.keys[i] for i in floating)
        for key in wanted:
            if isinstance(key, bool) or key not in known:
                raise ValueError(
                    f"`wrt` must name inputs that hold floating-point arrays, of which there are {list(known)}, got "
                    f"{key!r}; Python numbers are not differentiated, arrays of one are."
                )
        return [i for i in floating if self.keys[i] in wanted]


# Each side keeps what it returned, for its gradients.


class Jax:
    """A function of JAX arrays and what it gets."""

    name = "JAX"
    array = jax.Array

    def __init__(self, function: Callable[..., Any], arguments: Arguments, wrt: list[int]) -> None:
        self.function, self.arguments, self.wrt = function, arguments, wrt
        self.leaves = arguments.converted(to_jax)
        self.out: dict[str, Any] = {}

    def values(self) -> dict[str, Any]:
        """Calls the function: each of its results by name."""
        self.out = jax.block_until_ready(self.arguments.call(self.function, self.leaves))
        return self.out

    @property
    def floats(self) -> list[str]:
        """The results that can be differentiated."""
        return [name for name, array in self.out.items() if isinstance(array, jax.Array) and is_float(array)]

    def gradients(self, cotangents: Mapping[str, NDArray[Any]]) -> Sequence[Any]:
        """By each input that is differentiated, with a cotangent for each result."""
        given = self.arguments.converted(to_jax)  # again, because a jitted function may take over what it gets

        def floats(*differentiated: jax.Array) -> dict[str, jax.Array]:
            leaves = given.copy()
            for i, leaf in zip(self.wrt, differentiated, strict=True):
                leaves[i] = leaf
            out = self.arguments.call(self.function, leaves)
            return {name: out[name] for name in cotangents}

        _, pull_back = jax.vjp(floats, *(given[i] for i in self.wrt))
        return jax.block_until_ready(pull_back({name: to_jax(array) for name, array in cotangents.items()}))


class Torch:
    """A function of tensors and what it gets."""

    name = "PyTorch"
    array = torch.Tensor

    def __init__(self, function: Callable[..., Any], arguments: Arguments, wrt: list[int]) -> None:
        self.function, self.arguments = function, arguments
        shared = arguments.converted(lambda leaf: to_torch(leaf, copy=False))
        self.wrt = [shared[i].requires_grad_() for i in wrt]
        # A copy that knows its origin: the function may write into it, and gradients still arrive at the origin.
        self.leaves = [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in shared]
        self.out: dict[str, Any] = {}

    def values(self) -> dict[str, Any]:
        """Calls the function: each of its results by name."""
        self.out = self.arguments.call(self.function, self.leaves)
        return self.out

    def gradients(self, cotangents: Mapping[str, NDArray[Any]]) -> Sequence[Any]:
        """By each input that is differentiated, with a cotangent for each result; None where PyTorch gives none."""
        attached = [name for name in cotangents if self.out[name].requires_grad]
        out = [self.out[name] for name in attached]
        weights = [to_torch(cotangents[name]).to(self.out[name].device) for name in attached]
        return torch.autograd.grad(out, self.wrt, weights, allow_unused=True)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.generic) or not isinstance(leaf, bool | int | float)


def is_float(array: Any) -> bool:
    return "float" in dtype_name(array)
