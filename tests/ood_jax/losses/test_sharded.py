"""A loss over a batch split over devices is the loss of the whole batch, whatever the masks of each shard."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

import ood_jax

DEVICES, EACH, K = 8, 3, 5
N = DEVICES * EACH
WHOLE = PartitionSpec()
LOSSES = {
    "outlier_exposure": ood_jax.outlier_exposure_loss,
    "energy pairwise": ood_jax.energy_regularized_loss,
    "energy mean": lambda *a, **kw: ood_jax.energy_regularized_loss(*a, form="mean", **kw),
    "outlier_exposure pooled": lambda *a, **kw: ood_jax.outlier_exposure_loss(*a, reduction="pooled", **kw),
    "energy bounded": lambda *a, **kw: ood_jax.energy_bounded_loss(*a, m_in=-2.5, m_out=-1.5, **kw),
    "energy bounded pooled": lambda *a, **kw: ood_jax.energy_bounded_loss(
        *a, m_in=-2.5, m_out=-1.5, reduction="pooled", **kw
    ),
}
MASKS = {
    "all": (np.ones(N, bool), np.ones(N, bool)),
    "uneven": (np.arange(N) % 4 != 1, np.arange(N) < 7),
    "a shard without outliers": (np.ones(N, bool), np.arange(N) >= EACH),
    "a shard without anything": (np.arange(N) >= EACH, np.arange(N) >= EACH),
    "no outliers anywhere": (np.ones(N, bool), np.zeros(N, bool)),
}
CASES = pytest.mark.parametrize(("name", "mask"), [(name, mask) for name in LOSSES for mask in MASKS])


def inputs():
    rng = np.random.default_rng(0)
    logits_in, logits_out = rng.standard_normal((2, N, K)).astype(np.float32)
    targets = rng.integers(0, K, N)
    targets[5] = -100
    return jnp.asarray(logits_in), jnp.asarray(targets), jnp.asarray(logits_out)


def make(name, mask, axis_name):
    loss = LOSSES[name]

    def call(logits_in, targets, logits_out, where_in, where_out):
        return loss(logits_in, targets, logits_out, where_in=where_in, where_out=where_out, axis_name=axis_name)

    return call, (*inputs(), *(jnp.asarray(side) for side in MASKS[mask]))


def whole(name, mask):
    loss, arguments = make(name, mask, None)
    return jax.value_and_grad(loss, argnums=(0, 2))(*arguments)


def assert_close(result, expected):
    for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


def sharded(body, check_vma=True, out_specs=WHOLE):
    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("batch")
    return jax.jit(jax.shard_map(body, mesh=mesh, in_specs=spec, out_specs=out_specs, check_vma=check_vma))


@CASES
@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map_with_the_gradient_outside(name, mask, check_vma):
    loss, arguments = make(name, mask, "batch")
    result = jax.value_and_grad(sharded(loss, check_vma), argnums=(0, 2))(*arguments)
    assert_close(result, whole(name, mask))


@CASES
def test_shard_map_with_the_gradient_inside(name, mask):
    loss, arguments = make(name, mask, "batch")
    spec = PartitionSpec("batch")
    body = jax.value_and_grad(loss, argnums=(0, 2))
    assert_close(sharded(body, out_specs=(WHOLE, (spec, spec)))(*arguments), whole(name, mask))


@CASES
def test_pmap(name, mask):
    loss, arguments = make(name, mask, "batch")
    split = [argument.reshape(DEVICES, EACH, *argument.shape[1:]) for argument in arguments]
    values = jax.pmap(loss, axis_name="batch")(*split)
    np.testing.assert_allclose(values, np.full(DEVICES, whole(name, mask)[0]), rtol=1e-6)


def test_pmap_averages_parameter_gradients_to_the_whole_batchs():
    # The usual recipe: gradient inside, pmean over the devices.
    logits_in, targets, logits_out = inputs()
    scale = jnp.float32(1.3)

    def loss(scale, logits_in, targets, logits_out, axis_name=None):
        return ood_jax.outlier_exposure_loss(scale * logits_in, targets, scale * logits_out, axis_name=axis_name)

    def step(*shard):
        return jax.lax.pmean(jax.grad(loss)(scale, *shard, axis_name="batch"), "batch")

    split = [argument.reshape(DEVICES, EACH, *argument.shape[1:]) for argument in (logits_in, targets, logits_out)]
    expected = jax.grad(loss)(scale, logits_in, targets, logits_out)
    np.testing.assert_allclose(jax.pmap(step, axis_name="batch")(*split), np.full(DEVICES, expected), rtol=1e-6)


def test_several_axes():
    mesh = jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    loss, arguments = make("outlier_exposure", "uneven", ("data", "fsdp"))
    spec = PartitionSpec(("data", "fsdp"))
    value = jax.shard_map(loss, mesh=mesh, in_specs=spec, out_specs=PartitionSpec())(*arguments)
    np.testing.assert_allclose(value, whole("outlier_exposure", "uneven")[0], rtol=1e-6)


@CASES
def test_jit_over_a_sharded_batch(name, mask):
    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(AxisType.Auto,))
    loss, arguments = make(name, mask, None)
    placed = jax.device_put(arguments, jax.NamedSharding(mesh, PartitionSpec("batch")))
    assert_close(jax.jit(jax.value_and_grad(loss, argnums=(0, 2)))(*placed), whole(name, mask))


@pytest.mark.parametrize("name", LOSSES)
def test_explicit_mesh_and_many_rows(name):
    # More rows than one block of a sum along classes holds, on the kind of mesh that make_mesh gives by default.
    rng = np.random.default_rng(0)
    arguments = [rng.standard_normal((16, 300, K)).astype(np.float32) for _ in range(2)]
    arguments.insert(1, rng.integers(0, K, (16, 300)))
    expected = LOSSES[name](*arguments)
    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        placed = jax.device_put(arguments, jax.NamedSharding(mesh, PartitionSpec("batch")))
        value, gradient = jax.value_and_grad(LOSSES[name])(*placed)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert gradient.shape == arguments[0].shape


@pytest.mark.parametrize("name", LOSSES)
def test_only_scalars_travel_between_devices(name):
    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(AxisType.Auto,))
    logits, targets = jnp.zeros((16384, K)), jnp.zeros(16384, int)
    placed = jax.device_put((logits, targets, logits), jax.NamedSharding(mesh, PartitionSpec("batch")))
    program = jax.jit(jax.value_and_grad(LOSSES[name], argnums=(0, 2))).lower(*placed).compile().as_text()
    collective = r"= (\S+|\(.*?\)) (?:all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)\("
    results = re.findall(collective, program)
    assert results
    sizes = [int(size) for result in results for size in re.findall(r"\[(\d*)\]", result.replace("[]", "[1]"))]
    assert max(sizes) <= DEVICES
