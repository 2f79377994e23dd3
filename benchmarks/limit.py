"""The limit: what a row cannot do without, measured in the same rounds as its contenders.

Those are the bytes that must move, in plain passes that read and write arrays of as many bytes, and for losses one
exponential a logit, read and written. Each is done by JAX and by PyTorch, of which the faster counts.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import torch

from .timing import Run

_FACTOR = 1.5


class Pass(NamedTuple):
    """Over one large array: the bytes read of it, and those written, which are none, as many or twice as many.

    How many are written has to be told, for of large results the allocator decides what a byte costs.
    """

    read: int
    written: int


class Work(NamedTuple):
    """What cannot be avoided.

    Attributes:
      moved: each byte once.
      exponentials: the shapes of the arrays of which each element needs one.
      dtype: of those.
    """

    moved: tuple[Pass, ...]
    exponentials: tuple[tuple[int, ...], ...] = ()
    dtype: str = "float32"


def of_mixing(images: Any, mixed_bytes: int | None = None) -> Work:
    """One read of the batch and one write, for a cache may have kept what is read again as a partner."""
    return Work((Pass(images.nbytes, images.nbytes if mixed_bytes is None else mixed_bytes),))


def of_loss(shapes: Sequence[tuple[int, ...]], dtype: str, targets: Sequence[Any] = ()) -> Work:
    """The logits are read and their gradients written, class probabilities read; every logit has an exponential."""
    sizes = [math.prod(shape) * jnp.dtype(dtype).itemsize for shape in shapes]
    passes = [*(Pass(size, size) for size in sizes), *(Pass(array.nbytes, 0) for array in targets)]
    return Work(tuple(passes), tuple(shapes), dtype)


def probes(work: Work) -> dict[str, Run]:
    """What takes its turns among the contenders to find the limit."""
    arrays = [jnp.ones(max(1, one.read // 4), jnp.float32) for one in work.moved]
    growths = tuple(one.written // one.read for one in work.moved)
    arrays = [array.view(jnp.uint8) if growth == 2 else array for array, growth in zip(arrays, growths, strict=True)]
    found = _both("bytes", partial(_pass_jax, growths=growths), partial(_pass_torch, growths=growths), arrays)
    if work.exponentials:
        logits = [jax.random.normal(jax.random.key(0), shape, work.dtype) for shape in work.exponentials]
        found |= _both("exponentials", _exp_jax, _exp_torch, logits)
    return found


def limit(samples: Mapping[str, list[float]]) -> tuple[str, list[float]]:
    """Which probe is the limit, and its times: the slower of the needs, each by the faster framework."""
    medians = {name: statistics.median(times) for name, times in samples.items()}
    kinds: dict[str, list[str]] = {}
    for name in samples:
        kinds.setdefault(name.split(", ")[0], []).append(name)
    fastest = [min(names, key=medians.__getitem__) for names in kinds.values()]
    slowest = max(fastest, key=medians.__getitem__)
    return slowest, samples[slowest]


def _both(kind: str, by_jax: Any, by_torch: Any, arrays: list[jax.Array]) -> dict[str, Run]:
    tensors = [torch.utils.dlpack.from_dlpack(array).clone() for array in arrays]  # a copy, on PyTorch's own alignment
    return {f"{kind}, JAX": lambda: by_jax(arrays), f"{kind}, PyTorch": lambda: by_torch(tensors)}


@partial(jax.jit, static_argnames="growths")
def _pass_jax(arrays: list[jax.Array], growths: tuple[int, ...]) -> list[jax.Array]:
    by_growth: list[Callable[[jax.Array], jax.Array]] = [
        jnp.sum, lambda array: array * _FACTOR, lambda array: array.astype(jnp.uint16),
    ]  # fmt: skip
    return [by_growth[growth](array) for array, growth in zip(arrays, growths, strict=True)]


def _pass_torch(tensors: list[torch.Tensor], growths: tuple[int, ...]) -> list[torch.Tensor]:
    by_growth: list[Callable[[torch.Tensor], torch.Tensor]] = [
        torch.sum, lambda tensor: tensor * _FACTOR, lambda tensor: tensor.to(torch.int16),
    ]  # fmt: skip
    return [by_growth[growth](tensor) for tensor, growth in zip(tensors, growths, strict=True)]


@jax.jit
def _exp_jax(arrays: list[jax.Array]) -> list[jax.Array]:
    return [jnp.exp(array) for array in arrays]


def _exp_torch(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.exp() for tensor in tensors]
