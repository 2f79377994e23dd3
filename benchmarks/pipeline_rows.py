"""From uint8 images to normalised, mixed bfloat16 ones: one jit, and the same in PyTorch."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import torch

import ood_jax
from parity import definitions

from . import mixing_forms as forms
from .limit import of_mixing
from .mixing_rows import Images, keys
from .row import COMPILED, DEFINITION, Contest, Row, compile_torch, compiled

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pipeline_rows(*, quick: bool) -> Iterator[Row]:
    side = 32 if quick else 224
    for n in (16,) if quick else (128, 32):
        for name in ("mixup", "cutmix"):
            title = f"uint8 to {name} of bfloat16, {n}x3x{side}x{side}"
            yield Row(title, partial(pipeline, name, n, side), pages=True)


def pipeline(name: str, n: int, side: int) -> Contest:
    images = Images.draw(n, side, "uint8")
    mixing, some = getattr(ood_jax, name), keys()

    @jax.jit
    def ours(key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        return mixing(key, normalise(x), y)

    normalise_torch = _normaliser()
    mixing_torch = definitions.mixup_data if name == "mixup" else definitions.CutMix()

    def theirs() -> Any:
        return mixing_torch(normalise_torch(images.nchw), images.labels_torch)

    apply, draw = _compilable(name, side, normalise_torch)
    return Contest(
        lambda: ours(next(some), images.nhwc, images.labels),
        {
            DEFINITION: theirs,
            COMPILED: compiled(lambda: apply(images.nchw, draw(), torch.randperm(n))),
        },
        work=of_mixing(images.nhwc, mixed_bytes=2 * images.nhwc.size),
    )


def normalise(x: jax.Array) -> jax.Array:
    return ((x / 255 - jnp.array(MEAN)) / jnp.array(STD)).astype(jnp.bfloat16)


def _normaliser() -> Callable[[torch.Tensor], torch.Tensor]:
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return lambda x: ((x / 255 - mean) / std).bfloat16()


def _compilable(name: str, side: int, normalise: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Any, Any]:
    """Normalisation and mixing as one compiled function, and what draws for it."""
    mix = forms.mixed if name == "mixup" else forms.pasted
    draw = partial(forms.lam, ()) if name == "mixup" else partial(forms.box, (), side)
    return compile_torch(lambda x, drawn, partner: mix(normalise(x), drawn, partner)), draw
