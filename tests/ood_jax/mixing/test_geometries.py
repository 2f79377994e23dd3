"""The boxes of other libraries, against their formulas in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax
from ood_jax.mixing._box import _thresholds

LARGEST = np.nextafter(np.float32(1), np.float32(0))
LARGE = [224, 333, 1024, 4095, 4096]


def definition_side(lam, size):
    return (size * np.sqrt(1.0 - lam.astype(np.float64))).astype(np.int64)


def neighbours(lam, steps=3):
    """Every float within a few steps of each λ, inside [0, 1]."""
    below, above = [lam], [lam]
    for _ in range(steps):
        below.append(np.nextafter(below[-1], lam.dtype.type(0)))
        above.append(np.nextafter(above[-1], lam.dtype.type(1)))
    return np.concatenate(below + above[1:])


def dense_lams():
    """A grid, random λ of every magnitude, and those next to 0 and 1."""
    tiny = np.float32(10) ** np.random.default_rng(0).uniform(-45, 0, 150).astype(np.float32)
    grid = np.linspace(0, 1, 513, dtype=np.float32)
    return np.concatenate([grid, tiny, 1 - tiny, neighbours(np.array([0, 1], np.float32))])


def timm_formula(lam, center, size):
    edges = []
    for middle, extent in zip(center, size, strict=True):
        side = definition_side(lam, extent)
        edges += [np.clip(middle - side // 2, 0, extent), np.clip(middle + side - side // 2, 0, extent)]
    return edges


def torchvision_formula(lam, center, size):
    ratio = 0.5 * np.sqrt(1.0 - lam.astype(np.float64))
    edges = []
    for middle, extent in zip(center, size, strict=True):
        half = (ratio * extent).astype(np.int64)
        edges += [np.clip(middle - half, 0, extent), np.clip(middle + half, 0, extent)]
    return edges


def kornia_formula(lam, start, size):
    edges = []
    for fraction, extent in zip(start, size, strict=True):
        ratio = np.sqrt(np.float32(1) - lam)
        assert ratio.dtype == np.float32
        side = np.floor(ratio * np.float32(extent)).astype(np.int64)
        first = np.floor(fraction * (extent - side + 1).astype(np.float32)).astype(np.int64)
        first = np.minimum(first, extent - side)
        edges += [first, first + side]
    return edges


def lams(size, arithmetic, step=1):
    """A dense grid and the neighbours of every threshold of both sides, or of each `step`-th."""
    near = [neighbours(_thresholds(side, "float32", arithmetic)[::step]) for side in size]
    return np.concatenate([dense_lams(), *near])


def centers(lam, size, rng):
    """Pixels at random, with both ends often among them."""
    results = []
    for side in size:
        pixel = rng.integers(0, side, lam.size).astype(np.int32)
        pixel[rng.random(lam.size) < 0.2] = 0
        pixel[rng.random(lam.size) < 0.2] = side - 1
        results.append(pixel)
    return tuple(results)


def starts(lam, rng):
    results = []
    for _ in range(2):
        fraction = rng.random(lam.size, np.float32)
        fraction[rng.random(lam.size) < 0.2] = 0
        fraction[rng.random(lam.size) < 0.2] = LARGEST
        results.append(fraction)
    return tuple(results)


def assert_boxes(box, expected):
    for ours, theirs in zip(box, expected, strict=True):
        assert ours.dtype == jnp.int32
        np.testing.assert_array_equal(ours, theirs)


def assert_whole_inside(box, size):
    for start, stop, side in ((box.top, box.bottom, size[0]), (box.left, box.right, size[1])):
        assert int(start.min()) >= 0
        assert int(stop.max()) <= side
        assert bool(jnp.all(start <= stop))


# Height and width run over the sides from opposite ends, so half as many images cover them all.
EVERY_SIDE = pytest.mark.parametrize("quarter", range(4))


def sizes(quarter, largest=128):
    each = largest // 8
    return [(height, largest + 1 - height) for height in range(1 + each * quarter, 1 + each * (quarter + 1))]


@EVERY_SIDE
def test_timm_for_every_side_to_128(quarter):
    rng = np.random.default_rng(quarter)
    for size in sizes(quarter):
        lam = lams(size, "float64")
        center = centers(lam, size, rng)
        assert_boxes(ood_jax.timm_box(lam, center, size), timm_formula(lam, center, size))


@EVERY_SIDE
def test_kornia_for_every_side_to_128(quarter):
    rng = np.random.default_rng(quarter)
    for size in sizes(quarter):
        lam = lams(size, "float32")
        start = starts(lam, rng)
        box = ood_jax.kornia_box(lam, start, size)
        assert_boxes(box, kornia_formula(lam, start, size))
        assert_whole_inside(box, size)


@pytest.mark.parametrize("side", LARGE)
def test_large_images(side):
    rng = np.random.default_rng(side)
    size = side, int(rng.integers(129, 4097))
    lam = lams(size, "float64", step=max(1, side // 64))
    center = centers(lam, size, rng)
    assert_boxes(ood_jax.timm_box(lam, center, size), timm_formula(lam, center, size))
    lam = lams(size, "float32", step=max(1, side // 64))
    start = starts(lam, rng)
    box = ood_jax.kornia_box(lam, start, size)
    assert_boxes(box, kornia_formula(lam, start, size))
    assert_whole_inside(box, size)


def test_torchvisions_half_side_is_half_the_papers_side_for_every_side_to_512():
    # So its box is `cutmix_box`, which is held to the paper's formula for as many sides.
    for side in range(1, 513):
        lam = np.concatenate([dense_lams(), neighbours(_thresholds(side, "float32", "float64"), steps=1)])
        root = np.sqrt(1.0 - lam.astype(np.float64))
        np.testing.assert_array_equal((0.5 * root * side).astype(int), (side * root).astype(int) // 2)


@pytest.mark.parametrize("size", [(1, 2), (7, 19), (32, 32), (224, 97)])
def test_torchvisions_box_is_the_papers(size):
    lam = np.concatenate([neighbours(_thresholds(side, "float32", "float64"), steps=1) for side in size])
    center = centers(lam, size, np.random.default_rng(0))
    assert_boxes(ood_jax.cutmix_box(lam, center, size), torchvision_formula(lam, center, size))


def test_the_three_boxes_differ():
    # Side 3 of 6, about row 3; side 16 of 32.
    assert [int(edge) for edge in ood_jax.cutmix_box(0.75, (3, 10), (6, 32))] == [2, 4, 2, 18]
    assert [int(edge) for edge in ood_jax.timm_box(0.75, (3, 10), (6, 32))] == [2, 5, 2, 18]
    assert [int(edge) for edge in ood_jax.kornia_box(0.75, (0.5, 0.0), (6, 32))] == [2, 5, 0, 16]
    # And float32 rounds the side to another number somewhere.
    lam = dense_lams()
    sides = [jnp.sum(lam[:, None] <= _thresholds(224, "float32", name), axis=1) for name in ("float32", "float64")]
    assert bool(jnp.any(sides[0] != sides[1]))


def test_rows_are_height_and_columns_are_width():
    for box, position in ((ood_jax.timm_box, (3, 60)), (ood_jax.kornia_box, (0.0, 0.0))):
        assert [int(edge) for edge in box(1.0, position, (4, 100))][1::2] in ([3, 60], [0, 0])
        top, bottom, left, right = (int(edge) for edge in box(0.75, position, (4, 100)))
        assert (bottom - top, right - left) == (2, 50)


@pytest.mark.parametrize("fraction", [1 - 1e-9, 1 - 1e-16, 1.0])
def test_a_start_that_rounds_to_1_still_fits(fraction):
    # As float32 each is 1, one place beyond the last.
    box = ood_jax.kornia_box(0.75, (fraction, fraction), (16, 32))
    assert [int(edge) for edge in box] == [8, 16, 16, 32]
    with jax.enable_x64(True):
        start = (jnp.float64(fraction), jnp.float64(fraction))
        box = ood_jax.kornia_box(jnp.float32(0.75), start, (16, 32))
        assert [int(edge) for edge in box] == [8, 16, 16, 32]


def test_a_start_before_the_first_place_or_after_the_last_is_taken_for_those():
    for start, box in ((-1.0, [0, 8, 0, 16]), (1.5, [8, 16, 16, 32])):
        assert [int(edge) for edge in ood_jax.kornia_box(0.75, (start, start), (16, 32))] == box


@pytest.mark.parametrize("lam", [float("nan"), 1.5, 1.0])
def test_lam_out_of_range_above_is_an_empty_box(lam):
    for box, position in ((ood_jax.timm_box, (5, 5)), (ood_jax.kornia_box, (0.5, 0.5))):
        top, bottom, left, right = box(lam, position, (10, 10))
        assert (int(bottom - top), int(right - left)) == (0, 0)


def test_lam_below_0_is_the_box_of_0():
    assert [int(edge) for edge in ood_jax.timm_box(-0.5, (5, 5), (10, 10))] == [0, 10, 0, 10]
    assert [int(edge) for edge in ood_jax.kornia_box(-0.5, (0.5, 0.5), (10, 10))] == [0, 10, 0, 10]


def test_half_precision_lam_is_taken_exactly():
    lam = jnp.linspace(0, 1, 300).astype(jnp.bfloat16)
    wide, rng = np.asarray(lam.astype(jnp.float32)), np.random.default_rng(0)
    center, start = centers(wide, (31, 17), rng), starts(wide, rng)
    assert_boxes(ood_jax.timm_box(lam, center, (31, 17)), timm_formula(wide, center, (31, 17)))
    assert_boxes(ood_jax.kornia_box(lam, start, (31, 17)), kornia_formula(wide, start, (31, 17)))


def test_float64_lam_under_x64():
    with jax.enable_x64(True):
        lam = np.concatenate(
            [np.random.default_rng(0).uniform(0, 1, 5000), neighbours(_thresholds(99, "float64", "float64"))]
        )
        center = centers(lam, (99, 97), np.random.default_rng(1))
        assert_boxes(ood_jax.timm_box(lam, center, (99, 97)), timm_formula(lam, center, (99, 97)))
        with pytest.raises(TypeError, match=r"^`lam` must be float32.*float64; cast it"):
            ood_jax.kornia_box(lam, starts(lam, np.random.default_rng(2)), (99, 97))
