"""The trainings agree, and what both frameworks are given is alike."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from parity.trajectories import METHODS, run
from parity.trajectories.data import batches
from parity.trajectories.ours import Network, initial_weights, train_ours
from parity.trajectories.runs import growth
from parity.trajectories.setting import CHANNELS, HEIGHT, LEARNING_RATE, MOMENTUM, STEPS, WIDTH
from parity.trajectories.source import SourceNetwork, source_optimizer, source_weights, train_source
from parity.trajectories.trajectory import ROUNDINGS

DTYPES = ("float32", "float64")
SHORT = 30


# The five methods.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_both_frameworks_train_alike(method, dtype):
    trajectory = run(method, dtype, steps=SHORT)
    assert trajectory.agrees, trajectory
    # A network that stood still would agree with any other.
    assert trajectory.ours[-5:].mean() < 0.9 * trajectory.ours[0]


def test_float32_chaos_of_a_whole_run_is_not_in_float64():
    single, double = (run("cutmix", dtype) for dtype in DTYPES)
    assert single.agrees, single
    assert double.agrees, double
    step = single.chaos_step()
    assert step is not None
    assert 10 < step < STEPS
    assert double.chaos_step() is None
    assert double.differences[step] < 1e-6 * single.differences[step]
    assert single.growth[-1] > 100 * single.growth[0]


def test_no_pair_of_the_energy_loss_is_within_roundings_of_the_hinge():
    # There a larger rounding would have an effect out of proportion, and float32 might take the other side.
    grown, plain = growth("energy"), train_ours("energy", "float64")
    size = ROUNDINGS * 2.0**-24
    for seed in (10, 11):
        for signed in (size, -size):
            changed = train_ours("energy", "float64", perturbation=signed, seed=seed)
            assert (np.abs(changed - plain) <= 4 * size * grown).all()


# What roundings do.


def test_growth_is_what_perturbations_do():
    grown = growth("energy", steps=SHORT)
    plain = train_ours("energy", "float64", steps=SHORT)
    assert (np.diff(grown) >= 0).all()
    assert (grown >= np.abs(plain)).all()
    # Another size and another seed: the effect is in proportion, and its size no accident.
    change = np.abs(train_ours("energy", "float64", steps=SHORT, perturbation=2.0**-30, seed=9) - plain)
    assert (change <= ROUNDINGS * 2.0**-30 * grown).all()
    assert change.max() >= 2.0**-30 * grown[-1] / ROUNDINGS


# What is alike by construction.


def test_both_optimizers_are_one_recurrence():
    gradients = np.random.default_rng(0).standard_normal((20, 7))
    weight = torch.nn.Parameter(torch.ones(7, dtype=torch.float64))
    source = source_optimizer(torch.nn.ParameterList([weight]))
    with jax.enable_x64(True):
        ours = jnp.ones(7)
        optimizer = optax.sgd(LEARNING_RATE, MOMENTUM)
        state = optimizer.init(ours)
        for gradient in gradients:
            updates, state = optimizer.update(jnp.asarray(gradient), state)
            ours = optax.apply_updates(ours, updates)
            weight.grad = torch.from_numpy(gradient)
            source.step()
        np.testing.assert_allclose(ours, weight.detach().numpy(), rtol=1e-13)


def test_both_networks_are_one_function_of_all_weights():
    rng = np.random.default_rng(1)
    # Flax starts biases at zero, where a wrong one would not show.
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), initial_weights())
    images = rng.standard_normal((3, HEIGHT, WIDTH, CHANNELS))
    source = SourceNetwork().double()
    source.load_state_dict(source_weights(params))
    with jax.enable_x64(True), torch.no_grad():
        ours = Network().apply({"params": params}, images)
        theirs = source(torch.from_numpy(images.transpose(0, 3, 1, 2)))
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


def test_batches_do_not_depend_on_the_length_of_the_run_or_the_dtype():
    with jax.enable_x64(True):
        longer = batches.__wrapped__(4)
    for one, other in zip(batches(3), longer[:3], strict=True):
        assert jax.tree.map(lambda a: a.dtype, one) == jax.tree.map(lambda a: a.dtype, other)
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_every_step_draws_anew():
    drawn = batches(SHORT)
    assert len({float(batch.lam) for batch in drawn}) == SHORT
    assert len({tuple(batch.partner) for batch in drawn}) == SHORT
    assert {int(batch.center[0]) for batch in drawn} <= set(range(HEIGHT))
    assert max(int(batch.center[1]) for batch in drawn) >= HEIGHT


def test_the_number_of_threads_is_restored():
    threads = torch.get_num_threads()
    train_source("mixup", "float32", steps=1)
    assert torch.get_num_threads() == threads
