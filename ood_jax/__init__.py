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

from .losses import (
    Margins,
    calibrate_margins,
    energy_bounded_loss,
    energy_regularized_loss,
    free_energy,
    mixup_criterion,
    mixup_cross_entropy,
    outlier_exposure_loss,
)
from .mixing import (
    Box,
    CutMixDraw,
    Mixed,
    MixupDraw,
    apply_cutmix,
    apply_mixup,
    cutmix,
    cutmix_box,
    draw_cutmix,
    draw_mixup,
    kornia_box,
    mixup,
    soft_targets,
    symmetric_beta,
    timm_box,
)

__all__ = [
    "Box",
    "CutMixDraw",
    "Margins",
    "Mixed",
    "MixupDraw",
    "apply_cutmix",
    "apply_mixup",
    "calibrate_margins",
    "cutmix",
    "cutmix_box",
    "draw_cutmix",
    "draw_mixup",
    "energy_bounded_loss",
    "energy_regularized_loss",
    "free_energy",
    "kornia_box",
    "metrics",
    "mixup",
    "mixup_criterion",
    "mixup_cross_entropy",
    "outlier_exposure_loss",
    "scores",
    "soft_targets",
    "symmetric_beta",
    "timm_box",
]

__version__ = "0.1.0"

# Evaluation is imported when it is first asked for: it is two thirds of the library, and training does without.
if typing.TYPE_CHECKING:
    from . import metrics, scores
else:

    def __getattr__(name):
        if name in ("metrics", "scores"):
            return importlib.import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
