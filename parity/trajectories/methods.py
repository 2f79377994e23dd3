"""The methods, each a loss of a network on a batch, in both frameworks."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
import torch
from torch.nn import functional

import ood_jax

from .. import definitions
from ..replay import cutmix_calls, mixup_calls, replaying
from .data import Batch
from .setting import ALPHA, HEIGHT, LAMBDA_ENERGY, LAMBDA_OE, MARGIN, WIDTH


class Losses(NamedTuple):
    """A method's loss of a network on a batch, in both frameworks."""

    ours: Callable[[Callable[[jax.Array], jax.Array], Batch], jax.Array]
    source: Callable[[Callable[[torch.Tensor], torch.Tensor], Batch], torch.Tensor]


def _mean_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _mixup(batch: Batch) -> ood_jax.Mixed:
    return ood_jax.apply_mixup(ood_jax.MixupDraw(batch.lam, batch.partner), batch.images, batch.labels)


def _cutmix(batch: Batch) -> ood_jax.Mixed:
    box = ood_jax.cutmix_box(batch.lam, batch.center, (HEIGHT, WIDTH))
    return ood_jax.apply_cutmix(ood_jax.CutMixDraw(box, batch.partner), batch.images, batch.labels)


def source_mixup(batch: Batch) -> Any:
    """The definition's mixup of a batch for PyTorch, on its draw."""
    with replaying(mixup_calls(batch.lam, batch.partner, alpha=ALPHA)):
        return definitions.mixup_data(batch.images, batch.labels, ALPHA)


def source_cutmix(batch: Batch) -> Any:
    """The definition's CutMix of a batch for PyTorch, on its draw."""
    with replaying(cutmix_calls(batch.lam, batch.partner, batch.center, (HEIGHT, WIDTH), alpha=ALPHA)):
        return definitions.CutMix(ALPHA)(batch.images, batch.labels)


def _on_mixed(mix: Callable[[Batch], Any], criterion: Callable[..., Any]) -> Callable[..., Any]:
    def loss(logits_of: Callable[[Any], Any], batch: Batch) -> Any:
        x, y_a, y_b, lam = mix(batch)
        return criterion(logits_of(x), y_a, y_b, lam)

    return loss


def _with_outliers(criterion: Callable[..., Any]) -> Callable[..., Any]:
    def loss(logits_of: Callable[[Any], Any], batch: Batch) -> Any:
        return criterion(logits_of(batch.images), batch.labels, logits_of(batch.outliers))

    return loss


_criterion = functools.partial(ood_jax.mixup_criterion, _mean_cross_entropy)
_source_criterion = functools.partial(definitions.mixup_criterion, functional.cross_entropy)

LOSSES = {
    "mixup": Losses(_on_mixed(_mixup, ood_jax.mixup_cross_entropy), _on_mixed(source_mixup, _source_criterion)),
    "mixup criterion": Losses(_on_mixed(_mixup, _criterion), _on_mixed(source_mixup, _source_criterion)),
    "cutmix": Losses(_on_mixed(_cutmix, ood_jax.mixup_cross_entropy), _on_mixed(source_cutmix, _source_criterion)),
    "outlier exposure": Losses(
        _with_outliers(functools.partial(ood_jax.outlier_exposure_loss, lambda_oe=LAMBDA_OE)),
        _with_outliers(definitions.OutlierExposureLoss(LAMBDA_OE)),
    ),
    "energy": Losses(
        _with_outliers(functools.partial(ood_jax.energy_regularized_loss, lambda_energy=LAMBDA_ENERGY, margin=MARGIN)),
        _with_outliers(definitions.EnergyRegularizedLoss(LAMBDA_ENERGY, MARGIN)),
    ),
}
METHODS = tuple(LOSSES)
"""The methods compared."""
