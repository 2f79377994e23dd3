"""The commands beside the benchmark: the traps and the throughput, with networks trained for a few steps."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax
from examples.benchmark import jax_training, throughput, torch_training, traps
from examples.benchmark.data import load_task
from examples.benchmark.recipe import RECIPES

SHORT = RECIPES["digits"]._replace(epochs=1, tuning_epochs=1, batch=256)


@pytest.fixture
def digits(monkeypatch, tmp_path):
    """Digits in the place of Fashion-MNIST."""
    monkeypatch.setattr("examples.fashion.find", lambda folder, **_: folder)
    for module in (traps, throughput):
        monkeypatch.setattr(module, "load_task", lambda dataset, seed, **_: load_task("digits", seed))
    monkeypatch.setattr(traps, "RECIPE", SHORT)
    monkeypatch.setitem(RECIPES, "fashion", SHORT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_trap_is_measured_and_drawn(digits, monkeypatch):
    monkeypatch.setattr(traps, "SEEDS", (0,))
    monkeypatch.setattr(traps, "TRAPS", {"batch-norm": traps.TRAPS["batch-norm"]})
    monkeypatch.setattr("sys.argv", ["traps", "--out", "here"])
    traps.main()
    found = json.loads((digits / "here/traps.json").read_text())["batch-norm"]
    assert list(found) == ["one", "two"]
    for measured in zip(*found.values(), strict=True):
        assert measured[0] != measured[1]
        assert all(0 <= value <= 1 for one in measured for value in one.values())
    assert (digits / "here/trap-batch-norm.png").stat().st_size > 5000


def test_margins_are_calibrated_on_the_baseline_or_as_given(digits, monkeypatch):
    given = []
    monkeypatch.setattr(traps, "train", lambda *_, margins, **__: given.append(margins))
    monkeypatch.setattr(traps, "calibrate", lambda predict, weights, task: (weights, task))
    traps.tune_with(-23.0)("task", "baseline", 0)
    traps.tune_with(None)(load_task("digits", 0), "baseline", 0)
    assert given[0] == ood_jax.Margins(jnp.float32(-23), jnp.float32(-5))
    assert given[1][0] == "baseline"


def test_two_forwards_have_statistics_of_their_own():
    """The loss of a network that subtracts its batch's mean tells one forward from two."""
    batch = jax_training.Batch(jnp.ones((4, 3)), jnp.zeros(4, jnp.int32), 5 * jnp.ones((4, 3)))
    margins = ood_jax.Margins(jnp.float32(-1), jnp.float32(1))

    def apply(x):
        return (x - x.mean()) @ jnp.diag(jnp.arange(3.0))

    one, two = (loss(None, batch, apply, margins) for loss in (jax_training.outlier_exposure, traps.two_forwards))
    np.testing.assert_allclose(two, 1.5 * np.log(3), rtol=1e-6)  # all logits are 0
    assert abs(one - two) > 0.1


def test_throughput_times_both(digits, monkeypatch, capsys):
    monkeypatch.setattr(throughput, "BLOCKS", 2)
    monkeypatch.setattr(throughput, "STEPS", 1)
    for framework in (jax_training, torch_training):
        monkeypatch.setattr(framework, "LOSSES", {"mixup": framework.LOSSES["mixup"]})
    monkeypatch.setattr("sys.argv", ["throughput"])
    throughput.main()
    name, ours, theirs, ratio = capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | ")
    assert name == "mixup"
    # Both are printed as whole numbers, and the ratio to a hundredth.
    fastest, slowest = ((float(ours) + half) / (float(theirs) - half) for half in (0.5, -0.5))
    assert slowest - 0.005 <= float(ratio) <= fastest + 0.005
