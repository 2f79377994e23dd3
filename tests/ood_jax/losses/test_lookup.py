"""The logit of a row's label, as a TPU takes it and as the others do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax
from ood_jax.losses._lookup import counted, fetch, listed, pick


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_both_take_the_same(dtype):
    with jax.enable_x64(dtype == "float64"):
        logits = jnp.asarray(np.random.default_rng(0).standard_normal((4, 6, 9)) * 1e4, dtype)
        logits = logits.at[0, :, 2].set(jnp.inf).at[1, :, 3].set(-jnp.inf).at[2, :, 4].set(jnp.nan)
        logits = logits.at[3, :, 5].set(jnp.finfo(dtype).max)
        for label in (0, 2, 3, 4, 5, 8):
            labels = jnp.full((4, 6), label)
            picked, fetched = pick(logits, labels), fetch(logits, labels)
            assert picked.dtype == fetched.dtype == dtype
            assert picked.shape == fetched.shape == (4, 6, 1)
            np.testing.assert_array_equal(np.asarray(picked, "float64"), np.asarray(fetched, "float64"))


EVERY_LOSS = pytest.mark.parametrize(
    "loss",
    [
        ood_jax.outlier_exposure_loss,
        ood_jax.energy_regularized_loss,
        lambda logits, labels, _: ood_jax.mixup_cross_entropy(logits, labels, labels[::-1], 0.7),
    ],
)


@EVERY_LOSS
def test_a_tpu_fetches_none(loss):
    logits, labels = jnp.zeros((4, 1000)), jnp.arange(4)
    traced = jax.jit(jax.value_and_grad(loss)).trace(logits, labels, logits)
    fetches = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.gather")
        for platform in ("cpu", "tpu", "cuda")
    }
    assert fetches["tpu"] == 0 < min(fetches["cpu"], fetches["cuda"])


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_listed_classes_are_the_counted_ones(shape, dtype):
    with jax.enable_x64(dtype == "int64"):
        logits = jnp.zeros(shape)
        labels = jnp.asarray(np.random.default_rng(0).integers(0, 5, shape[:-1]), dtype)
        expected = np.eye(5, dtype=bool)[labels]
        for way in (listed, counted):
            np.testing.assert_array_equal(way(logits, labels), expected)


@EVERY_LOSS
def test_a_cpu_counts_no_classes(loss):
    # In 64 bits, beside which exponentials of 32 take twice as long. A list that it recognizes it counts again.
    logits, labels = jnp.zeros((64, 1000)), jnp.arange(64)
    program = jax.jit(jax.value_and_grad(loss, (0, 2))).lower(logits, labels, logits).compile().as_text()
    assert not [line for line in program.splitlines() if " iota(" in line and ",1000]" in line.split(" iota(")[0]]
    # They would be found.
    one_hot = jax.jit(lambda labels: jax.nn.one_hot(labels, 1000)).lower(labels).compile().as_text()
    assert [line for line in one_hot.splitlines() if " iota(" in line and ",1000]" in line.split(" iota(")[0]]
