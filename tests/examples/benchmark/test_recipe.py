import itertools

import numpy as np

from examples.benchmark import data
from examples.benchmark.recipe import METHODS, RECIPES, batches, learning_rates

RECIPE = RECIPES["digits"]
BASELINE, TUNED = METHODS["baseline"], METHODS["energy-bounded-tuned"]


def test_learning_rate_rises_for_a_tenth_and_falls_to_almost_nothing():
    rates = learning_rates(RECIPE, BASELINE, 722)
    assert len(rates) == RECIPE.epochs * (722 // RECIPE.batch)
    assert np.argmax(rates) in (len(rates) // 10 - 1, len(rates) // 10)
    np.testing.assert_allclose(rates.max(), RECIPE.learning_rate, rtol=1e-3)
    assert 0 < rates[-1] < 1e-4 * RECIPE.learning_rate


def test_fine_tuning_is_shorter_and_gentler():
    rates = learning_rates(RECIPE, TUNED, 722)
    assert len(rates) == RECIPE.tuning_epochs * (722 // RECIPE.batch)
    np.testing.assert_allclose(rates.max(), RECIPE.tuning_rate, rtol=1e-2)


def test_an_epoch_has_every_row_at_most_once_and_the_next_has_another_order():
    steps = list(itertools.islice(batches(RECIPE, BASELINE, 0, 130, 50), 4))
    first, second = (np.concatenate([step.inside for step in steps[i : i + 2]]) for i in (0, 2))
    assert len(set(first)) == len(set(second)) == 128
    assert not np.array_equal(first, second)
    assert all(step.outside.max() < 50 for step in steps)


def test_all_methods_of_a_seed_see_the_same_rows():
    def rows(method, seed):
        return np.concatenate(
            [np.concatenate(step) for step in itertools.islice(batches(RECIPE, method, seed, 200, 90), 5)]
        )

    np.testing.assert_array_equal(rows(BASELINE, 3), rows(TUNED, 3))
    assert not np.array_equal(rows(BASELINE, 3), rows(BASELINE, 4))


def test_ratio_is_outliers_to_rows():
    step = next(batches(RECIPE, BASELINE, 0, 200, 90, ratio=0.25))
    assert len(step.outside) == len(step.inside) / 4 == 16


def test_no_source_of_outliers_is_a_source_of_test_images(monkeypatch):
    cut, patches = [], data.cut_patches

    def recorded(rng, pictures, count, side):
        cut.append(pictures)
        return patches(rng, pictures, count, side)

    monkeypatch.setattr(data, "cut_patches", recorded)
    task = data.load_task("digits", 0)
    outliers, *test = cut  # the outliers are cut first
    assert len(test) == len({"photograph", "textures"} & task.unknown.keys()) == 2
    assert not set(outliers) & {name for pictures in test for name in pictures}


def test_digits_task_keeps_what_is_unknown_apart():
    task = data.load_task("digits", 0)
    assert task.classes == data.KNOWN
    assert list(task.unknown) == ["near", "photograph", "textures", "noise"]
    known = {image.tobytes() for image in (*task.train.x, *task.test.x)}
    unknown = {image.tobytes() for image in task.unknown["near"]}
    assert not known & unknown
    assert not {image.tobytes() for image in task.train.x} & {image.tobytes() for image in task.test.x}
    for images in (task.train.x, task.test.x, task.outliers, *task.unknown.values()):
        assert images.shape[1:] == (8, 8, 1)
        assert images.dtype == np.float32
        assert 0 <= images.min() < images.max() <= 1


def test_a_task_is_its_seeds():
    one, again, other = (data.load_task("digits", seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.train.x, again.train.x)
    np.testing.assert_array_equal(one.outliers, again.outliers)
    assert not np.array_equal(one.test.x[:100], other.test.x[:100])


def test_classes_are_numbered_in_the_order_drawn():
    images = data.Labelled(np.arange(6.0), np.array([7, 3, 7, 9, 3, 1]))
    x, y = data._only(np.array([3, 7]), images)
    np.testing.assert_array_equal(x, [0, 1, 2, 4])
    np.testing.assert_array_equal(y, [1, 0, 1, 0])


def test_patches_are_averages_of_the_picture(monkeypatch):
    """In a picture that rises evenly, rows by 1 and columns by 1000, a patch does so too, by the scale."""
    rows, columns = np.mgrid[:100, :120]
    monkeypatch.setattr(data, "_picture", lambda name: rows + 1000 * columns)
    patches = data.cut_patches(np.random.default_rng(0), ("any",), 200, 8)[..., 0]
    scales = patches[:, 1, 0] - patches[:, 0, 0]
    assert set(scales) == set(data.SCALES)
    np.testing.assert_array_equal(np.diff(patches, axis=1), np.broadcast_to(scales[:, None, None], (200, 7, 8)))
    np.testing.assert_array_equal(np.diff(patches, axis=2), np.broadcast_to(1000 * scales[:, None, None], (200, 8, 7)))
    # The first pixel is the mean of scale by scale pixels from the corner on.
    corners = patches[:, 0, 0] - (scales - 1) / 2 * 1001
    assert len(set(corners)) > 190
    assert all(0 <= corner % 1000 <= 100 - 8 * scale for corner, scale in zip(corners, scales, strict=True))
