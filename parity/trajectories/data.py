"""Every batch of a run, with what is drawn for it."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import ood_jax

from .setting import ALPHA, BATCH, CHANNELS, CLASSES, HEIGHT, SEED, WIDTH

Array = NDArray[Any]


class Batch(NamedTuple):
    """One step's data and draw: mixup uses λ and the partners, CutMix the centre (row, column) too."""

    images: Any
    labels: Any
    outliers: Any
    lam: Any
    partner: Any
    center: Any


@functools.cache
def batches(steps: int) -> tuple[Batch, ...]:
    """The float32 batches of a run; a longer one begins like a shorter one."""
    templates = _textures(np.random.default_rng(SEED), CLASSES)
    with jax.enable_x64(False):  # the same draws whatever the caller's
        draws = jax.tree.map(np.asarray, jax.vmap(_draw)(jnp.arange(steps)))
    return tuple(_batch(step, templates, *(leaf[step] for leaf in draws)) for step in range(steps))


def _draw(step: jax.Array) -> tuple[jax.Array, ...]:
    key, key_row, key_column = jax.random.split(jax.random.fold_in(jax.random.key(SEED), step), 3)
    lam, partner = ood_jax.draw_mixup(key, BATCH, alpha=ALPHA)
    row, column = jax.random.randint(key_row, (), 0, HEIGHT), jax.random.randint(key_column, (), 0, WIDTH)
    return lam, partner, row, column


def _batch(step: int, templates: Array, lam: Array, partner: Array, row: Array, column: Array) -> Batch:
    rng = np.random.default_rng([SEED, step])
    labels = rng.integers(0, CLASSES, BATCH).astype(np.int32)
    clean = np.stack([templates[labels], _textures(rng, BATCH)])
    images, outliers = (clean + rng.standard_normal(clean.shape)).astype(np.float32)
    return Batch(images, labels, outliers, lam, partner, (row, column))


def _textures(rng: np.random.Generator, n: int) -> Array:
    """Random smooth images: waves of at most one period, weaker than a pixel's noise."""
    rows, columns = (np.cos(np.pi * np.arange(3) * (np.arange(side)[:, None] + 0.5) / side) for side in (HEIGHT, WIDTH))
    return np.einsum("yi,xj,nijc->nyxc", rows, columns, rng.standard_normal((n, 3, 3, CHANNELS))) / 6
