"""The free energy by its formula, without a temperature, and of infinite logits."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_free_energy(temperature):
    logits = 2 * np.random.default_rng(0).standard_normal((2, 3, 5)).astype(np.float32)
    expected = -temperature * np.log(np.exp(logits.astype(np.float64) / temperature).sum(-1))
    result = ood_jax.free_energy(logits, temperature=temperature)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert result.shape == (2, 3)


def test_free_energy_is_lower_for_larger_logits():
    assert float(ood_jax.free_energy(jnp.array([9.0, 0.0]))) < float(ood_jax.free_energy(jnp.array([1.0, 0.0])))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_free_energy_without_a_temperature_is_nan(temperature):
    assert bool(jnp.isnan(ood_jax.free_energy(jnp.zeros((2, 3)), temperature=temperature)).all())


@pytest.mark.parametrize(
    ("row", "expected"), [([-np.inf] * 3, np.inf), ([np.inf, 0, 0], -np.inf), ([-np.inf, 0, 0], -math.log(2))]
)
def test_free_energy_of_infinite_logits(row, expected):
    np.testing.assert_allclose(ood_jax.free_energy(jnp.array(row)), expected, rtol=1e-6)
