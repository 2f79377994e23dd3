"""Metrics of detectors and of calibration.

    >>> import jax.numpy as jnp
    >>> from ood_jax import metrics
    >>> scores_in, scores_out = jnp.array([0.1, 0.4, 0.2]), jnp.array([0.3, 0.9])
    >>> round(float(metrics.auroc(scores_in, scores_out)), 4)
    0.8333

The higher a score, the more out-of-distribution. Scores of any shape count one by one; nothing is normalised. What
cannot be computed, for a side is empty or a score NaN, is an error where the arrays are given, and NaN where they are
traced.
"""

from ._calibration import adaptive_expected_calibration_error as adaptive_expected_calibration_error
from ._calibration import brier_score as brier_score
from ._calibration import expected_calibration_error as expected_calibration_error
from ._histogram import ScoreHistogram as ScoreHistogram
from ._histogram import histogram_metrics as histogram_metrics
from ._histogram import merge_histograms as merge_histograms
from ._histogram import score_histogram as score_histogram
from ._open_set import ccr_at_fpr as ccr_at_fpr
from ._open_set import oscr as oscr
from ._ranking import aupr as aupr
from ._ranking import auroc as auroc
from ._ranking import detection_error as detection_error
from ._ranking import fpr_at_tpr as fpr_at_tpr
from ._summary import OODMetrics as OODMetrics
from ._summary import ood_metrics as ood_metrics
