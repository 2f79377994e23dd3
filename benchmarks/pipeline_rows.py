"""From uint8 images to normalised, mixed bfloat16 ones: one jit, and the same in PyTorch.

Images may be normalised after they are mixed as well as before, for that is affine and the weights of a mix sum to one.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import ood_jax

from . import mixing_forms as forms
from .limit import of_mixing
from .mixing_rows import CLASSES, Images, keys
from .row import COMPILED, DEFINITION, Contest, Entry, Row, compile_torch, compiled, published
from .timing import Run

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
# (x / 255 - mean) / std, which a compiler makes of it where it sees the numbers, so all get it.
SCALE, OFFSET = (1 / (255 * STD)).astype(np.float32), (-MEAN / STD).astype(np.float32)


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
    def mixed_first(key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        mixed = mixing(key, x, y)
        return mixed._replace(x=normalise(mixed.x))

    @jax.jit
    def normalised_first(key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        return mixing(key, normalise(x), y)

    def ours(step: Any) -> Run:
        return lambda: step(next(some), images.nhwc, images.labels)

    normalise_torch = _normaliser()

    def normalised(mixing: Any) -> Run:
        return lambda: mixing(normalise_torch(images.nchw), images.labels_torch)

    mix, draw = (forms.mixed, forms.lam) if name == "mixup" else (forms.pasted, partial(forms.box, side=side))
    orders = {
        COMPILED: lambda x, drawn, partner: mix(normalise_torch(x), drawn, partner),
        f"{COMPILED}, mixed first": lambda x, drawn, partner: normalise_torch(mix(x, drawn, partner)),
    }

    def theirs_compiled(order: Any) -> Entry:
        apply = compile_torch(order)
        return compiled(lambda: apply(images.nchw, draw(()), torch.randperm(n)))

    in_a_class = "MixUp" if name == "mixup" else "CutMix"
    alphas = {"mixup_alpha": float(name == "mixup"), "cutmix_alpha": float(name == "cutmix")}
    sources: dict[str, Callable[[Any], Any]] = {
        DEFINITION: lambda module: module.mixup_data if name == "mixup" else module.CutMix(),
        "incerto": lambda module: module.mixup_data if name == "mixup" else module.CutMix(),
        "torchvision": lambda module: getattr(module, in_a_class)(alpha=1.0, num_classes=CLASSES),
        "timm": lambda module: module.Mixup(num_classes=CLASSES, label_smoothing=0.0, **alphas),
    }
    peers = {
        source: published(source, partial(lambda make, module: normalised(make(module)), make))
        for source, make in sources.items()
    }
    return Contest(
        ours(mixed_first),
        {**peers, **{title: theirs_compiled(order) for title, order in orders.items()}},
        {"ours, normalised first": ours(normalised_first)},
        work=of_mixing(images.nhwc, mixed_bytes=2 * images.nhwc.size),
    )


def normalise(x: jax.Array) -> jax.Array:
    return (x * jnp.asarray(SCALE) + jnp.asarray(OFFSET)).astype(jnp.bfloat16)


def _normaliser() -> Callable[[torch.Tensor], torch.Tensor]:
    scale, offset = (torch.from_numpy(values)[:, None, None] for values in (SCALE, OFFSET))
    return lambda x: (x * scale + offset).bfloat16()
