"""Running totals, as NumPy gives them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ood_jax._running import running_max, running_sum


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


@pytest.mark.usefixtures("as_on")
def test_the_running_max_of_floats():
    values = np.random.default_rng(0).random(1000, np.float32)
    np.testing.assert_array_equal(running_max(jnp.asarray(values)), np.maximum.accumulate(values))
