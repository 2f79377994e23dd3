"""One cell: a network trained as the recipe says, and then measured.

The seed decides the split, the initial weights and the order of the rows, the same for all methods and in both
frameworks.
"""

import functools
import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import ood_jax

from ..fashion import Refused
from . import cells, data, evaluate, model
from .cells import Cell, Training
from .data import Task, load_task
from .evaluate import FIT_ROWS, Head, Outputs, Row, fit_scores
from .model import Weights, initial_weights
from .recipe import (
    CUTMIX_ALPHA,
    METHODS,
    MIXUP_ALPHA,
    MOMENTUM,
    RECIPES,
    WARM_UP,
    WEIGHT_DECAY,
    Recipe,
    batches,
    learning_rates,
)

# Reading the loss waits for the step to finish, so it is not read at every step.
REPORT_EVERY = 20
# Rows that calibrate the bounds of the energies.
CALIBRATION_ROWS = 5000

# Called now and then with the steps done, the steps in all, and the loss.
Report = Callable[[int, int, float], None]
Predict = Callable[[Weights, np.ndarray], Outputs]


class Settings(NamedTuple):
    """What all cells of a run share.

    Attributes:
      out: the folder of the results.
      fashion: the folder of Fashion-MNIST, None to look for it.
      reduced: the small form: few training rows.
    """

    out: Path
    fashion: Path | None = None
    reduced: bool = False

    def recipe(self, dataset: str) -> Recipe:
        return RECIPES[dataset]

    def rows(self, dataset: str) -> int | None:
        return REDUCED_ROWS if self.reduced and dataset != "digits" else None

    def fingerprint(self, cell: Cell) -> str:
        """Tells networks of one recipe from those of another."""
        chosen = self.recipe(cell.dataset), METHODS[cell.method], self.rows(cell.dataset), CALIBRATION_ROWS
        constants = [MOMENTUM, WEIGHT_DECAY, WARM_UP, MIXUP_ALPHA, CUTMIX_ALPHA, model.WIDTHS]
        return _digest(chosen, constants, data.DATASETS[cell.dataset], data.OUTLIERS, data.AUXILIARY, data.SCALES)

    def measured_fingerprint(self, cell: Cell) -> str:
        """Tells measurements of one kind from those of another."""
        test = data.FAR_ROWS, data.PHOTOGRAPH, data.TEXTURES
        return _digest(self.fingerprint(cell), test, evaluate.NEIGHBOURS, evaluate.DIMENSION, evaluate.FIT_ROWS)


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


REDUCED_ROWS = 6000


def train(settings: Settings, cell: Cell, report: Report) -> None:
    """Trains the cell's network, and saves it."""
    recipe, method = settings.recipe(cell.dataset), METHODS[cell.method]
    task, framework = _task(settings, cell), backend(cell.framework)
    start = initial_weights(task.classes, recipe.stride, cell.seed)
    margins = ood_jax.Margins(jnp.float32(-1), jnp.float32(1))  # of no use to most losses
    if cells.needs_baseline(cell.method):
        trained = cells.load_weights(settings.out, cell.baseline)
        start = trained if method.fine_tuned else start
        if method.loss == "energy-bounded":
            margins = calibrate(_predictor(settings, cell, task), trained, task)

    run = framework.Run(task, framework.LOSSES[method.loss], recipe.stride, start, cell.seed, margins)
    rates = learning_rates(recipe, method, len(task.train.x))
    order = batches(recipe, method, cell.seed, len(task.train.x), len(task.outliers))
    losses = []
    for number, (rows, rate) in enumerate(zip(order, rates, strict=True), start=1):
        loss = run.step(rows, rate)
        if number % REPORT_EVERY == 0 or number == len(rates):
            losses.append(float(loss))
            report(number, len(rates), losses[-1])
    cells.save_trained(settings.out, cell, run.weights(), Training(settings.fingerprint(cell), losses))


def measure(settings: Settings, cell: Cell) -> list[Row]:
    """What every score of the trained network tells, and how well it classifies."""
    task = _task(settings, cell)
    predict, weights = _predictor(settings, cell, task), cells.load_weights(settings.out, cell)
    known = predict(weights, task.train.x[:FIT_ROWS])
    score_of = fit_scores(
        known, task.train.y[:FIT_ROWS], Head(jnp.asarray(weights["head.kernel"]), jnp.asarray(weights["head.bias"]))
    )
    unknown = {name: predict(weights, x) for name, x in task.unknown.items()}
    return evaluate.evaluate(score_of, predict(weights, task.test.x), task.test.y, unknown)


def calibrate(predict: Predict, weights: Weights, task: Task) -> ood_jax.Margins:
    """The mean energies of the trained baseline, as bounds."""
    inside, outside = (predict(weights, x[:CALIBRATION_ROWS]).logits for x in (task.train.x, task.outliers))
    margins = ood_jax.calibrate_margins(inside, outside)
    if not margins.m_in < margins.m_out:
        raise Refused(
            f"the baseline gives outliers the lower mean energy, {margins.m_out:.2f}, and its data {margins.m_in:.2f}, "
            "so its energies cannot bound those of another network; train the baseline longer"
        )
    return margins


def backend(framework: str) -> Any:
    """Imported when first needed: PyTorch is for the twin alone."""
    try:
        return importlib.import_module(f".{framework}_training", __package__)
    except ModuleNotFoundError as error:
        raise Refused(f"--framework {framework} needs {error.name}; pip install '.[parity,peers]'") from None


def _predictor(settings: Settings, cell: Cell, task: Task) -> Predict:
    stride = settings.recipe(cell.dataset).stride
    return functools.partial(backend(cell.framework).predict, classes=task.classes, stride=stride)


def _task(settings: Settings, cell: Cell) -> Task:
    return _load_task(cell.dataset, cell.seed, settings.fashion, settings.rows(cell.dataset))


@functools.lru_cache(maxsize=2)  # cells of one seed follow one another
def _load_task(dataset: str, seed: int, folder: Path | None, rows: int | None) -> Task:
    return load_task(dataset, seed, folder=folder, rows=rows)
