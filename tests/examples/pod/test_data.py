"""The rows of a batch follow from the seed and the step, however many processes share them."""

import itertools

import numpy as np
import pytest

from examples.pod import data

from .fashion import write_small


@pytest.fixture(scope="module")
def digits():
    return data.load_digits(0)


def take(digits, *, parts, start=0, count=40, seed=0):
    """The first global batches, joined from the processes' parts."""
    readers = [data.batches(digits, seed=seed, batch=32, part=part, parts=parts, start=start) for part in range(parts)]
    steps = itertools.islice(zip(*readers, strict=True), count)
    return [data.Rows(*map(np.concatenate, zip(*rows, strict=True))) for rows in steps]


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        for array, same in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, same)


@pytest.mark.parametrize("parts", [2, 4, 32])
def test_any_number_of_processes_reads_the_same_batches(parts, digits):
    # 40 batches are nearly two epochs, of 22.5 batches each.
    assert_same(take(digits, parts=parts), take(digits, parts=1))


@pytest.mark.parametrize("start", [1, 22, 39])
def test_a_later_start_reads_what_is_left(start, digits):
    assert_same(take(digits, parts=2, start=start, count=40 - start), take(digits, parts=2)[start:])


def test_an_epoch_has_every_row_once_and_each_has_an_order_of_its_own(digits):
    batches = take(digits, parts=1, count=45)  # two epochs
    seen = np.concatenate([batch.x for batch in batches]).reshape(2, len(digits.x), -1)
    everything = np.sort(digits.x.reshape(len(digits.x), -1) @ np.arange(64))
    for epoch in seen:
        np.testing.assert_allclose(np.sort(epoch @ np.arange(64)), everything, rtol=1e-6)
    assert (seen[0] != seen[1]).any()


def test_images_keep_their_classes(digits):
    known = {image.tobytes(): number for image, number in zip(digits.x, digits.y, strict=True)}
    for batch in take(digits, parts=2, count=5):
        assert [known[image.tobytes()] for image in batch.x] == batch.y.tolist()


def test_another_seed_reads_other_batches(digits):
    first, other = (take(digits, parts=1, count=1, seed=seed)[0] for seed in (0, 1))
    assert (first.x != other.x).any()
    assert (first.outliers != other.outliers).any()


def test_fashion_keeps_its_unknown_classes_out_of_training(tmp_path, monkeypatch):
    # Each image is of one grey value, its class.
    monkeypatch.setattr(data, "FASHION", write_small(tmp_path))
    fashion = data.load_fashion(3)
    known = [np.unique(fashion.x[fashion.y == number] * 255).tolist() for number in range(6)]
    assert [len(classes) for classes in known] == [1] * 6
    unknown = np.unique(fashion.unknown * 255).round().tolist()
    assert sorted(round(classes[0]) for classes in known) == sorted(set(range(10)) - set(unknown))
    assert len(unknown) == 4
    np.testing.assert_allclose(fashion.x_test[:, 0, 0, 0] * 255, np.ravel(known)[fashion.y_test], rtol=1e-6)
    assert fashion.x.shape[1:] == fashion.outliers.shape[1:] == fashion.unknown.shape[1:] == (28, 28, 1)
    assert fashion.y.dtype == np.int32
    assert fashion.outliers.min() >= 0
    assert fashion.outliers.max() <= 1
