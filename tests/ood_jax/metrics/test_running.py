"""Running totals and positions among ordered numbers, as NumPy gives them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ood_jax.metrics._order import number_below
from ood_jax.metrics._running import running_max, running_sum


@pytest.fixture(params=["cpu", "accelerator"])
def as_on(request, monkeypatch):
    if request.param == "accelerator":
        monkeypatch.setattr(jax.lax, "platform_dependent", lambda *args, cpu, default: default(*args))


@pytest.mark.usefixtures("as_on")
@pytest.mark.parametrize("n", [1, 2, 1000])
@pytest.mark.parametrize("kind", ["int32", "uint32"])
def test_running_totals(n, kind):
    values = np.random.default_rng(n).integers(0, 1000, n).astype(kind)
    given = jnp.asarray(values)
    np.testing.assert_array_equal(running_sum(given), np.cumsum(values))
    np.testing.assert_array_equal(running_max(given), np.maximum.accumulate(values))
    np.testing.assert_array_equal(running_max(given, reverse=True), np.maximum.accumulate(values[::-1])[::-1])
    assert running_sum(given).dtype == running_max(given).dtype == kind


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 1000])
@pytest.mark.parametrize("most", [3, 2**32 - 1])
def test_number_below(size, most):
    random = np.random.default_rng(size)
    ordered = np.sort(random.integers(0, most, size, dtype=np.uint32, endpoint=True))
    keys = np.concatenate([ordered, random.integers(0, most, 50, dtype=np.uint32, endpoint=True), np.uint32([0, most])])
    found = number_below(jnp.asarray(ordered), jnp.asarray(keys))
    np.testing.assert_array_equal(found, np.searchsorted(ordered, keys))
