"""How a network is trained, in numbers that both frameworks share: batches, learning rates, the method's weights.

A network trained from scratch and one fine-tuned differ in where they start, in their learning rate and in how long
they are trained, and in nothing else.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP = 0.1


class Method(NamedTuple):
    """A loss, by its name in `jax_training` and `torch_training`, and whether it fine-tunes the trained baseline."""

    loss: str
    fine_tuned: bool = False


METHODS = {
    "baseline": Method("cross-entropy"),
    "mixup": Method("mixup"),
    "cutmix": Method("cutmix"),
    "outlier-exposure": Method("outlier-exposure"),
    "energy": Method("energy"),
    "energy-bounded": Method("energy-bounded"),
    "outlier-exposure-tuned": Method("outlier-exposure", fine_tuned=True),
    "energy-tuned": Method("energy", fine_tuned=True),
    "energy-bounded-tuned": Method("energy-bounded", fine_tuned=True),
}

# As OpenOOD sets them.
MIXUP_ALPHA = 0.2
CUTMIX_ALPHA = 1.0


class Recipe(NamedTuple):
    """How long and how fast.

    Attributes:
      epochs: passes over the training rows, from scratch.
      tuning_epochs: passes of fine-tuning.
      batch: rows of a batch; of the outliers as many.
      learning_rate: the highest, after the warm-up.
      tuning_rate: the highest when fine-tuning.
      stride: of the network's first convolution.
    """

    epochs: int
    tuning_epochs: int
    batch: int
    learning_rate: float
    tuning_rate: float
    stride: int


RECIPES = {
    "fashion": Recipe(epochs=3, tuning_epochs=1, batch=128, learning_rate=0.2, tuning_rate=0.02, stride=2),
    "fashion-10": Recipe(epochs=8, tuning_epochs=1, batch=128, learning_rate=0.2, tuning_rate=0.02, stride=2),
    "digits": Recipe(epochs=30, tuning_epochs=10, batch=64, learning_rate=0.1, tuning_rate=0.01, stride=1),
}


def learning_rates(recipe: Recipe, method: Method, rows: int) -> np.ndarray:
    """One a step, float32: a linear warm-up, then half a cosine down to 0."""
    steps = (recipe.tuning_epochs if method.fine_tuned else recipe.epochs) * (rows // recipe.batch)
    highest = recipe.tuning_rate if method.fine_tuned else recipe.learning_rate
    done = (np.arange(steps) + 1) / (steps + 1)
    decay = (1 + np.cos(np.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2
    return (highest * np.minimum(done / WARM_UP, np.where(done < WARM_UP, 1, decay))).astype(np.float32)


class Rows(NamedTuple):
    inside: np.ndarray
    outside: np.ndarray


def batches(recipe: Recipe, method: Method, seed: int, rows: int, outliers: int, *, ratio: float = 1) -> Iterator[Rows]:
    """The rows of each step's batch, and `ratio` times as many outliers: every epoch is shuffled anew.

    The last few rows of an epoch, too few for a batch, are left out.

    The order depends on the seed alone, so all methods, and both frameworks, see the same batches.
    """
    epochs = recipe.tuning_epochs if method.fine_tuned else recipe.epochs
    rng, rng_out = (np.random.default_rng((seed, number)) for number in range(2))
    for _ in range(epochs):
        order = rng.permutation(rows)
        for start in range(0, rows - rows % recipe.batch, recipe.batch):
            yield Rows(
                order[start : start + recipe.batch], rng_out.integers(outliers, size=round(ratio * recipe.batch))
            )
