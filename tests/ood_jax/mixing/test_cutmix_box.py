import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax
from ood_jax.mixing._box import _side, _thresholds


def definition_side(lam, size):
    return (size * np.sqrt(1.0 - lam.astype(np.float64))).astype(np.int64)


def definition_box(lam, center, size):
    """The definition's geometry on the host, in float64."""
    edges = []
    for middle, extent in zip(center, size, strict=True):
        half = definition_side(lam, extent) // 2
        edges += [np.clip(middle - half, 0, extent), np.clip(middle + half, 0, extent)]
    return edges


def neighbours(lam, steps=3):
    """Every float within a few steps of each λ, inside [0, 1]."""
    bits = lam.view(np.uint32 if lam.dtype == np.float32 else np.uint64).astype(np.int64)
    around = (bits[:, None] + np.arange(-steps, steps + 1)).ravel()
    one = np.ones((), lam.dtype).view(bits.dtype.str.replace("i", "u") if lam.dtype == np.float64 else np.uint32)
    around = around[(around >= 0) & (around <= int(one))]
    return around.astype(np.uint32 if lam.dtype == np.float32 else np.uint64).view(lam.dtype)


def dense_lams():
    """A dense set of float32 λ: a grid, random ones of every magnitude, and those next to 0 and 1."""
    rng = np.random.default_rng(0)
    grid = np.linspace(0, 1, 2049, dtype=np.float32)
    tiny = np.float32(10) ** rng.uniform(-45, 0, 500).astype(np.float32)
    return np.concatenate([grid, tiny, 1 - tiny[tiny < 1], np.array([0, 1], np.float32)]).astype(np.float32)


@pytest.mark.parametrize("quarter", range(4))
def test_sides_agree_with_float64_for_every_size_to_512(quarter):
    # The sides alone, for most of the time goes into compiling; whole boxes follow, of a few sizes.
    dense = dense_lams()
    for first in range(1 + 128 * quarter, 1 + 128 * (quarter + 1), 32):
        sizes = range(first, first + 32)
        lams = [np.concatenate([dense, neighbours(_thresholds(size, "float32", "float64"))]) for size in sizes]
        sides = jax.jit(lambda lams, sizes=sizes: list(map(_side, lams, sizes)))
        for ours, lam, size in zip(sides(lams), lams, sizes, strict=True):
            np.testing.assert_array_equal(ours, definition_side(lam, size))


@pytest.mark.parametrize("size", [1, 2, 7, 28, 32, 224, 333, 1024, 4095, 4096])
def test_boxes_agree_with_the_definition(size):
    rng = np.random.default_rng(size)
    other = int(rng.integers(1, 4097))
    lam = np.concatenate(
        [dense_lams()[::4], neighbours(_thresholds(size, "float32", "float64")[:: max(1, size // 64)])]
    )
    center = rng.integers(0, size, lam.size).astype(np.int32), rng.integers(0, other, lam.size).astype(np.int32)
    box = ood_jax.cutmix_box(lam, center, (size, other))
    for ours, theirs in zip(box, definition_box(lam, center, (size, other)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_float32_formula_would_not_do():
    lam = dense_lams()
    naive = jax.jit(lambda lam: (224 * jnp.sqrt(1 - lam)).astype(jnp.int32))(lam)
    assert np.any(np.asarray(naive) != definition_side(lam, 224))


def test_float64_lam_is_exact_under_x64():
    with jax.enable_x64(True):
        lam = np.concatenate(
            [np.random.default_rng(0).uniform(0, 1, 20_000), neighbours(_thresholds(224, "float64", "float64"))]
        )
        center = np.full(lam.size, 100), np.full(lam.size, 60)
        box = ood_jax.cutmix_box(lam, center, (224, 97))
        for ours, theirs in zip(box, definition_box(lam, center, (224, 97)), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert box.top.dtype == jnp.int32


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_lam_is_taken_exactly(dtype):
    lam = jnp.linspace(0, 1, 300).astype(dtype)
    wide = np.asarray(lam.astype(jnp.float32))
    center = np.full(300, 9, np.int32), np.full(300, 3, np.int32)
    box = ood_jax.cutmix_box(lam, center, (31, 17))
    for ours, theirs in zip(box, definition_box(wide, center, (31, 17)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_rows_are_height_and_columns_are_width():
    box = ood_jax.cutmix_box(0.0, (2, 50), (4, 100))
    assert [int(edge) for edge in box] == [0, 4, 0, 100]
    box = ood_jax.cutmix_box(0.75, (0, 99), (4, 100))
    assert [int(edge) for edge in box] == [0, 1, 74, 100]


@pytest.mark.parametrize(
    ("lam", "expected"), [(float("nan"), [5, 5, 5, 5]), (1.5, [5, 5, 5, 5]), (-0.5, [0, 10, 0, 10])]
)
def test_lam_out_of_range_does_as_documented(lam, expected):
    assert [int(edge) for edge in ood_jax.cutmix_box(lam, (5, 5), (10, 10))] == expected
