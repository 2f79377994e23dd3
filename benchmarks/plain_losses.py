"""The losses as most would write them in JAX: with log_softmax, or with optax."""

import jax
import jax.numpy as jnp
import optax

Array = jax.Array


def mean_cross_entropy(logits: Array, labels: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _cross_entropy(logits: Array, labels: Array) -> Array:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1).mean()


def _energy(logits: Array) -> Array:
    return -jax.nn.logsumexp(logits, axis=-1)


def outlier_exposure_kl(inside: Array, outside: Array, labels: Array) -> Array:
    return outlier_exposure(inside, outside, labels) - 0.5 * jnp.log(outside.shape[-1])


def outlier_exposure(inside: Array, outside: Array, labels: Array) -> Array:
    return _cross_entropy(inside, labels) - 0.5 * jax.nn.log_softmax(outside).mean()


def outlier_exposure_of_probabilities(inside: Array, outside: Array, targets: Array) -> Array:
    entropy = -(targets * jax.nn.log_softmax(inside)).sum(axis=-1).mean()
    return entropy - 0.5 * (jax.nn.log_softmax(outside).mean() + jnp.log(outside.shape[-1]))


def energy_pairwise(inside: Array, outside: Array, labels: Array) -> Array:
    gap = _energy(inside) - _energy(outside)
    return _cross_entropy(inside, labels) + 0.1 * jax.nn.relu(gap + 10).mean()


def energy_mean(inside: Array, outside: Array, labels: Array) -> Array:
    gap = _energy(inside).mean() - _energy(outside).mean()
    return _cross_entropy(inside, labels) + 0.1 * jax.nn.relu(gap + 10)


def energy_bounded(inside: Array, outside: Array, labels: Array) -> Array:
    inner = jax.nn.relu(_energy(inside) + 23) ** 2
    outer = jax.nn.relu(-5 - _energy(outside)) ** 2
    return _cross_entropy(inside, labels) + 0.1 * (inner.mean() + outer.mean())


def mixup(logits: Array, y_a: Array, y_b: Array, lam: float) -> Array:
    log_p = jax.nn.log_softmax(logits)
    by_a, by_b = (jnp.take_along_axis(log_p, y[:, None], axis=-1).mean() for y in (y_a, y_b))
    return -lam * by_a - (1 - lam) * by_b
