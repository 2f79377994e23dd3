"""Mixing: each source's mixup and CutMix of the same images, in the layout that it works on.

Labels go along, as they do in training; torchvision and timm make soft targets of them. Every call draws anew, and the
keys differ from call to call as the peers' draws do.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

import ood_jax
from parity import definitions

from . import mixing_forms as forms
from .limit import of_mixing
from .row import COMPILED, DEFINITION, PLAIN, Contest, Entry, Row, compile_torch, compiled, published
from .timing import Run

CLASSES = 1000
GROUPS = 8


class Images(NamedTuple):
    """A batch as JAX's convolutions prefer it, as PyTorch's do, and its labels."""

    nhwc: jax.Array
    nchw: torch.Tensor
    labels: jax.Array
    labels_torch: torch.Tensor

    @classmethod
    def draw(cls, n: int, side: int, dtype: str) -> "Images":
        rng = np.random.default_rng(0)
        images = rng.random((n, side, side, 3), np.float32)
        images = images if dtype == "float32" else (256 * images).astype(np.uint8)
        labels = rng.integers(0, CLASSES, n)
        nchw = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        return cls(jnp.asarray(images), nchw, jnp.asarray(labels), torch.from_numpy(labels))


def mixing_rows(*, quick: bool) -> Iterator[Row]:
    side = 32 if quick else 224
    for n in (16,) if quick else (128, 32):
        for name, build in BUILDERS.items():
            yield Row(f"{name}, {n}x3x{side}x{side}", partial(build, n, side), pages=True)


def mixup(n: int, side: int) -> Contest:
    images = Images.draw(n, side, "float32")
    mixing = compile_torch(forms.mixed)
    peers = definitions_of(images, "mixup_data") | {
        COMPILED: compiled(lambda: mixing(images.nchw, forms.lam(()), torch.randperm(n))),
        "torchvision": _torchvision("MixUp", images),
        "timm": _timm(images, mixup_alpha=1.0),
    }
    return Contest(ours(ood_jax.mixup, images), peers, {PLAIN: ours(forms.plain_mixup, images)}, of_mixing(images.nhwc))


def cutmix(dtype: str, n: int, side: int) -> Contest:
    images = Images.draw(n, side, dtype)
    plain = ours(forms.plain_cutmix, images)
    return Contest(ours(ood_jax.cutmix, images), cutmix_peers(images), {PLAIN: plain}, of_mixing(images.nhwc))


def cutmix_peers(images: Images) -> dict[str, Entry]:
    mixing, (n, *_, side) = compile_torch(forms.pasted), images.nchw.shape
    return definitions_of(images, "CutMix") | {
        COMPILED: compiled(lambda: mixing(images.nchw, forms.box((), side), torch.randperm(n))),
        "torchvision": _torchvision("CutMix", images),
        "timm": _timm(images, mixup_alpha=0.0, cutmix_alpha=1.0),
    }


def cutmix_nchw(n: int, side: int) -> Contest:
    images = Images.draw(n, side, "float32")
    images = images._replace(nhwc=jnp.asarray(images.nchw.numpy()))
    run = ours(partial(ood_jax.cutmix, data_format="NCHW"), images)
    return Contest(run, cutmix_peers(images), work=of_mixing(images.nhwc))


def mixup_per_example(n: int, side: int) -> Contest:
    images = Images.draw(n, side, "float32")
    mixing = compile_torch(forms.mixed)
    peers = {
        COMPILED: compiled(lambda: mixing(images.nchw, forms.lam((n, 1, 1, 1)), torch.randperm(n))),
        "kornia": _kornia("RandomMixUpV2", images),
        "timm": _timm(images, mixup_alpha=1.0, mode="elem"),
    }
    return Contest(ours(partial(ood_jax.mixup, per_example=True), images), peers, work=of_mixing(images.nhwc))


def cutmix_per_example(n: int, side: int) -> Contest:
    images = Images.draw(n, side, "float32")
    mixing = compile_torch(forms.pasted)
    peers = {
        COMPILED: compiled(lambda: mixing(images.nchw, forms.box((n, 1, 1, 1), side), torch.randperm(n))),
        "kornia": _kornia("RandomCutMixV2", images),
        "timm": _timm(images, mixup_alpha=0.0, cutmix_alpha=1.0, mode="elem"),
    }
    return Contest(ours(partial(ood_jax.cutmix, per_example=True), images), peers, work=of_mixing(images.nhwc))


def grouped(name: str, n: int, side: int) -> Contest:
    """No peer mixes in groups; whoever needs them takes the definition of each, or compiles it with partners inside."""
    images = Images.draw(n, side, "float32")
    mixing = definitions.mixup_data if name == "mixup" else definitions.CutMix()
    parts = list(zip(images.nchw.chunk(GROUPS), images.labels_torch.chunk(GROUPS), strict=True))
    mix, draw = (forms.mixed, forms.lam) if name == "mixup" else (forms.pasted, partial(forms.box, side=side))
    of_all = compile_torch(mix)

    def with_drawn() -> torch.Tensor:
        drawn = jax.tree.map(partial(forms.for_each_row, n), draw((GROUPS, 1, 1, 1)))
        return of_all(images.nchw, drawn, forms.partners_in_groups(n, GROUPS))

    peers: dict[str, Entry] = {
        DEFINITION: lambda: [mixing(*part) for part in parts],
        COMPILED: compiled(with_drawn),
    }
    run = ours(partial(getattr(ood_jax, name), groups=GROUPS), images)
    return Contest(run, peers, work=of_mixing(images.nhwc))


BUILDERS: dict[str, Callable[[int, int], Contest]] = {
    "mixup float32": mixup,
    "cutmix float32": partial(cutmix, "float32"),
    "cutmix uint8": partial(cutmix, "uint8"),
    "cutmix float32 NCHW": cutmix_nchw,
    "mixup per example": mixup_per_example,
    "cutmix per example": cutmix_per_example,
    f"mixup in {GROUPS} groups": partial(grouped, "mixup"),
    f"cutmix in {GROUPS} groups": partial(grouped, "cutmix"),
}


def keys() -> Iterator[jax.Array]:
    """Other keys for other calls, made beforehand."""
    return itertools.cycle(list(jax.random.split(jax.random.key(0), 32)))


def ours(function: Callable[..., Any], images: Images) -> Run:
    some = keys()
    return lambda: function(next(some), images.nhwc, images.labels)


def definitions_of(images: Images, name: str) -> dict[str, Entry]:
    def make(module: Any) -> Run:
        mixing = module.CutMix() if name == "CutMix" else module.mixup_data
        return lambda: mixing(images.nchw, images.labels_torch)

    return {source: published(source, make) for source in (DEFINITION, "incerto")}


def _torchvision(name: str, images: Images) -> Entry:
    def make(module: Any) -> Run:
        return partial(getattr(module, name)(alpha=1.0, num_classes=CLASSES), images.nchw, images.labels_torch)

    return published("torchvision", make)


def _timm(images: Images, **options: Any) -> Entry:
    """It mixes in place, so it has a batch of its own, which stays as finite as it was."""

    def make(module: Any) -> Run:
        mixing = module.Mixup(num_classes=CLASSES, label_smoothing=0.0, **options)
        return partial(mixing, images.nchw.clone(), images.labels_torch)

    return published("timm", make)


def _kornia(name: str, images: Images) -> Entry:
    def make(module: Any) -> Run:
        return partial(getattr(module, name)(data_keys=["input", "class"], p=1.0), images.nchw, images.labels_torch)

    return published("kornia", make)
