"""Losses, for mixed batches and for training with outliers.

Logits have the classes on their last axis; all leading axes are the batch. Losses are computed in float32 or wider.
Energies are low in-distribution.
"""

from ._energy import energy_regularized_loss, free_energy
from ._energy_bounded import Margins, calibrate_margins, energy_bounded_loss
from ._mixup import mixup_criterion, mixup_cross_entropy
from ._outlier_exposure import outlier_exposure_loss

__all__ = [
    "Margins",
    "calibrate_margins",
    "energy_bounded_loss",
    "energy_regularized_loss",
    "free_energy",
    "mixup_criterion",
    "mixup_cross_entropy",
    "outlier_exposure_loss",
]
