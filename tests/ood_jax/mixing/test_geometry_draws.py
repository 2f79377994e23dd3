"""What `draw_cutmix` draws in each geometry: which boxes, where, and how often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import ood_jax

# Each chi-square has a fixed key; with a new key it would fail once in a thousand times (p > 1e-3).


def draws(size, geometry, alpha, count=30_000, **options):
    keys = jax.random.split(jax.random.key(11), count)
    box = jax.vmap(lambda key: ood_jax.draw_cutmix(key, 1, size, geometry=geometry, alpha=alpha, **options).box)(keys)
    return [np.asarray(edge) for edge in box]


def p_uniform(rows, columns, shape):
    counts = np.histogram2d(rows, columns, [np.arange(side + 1) for side in shape])[0]
    assert counts.sum() == len(rows)
    return stats.chisquare(counts.ravel()).pvalue


def test_kornias_boxes_are_never_clipped():
    top, bottom, left, right = draws((24, 24), "kornia", 1.0)
    assert top.min() >= 0
    assert left.min() >= 0
    assert bottom.max() <= 24
    assert right.max() <= 24
    np.testing.assert_array_equal(bottom - top, right - left)
    # λ is uniform, so the side is k with probability ((k + 1)² - k²) / 24².
    counts = np.bincount(bottom - top, minlength=24)
    expected = (2 * np.arange(24) + 1) / 24**2 * len(top)
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    # The other geometries clip.
    for geometry in ("paper", "timm"):
        top, bottom, left, right = draws((24, 24), geometry, 1.0, count=500)
        assert np.any(bottom - top != right - left)


def test_kornias_boxes_start_anywhere_they_fit():
    # At large alpha λ is close to a half and the box 10 x 14, with 6 x 7 places.
    top, bottom, left, right = draws((15, 20), "kornia", 1e6)
    assert set((bottom - top).tolist()) == {10}
    assert set((right - left).tolist()) == {14}
    assert p_uniform(top, left, (6, 7)) > 1e-3
    # Rounded to the nearest place, the two at the ends would come half as often.
    rng = np.random.default_rng(0)
    assert p_uniform(*(np.rint(rng.random(30_000) * places) for places in (5, 6)), (6, 7)) < 1e-6


def test_kornias_lam_is_the_boxs_share():
    x = np.zeros((8, 12, 20, 1), np.float32)
    for seed in range(5):
        options = {"geometry": "kornia", "per_example": True}
        mixed = ood_jax.cutmix(jax.random.key(seed), x, np.arange(8), **options)
        top, bottom, left, right = ood_jax.draw_cutmix(jax.random.key(seed), 8, (12, 20), **options).box
        kept = 240 - (bottom - top) * (right - left)
        np.testing.assert_array_equal(mixed.lam, np.asarray(kept, np.float32) / np.float32(240))


def test_timms_boxes_keep_an_odd_side_and_their_centres_are_uniform():
    # The box is 10 x 15: 7 columns before its centre, 8 from it on. The paper's has 14 columns.
    top, bottom, left, right = draws((15, 22), "timm", 1e6)
    assert (right - left).max() == 15
    assert set((right - left).tolist()) == set(range(8, 16))
    row, column = np.where(top > 0, top + 5, bottom - 5), np.where(left > 0, left + 7, right - 8)
    assert p_uniform(row, column, (15, 22)) > 1e-3
    # Centres that keep away from an edge by one pixel would not pass.
    rng = np.random.default_rng(0)
    assert p_uniform(rng.integers(0, 14, 30_000), rng.integers(0, 22, 30_000), (15, 22)) < 1e-6
    _, _, left, right = draws((15, 22), "paper", 1e6, count=500)
    assert (right - left).max() == 14


def test_paper_is_the_default():
    for default, paper in zip(
        ood_jax.draw_cutmix(jax.random.key(0), 4, (15, 22), per_example=True).box,
        ood_jax.draw_cutmix(jax.random.key(0), 4, (15, 22), per_example=True, geometry="paper").box,
        strict=True,
    ):
        np.testing.assert_array_equal(default, paper)


@pytest.mark.parametrize("geometry", ["paper", "timm", "kornia"])
def test_the_position_does_not_depend_on_lam(geometry):
    # One key used twice would tie them together.
    top, bottom, left, right = draws((101, 103), geometry, 1.0, count=20_000)
    room_row, room_column = np.maximum(101 - bottom + top, 1), np.maximum(103 - right + left, 1)
    features = np.stack([bottom - top, top / room_row, left / room_column])
    if geometry != "kornia":
        features[1:] = top + bottom, left + right
    correlation = np.corrcoef(features)[np.triu_indices(3, 1)]
    assert np.max(np.abs(correlation)) < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("geometry", ["timm", "kornia"])
@pytest.mark.parametrize(("options", "shape"), [({}, ()), ({"groups": 3}, (3,)), ({"per_example": True}, (6,))])
def test_shapes(geometry, options, shape):
    draw = ood_jax.draw_cutmix(jax.random.key(0), 6, (9, 5), geometry=geometry, **options)
    assert all(edge.shape == shape and edge.dtype == jnp.int32 for edge in draw.box)
    for data_format, image in (("NHWC", (4, 8, 3)), ("NCHW", (3, 4, 8))):
        mixed = ood_jax.cutmix(
            jax.random.key(0), np.zeros((6, *image)), np.arange(6), geometry=geometry, data_format=data_format
        )
        assert mixed.x.shape == (6, *image)
