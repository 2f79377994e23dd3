"""A loss over a batch split over devices is the loss of the whole batch, whatever the masks of each shard."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

import ood_jax
from benchmarks.hlo import collectives

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
EVERY = pytest.mark.parametrize("name", LOSSES)


def inputs():
    rng = np.random.default_rng(0)
    logits_in, logits_out = rng.standard_normal((2, N, K)).astype(np.float32)
    targets = rng.integers(0, K, N)
    targets[5] = -100
    return jnp.asarray(logits_in), jnp.asarray(targets), jnp.asarray(logits_out)


def make(name, axis_name):
    loss = LOSSES[name]

    def call(logits_in, targets, logits_out, where_in, where_out):
        return loss(logits_in, targets, logits_out, where_in=where_in, where_out=where_out, axis_name=axis_name)

    return call


def with_masks():
    """The inputs with each pair of masks, which no program has to be compiled again for."""
    for mask, sides in MASKS.items():
        yield mask, (*inputs(), *map(jnp.asarray, sides))


@functools.cache
def whole(name):
    """Value and gradients on one device, by mask."""
    loss = jax.jit(jax.value_and_grad(make(name, None), argnums=(0, 2)))
    return {mask: loss(*arguments) for mask, arguments in with_masks()}


def assert_close(result, expected, mask):
    for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        assert np.all(np.isfinite(a)), mask
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8, err_msg=mask)


def sharded(body, check_vma=True, out_specs=WHOLE):
    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("batch")
    return jax.jit(jax.shard_map(body, mesh=mesh, in_specs=spec, out_specs=out_specs, check_vma=check_vma))


@EVERY
@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map_with_the_gradient_outside(name, check_vma):
    loss = jax.jit(jax.value_and_grad(sharded(make(name, "batch"), check_vma), argnums=(0, 2)))
    for mask, arguments in with_masks():
        assert_close(loss(*arguments), whole(name)[mask], mask)


@EVERY
def test_shard_map_with_the_gradient_inside(name):
    spec = PartitionSpec("batch")
    body = jax.value_and_grad(make(name, "batch"), argnums=(0, 2))
    loss = sharded(body, out_specs=(WHOLE, (spec, spec)))
    for mask, arguments in with_masks():
        assert_close(loss(*arguments), whole(name)[mask], mask)


@EVERY
def test_pmap(name):
    loss = jax.pmap(make(name, "batch"), axis_name="batch")
    for mask, arguments in with_masks():
        split = [argument.reshape(DEVICES, EACH, *argument.shape[1:]) for argument in arguments]
        assert_close(loss(*split), np.full(DEVICES, whole(name)[mask][0]), mask)


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
    loss, arguments = make("outlier_exposure", ("data", "fsdp")), dict(with_masks())["uneven"]
    spec = PartitionSpec(("data", "fsdp"))
    value = jax.shard_map(loss, mesh=mesh, in_specs=spec, out_specs=PartitionSpec())(*arguments)
    np.testing.assert_allclose(value, whole("outlier_exposure")["uneven"][0], rtol=1e-6)


@EVERY
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_jit_over_a_sharded_batch(name, kind):
    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(kind,))
    expected = whole(name)
    with jax.set_mesh(mesh):
        loss = jax.jit(jax.value_and_grad(make(name, None), argnums=(0, 2)))
        for mask, arguments in with_masks():
            placed = jax.device_put(arguments, jax.NamedSharding(mesh, PartitionSpec("batch")))
            assert_close(loss(*placed), expected[mask], mask)


@EVERY
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


@EVERY
def test_only_scalars_travel_between_devices(name):
    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(AxisType.Auto,))
    logits, targets = jnp.zeros((16384, K)), jnp.zeros(16384, int)
    placed = jax.device_put((logits, targets, logits), jax.NamedSharding(mesh, PartitionSpec("batch")))
    program = jax.jit(jax.value_and_grad(LOSSES[name], argnums=(0, 2))).lower(*placed).compile().as_text()
    found = list(collectives(program))
    assert {collective.kind for collective in found} == {"all-reduce"}
    # A sum over rows needs three numbers of four bytes (two parts and a count), a loss up to four sums.
    assert sum(collective.size for collective in found) <= 4 * 3 * 4
    # Sums that do not wait for each other travel together: the counts, the sums, and before them what the hinge of two
    # means measures from.
    assert len(found) <= 3


PLACES = [PartitionSpec(*axes) for axes in ((), ("rows",), (None, "classes"), ("rows", "classes"))]


@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_targets_may_lie_otherwise_than_logits(kind):
    rng = np.random.default_rng(0)
    logits, out = rng.standard_normal((2, 8, 16)).astype(np.float32)
    targets = rng.integers(0, 16, 8) if kind == "classes" else rng.dirichlet(np.ones(16), 8).astype(np.float32)
    both = jax.jit(jax.value_and_grad(ood_jax.outlier_exposure_loss))
    expected = both(logits, targets, out)
    mesh = jax.make_mesh((4, 2), ("rows", "classes"), axis_types=(AxisType.Explicit,) * 2)
    with jax.set_mesh(mesh):
        for place in PLACES:
            for other in PLACES[:2] if kind == "classes" else PLACES:
                placed = jax.device_put(logits, place), jax.device_put(targets, other)
                result = both(*placed, jax.device_put(out, place))
                jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), result, expected)


@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_targets_of_each_shard_for_logits_of_all(kind):
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((1, 4)).astype(np.float32)
    targets = np.arange(DEVICES) % 4 if kind == "classes" else rng.dirichlet(np.ones(4), DEVICES).astype(np.float32)

    def loss(logits, targets):
        return ood_jax.outlier_exposure_loss(logits, targets, axis_name="i")

    def whole(logits):
        return ood_jax.outlier_exposure_loss(jnp.tile(logits, (DEVICES, 1)), targets)

    mesh = jax.make_mesh((DEVICES,), ("i",), axis_types=(AxisType.Auto,))
    sharded = jax.shard_map(loss, mesh=mesh, in_specs=(WHOLE, PartitionSpec("i")), out_specs=WHOLE)
    result, expected = jax.value_and_grad(sharded)(logits, targets), jax.value_and_grad(whole)(logits)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), result, expected)


@EVERY
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_masks_may_lie_otherwise_than_logits(name, kind):
    rng = np.random.default_rng(0)
    logits, out = rng.standard_normal((2, DEVICES, K)).astype(np.float32)
    targets = rng.integers(0, K, DEVICES) if kind == "classes" else rng.dirichlet(np.ones(K), DEVICES)
    masks = np.arange(DEVICES) % 3 != 1, np.arange(DEVICES) % 4 != 2

    def gradients(loss, *masks):
        arguments = (
            jnp.asarray(logits),
            jnp.asarray(targets, int if kind == "classes" else jnp.float32),
            jnp.asarray(out),
        )
        return jax.jit(jax.value_and_grad(loss, argnums=(0, 2)))(*arguments, *masks)

    expected = gradients(make(name, None), *masks)
    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        assert_close(gradients(make(name, None), *jax.device_put(masks, PartitionSpec("batch"))), expected, "explicit")


def test_a_row_of_each_shard_is_no_single_row():
    few, many = jnp.zeros((DEVICES, K)), jnp.ones((2 * DEVICES, K))

    def loss(logits_in, logits_out):
        return ood_jax.energy_regularized_loss(logits_in, jnp.zeros(1, int), logits_out, axis_name="batch")

    with pytest.raises(ValueError, match=r"`logits_out` must pair .* \(1,\) and \(2,\).*form='mean'"):
        sharded(loss)(few, many)
    assert np.isfinite(sharded(loss)(few, few))
