"""Training-time out-of-distribution detection for JAX.

    >>> import jax, jax.numpy as jnp
    >>> import ood_jax
    >>> images, labels = jnp.ones((8, 28, 28, 1)), jnp.arange(8)
    >>> x, y_a, y_b, lam = ood_jax.cutmix(jax.random.key(0), images, labels, alpha=1.0)
    >>> x.shape
    (8, 28, 28, 1)

Every function is pure and jitted; those that draw take a typed PRNG key first. Batches lie on the first axis, classes
on the last.
"""

import importlib
import typing

from .losses import Margins as Margins
from .losses import calibrate_margins as calibrate_margins
from .losses import energy_bounded_loss as energy_bounded_loss
from .losses import energy_regularized_loss as energy_regularized_loss
from .losses import free_energy as free_energy
from .losses import mixup_criterion as mixup_criterion
from .losses import mixup_cross_entropy as mixup_cross_entropy
from .losses import outlier_exposure_loss as outlier_exposure_loss
from .mixing import Box as Box
from .mixing import CutMixDraw as CutMixDraw
from .mixing import Mixed as Mixed
from .mixing import MixupDraw as MixupDraw
from .mixing import apply_cutmix as apply_cutmix
from .mixing import apply_mixup as apply_mixup
from .mixing import cutmix as cutmix
from .mixing import cutmix_box as cutmix_box
from .mixing import draw_cutmix as draw_cutmix
from .mixing import draw_mixup as draw_mixup
from .mixing import kornia_box as kornia_box
from .mixing import mixup as mixup
from .mixing import soft_targets as soft_targets
from .mixing import symmetric_beta as symmetric_beta
from .mixing import timm_box as timm_box

__version__ = "0.1.0"

# Evaluation is imported when it is first asked for: it is two thirds of the library, and training does without.
if typing.TYPE_CHECKING:
    from . import metrics as metrics
    from . import scores as scores
else:

    def __getattr__(name):
        if name in ("metrics", "scores"):
            return importlib.import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), "metrics", "scores"})
