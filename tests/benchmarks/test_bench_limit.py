"""The limit: what must move and be computed, and which of the probes tells."""

import jax
import numpy as np
import pytest

from benchmarks import limit
from benchmarks.limit import Pass, Work


def test_mixing_reads_and_writes_the_batch_once():
    images = np.zeros((2, 4, 4, 3), np.float32)
    assert limit.of_mixing(images).moved == (Pass(96 * 4, 96 * 4),)
    assert limit.of_mixing(images.astype(np.uint8), mixed_bytes=2 * 96).moved == (Pass(96, 2 * 96),)


def test_losses_read_logits_write_gradients_and_need_their_exponentials():
    work = limit.of_loss([(8, 10), (4, 10)], "bfloat16")
    assert work == Work((Pass(160, 160), Pass(80, 80)), ((8, 10), (4, 10)), "bfloat16")
    # Class probabilities are read, and nothing is written for them.
    assert limit.of_loss([(8, 10)], "float32", [np.ones((8, 10), np.float32)]).moved == (Pass(320, 320), Pass(320, 0))


def test_probes_move_what_the_work_says():
    work = Work((Pass(400, 400), Pass(40, 80), Pass(80, 0)), ((3, 5), (2, 7)), "bfloat16")
    found = limit.probes(work)
    assert set(found) == {f"{kind}, {by}" for kind in ("bytes", "exponentials") for by in ("JAX", "PyTorch")}
    for by in ("JAX", "PyTorch"):
        written = found[f"bytes, {by}"]()
        assert [array.nbytes for array in written] == [400, 80, 4]  # of a sum, one number
        exponentials = found[f"exponentials, {by}"]()
        assert [tuple(array.shape) for array in exponentials] == [(3, 5), (2, 7)]
        assert all("bfloat16" in str(array.dtype) for array in exponentials)


def test_probes_compute_what_they_are_for():
    found = limit.probes(Work((Pass(40, 40), Pass(80, 0)), ((3, 5),)))
    exponentials = found["exponentials, JAX"]()[0]
    for by in ("JAX", "PyTorch"):
        scaled, total = found[f"bytes, {by}"]()
        assert np.unique(scaled) == 1.5
        assert total == 80 / 4  # all of it was read
    np.testing.assert_allclose(exponentials, np.exp(jax.random.normal(jax.random.key(0), (3, 5))), rtol=1e-5)
    np.testing.assert_allclose(found["exponentials, PyTorch"]()[0], exponentials, rtol=1e-5)


def test_without_exponentials_only_bytes_are_probed():
    assert {name.partition(",")[0] for name in limit.probes(Work((Pass(40, 40),)))} == {"bytes"}


@pytest.mark.parametrize(
    ("medians", "expected"),
    [
        ((3, 2, 8, 9), "exponentials, JAX"),  # the slower need, by the faster framework
        ((3, 2, 1, 9), "bytes, PyTorch"),
        ((3, 4, 9, 2), "bytes, JAX"),
    ],
)
def test_the_limit_is_the_slower_need_by_the_faster_framework(medians, expected):
    names = ("bytes, JAX", "bytes, PyTorch", "exponentials, JAX", "exponentials, PyTorch")
    samples = {name: [median - 1, median, median + 1] for name, median in zip(names, medians, strict=True)}
    assert limit.limit(samples) == (expected, samples[expected])
