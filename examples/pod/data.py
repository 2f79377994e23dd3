"""What is learnt from, and the order in which it is read.

Six of the ten classes are known, the seed decides which. The test rows of the other four are the unknown that the
network is scored on; training never sees those classes. Its auxiliary outliers are patches of a photograph.

The order of the rows is one endless sequence for the whole run, decided by the seed alone. Step s takes the B rows from
s·B on, and of these process i of P reads the i-th of P equal parts. So a global batch has the same rows in the same
order on any number of processes, and resuming at step s needs nothing but s.
"""

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import grain
import jax
import numpy as np
from sklearn.datasets import load_sample_image

from ..digits.data import CLASSES, KNOWN, load_split
from .runtime import Refused

# Where Debian's package puts the four files; elsewhere the environment variable says where they are.
FASHION = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
PATCHES = 1000
# More than any run reads: Grain counts an endless sequence as long as the largest index, and then cannot cut it.
ROWS = 2**48
# Batches that are read ahead, in threads: rows of arrays need no processes of their own.
READ = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)


class Data(NamedTuple):
    """Images (N, side, side, 1) in [0, 1], classes (N,) from 0 to 5."""

    x: np.ndarray
    y: np.ndarray
    outliers: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    unknown: np.ndarray


class Rows(NamedTuple):
    """A process's part of a batch, with as many outliers as images."""

    x: np.ndarray
    y: np.ndarray
    outliers: np.ndarray


def load_digits(seed: int) -> Data:
    split = jax.device_get(load_split(jax.random.key(seed)))
    train = split.train
    return Data(train.x, train.y, train.outliers, split.x_test, split.y_test, split.near)


def load_fashion(seed: int) -> Data:
    rng = np.random.default_rng(seed)
    known = rng.permutation(CLASSES)[:KNOWN]
    (x, y), (x_test, y_test) = (_read_fashion(part) for part in ("train", "t10k"))
    unknown = x_test[~np.isin(y_test, known)]
    outliers = _patches(rng, load_sample_image("flower.jpg").mean(-1) / 255, x.shape[1])
    return Data(*_only(known, x, y), outliers, *_only(known, x_test, y_test), unknown)


DATA: dict[str, Callable[[int], Data]] = {"digits": load_digits, "fashion": load_fashion}


def batches(data: Data, *, seed: int, batch: int, part: int, parts: int, start: int) -> Iterator[Rows]:
    """This process's part of every global batch, from step `start` on."""

    def rows(of: np.ndarray, number: int) -> grain.MapDataset[int]:
        # Every epoch is shuffled anew. Images and outliers have seeds of their own, for they are shuffled apart.
        return grain.MapDataset.range(len(of)).seed(2 * seed + number).shuffle().repeat()[:ROWS]

    def read(chosen: tuple[np.ndarray, np.ndarray]) -> Rows:
        inside, outside = chosen
        return Rows(data.x[inside], data.y[inside], data.outliers[outside])

    pairs = grain.experimental.ZipMapDataset([rows(data.x, 0), rows(data.outliers, 1)])
    mine = pairs.batch(batch // parts)[start * parts + part :: parts]
    return iter(mine.map(read).to_iter_dataset(READ))


def _only(known: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the known classes, whose numbers are their places in `known`."""
    rows, numbers = np.nonzero(y[:, None] == known)
    return x[rows], numbers.astype(np.int32)


def _read_fashion(part: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        images = gzip.decompress((FASHION / f"{part}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((FASHION / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    except OSError as error:
        raise Refused(
            f"--data fashion: cannot read Fashion-MNIST in {FASHION} ({error}); install Debian's package "
            "dataset-fashion-mnist, or set FASHION_MNIST to the folder with its four files"
        ) from None
    # IDX files: a header of 16 bytes before the images, of 8 before the labels.
    x = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return x.astype(np.float32) / 255, np.frombuffer(labels, np.uint8, offset=8)


def _patches(rng: np.random.Generator, photograph: np.ndarray, side: int) -> np.ndarray:
    corners = rng.integers(np.array(photograph.shape) - side + 1, size=(PATCHES, 2))
    cuts = [photograph[top : top + side, left : left + side] for top, left in corners]
    return np.stack(cuts)[..., None].astype(np.float32)
