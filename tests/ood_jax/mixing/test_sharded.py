"""A batch laid out over devices mixes as on one device, in every style of sharding, and no row leaves its device."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import ood_jax

N, K, DEVICES = 32, 5, 8
ROWS = PartitionSpec("data")
COLLECTIVE = re.compile(r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(-start)?\(")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 6, 10, 2)).astype(np.float32)
Y = RNG.integers(0, K, N)
KEY = jax.random.key(3)
FUNCTIONS = {"mixup": ood_jax.mixup, "cutmix": ood_jax.cutmix}
FORMS = [
    {"groups": 8},
    {"groups": 16, "per_example": True},
    {"groups": 8, "pairing": "roll", "fold": True, "alpha": 0.3},
]
BOTH = pytest.mark.parametrize("name", FUNCTIONS)


def all_forms(name, axis_name=None):
    """One program with every form, for a compilation costs more than a run."""
    function = FUNCTIONS[name]
    return lambda key, x, y: [function(key, x, y, axis_name=axis_name, **form) for form in FORMS]


def mesh_of(devices, kind=AxisType.Auto):
    return jax.make_mesh((devices,), ("data",), axis_types=(kind,))


def placed(mesh, *arrays, spec=ROWS):
    return tuple(jax.device_put(array, NamedSharding(mesh, spec)) for array in arrays)


def with_auto_axes(function, devices):
    return jax.jit(function)(KEY, *placed(mesh_of(devices), X, Y))


def with_explicit_axes(function, devices):
    mesh = mesh_of(devices, AxisType.Explicit)
    with jax.set_mesh(mesh):
        return jax.jit(function)(KEY, *placed(mesh, X, Y))


def with_explicit_axes_eagerly(function, devices):
    return function(KEY, *placed(mesh_of(devices, AxisType.Explicit), X, Y))


def with_shard_map(function, devices):
    specs = {"in_specs": (PartitionSpec(), ROWS, ROWS), "out_specs": ROWS}
    return jax.jit(jax.shard_map(function, mesh=mesh_of(devices), check_vma=True, **specs))(KEY, X, Y)


def with_pmap(function, devices):
    split = [array.reshape(devices, N // devices, *array.shape[1:]) for array in (X, Y)]
    mapped = jax.pmap(function, axis_name="data", in_axes=(None, 0, 0), devices=jax.devices()[:devices])
    return jax.tree.map(lambda leaf: leaf.reshape(N, *leaf.shape[2:]), mapped(KEY, *split))


# By style also the numbers of devices: those that have several groups each, and one; one device where axes have names.
STYLES = {
    "auto": (with_auto_axes, None, [2, 8]),
    "explicit": (with_explicit_axes, None, [2, 8]),
    "explicit, eager": (with_explicit_axes_eagerly, None, [8]),
    "shard_map": (with_shard_map, "data", [1, 4, 8]),
    "pmap": (with_pmap, "data", [1, 4, 8]),
}


def assert_same(name, results, expected):
    for ours, whole in zip(results, expected, strict=True):
        for field, a, b in zip(whole._fields, ours, whole, strict=True):
            assert a.shape == b.shape
            assert a.dtype == b.dtype
            if (name, field) == ("mixup", "x"):
                np.testing.assert_array_max_ulp(np.asarray(a), np.asarray(b), maxulp=1)
            else:
                np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def whole():
    """Every form on one device, and that the forms do mix."""
    results = {name: all_forms(name)(KEY, X, Y) for name in FUNCTIONS}
    assert all(np.any(mixed.x != X) and np.any(mixed.y_b != Y) for forms in results.values() for mixed in forms)
    return results


@pytest.mark.parametrize(("style", "devices"), [(style, devices) for style in STYLES for devices in STYLES[style][-1]])
@BOTH
def test_every_style_gives_the_single_device_result(name, style, devices, whole):
    run, axis_name, _ = STYLES[style]
    assert_same(name, run(all_forms(name, axis_name), devices), whole[name])


@pytest.mark.parametrize("alpha", [0.4, 2.5])
def test_the_last_bit_of_lam_is_the_same_with_one_group_a_device(alpha):
    # α is traced here, not a constant that the compiler works into the formula.
    draw = partial(ood_jax.draw_mixup, n=N // DEVICES, groups=DEVICES, axis_name="data")
    mapped = jax.jit(
        jax.shard_map(
            lambda key, alpha: draw(key, alpha=alpha).lam,
            mesh=mesh_of(DEVICES),
            in_specs=(PartitionSpec(), PartitionSpec()),
            out_specs=ROWS,
        )
    )
    mix = jax.jit(lambda key, x, y, alpha: ood_jax.mixup(key, x, y, alpha=alpha, groups=DEVICES).lam)
    x, y = placed(mesh_of(DEVICES), X, Y)
    for key in jax.random.split(KEY, 60):
        expected = ood_jax.draw_mixup(key, N, alpha=alpha, groups=DEVICES).lam
        np.testing.assert_array_equal(mapped(key, alpha), expected)
        np.testing.assert_array_equal(mix(key, x, y, alpha), np.repeat(expected, N // DEVICES))


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@BOTH
def test_a_batch_over_two_mesh_axes(name, kind, whole):
    mesh = jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(kind,) * 2)
    results = jax.jit(all_forms(name))(KEY, *placed(mesh, X, Y, spec=PartitionSpec(("data", "fsdp"))))
    assert_same(name, results, whole[name])


@BOTH
def test_a_batch_over_two_named_axes(name, whole):
    mesh = jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    rows = PartitionSpec(("data", "fsdp"))
    body = all_forms(name, ("data", "fsdp"))
    mapped = jax.shard_map(body, mesh=mesh, in_specs=(PartitionSpec(), rows, rows), out_specs=rows)
    assert_same(name, jax.jit(mapped)(KEY, X, Y), whole[name])


@BOTH
def test_an_axis_that_is_not_of_the_batch_stays_explicit_inside_shard_map(name, whole):
    # Rows over one axis by hand, the height of the images over another by type.
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    x = jax.device_put(X, NamedSharding(mesh, PartitionSpec("data", "model")))
    y = jax.device_put(Y, NamedSharding(mesh, ROWS))
    with jax.set_mesh(mesh):
        body = jax.shard_map(
            all_forms(name, "data"), in_specs=(PartitionSpec(), ROWS, ROWS), out_specs=ROWS, axis_names={"data"}
        )
        results = jax.jit(body)(jax.device_put(KEY, NamedSharding(mesh, PartitionSpec())), x, y)
    assert_same(name, results, whole[name])


@BOTH
def test_results_are_laid_out_as_their_inputs_on_explicit_axes(name):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    x, y = jax.device_put(X, NamedSharding(mesh, PartitionSpec("data", "model"))), placed(mesh, Y)[0]
    with jax.set_mesh(mesh):
        for mixed, spec in ((FUNCTIONS[name](KEY, x, y, groups=8), ROWS), (FUNCTIONS[name](KEY, x, y), None)):
            assert jax.typeof(mixed.x).sharding == jax.typeof(x).sharding
            assert jax.typeof(mixed.y_a).sharding == jax.typeof(mixed.y_b).sharding == jax.typeof(y).sharding
            assert jax.typeof(mixed.lam).sharding.spec == (spec or PartitionSpec())


@pytest.mark.parametrize("pairing", ["permute", "roll"])
@BOTH
def test_one_group_over_many_devices_mixes_too(name, pairing):
    # It costs communication, but is right.
    function = partial(FUNCTIONS[name], pairing=pairing)
    expected = function(KEY, X, Y)
    for kind in (AxisType.Auto, AxisType.Explicit):
        assert_same(name, [function(KEY, *placed(mesh_of(DEVICES, kind), X, Y))], [expected])


DRAWS = {
    "mixup": ood_jax.draw_mixup,
    "cutmix": lambda key, n, **form: ood_jax.draw_cutmix(key, n, (6, 10), **form),
}


@pytest.mark.parametrize("form", FORMS[:2], ids=str)
@BOTH
def test_a_shards_draw_is_its_part_of_the_whole_draw(name, form):
    body = partial(DRAWS[name], n=N // DEVICES, axis_name="data", **form)
    mapped = jax.shard_map(body, mesh=mesh_of(DEVICES), in_specs=PartitionSpec(), out_specs=ROWS)
    result, expected = jax.jit(mapped)(KEY), DRAWS[name](KEY, N, **form)
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, result, expected)


@BOTH
def test_without_an_axis_name_a_shard_is_a_batch_of_its_own(name):
    function, half = FUNCTIONS[name], N // 2
    layout = ood_jax.Mixed(ROWS, ROWS, ROWS, PartitionSpec())  # one λ, the same on each shard
    mapped = jax.shard_map(function, mesh=mesh_of(2), in_specs=(PartitionSpec(), ROWS, ROWS), out_specs=layout)
    first, second = (function(KEY, X[rows], Y[rows]) for rows in (slice(half), slice(half, N)))
    expected = ood_jax.Mixed(*map(np.concatenate, zip(first[:3], second[:3], strict=True)), first.lam)
    assert_same(name, [mapped(KEY, X, Y)], [expected])


def test_a_key_of_another_generator_draws_alike_in_every_layout(monkeypatch):
    key = jax.random.key(3, impl="rbg")
    expected = ood_jax.cutmix(key, X, Y, groups=8)
    monkeypatch.setitem(globals(), "KEY", key)
    for run, axis_name, _ in STYLES.values():
        function = partial(ood_jax.cutmix, groups=8, axis_name=axis_name)
        assert_same("cutmix", [run(function, DEVICES)], [expected])


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_keys_of_other_generators_map_and_differ(impl):
    keys = jax.random.split(jax.random.key(3, impl=impl), 6)
    draws = jax.vmap(lambda key: ood_jax.draw_mixup(key, 16))(keys)
    for i, key in enumerate(keys):
        np.testing.assert_array_equal(draws.partner[i], ood_jax.draw_mixup(key, 16).partner)
    assert len(np.unique(draws.lam)) == 6


def whole_gradient(function):
    """By the inputs, of a sum that weighs every pixel otherwise."""
    weights = np.cos(np.arange(X.size, dtype=np.float32)).reshape(X.shape)
    return jax.grad(lambda x, key, y: jnp.sum(function(key, x, y).x * weights))


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@BOTH
def test_gradients_are_those_of_a_single_device(name, kind):
    gradient = jax.jit(whole_gradient(partial(FUNCTIONS[name], groups=8)))
    expected = gradient(X, KEY, Y)
    mesh = mesh_of(DEVICES, kind)
    with jax.set_mesh(mesh):
        x, y = placed(mesh, X, Y)
        np.testing.assert_allclose(gradient(x, KEY, y), expected, rtol=1e-6, atol=1e-6)


def program(function, kind, *arguments):
    mesh = mesh_of(DEVICES, kind)
    with jax.set_mesh(mesh):
        return jax.jit(function).lower(KEY, *placed(mesh, *arguments)).compile().as_text()


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@BOTH
def test_nothing_travels_with_groups(name, kind):
    forms = all_forms(name)

    def backward(key, x, y, given):
        pixels = [mixed.x for mixed in forms(key, x, y)]
        _, pull = jax.vjp(lambda x: [mixed.x for mixed in forms(key, x, y)], x)
        return pixels, pull([given] * len(pixels))

    assert not COLLECTIVE.findall(program(forms, kind, X, Y))
    assert not COLLECTIVE.findall(program(backward, kind, X, Y, X))


@BOTH
def test_nothing_travels_inside_shard_map(name):
    mapped = jax.shard_map(
        all_forms(name, "data"), mesh=mesh_of(DEVICES), in_specs=(PartitionSpec(), ROWS, ROWS), out_specs=ROWS
    )
    assert not COLLECTIVE.findall(jax.jit(mapped).lower(KEY, X, Y).compile().as_text())


def test_a_global_permutation_does_travel():
    # What the tests above would say if they found something.
    assert COLLECTIVE.findall(program(ood_jax.mixup, AxisType.Auto, X, Y))


def test_losses_of_a_mixed_batch_on_explicit_axes():
    logits = RNG.standard_normal((N, K)).astype(np.float32)

    def losses(key, x, y, logits):
        mixed = ood_jax.mixup(key, x, y, groups=8)
        return ood_jax.mixup_cross_entropy(logits, *mixed[1:]), ood_jax.soft_targets(mixed, K)

    expected = losses(KEY, X, Y, logits)
    mesh = mesh_of(DEVICES, AxisType.Explicit)
    with jax.set_mesh(mesh):
        loss, targets = losses(KEY, *placed(mesh, X, Y, logits))
    np.testing.assert_allclose(loss, expected[0], rtol=1e-6)
    np.testing.assert_array_equal(targets, expected[1])
    assert jax.typeof(targets).sharding.spec[0] == "data"


MISFITS = {
    None: "`groups` must be a multiple of the 8 shards of axis 'data', got None",
    4: "got 4; .* Pass groups=8 for one group a shard",
    12: "`groups` must divide the batch, got 32 rows and groups=12",
}


@pytest.mark.parametrize("groups", MISFITS)
@BOTH
def test_groups_must_fit_the_shards(name, groups):
    with pytest.raises(ValueError, match=MISFITS[groups]):
        with_shard_map(partial(FUNCTIONS[name], groups=groups, axis_name="data"), DEVICES)
