"""What a GPU computes in another way than a CPU, computed on a CPU."""

import contextlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

import ood_jax
from ood_jax.losses._one_pass import largest_and_rest
from parity import truth


def smoothed(labels, logits):
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return 0.9 * one_hot + 0.1 / logits.shape[-1]


LOSSES = {
    "outlier exposure": ood_jax.outlier_exposure_loss,
    "energy, pairwise": ood_jax.energy_regularized_loss,
    "energy, mean": partial(ood_jax.energy_regularized_loss, form="mean"),
    "energy, bounded": ood_jax.energy_bounded_loss,
    "mixup": lambda a, labels, b: ood_jax.mixup_cross_entropy(a, labels, (labels + 1) % a.shape[-1], 0.7),
    "class probabilities": lambda a, labels, b: ood_jax.outlier_exposure_loss(a, smoothed(labels, a), b),
    "free energy": lambda a, labels, b: ood_jax.free_energy(a, temperature=0.9).sum(),
}


def figures(loss, *args):
    """Value, both gradients, and for few classes a second derivative (but of squares of 1e30, which leave none)."""
    results = jax.value_and_grad(loss, argnums=(0, 2))(*args)
    if args[0].shape[-1] > 10 or loss is ood_jax.energy_bounded_loss:
        return results
    along = jnp.ones_like(args[0])
    return *results, jax.jvp(jax.grad(lambda a: loss(a, *args[1:])), (args[0],), (along,))[1]


def special_rows(classes):
    """Rows that are masked, infinite, NaN, of one value, far apart or far from zero."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((14, classes)).astype(np.float32)
    rows[1, : classes // 2] = -np.inf
    rows[2] = -np.inf
    rows[3, -1] = np.inf
    rows[4, 0] = np.nan
    rows[5] = 7.7
    rows[6] *= 1e4
    rows[7] += 1e4
    rows[8] = np.finfo(np.float32).min
    rows[9, ::2] = np.finfo(np.float32).min
    rows[10] *= 1e30
    rows[11] = np.linspace(-100, 100, classes)
    rows[12, 0] = -1e6
    rows[13, 0], rows[13, -1] = np.inf, np.nan
    return rows


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("dtype", "classes"), [("float32", 10), ("float32", 1000), ("float64", 10), ("bfloat16", 1000)]
)
def test_every_row_gets_what_it_gets_on_a_cpu(name, dtype, classes, as_on_gpu):
    with jax.enable_x64(dtype == "float64"):
        rows = jnp.asarray(special_rows(classes)).astype(dtype)
        others, labels = rows[::-1] / 2, jnp.arange(len(rows)) % classes
        each = jax.jit(jax.vmap(lambda *row: figures(LOSSES[name], *(part[None] for part in row))))
        expected = each(rows, labels, others)
        with as_on_gpu():
            result = jax.jit(jax.vmap(lambda *row: figures(LOSSES[name], *(part[None] for part in row))))(
                rows, labels, others
            )
    resolution = {"float32": 2e-6, "float64": 4e-15, "bfloat16": 8e-3}[dtype]
    for mine, other in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        for row, other_row in zip(np.asarray(mine, "float64"), np.asarray(other, "float64"), strict=True):
            # Where labels and logits agree, a gradient is what is left of numbers near one.
            largest = np.max(np.abs(other_row), where=np.isfinite(other_row), initial=1)
            np.testing.assert_allclose(row, other_row, rtol=0, atol=resolution * largest)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("step", [1e-3, 0.1, 3.0, 20.0, 50.0])
@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
def test_a_sum_of_terms_at_many_levels(dtype, step, order):
    # One term after the other: at each the largest so far may change.
    row = (np.arange(300) - 150) * step
    row = {"rising": row, "falling": row[::-1], "mixed": np.random.default_rng(0).permutation(row)}[order].astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        largest, rest = (np.asarray(part)[0, 0] for part in largest_and_rest(jnp.asarray(row)[None]))
    assert largest.dtype == rest.dtype == dtype
    assert largest == row.max()
    below = row[row < row.max()].astype(np.longdouble) - row.max()
    # Not the 150 units that a rounding at every term would leave.
    np.testing.assert_allclose(1 + rest, (1 + np.exp(below).sum()).astype(dtype), rtol=6 * np.finfo(dtype).eps)


@pytest.mark.parametrize(("dtype", "step"), [("float32", 32), ("float64", 64)])
def test_a_sum_of_terms_across_two_steps(dtype, step):
    # The largest just above the middle of a step, all others just below the one before.
    row = np.full(1000, -step / 2 - 0.1, dtype)
    row[500] = step / 2 + 0.1
    with jax.enable_x64(dtype == "float64"):
        _, rest = largest_and_rest(jnp.asarray(row)[None])
    np.testing.assert_allclose(1 + np.asarray(rest), 1, rtol=np.finfo(dtype).eps)
    row[:500] = -step / 2 + 1
    with jax.enable_x64(dtype == "float64"):
        _, rest = largest_and_rest(jnp.asarray(row)[None])
    np.testing.assert_allclose(np.asarray(rest)[0, 0], 500 * np.exp(-step + 0.9), rtol=1e-5)


def test_a_single_logit_and_a_leading_one_keep_their_energy():
    # Log(1 + rest) would be off by 1e-7 were the largest logit summed with the rest.
    for row in ([1e-3], [1e-3, -40.0, -50.0], [-2e-4, -np.inf]):
        largest, rest = largest_and_rest(jnp.array([row], jnp.float32))
        assert float(largest[0, 0]) == np.float32(row[0])
        assert float(rest[0, 0]) < 1e-17


@pytest.mark.parametrize("scale", [1e2, 1e4])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_digits_on_extremes(scale, classes, as_on_gpu):
    rng = np.random.default_rng(0)
    logits, others = rng.uniform(-scale, scale, (2, 8, classes)).astype(np.float32)
    labels = logits.argmax(-1)
    with as_on_gpu():
        value, (by_logits, by_others) = jax.value_and_grad(ood_jax.outlier_exposure_loss, argnums=(0, 2))(
            logits, labels, others
        )
    exact = truth.outlier_exposure(logits, labels, others, lambda_oe=0.5)
    np.testing.assert_allclose(value, float(exact.value), rtol=3e-7)
    # A gradient that underflows may be 0.
    for mine, true in ((by_logits, exact.grad_in), (by_others, exact.grad_out)):
        np.testing.assert_allclose(mine, true.astype(float), rtol=0, atol=4e-7 * float(np.abs(true).max()) + 1e-37)


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("name", ["energy_score", "kl_uniform_score", "msp_score", "entropy_score", "gen_score"])
def test_classes_over_devices(name, gpu, as_on_gpu):
    score = getattr(ood_jax.scores, name)
    # Every program is traced in both forms.
    logits = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)
    expected = jax.value_and_grad(lambda z: score(z).mean())(logits)
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((4, 2), ("rows", "classes"), axis_types=(kind,) * 2)
        with as_on_gpu() if gpu else contextlib.nullcontext(), jax.set_mesh(mesh):
            placed = jax.device_put(logits, jax.NamedSharding(mesh, PartitionSpec("rows", "classes")))
            result = jax.value_and_grad(lambda z: score(z).mean())(placed)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), result, expected)


def test_a_gpus_program_is_another():
    logits, labels = jnp.zeros((64, 1000), jnp.bfloat16), jnp.arange(64)
    traced = jax.jit(jax.value_and_grad(ood_jax.outlier_exposure_loss, argnums=(0, 2))).trace(logits, labels, logits)
    reductions, barriers = {}, {}
    for platform in ("cpu", "tpu", "cuda", "rocm"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        reductions[platform] = text.count("stablehlo.minimum")  # of two largest logits
        barriers[platform] = text.count("optimization_barrier")
    assert reductions["cpu"] == reductions["tpu"] < reductions["cuda"] == reductions["rocm"]
    assert barriers["cpu"] == barriers["tpu"] < barriers["cuda"] == barriers["rocm"]
