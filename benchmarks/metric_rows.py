"""Metrics of a million scores, half of them outliers, and of predictions, beside other libraries'.

Each side gets the arrays that it works on. What takes one sort here takes one for each metric there.
"""

import importlib
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from ood_jax import metrics

from .row import Contest, Entry, Row, published
from .timing import Run

CLASSES, BINS = 10, 15


class Scores(NamedTuple):
    """The scores by side, and together with what they are of, for NumPy and for PyTorch."""

    sides: tuple[jax.Array, jax.Array]
    both: np.ndarray
    is_out: np.ndarray
    tensor: torch.Tensor
    target: torch.Tensor

    @classmethod
    def draw(cls, count: int) -> "Scores":
        rng = np.random.default_rng(0)
        inside, out = (rng.beta(a, b, count // 2).astype(np.float32) for a, b in ((2, 5), (4, 3)))
        both, is_out = np.concatenate([inside, out]), np.repeat([0, 1], count // 2)
        return cls((jnp.asarray(inside), jnp.asarray(out)), both, is_out, *map(torch.from_numpy, (both, is_out)))


class Predictions(NamedTuple):
    """Class probabilities and labels, in each framework's arrays."""

    in_jax: tuple[jax.Array, jax.Array]
    in_torch: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def draw(cls, count: int) -> "Predictions":
        rng = np.random.default_rng(0)
        p, labels = rng.dirichlet(np.ones(CLASSES), count).astype(np.float32), rng.integers(0, CLASSES, count)
        return cls((jnp.asarray(p), jnp.asarray(labels)), (torch.from_numpy(p), torch.from_numpy(labels)))


def metric_rows(*, quick: bool) -> Iterator[Row]:
    count = 1_000 if quick else 1_000_000
    for build in (auroc, aupr, fpr_at_tpr, ood_metrics, histogram):
        yield Row(f"{build.__name__}, {count:,} scores", partial(build, count))
    for build in (expected_calibration_error, brier_score):
        yield Row(f"{build.__name__}, {count // 10:,}x{CLASSES} probabilities", partial(build, count // 10))


def auroc(count: int) -> Contest:
    scores = Scores.draw(count)
    peers = {
        "scikit-learn": _from("scikit-learn", lambda module: module.roc_auc_score(scores.is_out, scores.both)),
        "torchmetrics": _from("torchmetrics", lambda module: module.binary_auroc(scores.tensor, scores.target)),
    }
    return Contest(partial(metrics.auroc, *scores.sides), peers)


def aupr(count: int) -> Contest:
    scores = Scores.draw(count)
    peers = {
        "scikit-learn": _from(
            "scikit-learn", lambda module: module.average_precision_score(scores.is_out, scores.both)
        ),
        "torchmetrics": _from(
            "torchmetrics", lambda module: module.binary_average_precision(scores.tensor, scores.target)
        ),
    }
    return Contest(partial(metrics.aupr, *scores.sides), peers)


def fpr_at_tpr(count: int) -> Contest:
    scores = Scores.draw(count)
    peers = {"scikit-learn": _from("scikit-learn", partial(_sklearn_fpr, scores))}
    return Contest(partial(metrics.fpr_at_tpr, *scores.sides), peers)


def ood_metrics(count: int) -> Contest:
    """Five metrics; scikit-learn has four of them, torchmetrics three, pytorch-ood four and one of its own."""
    scores = Scores.draw(count)

    def sklearn(module: ModuleType) -> Any:
        return [
            module.roc_auc_score(scores.is_out, scores.both),
            module.average_precision_score(1 - scores.is_out, -scores.both),
            module.average_precision_score(scores.is_out, scores.both),
            _sklearn_fpr(scores, module),
        ]

    def torchmetrics(module: ModuleType) -> Any:
        return [
            module.binary_auroc(scores.tensor, scores.target),
            module.binary_average_precision(1 - scores.tensor, 1 - scores.target),
            module.binary_average_precision(scores.tensor, scores.target),
        ]

    peers = {
        "scikit-learn": _from("scikit-learn", sklearn),
        "torchmetrics": _from("torchmetrics", torchmetrics),
        "pytorch-ood": published("pytorch-ood", partial(_pytorch_ood, scores)),
    }
    return Contest(partial(metrics.ood_metrics, *scores.sides), peers)


def histogram(count: int) -> Contest:
    """The same from a histogram; no peer has one, so it is beside our exact metrics."""
    scores = Scores.draw(count)

    def ours() -> Any:
        return metrics.histogram_metrics(metrics.score_histogram(*scores.sides, low=0.0, high=1.0))

    return Contest(ours, {}, {"exact": partial(metrics.ood_metrics, *scores.sides)})


def expected_calibration_error(count: int) -> Contest:
    predictions = Predictions.draw(count)
    peers = {
        "torchmetrics": _from(
            "torchmetrics",
            lambda module: module.multiclass_calibration_error(*predictions.in_torch, CLASSES, BINS, norm="l1"),
        )
    }
    return Contest(partial(metrics.expected_calibration_error, *predictions.in_jax, bins=BINS), peers)


def brier_score(count: int) -> Contest:
    predictions = Predictions.draw(count)
    p, labels = (tensor.numpy() for tensor in predictions.in_torch)
    peers = {
        "scikit-learn": _from(
            "scikit-learn",
            lambda module: module.brier_score_loss(labels, p, labels=range(CLASSES), scale_by_half=False),
        )
    }
    return Contest(partial(metrics.brier_score, *predictions.in_jax), peers)


def _from(source: str, metric: Any) -> Entry:
    return published(source, lambda module: partial(metric, module))


def _sklearn_fpr(scores: Scores, module: ModuleType) -> Any:
    false, true, _ = module.roc_curve(1 - scores.is_out, -scores.both)
    return false[np.argmax(true >= 0.95)]


def _pytorch_ood(scores: Scores, module: ModuleType) -> Run:
    """Its labels are below 0 for outliers."""
    package = importlib.import_module("pytorch_ood.metrics")
    labels = -scores.target

    def run() -> Any:
        together = package.OODMetrics()
        together.update(scores.tensor, labels)
        return together.compute()

    return run
