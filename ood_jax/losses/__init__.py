"""Losses, for mixed batches and for training with outliers.

Logits have the classes on their last axis; all leading axes are the batch. Losses are computed in float32 or wider.
Energies are low in-distribution.
"""

from ._energy import energy_regularized_loss as energy_regularized_loss
from ._energy import free_energy as free_energy
from ._energy_bounded import Margins as Margins
from ._energy_bounded import calibrate_margins as calibrate_margins
from ._energy_bounded import energy_bounded_loss as energy_bounded_loss
from ._mixup import mixup_criterion as mixup_criterion
from ._mixup import mixup_cross_entropy as mixup_cross_entropy
from ._outlier_exposure import outlier_exposure_loss as outlier_exposure_loss
