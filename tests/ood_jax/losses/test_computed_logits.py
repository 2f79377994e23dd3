"""Half precision logits that the same program computes count as rounded.

A compiler may keep more digits of them than their dtype has, and for one use but not for another.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax

LOSSES = {
    "outlier exposure, kl": ood_jax.outlier_exposure_loss,
    "outlier exposure, cross entropy": partial(ood_jax.outlier_exposure_loss, form="cross_entropy"),
    "energy, pairwise": ood_jax.energy_regularized_loss,
    "energy, mean": partial(ood_jax.energy_regularized_loss, form="mean"),
    "energy, bounded": ood_jax.energy_bounded_loss,
    "mixup": lambda a, labels, b: ood_jax.mixup_cross_entropy(a, labels, labels[::-1], 0.7),
    "divergence": lambda a, labels, b: -ood_jax.scores.kl_uniform_score(a).mean(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_logits_of_the_same_program(name):
    # Of 1e5 a rounding is so large that the exponential of one overflows.
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.standard_normal((64, 10)) * 1e5 / 8, jnp.bfloat16)
    features, others = (jnp.asarray(rng.standard_normal((256, 64)), jnp.bfloat16) for _ in "ab")
    labels = jnp.argmax(features @ weights, axis=-1)

    def loss_of(weights):
        return LOSSES[name](features @ weights, labels, others @ weights)

    apart, gradient = jax.value_and_grad(loss_of)(weights)  # the products are programs of their own
    together, fused = jax.jit(jax.value_and_grad(loss_of))(weights)
    assert np.isfinite(apart)
    np.testing.assert_allclose(together, apart, rtol=1e-5)
    largest = np.abs(gradient.astype(float)).max()
    np.testing.assert_allclose(fused.astype(float), gradient.astype(float), atol=0.02 * largest)
