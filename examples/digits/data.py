"""Digits that the network knows, digits that it does not, and patches of two photographs.

A split chooses six of the ten classes at random. 120 rows of each are trained on and 54 test accuracy; the rows of the
other four classes are near-OOD, for they are the same kind of image by the same writers. Patches of one photograph
are far-OOD, and patches of the other are the auxiliary outliers that some methods train on, so no method sees a test
outlier, nor a part of one. Both are photographs, though, and a patch is a smooth grey texture where a digit is a bright
stroke on black: far-OOD is easy here, and easier still for a method whose outliers look so like it. Near-OOD tells
more.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits, load_sample_images

CLASSES = 10
KNOWN = 6
TRAIN_ROWS = 120
# Each class has at least 174 rows. Using as many of each gives every split the same shapes, so that a step compiles
# once a method, not once a split.
ROWS = 174
PATCHES = 1000
SCALES = (1, 2, 4, 8)
SIDE = 8


class Train(NamedTuple):
    """What training may use: images (N, 8, 8, 1) in [0, 1], classes (N,) from 0 to 5, auxiliary outliers (M, 8, 8, 1).

    N and M differ, and the rows of x and outliers have nothing to do with one another.
    """

    x: jax.Array
    y: jax.Array
    outliers: jax.Array


class Split(NamedTuple):
    train: Train
    x_test: jax.Array
    y_test: jax.Array
    near: jax.Array
    far: jax.Array


class Batch(NamedTuple):
    """As `Train`, and with as many outliers as images, which the energy loss compares in pairs."""

    x: jax.Array
    y: jax.Array
    outliers: jax.Array


def load_split(key: jax.Array) -> Split:
    """Draws a split. All that is random in it comes from the key."""
    # Rows are picked and photographs cut on the host, where NumPy's generator is handy; the key seeds it.
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    images, labels = _digits()
    classes = rng.permutation(CLASSES)
    rows = np.stack([rng.permutation(np.flatnonzero(labels == c))[:ROWS] for c in classes])
    train, test, near = rows[:KNOWN, :TRAIN_ROWS], rows[:KNOWN, TRAIN_ROWS:], rows[KNOWN:]
    china, flower = _photographs()
    return Split(
        train=Train(
            x=jnp.asarray(images[train.ravel()]),
            y=_class_numbers(train),
            outliers=jnp.asarray(cut_patches(rng, flower, PATCHES)),
        ),
        x_test=jnp.asarray(images[test.ravel()]),
        y_test=_class_numbers(test),
        near=jnp.asarray(images[near.ravel()]),
        far=jnp.asarray(cut_patches(rng, china, PATCHES)),
    )


def draw_batch(key: jax.Array, train: Train, size: int) -> Batch:
    """Rows drawn uniformly and with replacement; called inside the jitted step."""
    key_in, key_out = jax.random.split(key)
    rows = jax.random.randint(key_in, (size,), 0, len(train.x))
    outlier_rows = jax.random.randint(key_out, (size,), 0, len(train.outliers))
    return Batch(train.x[rows], train.y[rows], train.outliers[outlier_rows])


def cut_patches(rng: np.random.Generator, photograph: np.ndarray, count: int) -> np.ndarray:
    """Square patches of 8 to 64 pixels a side from anywhere in a photograph, averaged down to 8 by 8."""
    patches = np.empty((count, SIDE, SIDE, 1), np.float32)
    for patch, scale in zip(patches, rng.choice(SCALES, count), strict=True):
        side = SIDE * scale
        top, left = (rng.integers(size - side + 1) for size in photograph.shape)
        cut = photograph[top : top + side, left : left + side]
        patch[..., 0] = cut.reshape(SIDE, scale, SIDE, scale).mean((1, 3))
    return patches


def _class_numbers(rows: np.ndarray) -> jax.Array:
    """The known classes, in the order drawn, are classes 0 to 5 of the network."""
    return jnp.repeat(jnp.arange(KNOWN), rows.shape[1])


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    digits = load_digits()
    return (digits.images[..., None] / 16).astype(np.float32), digits.target


@functools.cache
def _photographs() -> tuple[np.ndarray, np.ndarray]:
    """A temple in China and a flower, as grey values in [0, 1]."""
    photographs = load_sample_images()
    grey = {
        Path(name).stem: image.mean(-1) / 255
        for name, image in zip(photographs.filenames, photographs.images, strict=True)
    }
    return grey["china"], grey["flower"]
