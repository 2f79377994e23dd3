"""What is learnt, what is near it, what is far from it, and the auxiliary outliers.

A seed chooses six of ten classes. Test images of the other four are near-OOD. Far-OOD come from sources of other kinds,
each a set of its own. Auxiliary outliers are patches of pictures none of which is a source of test OOD: no method sees
a test outlier, a part of one, or another picture of the same texture.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data
from skimage.transform import resize
from sklearn.datasets import load_digits, load_sample_image
from sklearn.model_selection import train_test_split

from .. import fashion
from ..fashion import Labelled

CLASSES = 10
KNOWN = 6
FAR_ROWS = 2000
OUTLIERS = 20_000
# A patch has this many times the side of an image before it is averaged down.
SCALES = (1, 2, 4)
PHOTOGRAPH = ("china.jpg",)
TEXTURES = ("brick", "grass", "gravel")
AUXILIARY = ("flower.jpg", "astronaut", "chelsea", "coffee", "coins", "moon", "rocket")
# The classes that are known, and the far-OOD sets, by the name of the data set.
DATASETS = {
    "fashion": (KNOWN, ("digits", "photograph", "textures", "noise")),
    "fashion-10": (CLASSES, ("digits", "photograph", "textures", "noise")),
    "digits": (KNOWN, ("photograph", "textures", "noise")),
}


class Task(NamedTuple):
    """Images are (N, side, side, 1) float32 in [0, 1], classes (N,) int32 from 0 on.

    Attributes:
      train: what to learn.
      outliers: the auxiliary outliers.
      test: test images of the known classes.
      unknown: test OOD by name; "near" is there unless all ten classes are known, every other is far.
    """

    train: Labelled
    outliers: np.ndarray
    test: Labelled
    unknown: Mapping[str, np.ndarray]

    @property
    def classes(self) -> int:
        return int(self.train.y.max()) + 1


def load_task(dataset: str, seed: int, *, folder: Path | None = None, rows: int | None = None) -> Task:
    """The task of a seed. `folder` holds Fashion-MNIST; `rows` keeps only so many training rows and outliers."""
    rng = np.random.default_rng(seed)
    train, test = _digits_parts(rng) if dataset == "digits" else _fashion_parts(folder)
    side = train.x.shape[1]
    classes = rng.permutation(CLASSES)
    number_known, far = DATASETS[dataset]
    known, unknown = classes[:number_known], classes[number_known:]
    x, y = _only(known, train)
    kept = rng.permutation(len(x))[:rows]
    near = {"near": _only(unknown, test).x} if len(unknown) else {}
    return Task(
        train=Labelled(x[kept], y[kept]),
        outliers=cut_patches(rng, AUXILIARY, min(len(kept), OUTLIERS), side),
        test=_only(known, test),
        unknown=near | {name: _far(rng, name, side) for name in far},
    )


def cut_patches(rng: np.random.Generator, pictures: Sequence[str], count: int, side: int) -> np.ndarray:
    """Square patches from anywhere in the pictures, each as likely, averaged down to side by side."""
    patches = np.empty((count, side, side, 1), np.float32)
    chosen, scales = rng.integers(len(pictures), size=count), rng.choice(SCALES, count)
    for patch, number, scale in zip(patches, chosen, scales, strict=True):
        picture = _picture(pictures[number])
        top, left = (rng.integers(size - side * scale + 1) for size in picture.shape)
        cut = picture[top : top + side * scale, left : left + side * scale]
        patch[..., 0] = cut.reshape(side, scale, side, scale).mean((1, 3))
    return patches


def _far(rng: np.random.Generator, name: str, side: int) -> np.ndarray:
    if name == "noise":
        return rng.random((FAR_ROWS, side, side, 1), np.float32)
    if name == "digits":
        images = _all_digits().x
        return np.stack([resize(image, (side, side), order=1) for image in images])
    return cut_patches(rng, TEXTURES if name == "textures" else PHOTOGRAPH, FAR_ROWS, side)


def _only(classes: np.ndarray, images: Labelled) -> Labelled:
    """The rows of these classes, whose numbers are their places in `classes`."""
    rows, numbers = np.nonzero(images.y[:, None] == classes)
    return Labelled(images.x[rows], numbers.astype(np.int32))


def _digits_parts(rng: np.random.Generator) -> tuple[Labelled, Labelled]:
    """A third of the digits for testing; the data set has no parts of its own."""
    x, y = _all_digits()
    x, x_test, y, y_test = train_test_split(x, y, test_size=1 / 3, stratify=y, random_state=int(rng.integers(2**31)))
    return Labelled(x, y), Labelled(x_test, y_test)


@functools.cache
def _fashion_parts(folder: Path | None) -> tuple[Labelled, Labelled]:
    found = fashion.find(folder)
    return fashion.read(found, "train"), fashion.read(found, "t10k")


@functools.cache
def _all_digits() -> Labelled:
    digits = load_digits()
    return Labelled((digits.images[..., None] / 16).astype(np.float32), digits.target.astype(np.int32))


@functools.cache
def _picture(name: str) -> np.ndarray:
    """Grey values in [0, 1]."""
    image = load_sample_image(name) if name.endswith(".jpg") else getattr(skimage.data, name)()
    grey = image.mean(-1) if image.ndim == 3 else image
    return (grey / 255).astype(np.float32)
