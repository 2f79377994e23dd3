"""The limit: what a row cannot do without, measured in the same rounds as its contenders.

Those are the bytes that must move, at the bandwidth of a plain pass over as many arrays of as many bytes, and for
losses one exponential a logit. Each is done by JAX and by PyTorch, of which the faster counts.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import torch

from .timing import Run

_FACTOR = 1.5


class Work(NamedTuple):
    """What cannot be avoided.

    Attributes:
      moved: for each large result, the bytes written for it and read for it, each byte once.
      exponentials: the shapes of the arrays of which each element needs one.
      dtype: of those.
    """

    moved: tuple[int, ...]
    exponentials: tuple[tuple[int, ...], ...] = ()
    dtype: str = "float32"


def of_mixing(images: Any, mixed_bytes: int | None = None) -> Work:
    """One read of the batch and one write, for a cache may have kept what is read again as a partner."""
    return Work((images.nbytes + (images.nbytes if mixed_bytes is None else mixed_bytes),))


def of_loss(shapes: Sequence[tuple[int, ...]], dtype: str) -> Work:
    """The logits are read and their gradients written; every logit has an exponential."""
    size = jnp.dtype(dtype).itemsize
    return Work(tuple(2 * math.prod(shape) * size for shape in shapes), tuple(shapes), dtype)


def probes(work: Work) -> dict[str, Run]:
    """What takes its turns among the contenders to find the limit."""
    # A float32 that is read and written moves 8 bytes.
    found = _both("bytes", _scale_jax, _scale_torch, [jnp.ones(max(1, size // 8), jnp.float32) for size in work.moved])
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


@jax.jit
def _scale_jax(arrays: list[jax.Array]) -> list[jax.Array]:
    return [array * _FACTOR for array in arrays]


def _scale_torch(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor * _FACTOR for tensor in tensors]


@jax.jit
def _exp_jax(arrays: list[jax.Array]) -> list[jax.Array]:
    return [jnp.exp(array) for array in arrays]


def _exp_torch(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.exp() for tensor in tensors]
