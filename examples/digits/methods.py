"""The methods: what to minimise, given a key, a batch and the network.

`apply` is the network, from images to logits. A method that mixes forwards the mixed images instead of the images. A
method that trains on outliers forwards images and outliers as one batch: that is one large matrix product instead of
two, and a network with batch normalisation would see one set of statistics, not two that disagree.

Every method takes the same arguments and ignores what it does not need, so a method of your own is one more function
in the table at the end.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax

import ood_jax

from .data import Batch

Apply: TypeAlias = Callable[[jax.Array], jax.Array]
Method: TypeAlias = Callable[[jax.Array, Batch, Apply], jax.Array]


def baseline(key: jax.Array, batch: Batch, apply: Apply) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(apply(batch.x), batch.y).mean()


def mixup(key: jax.Array, batch: Batch, apply: Apply) -> jax.Array:
    x, y_a, y_b, lam = ood_jax.mixup(key, batch.x, batch.y)
    return ood_jax.mixup_cross_entropy(apply(x), y_a, y_b, lam)


def cutmix(key: jax.Array, batch: Batch, apply: Apply) -> jax.Array:
    x, y_a, y_b, lam = ood_jax.cutmix(key, batch.x, batch.y)
    return ood_jax.mixup_cross_entropy(apply(x), y_a, y_b, lam)


def outlier_exposure(key: jax.Array, batch: Batch, apply: Apply) -> jax.Array:
    logits_in, logits_out = apply_both(apply, batch)
    return ood_jax.outlier_exposure_loss(logits_in, batch.y, logits_out)


def energy(key: jax.Array, batch: Batch, apply: Apply) -> jax.Array:
    logits_in, logits_out = apply_both(apply, batch)
    return ood_jax.energy_regularized_loss(logits_in, batch.y, logits_out)


def apply_both(apply: Apply, batch: Batch) -> tuple[jax.Array, jax.Array]:
    logits = apply(jnp.concatenate([batch.x, batch.outliers]))
    return logits[: len(batch.x)], logits[len(batch.x) :]


METHODS: dict[str, Method] = {
    "baseline": baseline,
    "mixup": mixup,
    "cutmix": cutmix,
    "outlier-exposure": outlier_exposure,
    "energy": energy,
}
