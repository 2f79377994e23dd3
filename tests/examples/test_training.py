"""The training steps and the loop around them, for both examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.digits import experiment
from examples.digits import train as nnx_train
from examples.digits.data import load_split
from examples.digits.methods import METHODS
from examples.linen import train as linen_train

MAKERS = {"nnx": nnx_train.make_trainer, "linen": linen_train.make_trainer}


@pytest.fixture(scope="module")
def split():
    return load_split(jax.random.key(0))


@pytest.mark.parametrize("library", MAKERS)
def test_a_step_donates_all_of_its_state(library, split):
    trainer = MAKERS[library](METHODS["baseline"], 10)
    state = trainer.init(jax.random.key(0))
    new, _ = trainer.step(state, jax.random.key(1), split.train)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((new, split)))


@pytest.mark.parametrize("library", MAKERS)
def test_a_step_is_compiled_once_for_all_splits_and_draws_anew_at_each_step(library):
    traces = []

    def method(key, batch, apply):
        traces.append(batch)
        return jax.random.uniform(key) + batch.x.mean() + batch.outliers.mean() + 0 * apply(batch.x).sum()

    trainers = {"drawn": MAKERS[library](method, 5)}
    first, second = run(trainers, splits=2, steps=5)["drawn"]
    assert len(traces) == 1
    assert traces[0].x.shape == traces[0].outliers.shape
    losses = np.concatenate([first.losses, second.losses])
    assert len(np.unique(losses)) == 10


@pytest.mark.parametrize("library", MAKERS)
def test_the_methods_of_a_split_see_the_same_batches_and_start_from_the_same_weights(library):
    def first_method(key, batch, apply):
        return (batch.y * batch.x[:, 3, 3, 0]).mean() + batch.outliers.mean() + apply(batch.x).mean()

    def second_method(key, batch, apply):
        return first_method(key, batch, apply) + 1

    outcomes = run({"a": MAKERS[library](first_method, 5), "b": MAKERS[library](second_method, 5)}, splits=1, steps=2)
    np.testing.assert_allclose(outcomes["b"][0].losses, outcomes["a"][0].losses + 1, rtol=1e-5)


def test_the_same_seed_gives_the_same_result_and_another_seed_another():
    trainers = {"cutmix": nnx_train.make_trainer(METHODS["cutmix"], 5)}
    results = [run(trainers, splits=1, steps=5, seed=seed)["cutmix"][0] for seed in (7, 7, 8)]
    for again, name in ((results[1], "same"), (results[2], "other")):
        assert (again.losses == results[0].losses).all() == (name == "same")
        assert (again.scores["energy"].near == results[0].scores["energy"].near).all() == (name == "same")


def test_progress_is_reported_to_the_last_step():
    reports = []
    trainers = {"baseline": nnx_train.make_trainer(METHODS["baseline"], 25)}
    outcomes = run(trainers, splits=1, steps=25, report=lambda *arguments: reports.append(arguments))
    losses = outcomes["baseline"][0].losses
    assert reports == [("baseline", 0, 0, None), ("baseline", 0, 20, losses[19]), ("baseline", 0, 5, losses[24])]


def test_scores_and_accuracy_are_of_the_right_images(split):
    # A network that reads the class off the first pixel, where each source has a value of its own.
    def predict(params, x):
        return 10.0 * jax.nn.one_hot(x[:, 0, 0, 0].astype(int), 6) + x[:, 1, 0, :]

    def marked(images, first, second):
        return jnp.zeros_like(images).at[:, 0, 0, 0].set(first).at[:, 1, 0, 0].set(second)

    split = split._replace(
        x_test=marked(split.x_test, split.y_test.at[:81].add(1) % 6, 0.0),
        near=marked(split.near, 0, 1.0),
        far=marked(split.far, 0, 2.0),
    )
    trainer = nnx_train.Trainer(None, None, predict)
    outcome = experiment.score(trainer, nnx_train.State(None, None, None), split, np.zeros(1))
    assert outcome.accuracy == pytest.approx(1 - 81 / 324)
    energy = outcome.scores["energy"]
    assert [len(part) for part in energy] == [324, 696, 1000]
    # A constant added to all logits lowers the energy by as much.
    np.testing.assert_allclose(energy.known[0] - energy.near, 1, rtol=1e-4)
    np.testing.assert_allclose(energy.known[0] - energy.far, 2, rtol=1e-4)


def run(trainers, *, splits, steps, seed=0, report=lambda *arguments: None):
    return experiment.run(trainers, seed=seed, splits=splits, steps=steps, report=report)
