"""How well a network's scores tell the known from the unknown.

A score is higher for what looks more out-of-distribution: 1 minus the largest softmax probability, or the free energy.

- **AUROC**: the probability that an unknown image scores higher than a known one, ties counting half. 1 is perfect,
  0.5 a coin.
- **FPR95**: of the unknown images, the share taken for known at the threshold that keeps 95% of the known test images
  (the first at which at least 95% are kept). Known is the positive class, as in most papers on OOD detection; 0 is
  perfect. Some code counts the other way round, and its numbers differ.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import roc_curve

from ood_jax import metrics, scores

SCORES: dict[str, Callable[[jax.Array], jax.Array]] = {"softmax": scores.msp_score, "energy": scores.energy_score}
UNKNOWNS = ("near", "far")
METRICS = ("auroc", "fpr95")


class Scored(NamedTuple):
    """One score of each test image, by where the image is from."""

    known: np.ndarray
    near: np.ndarray
    far: np.ndarray


class Outcome(NamedTuple):
    """One trained network on one split: its test accuracy, its scores by name, its loss at every training step."""

    accuracy: float
    scores: dict[str, Scored]
    losses: np.ndarray


class Estimate(NamedTuple):
    """A mean over splits and its standard error, which one split alone does not have."""

    mean: float
    error: float | None


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    return float(metrics.auroc(*map(jnp.asarray, (known, unknown))))


def fpr95(known: np.ndarray, unknown: np.ndarray) -> float:
    return float(metrics.fpr_at_tpr(*map(jnp.asarray, (known, unknown)), positive="id"))


def roc(known: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the unknown taken for known, and share of the known kept, from the strictest threshold to the laxest."""
    # Known is positive here, so the score is negated.
    is_known = np.concatenate([np.ones(len(known)), np.zeros(len(unknown))])
    fpr, tpr, _ = roc_curve(is_known, -np.concatenate([known, unknown]))
    return fpr, tpr


def measure(outcome: Outcome, score: str, unknown: str, metric: str) -> float:
    scored = outcome.scores[score]
    return {"auroc": auroc, "fpr95": fpr95}[metric](scored.known, getattr(scored, unknown))


def estimate(values: Sequence[float]) -> Estimate:
    error = None if len(values) < 2 else float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return Estimate(float(np.mean(values)), error)
