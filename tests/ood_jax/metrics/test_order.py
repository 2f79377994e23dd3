"""Positions among ordered numbers, as NumPy gives them."""

import jax.numpy as jnp
import numpy as np
import pytest

from ood_jax.metrics._order import number_below


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 1000])
@pytest.mark.parametrize("most", [3, 2**32 - 1])
def test_number_below(size, most):
    random = np.random.default_rng(size)
    ordered = np.sort(random.integers(0, most, size, dtype=np.uint32, endpoint=True))
    keys = np.concatenate([ordered, random.integers(0, most, 50, dtype=np.uint32, endpoint=True), np.uint32([0, most])])
    found = number_below(jnp.asarray(ordered), jnp.asarray(keys))
    np.testing.assert_array_equal(found, np.searchsorted(ordered, keys))
