"""The two frameworks start alike, and where a method draws nothing they stay alike."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax
from examples.benchmark import jax_training, torch_training
from examples.benchmark.data import Task
from examples.benchmark.model import initial_weights
from examples.benchmark.recipe import METHODS, RECIPES, batches
from examples.fashion import Labelled

RNG = np.random.default_rng(0)
RECIPE = RECIPES["digits"]._replace(batch=32)
IMAGES = RNG.random((100, 8, 8, 1), np.float32)
TASK = Task(
    Labelled(IMAGES, (np.arange(100) % 3).astype(np.int32)),
    RNG.random((40, 8, 8, 1), np.float32),
    Labelled(IMAGES[:7], np.zeros(7, np.int32)),
    {},
)
MARGINS = ood_jax.Margins(jnp.float32(-2), jnp.float32(-1.5))
FRAMEWORKS = (jax_training, torch_training)


@pytest.fixture(scope="module")
def start():
    return initial_weights(3, 1, 0)


def run(framework, loss, start, steps):
    training = framework.Run(TASK, framework.LOSSES[loss], 1, start, 0, MARGINS)
    order = itertools.islice(batches(RECIPE, METHODS["baseline"], 0, 100, 40), steps)
    losses = [float(training.step(rows, np.float32(0.05))) for rows in order]
    return losses, training.weights()


def test_losses_have_the_same_names():
    assert list(jax_training.LOSSES) == list(torch_training.LOSSES)
    assert {method.loss for method in METHODS.values()} == set(jax_training.LOSSES)


def test_the_same_weights_give_the_same_features_and_logits(start):
    changed = {name: value + 0.1 * RNG.random(value.shape, np.float32) for name, value in start.items()}
    ours, theirs = (framework.predict(changed, TASK.test.x, 3, 1) for framework in FRAMEWORKS)
    assert ours.features.shape == (7, 64)
    np.testing.assert_allclose(ours.features, theirs.features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-4, atol=1e-4)


def test_weights_survive_the_other_framework(start):
    _, back = run(torch_training, "cross-entropy", start, 0)
    assert back.keys() == start.keys()
    for name, value in start.items():
        np.testing.assert_array_equal(back[name], value)


@pytest.mark.parametrize("loss", ["cross-entropy", "outlier-exposure", "energy", "energy-bounded"])
def test_the_first_steps_agree(start, loss):
    (losses, weights), (their_losses, their_weights) = (run(framework, loss, start, 3) for framework in FRAMEWORKS)
    np.testing.assert_allclose(losses, their_losses, rtol=2e-4)
    for name, value in weights.items():
        # Running variances: PyTorch divides by N - 1, Flax by N, and N is 128 at the least; after three steps with a
        # momentum of 0.9 the difference is a quarter of 1 / 128.
        np.testing.assert_allclose(value, their_weights[name], rtol=2e-3 if name.endswith("var") else 1e-3, atol=1e-3)
    assert any(abs(value - start[name]).max() > 0.01 for name, value in weights.items())


def test_mixing_changes_the_loss_and_the_seed_decides_how(start):
    for framework in FRAMEWORKS:
        plain, _ = run(framework, "cross-entropy", start, 3)
        for loss in ("mixup", "cutmix"):
            (mixed, _), (again, _) = run(framework, loss, start, 3), run(framework, loss, start, 3)
            assert mixed == again
            assert max(abs(np.subtract(mixed, plain))) > 1e-3
