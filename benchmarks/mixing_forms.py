"""Mixing as it can be compiled: in PyTorch, and in a few plain lines of JAX."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch


def mixed(x: torch.Tensor, lam: torch.Tensor, partner: torch.Tensor) -> torch.Tensor:
    """The definition's arithmetic, of what was drawn outside: a compiled one would draw by Python again."""
    mix = lam * x + (1 - lam) * x[partner]
    return mix.to(x.dtype) if x.is_floating_point() else mix


def pasted(x: torch.Tensor, box: tuple[torch.Tensor, ...], partner: torch.Tensor) -> torch.Tensor:
    """The same of a box, as a mask: slices would be a program for each box."""
    top, bottom, left, right = box
    rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return torch.where(inside, x[partner], x)


def lam(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(np.asarray(np.random.beta(1.0, 1.0, shape), np.float32))  # noqa: NPY002


def box(shape: tuple[int, ...], side: int) -> tuple[torch.Tensor, ...]:
    """Top, bottom, left and right of boxes such as the definition draws in a square."""
    half = (side * np.sqrt(1 - np.random.beta(1.0, 1.0, shape))).astype(np.int64) // 2  # noqa: NPY002
    center = np.random.randint(side, size=(2, *shape))  # noqa: NPY002
    edges = np.clip([center[0] - half, center[0] + half, center[1] - half, center[1] + half], 0, side)
    return torch.from_numpy(edges).unbind()


def for_each_row(n: int, of_groups: torch.Tensor) -> torch.Tensor:
    return of_groups.repeat_interleave(n // len(of_groups), dim=0)


def partners_in_groups(n: int, groups: int) -> torch.Tensor:
    starts = torch.arange(0, n, n // groups)[:, None]
    return (starts + torch.rand(groups, n // groups).argsort(dim=1)).flatten()


@jax.jit
def plain_mixup(key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
    by_lam, by_partner = jax.random.split(key)
    lam = jax.random.uniform(by_lam)
    partner = jax.random.permutation(by_partner, len(x))
    return lam * x + (1 - lam) * x[partner], y, y[partner], lam


@jax.jit
def plain_cutmix(key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
    by_lam, by_center, by_partner = jax.random.split(key, 3)
    side = x.shape[1]
    half = (side * jnp.sqrt(1 - jax.random.uniform(by_lam))).astype(int) // 2
    center = jax.random.randint(by_center, (2,), 0, side)
    low, high = (jnp.clip(center + distance, 0, side) for distance in (-half, half))
    at = jnp.arange(side)
    rows, columns = ((at >= low[axis]) & (at < high[axis]) for axis in (0, 1))
    partner = jax.random.permutation(by_partner, len(x))
    mixed = jnp.where(rows[:, None, None] & columns[:, None], x[partner], x)
    return mixed, y, y[partner], 1 - (high - low).prod() / side**2
