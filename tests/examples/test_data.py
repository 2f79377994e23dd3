import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.digits import data


@pytest.fixture(scope="module")
def split():
    return data.load_split(jax.random.key(0))


def test_shapes_and_range(split):
    assert split.train.x.shape == (720, 8, 8, 1)
    assert split.x_test.shape == (324, 8, 8, 1)
    assert split.near.shape == (696, 8, 8, 1)
    assert split.far.shape == split.train.outliers.shape == (1000, 8, 8, 1)
    for images in (split.train.x, split.x_test, split.near, split.far, split.train.outliers):
        assert images.dtype == jnp.float32
        assert images.min() >= 0
        assert 0.7 < images.max() <= 1


def test_classes_are_balanced_in_training_and_test(split):
    np.testing.assert_array_equal(np.bincount(split.train.y), [120] * 6)
    np.testing.assert_array_equal(np.bincount(split.y_test), [54] * 6)


def test_no_row_is_both_learnt_and_tested_and_four_classes_are_held_out(split):
    digits = data.load_digits()
    number_of = {image.astype(np.float32).tobytes(): number for number, image in enumerate(digits.images)}
    assert len(number_of) == len(digits.images), "rows are told apart by their pixels"

    def rows(images):
        return [number_of[(np.asarray(image[..., 0]) * 16).tobytes()] for image in images]

    train, test, near = rows(split.train.x), rows(split.x_test), rows(split.near)
    assert len({*train, *test, *near}) == 720 + 324 + 696
    held_out = set(digits.target[near])
    assert len(held_out) == 4
    assert not held_out & set(digits.target[train + test])
    # A digit has the same class number in training and in test.
    names = dict(zip(digits.target[train], np.asarray(split.train.y), strict=True))
    assert [names[digit] for digit in digits.target[test]] == split.y_test.tolist()


def test_another_key_gives_another_split_and_the_same_key_the_same(split):
    same, other = data.load_split(jax.random.key(0)), data.load_split(jax.random.key(1))
    for name in ("near", "far", "x_test"):
        assert (getattr(same, name) == getattr(split, name)).all()
        assert not (getattr(other, name) == getattr(split, name)).all()


def test_outliers_and_far_come_from_different_photographs(split):
    assert abs(float(split.far.mean() - split.train.outliers.mean())) > 0.05
    assert len(np.unique(np.concatenate([split.far, split.train.outliers]), axis=0)) > 1500


def test_patches_average_squares_from_all_over_the_photograph():
    height, width = 80, 200
    rows = np.repeat(np.arange(height, dtype=float)[:, None], width, axis=1)
    steps = []
    for photograph, axis, size in ((rows, 0, height), (rows.T, 1, height)):
        patches = data.cut_patches(np.random.default_rng(0), photograph, 400)[..., 0]
        along = np.diff(patches, axis=axis + 1)
        np.testing.assert_allclose(along, np.broadcast_to(along[:, :1, :1], along.shape), atol=1e-3)
        np.testing.assert_allclose(np.diff(patches, axis=2 - axis), 0, atol=1e-3)
        assert patches.min() < 3
        assert patches.max() > size - 4
        steps.append(set(np.unique(along.round(3))))
    assert steps == [{1, 2, 4, 8}] * 2


def test_a_batch_keeps_images_with_their_labels():
    n, m = 50, 70
    train = data.Train(jnp.arange(n)[:, None], jnp.arange(n), 100 + jnp.arange(m)[:, None])
    batch = data.draw_batch(jax.random.key(0), train, 1000)
    assert (batch.x[:, 0] == batch.y).all()
    assert set(batch.y.tolist()) == set(range(n))
    assert set(batch.outliers[:, 0].tolist()) == set(range(100, 100 + m))
    assert not (batch.x[:, 0] + 100 == batch.outliers[:, 0]).all()
