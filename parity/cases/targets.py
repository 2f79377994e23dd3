"""Boxes and soft targets, by themselves."""

import warnings
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import torch

import ood_jax

from ..agreement import Result, compared
from ..convert import to_numpy, to_torch
from ..injected import Injected, cutmix, mixup, partners
from ..published import load
from ..tolerances import ulps
from ._case import Case, case, random
from .mixing import box_of

SIZES = ((1, 1), (7, 19), (32, 32), (224, 97))


def target_cases() -> Iterator[Case]:
    """Boxes of many λ, and soft targets with and without smoothing."""
    for source in ("definition", "incerto", "torchvision", "timm", "kornia"):
        for size in SIZES:
            yield case(f"box {source} {size[0]}x{size[1]}", source, compare_boxes, size)
    for source in ("timm", "torchvision"):
        for function in ("mixup", "cutmix"):
            for smoothing in (0.0, 0.1) if source == "timm" else (0.0,):
                for classes in (2, 10, 1000):
                    name = f"soft_targets {source} {function} K={classes} smoothing={smoothing:g}"
                    yield case(name, source, compare_soft_targets, function, classes, smoothing)


def compare_boxes(name: str, source: str, size: tuple[int, int]) -> list[Result]:
    """The pixels of 100 boxes, read from where a source pastes, or from its generator."""
    rng = random(name)
    count = 100
    lam = rng.uniform(0, 1, count).astype(np.float32)
    lam[:4] = 0, 1, 0.75, 0.5
    if source == "kornia":
        position = rng.random((2, count), np.float32)
    else:
        position = np.stack([rng.integers(0, side, count) for side in size])
    box = box_of(source)(jnp.asarray(lam), tuple(map(jnp.asarray, position)), size)
    rows, columns = np.arange(size[0])[:, None], np.arange(size[1])
    top, bottom, left, right = (np.asarray(edge)[:, None, None] for edge in box)
    inside = (top <= rows) & (rows < bottom) & (left <= columns) & (columns < right)
    theirs = _kornia_pasted(lam, position, size) if source == "kornia" else _pasted(source, lam, position, size)
    return [compared("pixels", inside.astype(np.int32), theirs, np.float32, ulps("exact"))]


def _pasted(source: str, lam: np.ndarray, position: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where a source pastes ones over zeros, a call a box."""
    x = torch.stack([torch.zeros(1, *size), torch.ones(1, *size)])
    pasted = []
    for weight, *place in zip(lam, *position, strict=True):
        draw = Injected(float(weight), np.array([1, 0]), (place[0], place[1]))
        pasted.append(to_numpy(cutmix(source, x, torch.tensor([0, 1]), draw).x[0, 0]))
    return np.stack(pasted).astype(np.int32)


def _kornia_pasted(lam: np.ndarray, position: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    count = len(lam)
    load("kornia")
    half = np.arange(count).reshape(2, -1)[::-1].reshape(-1)  # zeros in the first half, ones in the second, swapped
    x = torch.cat([torch.zeros(count // 2, 1, *size), torch.ones(count // 2, 1, *size)])
    draw = Injected(lam, half, (position[0], position[1]))
    mixed = to_numpy(cutmix("kornia", x, torch.zeros(count, dtype=torch.long), draw).x)[:, 0]
    mixed[count // 2 :] = 1 - mixed[count // 2 :]
    return mixed.astype(np.int32)


def compare_soft_targets(name: str, source: str, function: str, classes: int, smoothing: float) -> list[Result]:
    """The targets that a source returns for a batch of 8."""
    rng = random(name)
    n, size = 8, (6, 10)
    x, y = rng.standard_normal((n, 3, *size)).astype(np.float32), rng.integers(0, classes, n)
    lam = np.float32(rng.beta(1, 1))
    center = int(rng.integers(0, size[0])), int(rng.integers(0, size[1]))
    draw = Injected(float(lam), partners(source, rng, n), center)
    with warnings.catch_warnings():
        theirs = (mixup if function == "mixup" else cutmix)(
            source, to_torch(x), to_torch(y), draw, classes=classes, smoothing=smoothing
        )
    partner = jnp.asarray(draw.partner)
    if function == "mixup":
        mixed = ood_jax.apply_mixup(ood_jax.MixupDraw(jnp.asarray(lam), partner), jnp.asarray(x), jnp.asarray(y))
    else:
        box = box_of(source)(jnp.asarray(lam), tuple(map(jnp.asarray, center)), size)
        mixed = ood_jax.apply_cutmix(
            ood_jax.CutMixDraw(box, partner), jnp.asarray(x), jnp.asarray(y), data_format="NCHW"
        )
    assert theirs.soft is not None
    ours = ood_jax.soft_targets(mixed, classes, smoothing=smoothing)
    return [compared("soft targets", ours, to_numpy(theirs.soft), np.float32, ulps("soft targets"), scale=1)]
