"""Metrics of 10 million scores beside scikit-learn's and torchmetrics'; each side gets the arrays that it works on."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from ood_jax import metrics
from parity.published import load

SCORES = 10_000_000
ROUNDS = 3


def metric_rows() -> Iterator[tuple[str, Callable[[], Any], Callable[[], Any]]]:
    """A name, ours, and a peer's."""
    sklearn, torchmetrics = load("scikit-learn"), load("torchmetrics")
    rng = np.random.default_rng(0)
    inside, out = (rng.beta(a, b, SCORES // 2).astype(np.float32) for a, b in ((2, 5), (4, 3)))
    both, is_out = np.concatenate([inside, out]), np.repeat([0, 1], SCORES // 2)
    scores, target = torch.from_numpy(both), torch.from_numpy(is_out)
    sides = jnp.asarray(inside), jnp.asarray(out)
    histogram = jax.jit(partial(metrics.score_histogram, low=0.0, high=1.0))

    def sklearn_fpr() -> Any:
        false, true, _ = sklearn.roc_curve(1 - is_out, -both)
        return false[np.argmax(true >= 0.95)]

    def sklearn_together() -> Any:
        return [
            sklearn.roc_auc_score(is_out, both),
            sklearn.average_precision_score(1 - is_out, -both),
            sklearn.average_precision_score(is_out, both),
            sklearn_fpr(),
        ]

    def torchmetrics_together() -> Any:
        return [
            torchmetrics.binary_auroc(scores, target),
            torchmetrics.binary_average_precision(1 - scores, 1 - target),
            torchmetrics.binary_average_precision(scores, target),
        ]

    yield "auroc 10 million (scikit-learn)", lambda: metrics.auroc(*sides), lambda: sklearn.roc_auc_score(is_out, both)
    yield (
        "auroc 10 million (torchmetrics)",
        lambda: metrics.auroc(*sides),
        lambda: torchmetrics.binary_auroc(scores, target),
    )
    yield (
        "aupr 10 million (scikit-learn)",
        lambda: metrics.aupr(*sides),
        lambda: sklearn.average_precision_score(is_out, both),
    )
    yield "fpr_at_tpr 10 million (scikit-learn)", lambda: metrics.fpr_at_tpr(*sides), sklearn_fpr
    yield "ood_metrics 10 million (scikit-learn, 4 metrics)", lambda: metrics.ood_metrics(*sides), sklearn_together
    yield "ood_metrics 10 million (torchmetrics, 3 metrics)", lambda: metrics.ood_metrics(*sides), torchmetrics_together
    yield (
        "histogram 10 million (peer: our ood_metrics)",
        lambda: metrics.histogram_metrics(histogram(*sides)),
        lambda: metrics.ood_metrics(*sides),
    )
