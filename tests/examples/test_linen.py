"""The Linen example from its command line, at a small size, and beside the NNX example."""

import json

import jax
import numpy as np
import pytest
from flax import nnx

from examples.digits import train as nnx_train
from examples.digits.data import load_split
from examples.digits.methods import METHODS
from examples.linen import train as linen_train
from examples.linen.__main__ import main


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("linen")
    main(["--splits", "1", "--steps", "80", "--methods", "baseline", "outlier-exposure", "energy", "--out", str(out)])
    assert {path.name for path in out.iterdir()} == {"results.json", "table.md", "roc.png", "scores.png", "mixed.png"}
    assert "Flax Linen" in (out / "table.md").read_text(encoding="utf-8")
    return json.loads((out / "results.json").read_text(encoding="utf-8"))["methods"]


@pytest.mark.parametrize("method", ["baseline", "outlier-exposure", "energy"])
def test_the_network_learns_the_known_digits(results, method):
    assert results[method]["accuracy"]["mean"] > 0.85


@pytest.mark.parametrize(("method", "score"), [("outlier-exposure", "softmax"), ("energy", "energy")])
def test_training_on_outliers_detects_those_of_another_photograph(results, method, score):
    trained, baseline = (results[name]["far"][score] for name in (method, "baseline"))
    assert trained["auroc"]["mean"] > 0.99
    assert trained["auroc"]["mean"] >= baseline["auroc"]["mean"]
    assert trained["fpr95"]["mean"] <= min(baseline["fpr95"]["mean"], 0.08)


@pytest.mark.parametrize("method", ["cutmix", "energy"])
def test_its_steps_are_those_of_the_nnx_example(method):
    """From the same parameters, with the same key, both lose the same and arrive at the same parameters."""
    nnx_trainer, linen_trainer = (module.make_trainer(METHODS[method], 10) for module in (nnx_train, linen_train))
    key, split = jax.random.key(1), load_split(jax.random.key(0))
    nnx_state = nnx_trainer.init(jax.random.key(2))
    # Copied, for the NNX step takes its own state's memory.
    params = jax.tree.map(lambda leaf: leaf.copy(), nnx.to_pure_dict(nnx_state.params))
    linen_state = linen_trainer.init(jax.random.key(3))
    assert jax.tree.map(lambda leaf: leaf.shape, linen_state.params) == jax.tree.map(lambda leaf: leaf.shape, params)
    linen_state = linen_state._replace(params=params)
    for _ in range(3):
        nnx_state, nnx_loss = nnx_trainer.step(nnx_state, key, split.train)
        linen_state, linen_loss = linen_trainer.step(linen_state, key, split.train)
        np.testing.assert_allclose(linen_loss, nnx_loss, rtol=1e-4)
    logits = nnx_trainer.predict(nnx_state.params, split.x_test)
    np.testing.assert_allclose(linen_trainer.predict(linen_state.params, split.x_test), logits, rtol=1e-3, atol=1e-3)
