"""The step on several devices: what they exchange, and what the key follows from."""

import re

import jax
import numpy as np
import pytest

from examples.pod.data import batches, load_digits
from examples.pod.metrics import Metrics
from examples.pod.train import copy_to_all, split_over

from .conftest import compiled_once


@pytest.fixture(scope="module")
def digits():
    return load_digits(0)


@pytest.fixture(scope="module")
def trainer(digits):
    return compiled_once(digits, seed=0, groups=8)


@pytest.fixture(scope="module")
def batch(digits, trainer):
    return split_over(trainer.mesh, next(batches(digits, seed=0, batch=32, part=0, parts=1, start=0)))


def fresh(trainer):
    return copy_to_all(trainer.mesh, jax.device_get(trainer.init()))


def test_devices_exchange_sums_alone(trainer, batch):
    program = trainer.step.lower(fresh(trainer), batch).compile().as_text()
    moved = re.findall(r"= (.*) (all-gather|all-to-all|collective-permute|reduce-scatter)\(", program)
    # A loss's partial sums, one a device.
    assert {(shape.partition("{")[0], how) for shape, how in moved} <= {(f"f32[{jax.device_count()}]", "all-gather")}
    assert "all-reduce" in program


def test_a_step_donates_its_state_and_counts(trainer, batch):
    state = fresh(trainer)
    new, _ = trainer.step(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert int(new.step) == 1


def test_the_key_follows_from_the_step(trainer, batch):
    first, again = (trainer.step(fresh(trainer), batch)[1] for _ in range(2))
    later = trainer.step(
        fresh(trainer)._replace(step=copy_to_all(trainer.mesh, np.int32(1) + np.zeros((), int))), batch
    )
    assert first == again
    assert first != later[1]


@pytest.mark.parametrize("tail", [b"", b'{"step": 4, "lo', b'{"step": 4}\n{"step": 5}\n', b"\xff\n"])
def test_metrics_go_on_after_the_step_that_is_resumed_from(tail, tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [b'{"step": 1, "loss": 2.0}\n', b'{"step": 2, "loss": 1.5}\n', b'{"step": 3, "loss": 1.0}\n']
    path.write_bytes(b"".join(lines) + tail)
    metrics = Metrics(path, 2)
    assert metrics.kept == 2
    metrics.write(3, [0.5])
    metrics.close()
    assert path.read_bytes() == b"".join(lines[:2]) + b'{"step": 3, "loss": 0.5}\n'


def test_metrics_that_lack_steps_say_up_to_where_they_reach(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1, "loss": 2.0}\n{"step": 3, "loss": 1.0}\n')
    metrics = Metrics(tmp_path / "metrics.jsonl", 3)
    assert metrics.kept == 1
    metrics.close()
