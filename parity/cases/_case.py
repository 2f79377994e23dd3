"""What a case is, and what the cases share."""

import warnings
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from numpy.typing import NDArray

from ..agreement import Agreement, Result
from ..convert import to_numpy

Array = NDArray[Any]

MODES = ("jit", "eager", "vmap")


class Case(NamedTuple):
    """A named comparison with one source; `run()` carries it out."""

    name: str
    source: str
    run: Callable[[], Agreement]


def case(name: str, source: str, compare: Callable[..., list[Result]], *arguments: Any) -> Case:
    """The case that compares with these arguments; the comparison gets its name first, to draw its inputs by."""
    return Case(name, source, lambda: Agreement(name, tuple(compare(name, source, *arguments))))


def random(name: str) -> np.random.Generator:
    """A generator that follows from the case's name alone, so a case run by itself gives the same figures."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def images(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Random pixels of a dtype."""
    if dtype in ("uint8", "int32"):
        return rng.integers(0, 256, shape).astype(dtype)
    return rng.standard_normal(shape).astype(jnp.dtype(dtype))


def call(mode: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """A jitted function's result as it is, without jit, or as one of two that are mapped over together."""
    if mode == "eager":
        with jax.disable_jit():
            return function(*arguments)
    if mode == "vmap":
        # The second of the two is the first upside down, so that nothing passes that mixes them up.
        both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[::-1] if leaf.ndim else leaf]), arguments)
        return jax.tree.map(lambda leaf: leaf[0], jax.vmap(function)(*both))
    return function(*arguments)


def torch_forward(function: Callable[[Any], torch.Tensor], primal: Any, tangent: Any) -> Array:
    """A PyTorch function's forward-mode derivative along a tangent."""
    with warnings.catch_warnings():  # of PyTorch's own use of what it has deprecated
        warnings.filterwarnings("ignore", message="`torch.jit")
        return to_numpy(torch.func.jvp(function, (primal,), (tangent,))[1])
