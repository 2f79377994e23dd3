"""How well a trained network's scores tell the known from the unknown: tidy rows of one value each.

All is computed from features and logits, by this library, whichever framework trained the network.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from ood_jax import metrics, scores

NEIGHBOURS = 50
# ViM's subspace, of 64 features.
DIMENSION = 24
# Detectors are fitted to this many training rows.
FIT_ROWS = 10_000


class Outputs(NamedTuple):
    """What a network makes of N images: features (N, D) and logits (N, K)."""

    features: jax.Array
    logits: jax.Array


class Head(NamedTuple):
    """The last layer: logits are features @ kernel + bias."""

    kernel: jax.Array
    bias: jax.Array

    def __call__(self, features: jax.Array) -> jax.Array:
        return features @ self.kernel + self.bias


class Row(NamedTuple):
    """A value; `score` and `ood` are empty where the metric is the network's own."""

    metric: str
    value: float
    score: str = ""
    ood: str = ""


Score: TypeAlias = Callable[[Outputs], jax.Array]


def fit_scores(train: Outputs, y: np.ndarray, head: Head) -> Mapping[str, Score]:
    """Every score, fitted to training rows where it needs to be."""
    features = train.features
    gaussians = scores.fit_mahalanobis(features, jnp.asarray(y), num_classes=train.logits.shape[-1])
    bank = scores.fit_knn(features)
    vim = scores.fit_vim(features, *head, dim=DIMENSION)
    react = scores.fit_react(features)
    neighbours = min(NEIGHBOURS, len(features))
    return {
        "msp": lambda outputs: scores.msp_score(outputs.logits),
        "energy": lambda outputs: scores.energy_score(outputs.logits),
        "max-logit": lambda outputs: scores.max_logit_score(outputs.logits),
        "entropy": lambda outputs: scores.entropy_score(outputs.logits),
        "gen": lambda outputs: scores.gen_score(outputs.logits),
        "mahalanobis": lambda outputs: scores.mahalanobis_score(gaussians, outputs.features),
        "relative-mahalanobis": lambda outputs: scores.relative_mahalanobis_score(gaussians, outputs.features),
        "knn": lambda outputs: scores.knn_score(bank, outputs.features, k=neighbours),
        "vim": lambda outputs: scores.vim_score(vim, outputs.features),
        "react": lambda outputs: scores.energy_score(head(scores.react_features(react, outputs.features))),
        "ash": lambda outputs: scores.energy_score(head(scores.ash_features(outputs.features))),
        "scale": lambda outputs: scores.energy_score(head(scores.scale_features(outputs.features))),
    }


def evaluate(score_of: Mapping[str, Score], test: Outputs, y: np.ndarray, unknown: Mapping[str, Outputs]) -> list[Row]:
    rows = network_rows(test.logits, y)
    for name, score in score_of.items():
        known = score(test)
        for ood, outputs in unknown.items():
            found = metrics.ood_metrics(known, score(outputs))
            for metric in ("auroc", "aupr_out", "fpr95"):
                rows.append(Row(metric, float(getattr(found, metric)), name, ood))
    return rows


def network_rows(logits: jax.Array, y: np.ndarray) -> list[Row]:
    probabilities, labels = jax.nn.softmax(logits), jnp.asarray(y)
    return [
        Row("accuracy", float(jnp.mean(logits.argmax(-1) == labels))),
        Row("ece", float(metrics.expected_calibration_error(probabilities, labels))),
        Row("brier", float(metrics.brier_score(probabilities, labels))),
    ]
