"""Metrics of detectors and of calibration.

    >>> import jax.numpy as jnp
    >>> from ood_jax import metrics
    >>> scores_in, scores_out = jnp.array([0.1, 0.4, 0.2]), jnp.array([0.3, 0.9])
    >>> round(float(metrics.auroc(scores_in, scores_out)), 4)
    0.8333

The higher a score, the more out-of-distribution. Scores of any shape count one by one; nothing is normalised. What
cannot be computed, for a side is empty or a score NaN, is an error where the arrays are given, and NaN where they are
traced. Metrics of ranks and histograms have derivatives of 0: they are no losses.
"""

from ._calibration import adaptive_expected_calibration_error, brier_score, expected_calibration_error
from ._histogram import ScoreHistogram, histogram_metrics, merge_histograms, score_histogram
from ._open_set import ccr_at_fpr, oscr
from ._ranking import aupr, auroc, detection_error, fpr_at_tpr
from ._summary import OODMetrics, ood_metrics

__all__ = [
    "OODMetrics",
    "ScoreHistogram",
    "adaptive_expected_calibration_error",
    "aupr",
    "auroc",
    "brier_score",
    "ccr_at_fpr",
    "detection_error",
    "expected_calibration_error",
    "fpr_at_tpr",
    "histogram_metrics",
    "merge_histograms",
    "ood_metrics",
    "oscr",
    "score_histogram",
]
