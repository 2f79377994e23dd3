"""Metrics beside scikit-learn's, torchmetrics', incerto's and pytorch-ood's, each under its own definition.

docs/metrics.md says which option of ours is whose definition. Scores come with and without ties, in [0, 1], for
torchmetrics passes others through a sigmoid.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import torch

from ood_jax import metrics

from ..agreement import Result, compared
from ..convert import to_torch
from ..published import load
from ..tolerances import ulps
from ._case import Array, Case, case, random

# 95% of the outliers is no whole number, so that interpolation has something to do.
N_IN, N_OUT, ROWS, CLASSES = 600, 241, 600, 5


class Scores(NamedTuple):
    """The scores of both sides, and what is classified correctly of the first."""

    inside: Any
    out: Any
    correct: Any

    @property
    def all(self) -> Array:
        """Both sides' scores."""
        return np.concatenate([self.inside, self.out])

    @property
    def is_out(self) -> Array:
        """1 for an outlier."""
        return np.repeat([0, 1], [len(self.inside), len(self.out)])

    @property
    def labels(self) -> torch.Tensor:
        """pytorch-ood's: negative for an outlier."""
        return to_torch(-self.is_out)


class Predictions(NamedTuple):
    """Logits, and the softmax and labels that go with them."""

    logits: Any
    probabilities: Any
    labels: Any


class Pair(NamedTuple):
    """A metric of ours and a source's, of the same inputs."""

    source: str
    ours: Callable[[Any], Any]
    theirs: Callable[[Any], Any]


def metric_cases() -> Iterator[Case]:
    """Every pair in float32, and scikit-learn's in float64 too: each compiles."""
    for name, pair in PAIRS.items():
        for dtype in ("float32", "float64") if pair.source == "scikit-learn" else ("float32",):
            yield case(f"{name} {dtype}", pair.source, compare_metric, pair, dtype)


def compare_metric(name: str, source: str, pair: Pair, dtype: str) -> list[Result]:
    """On inputs without ties and with."""
    load(source)
    rng = random(name)
    results = []
    with jax.enable_x64(dtype == "float64"):
        for ties in (False, True):
            draw = draw_predictions if pair in CALIBRATION.values() else draw_scores
            inputs = draw(rng, dtype, ties)
            ours, theirs = pair.ours(inputs), pair.theirs(inputs)
            kind = "tied" if ties else "distinct"
            # Counts are exact on both sides, and what is made of them are a handful of roundings, as in a loss.
            theirs = np.asarray(theirs, np.float64)
            results.append(compared(kind, np.asarray(ours), theirs, dtype, ulps("loss"), scale=1))
    return results


def draw_scores(rng: np.random.Generator, dtype: str, ties: bool) -> Scores:
    """Scores in (0, 1), on a grid if they are to tie."""
    sides = rng.beta(2, 5, N_IN), rng.beta(4, 3, N_OUT)
    if ties:
        sides = np.ceil(sides[0] * 32) / 33, np.ceil(sides[1] * 32) / 33
    inside, out = (side.astype(dtype) for side in sides)
    return Scores(inside, out, rng.random(N_IN) < 0.8)


def draw_predictions(rng: np.random.Generator, dtype: str, ties: bool) -> Predictions:
    """Predictions as good as they say, so that some bins are too sure and some not sure enough.

    If confidences are to tie, then those of rows that are equal altogether.
    """
    logits = rng.standard_normal((ROWS, CLASSES))
    labels = np.argmax(logits + rng.gumbel(size=logits.shape), axis=-1)
    if ties:
        logits, labels = np.repeat(logits[::4], 4, axis=0), np.repeat(labels[::4], 4)
    logits = logits.astype(dtype)
    return Predictions(logits, to_torch(logits).softmax(-1).numpy(), labels)


def _sklearn(name: str, *arguments: Any, **options: Any) -> Any:
    return getattr(importlib.import_module("sklearn.metrics"), name)(*arguments, **options)


def _sklearn_trapezoid(positive: Array, scores: Array) -> Any:
    precision, recall, _ = _sklearn("precision_recall_curve", positive, scores)
    return _sklearn("auc", recall, precision)


def _sklearn_first(positive: Array, scores: Array) -> Any:
    false, true, _ = _sklearn("roc_curve", positive, scores, drop_intermediate=False)
    return false[np.argmax(true >= 0.95)]


def _sklearn_least_error(s: Scores) -> Any:
    false, true, _ = _sklearn("roc_curve", s.is_out, s.all)
    return np.min(false + 1 - true) / 2


def _incerto(module: str, name: str, *arguments: Array, **options: Any) -> Any:
    return getattr(importlib.import_module(module), name)(*map(to_torch, arguments), **options)


def _pytorch_ood(name: str, s: Scores, **options: Any) -> Any:
    functional = importlib.import_module("pytorch_ood.metrics.functional")
    return getattr(functional, name)(to_torch(s.all), s.labels, **options)


def _pytorch_ood_together(s: Scores) -> Any:
    together = importlib.import_module("pytorch_ood.metrics").OODMetrics()
    figures = together.update(to_torch(s.all), s.labels).compute()
    return [figures[name] for name in ("AUROC", "AUPR-IN", "AUPR-OUT", "FPR95TPR")]


def _together(s: Scores) -> Any:
    return [
        metrics.auroc(s.inside, s.out),
        metrics.aupr(s.inside, s.out, positive="id", method="trapezoid"),
        metrics.aupr(s.inside, s.out, method="trapezoid"),
        metrics.fpr_at_tpr(s.inside, s.out, positive="ood"),
    ]


def _pytorch_ood_oscr(s: Scores) -> Any:
    functional = importlib.import_module("pytorch_ood.metrics.functional")
    predictions = np.concatenate([np.where(s.correct, 0, 1), np.zeros(len(s.out), np.int64)])
    return functional.oscr_score(to_torch(s.all), to_torch(predictions), s.labels)


def _pytorch_ood_calibration(p: Predictions, bins: int) -> Any:
    functional = importlib.import_module("pytorch_ood.metrics.functional")
    correct = p.probabilities.argmax(-1) == p.labels
    confidence = to_torch(p.probabilities.max(-1))
    return functional.calibration_error(confidence, to_torch(correct), p="1", beta=ROWS // bins)


def _torchmetrics(name: str, *arguments: Array, **options: Any) -> Any:
    functional = importlib.import_module("torchmetrics.functional.classification")
    return getattr(functional, name)(*map(to_torch, arguments), **options)


RANKING: Mapping[str, Pair] = {
    "auroc scikit-learn": Pair(
        "scikit-learn", lambda s: metrics.auroc(s.inside, s.out), lambda s: _sklearn("roc_auc_score", s.is_out, s.all)
    ),
    "auroc torchmetrics": Pair(
        "torchmetrics",
        lambda s: metrics.auroc(s.inside, s.out),
        lambda s: _torchmetrics("binary_auroc", s.all, s.is_out),
    ),
    "auroc incerto": Pair(
        "incerto",
        lambda s: metrics.auroc(s.inside, s.out),
        lambda s: _incerto("incerto.ood.metrics", "auroc", s.inside, s.out),
    ),
    "auroc pytorch-ood": Pair(
        "pytorch-ood", lambda s: metrics.auroc(s.inside, s.out), lambda s: _pytorch_ood("auroc", s)
    ),
    "aupr scikit-learn average_precision": Pair(
        "scikit-learn",
        lambda s: metrics.aupr(s.inside, s.out),
        lambda s: _sklearn("average_precision_score", s.is_out, s.all),
    ),
    "aupr scikit-learn average_precision in": Pair(
        "scikit-learn",
        lambda s: metrics.aupr(s.inside, s.out, positive="id"),
        lambda s: _sklearn("average_precision_score", 1 - s.is_out, -s.all),
    ),
    "aupr scikit-learn trapezoid": Pair(
        "scikit-learn",
        lambda s: metrics.aupr(s.inside, s.out, method="trapezoid"),
        lambda s: _sklearn_trapezoid(s.is_out, s.all),
    ),
    "aupr torchmetrics average_precision": Pair(
        "torchmetrics",
        lambda s: metrics.aupr(s.inside, s.out),
        lambda s: _torchmetrics("binary_average_precision", s.all, s.is_out),
    ),
    "aupr pytorch-ood trapezoid": Pair(
        "pytorch-ood",
        lambda s: metrics.aupr(s.inside, s.out, method="trapezoid"),
        lambda s: _pytorch_ood("aupr", s, positive="ood"),
    ),
    "aupr pytorch-ood trapezoid in": Pair(
        "pytorch-ood",
        lambda s: metrics.aupr(s.inside, s.out, positive="id", method="trapezoid"),
        lambda s: _pytorch_ood("aupr", s, positive="id"),
    ),
    "fpr_at_tpr scikit-learn first in": Pair(
        "scikit-learn",
        lambda s: metrics.fpr_at_tpr(s.inside, s.out),
        lambda s: _sklearn_first(1 - s.is_out, -s.all),
    ),
    "fpr_at_tpr pytorch-ood first": Pair(
        "pytorch-ood",
        lambda s: metrics.fpr_at_tpr(s.inside, s.out, positive="ood"),
        lambda s: _pytorch_ood("fpr_at_tpr", s),
    ),
    "fpr_at_tpr incerto interp": Pair(
        "incerto",
        lambda s: metrics.fpr_at_tpr(s.inside, s.out, positive="ood", method="interp"),
        lambda s: _incerto("incerto.ood.metrics", "fpr_at_tpr", s.inside, s.out),
    ),
    "detection_error scikit-learn": Pair(
        "scikit-learn", lambda s: metrics.detection_error(s.inside, s.out), _sklearn_least_error
    ),
    "ood_metrics scikit-learn": Pair(
        "scikit-learn",
        lambda s: metrics.ood_metrics(s.inside, s.out),
        lambda s: [
            _sklearn("roc_auc_score", s.is_out, s.all),
            _sklearn("average_precision_score", 1 - s.is_out, -s.all),
            _sklearn("average_precision_score", s.is_out, s.all),
            _sklearn_first(1 - s.is_out, -s.all),
            _sklearn_least_error(s),
        ],
    ),
    "the metrics of OODMetrics pytorch-ood": Pair("pytorch-ood", _together, _pytorch_ood_together),
    "oscr pytorch-ood": Pair("pytorch-ood", lambda s: metrics.oscr(s.inside, s.correct, s.out), _pytorch_ood_oscr),
}

CALIBRATION: Mapping[str, Pair] = {
    "expected_calibration_error torchmetrics": Pair(
        "torchmetrics",
        lambda p: metrics.expected_calibration_error(p.probabilities, p.labels),
        lambda p: _torchmetrics(
            "multiclass_calibration_error", p.probabilities, p.labels, num_classes=CLASSES, n_bins=15, norm="l1"
        ),
    ),
    "expected_calibration_error incerto": Pair(
        "incerto",
        lambda p: metrics.expected_calibration_error(p.probabilities, p.labels, bins=10),
        lambda p: _incerto("incerto.calibration.metrics", "ece_score", p.logits, p.labels),
    ),
    "adaptive_expected_calibration_error incerto": Pair(
        "incerto",
        lambda p: metrics.adaptive_expected_calibration_error(p.probabilities, p.labels, bins=7),
        lambda p: _incerto("incerto.calibration.metrics", "adaptive_ece_score", p.logits, p.labels, n_bins=7),
    ),
    "adaptive_expected_calibration_error pytorch-ood": Pair(
        "pytorch-ood",
        lambda p: metrics.adaptive_expected_calibration_error(p.probabilities, p.labels, bins=10),
        lambda p: _pytorch_ood_calibration(p, 10),
    ),
    "brier_score incerto": Pair(
        "incerto",
        lambda p: metrics.brier_score(p.probabilities, p.labels),
        lambda p: _incerto("incerto.calibration.metrics", "brier_score", p.logits, p.labels),
    ),
    "brier_score scikit-learn": Pair(
        "scikit-learn",
        lambda p: metrics.brier_score(p.probabilities, p.labels),
        lambda p: _sklearn("brier_score_loss", p.labels, p.probabilities, labels=range(CLASSES), scale_by_half=False),
    ),
}

PAIRS: Mapping[str, Pair] = {**RANKING, **CALIBRATION}
