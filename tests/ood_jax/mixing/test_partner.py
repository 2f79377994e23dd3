"""Rows taken by a product, as on TPU, against rows taken by a gather."""

import math

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import ood_jax
from ood_jax.mixing._partner import _MULTIPLIED, _in_blocks, gather, multiply, take_partner

ROWS = [2, 0, 0, 4, -1, 6]  # a repeated one, and two outside


@pytest.mark.parametrize("dtype", _MULTIPLIED, ids=str)
def test_a_product_gives_every_bit(dtype):
    rng = np.random.default_rng(0)
    # NaNs with payloads, infinities and signed zeros among them. (A gather of bfloat16 on CPU makes all NaNs one.)
    bits = rng.integers(0, 256, (6, 3, 40 * dtype.itemsize), np.uint8)
    values = bits.astype(bool) if dtype.kind == "b" else bits.view(dtype)
    inside = [i for i, row in enumerate(ROWS) if 0 <= row < 6]
    for take in (multiply, jax.jit(multiply)):
        ours = np.asarray(take(jnp.asarray(values), jnp.array(ROWS)))
        np.testing.assert_array_equal(ours[inside].view(np.uint8), values[[ROWS[i] for i in inside]].view(np.uint8))
        outside = gather(jnp.asarray(values[:1]), jnp.array([7]))[0]
        for i in set(range(6)) - set(inside):
            np.testing.assert_array_equal(ours[i].view(np.uint8), np.asarray(outside).view(np.uint8))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint32"])
def test_row_numbers_of_any_width(dtype):
    values, rows = jnp.arange(300.0)[:, None], jnp.arange(-3, 297).astype(dtype)
    np.testing.assert_array_equal(multiply(values, rows), gather(values, rows))


def test_groups_stay_apart():
    values = jnp.arange(24.0, dtype=jnp.bfloat16).reshape(6, 4).at[0, 0].set(jnp.nan)
    partner = jnp.array([[1, 0, 2], [2, 2, 0]])
    by_product = jax.vmap(multiply)(values.reshape(2, 3, 4), partner).reshape(6, 4)
    np.testing.assert_array_equal(by_product.astype(float), take_partner(values, partner).astype(float))
    assert int(jnp.isnan(by_product).sum()) == 1


@pytest.mark.parametrize(("groups", "size", "dtype"), [(8, 6, "int32"), (2, 300, "uint8")])
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("by_hand", [False, True])
def test_groups_of_a_device_are_taken_together_and_stay_apart(groups, size, dtype, devices, by_hand):
    # Of the partners some are outside their group, most of these inside another; as bytes 300 would be 44.
    values = jnp.arange(groups * size * 3, dtype=jnp.float32).reshape(-1, 3)
    low, high = (0, 256) if dtype == "uint8" else (-size, 2 * size)
    partner = jnp.asarray(np.random.default_rng(0).integers(low, high, (groups, size)), dtype)
    mesh, rows = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,)), PartitionSpec("data")
    blocks = []

    def take(values, partner):
        blocks.append(_in_blocks(values, partner)[1].shape)
        return take_partner(values, partner)

    if by_hand:
        take = jax.shard_map(take, mesh=mesh, in_specs=(rows, rows), out_specs=rows)
    found = jax.jit(take)(*jax.device_put((values, partner), NamedSharding(mesh, rows)))
    np.testing.assert_array_equal(found, take_partner(values, partner))
    assert blocks == [(1 if by_hand else devices, groups * size // devices)]


@pytest.mark.parametrize("shape", [("n",), ("n", 3), (2, "n")], ids=str)
def test_a_program_for_any_number_of_rows(shape):
    n = jax.export.symbolic_shape("n")[0]
    partner = jax.ShapeDtypeStruct([n if size == "n" else size for size in shape], jnp.int32)
    values = jax.ShapeDtypeStruct((math.prod(partner.shape), 4), jnp.float32)
    program = jax.export.export(jax.jit(take_partner), platforms=["cpu", "tpu"])(values, partner)
    rng = np.random.default_rng(0)
    rows = rng.integers(-1, 6, [5 if size == "n" else size for size in shape]).astype(np.int32)
    numbers = rng.standard_normal((rows.size, 4)).astype(np.float32)
    np.testing.assert_array_equal(program.call(numbers, rows), take_partner(jnp.asarray(numbers), rows))


def test_a_program_for_any_number_of_groups_on_a_mesh():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    n = jax.export.symbolic_shape("n")[0]
    shapes = ((6 * n, 4), jnp.float32), ((2 * n, 3), jnp.int32)
    program = jax.export.export(jax.jit(take_partner))(
        *(jax.ShapeDtypeStruct(shape, dtype, sharding=split) for shape, dtype in shapes)
    )
    rows = np.array([[0, 2, -1], [1, 1, 5]], np.int32)
    values = np.arange(24, dtype=np.float32).reshape(6, 4)
    with jax.set_mesh(mesh):
        ours = program.call(*(jax.device_put(array, split) for array in (values, rows)))
    np.testing.assert_array_equal(ours, take_partner(jnp.asarray(values), jnp.asarray(rows)))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_no_rows(shape):
    assert take_partner(jnp.zeros((0, 4)), jnp.zeros(shape, jnp.int32)).shape == (0, 4)


@pytest.mark.parametrize("last", [3, 200])
def test_derivatives_are_those_of_the_gather(last):
    rng = np.random.default_rng(0)
    values, cotangent = (jnp.asarray(rng.standard_normal((6, 2, last)), jnp.float32) for _ in range(2))
    cotangent = cotangent.at[1, 0, 0].set(jnp.nan)  # reaches row 0 alone
    for transform in (lambda f: f, jax.jit):
        pulled, plain = (
            transform(lambda v, c, f=f: jax.vjp(lambda v: f(v, jnp.array(ROWS)), v)[1](c)[0])(values, cotangent)
            for f in (multiply, lambda v, rows: gather(v, rows, outside=0))
        )
        np.testing.assert_array_equal(pulled, plain)
        assert int(jnp.isnan(pulled).sum()) == 1
        pushed = transform(lambda v: jax.jvp(lambda v: multiply(v, jnp.array(ROWS)), (v,), (2 * v,))[1])(values)
        np.testing.assert_array_equal(pushed, gather(2 * values, jnp.array(ROWS), outside=0))


@pytest.mark.parametrize("apply", [ood_jax.mixup, ood_jax.cutmix])
def test_only_a_tpu_multiplies(apply):
    x, y = jax.ShapeDtypeStruct((8, 6, 6, 3), jnp.bfloat16), jax.ShapeDtypeStruct((8,), jnp.int32)
    traced = jax.jit(apply).trace(jax.random.key(0), x, y)
    texts = {platform: traced.lower(lowering_platforms=(platform,)).as_text() for platform in ("cpu", "cuda", "tpu")}
    assert {platform: "dot_general" in text for platform, text in texts.items()} == {
        "cpu": False,
        "cuda": False,
        "tpu": True,
    }
    # By default a TPU would round to bfloat16's eight bits first, which no CPU shows.
    products = [line for line in texts["tpu"].splitlines() if "dot_general" in line]
    assert all("precision = [HIGH, HIGH]" in line for line in products)
