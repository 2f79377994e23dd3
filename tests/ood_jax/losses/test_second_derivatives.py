"""The derivatives that the losses carry are functions with right derivatives of their own."""

import contextlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax

LABELS = jnp.array([2, 0, 4])


def entropy(logits, targets):
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1).mean()


def one_hot(labels):
    return jax.nn.one_hot(labels, 5)


def energy(logits):
    return -jax.nn.logsumexp(logits, axis=-1)


# By name: ours and a plain formula, of logits, other logits and class probabilities.
LOSSES = {
    "outlier exposure": (
        lambda a, b, p: ood_jax.outlier_exposure_loss(a, LABELS, b, lambda_oe=p[0, 0]),
        lambda a, b, p: entropy(a, one_hot(LABELS)) - p[0, 0] * (jax.nn.log_softmax(b).mean() + np.log(5)),
    ),
    "outlier exposure, class probabilities": (
        lambda a, b, p: ood_jax.outlier_exposure_loss(a, p, b, form="cross_entropy"),
        lambda a, b, p: entropy(a, p) - 0.5 * jax.nn.log_softmax(b).mean(),
    ),
    "energy, pairwise": (
        lambda a, b, _: ood_jax.energy_regularized_loss(a, LABELS, b),
        lambda a, b, _: entropy(a, one_hot(LABELS)) + 0.1 * jax.nn.relu(energy(a) - energy(b) + 10).mean(),
    ),
    "energy, bounded": (
        lambda a, b, p: ood_jax.energy_bounded_loss(a, p, b, m_in=-5.0, m_out=-1.0),
        lambda a, b, p: (
            entropy(a, p)
            + 0.1 * (jax.nn.relu(energy(a) + 5) ** 2).mean()
            + 0.1 * (jax.nn.relu(-1 - energy(b)) ** 2).mean()
        ),
    ),
    "mixup": (
        lambda a, b, p: ood_jax.mixup_cross_entropy(a + b, LABELS, LABELS[::-1], p[0, 0]),
        lambda a, b, p: (
            p[0, 0] * entropy(a + b, one_hot(LABELS)) + (1 - p[0, 0]) * entropy(a + b, one_hot(LABELS[::-1]))
        ),
    ),
    "mixup, class probabilities": (
        lambda a, b, p: ood_jax.mixup_cross_entropy(a + b, p, p[::-1], 0.3),
        lambda a, b, p: 0.3 * entropy(a + b, p) + 0.7 * entropy(a + b, p[::-1]),
    ),
    "free energy": (
        lambda a, b, _: (ood_jax.free_energy(a) * ood_jax.free_energy(b)).sum(),
        lambda a, b, _: (energy(a) * energy(b)).sum(),
    ),
}


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_by_every_pair_of_arguments(name, gpu, as_on_gpu):
    rng = np.random.default_rng(0)
    # A square, for what is left of the value itself when its derivatives are taken.
    ours, other = (lambda *args, f=f: f(*args) + f(*args) ** 2 for f in LOSSES[name])
    with jax.enable_x64(True), as_on_gpu() if gpu else contextlib.nullcontext():
        every = (0, 1, 2)
        forward, plain = (jax.jit(jax.hessian(f, every)) for f in (ours, other))
        backward = jax.jit(jax.jacrev(jax.grad(ours, every), every))
        for confidence in (0.0, 9.0):
            a, b, p = (jnp.asarray(rng.standard_normal((3, 5))) for _ in range(3))
            args = a.at[jnp.arange(3), LABELS].add(confidence), b, jax.nn.softmax(p)
            expected = plain(*args)
            assert max(float(jnp.abs(part).max()) for part in jax.tree.leaves(expected)) > 1e-4
            for result in (forward(*args), backward(*args)):
                jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-13), result, expected)


@pytest.mark.parametrize("name", LOSSES)
def test_third_derivatives(name):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        a, b, p = (jnp.asarray(rng.standard_normal((3, 5))) for _ in range(3))
        directions = [tuple(jnp.asarray(rng.standard_normal((3, 5))) for _ in range(3)) for _ in range(3)]

        def third(loss):
            for direction in directions:
                loss = partial(_along, loss, direction)
            return jax.jit(loss)

        for sure in (0.0, 5.0):
            args = a.at[jnp.arange(3), LABELS].add(sure), b, jax.nn.softmax(p)
            ours, expected = (third(lambda *args, f=f: f(*args) + f(*args) ** 2)(*args) for f in LOSSES[name])
            np.testing.assert_allclose(ours, expected, rtol=1e-9)


def _along(loss, direction, *args):
    return jax.jvp(loss, args, direction)[1]


MASK = jnp.array([True, False, True])
MASKED = {
    "labels": lambda a, b: ood_jax.outlier_exposure_loss(a, LABELS, where_in=MASK),
    "class probabilities": lambda a, b: ood_jax.outlier_exposure_loss(a, jnp.full((3, 5), 0.2), where_in=MASK),
    "outlier exposure": lambda a, b: ood_jax.outlier_exposure_loss(a, LABELS, b, where_in=MASK, where_out=MASK),
    "energy, pairwise": lambda a, b: ood_jax.energy_regularized_loss(a, LABELS, b, where_in=MASK, where_out=MASK),
    "energy, mean": lambda a, b: ood_jax.energy_regularized_loss(
        a, LABELS, b, form="mean", where_in=MASK, where_out=MASK
    ),
    "energy, bounded": lambda a, b: ood_jax.energy_bounded_loss(
        a, LABELS, b, m_in=-5.0, m_out=-1.0, where_in=MASK, where_out=MASK
    ),
}


@pytest.mark.parametrize("name", MASKED)
def test_a_value_beside_its_gradient_differentiates_as_the_value(name):
    logits = jax.random.normal(jax.random.key(0), (2, 3, 5)).at[:, 1].set(jnp.nan)  # in the row that does not count

    def loss(logits):
        return MASKED[name](*logits)

    expected = jax.jit(jax.grad(loss))(logits)
    assert np.isfinite(expected).all()
    ways = {
        "value_and_grad": lambda z: jax.value_and_grad(loss)(z)[0],
        "jvp": lambda z: jax.jvp(loss, (z,), (jnp.ones_like(z),))[0],
        "linearize": lambda z: jax.linearize(loss, z)[0],
    }
    gradients = jax.jit(lambda z: {way: jax.grad(value)(z) for way, value in ways.items()})(logits)
    for way, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9, err_msg=way)


@pytest.mark.parametrize("name", ["class probabilities", "energy, pairwise"])
def test_inside_a_loop_a_gradient_that_the_body_takes_differentiates(name):
    # What is differentiated twice from outside of a loop JAX differentiates by the formulas inside, not by their rules.
    batches = jax.random.normal(jax.random.key(0), (4, 2, 3, 5))

    def loss(logits):
        return MASKED[name](*logits)

    def trained(logits):
        value, gradient = jax.value_and_grad(loss)(logits)
        return value**2 + loss(logits - gradient)

    looped = jax.jit(jax.grad(lambda z: jax.lax.map(trained, z).sum()))(batches)
    np.testing.assert_allclose(looped, jax.vmap(jax.grad(trained))(batches), rtol=1e-5, atol=1e-7)
