"""What `ood_jax` draws."""

import functools
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ood_jax

from .drawn import HEIGHT, ROWS, WIDTH, Draws, boxes

OUR_BATCHES = 1 << 15
"""Batches drawn by ours; many more than by a source, so the source's number decides what is noticed."""


@functools.cache
def our_draws(geometry: str | None, options: tuple[tuple[str, Any], ...], alpha: float) -> Draws:
    """The draws of `draw_cutmix` in this geometry, or of `draw_mixup` for None, at α."""
    keys = jax.random.split(jax.random.key(zlib.crc32(f"{geometry} {options}".encode())), OUR_BATCHES)
    if geometry is None:
        lam, partner = jax.tree.map(np.asarray, _our_mixup(options)(keys, alpha))
        return Draws(lam.reshape(OUR_BATCHES, -1), None, None, partner)
    box, kept, partner = jax.tree.map(np.asarray, _our_cutmix((("geometry", geometry), *options))(keys, alpha))
    return Draws(None, boxes(*box), kept.reshape(OUR_BATCHES, -1), partner)


@functools.cache
def _our_mixup(options: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    def draw(key: jax.Array, alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawn = ood_jax.draw_mixup(key, ROWS, alpha=alpha, **dict(options))
        return drawn.lam, drawn.partner

    return jax.jit(jax.vmap(draw, (0, None)))


@functools.cache
def _our_cutmix(options: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    images, labels = jnp.zeros((ROWS, HEIGHT, WIDTH, 1)), jnp.zeros(ROWS)

    def draw(key: jax.Array, alpha: jax.Array) -> tuple[ood_jax.Box, jax.Array, jax.Array]:
        drawn = ood_jax.draw_cutmix(key, ROWS, (HEIGHT, WIDTH), alpha=alpha, **dict(options))
        return drawn.box, ood_jax.apply_cutmix(drawn, images, labels).lam, drawn.partner

    return jax.jit(jax.vmap(draw, (0, None)))
