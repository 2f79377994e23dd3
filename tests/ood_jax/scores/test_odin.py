"""ODIN on a network whose gradient is known."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax, softmax

from ood_jax import scores

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 3, 4)).astype(np.float32)
WEIGHTS = RNG.standard_normal((12, 5)).astype(np.float32)


def network(x):
    return jnp.tanh(x.reshape(len(x), -1) @ WEIGHTS.astype(x.dtype))


def reference(x, temperature, epsilon):
    """The gradient by central differences of one input at a time, in float64."""

    def logits(rows):
        return np.tanh(rows.reshape(len(rows), -1) @ WEIGHTS.astype(np.float64))

    def confidence(rows):
        return log_softmax(logits(rows) / temperature, axis=-1).max(-1)

    x, step = x.astype(np.float64), 1e-5
    slopes = np.zeros_like(x)
    for index in np.ndindex(x.shape[1:]):
        shift = np.zeros_like(x)
        shift[:, *index] = step
        slopes[:, *index] = confidence(x + shift) - confidence(x - shift)
    return 1 - softmax(logits(x + epsilon * np.sign(slopes)) / temperature, axis=-1).max(-1)


def test_against_differences():
    for temperature, epsilon in ((1000.0, 0.0014), (1.0, 0.1), (10.0, 0.0)):
        result = scores.odin_score(network, jnp.asarray(X), temperature=temperature, epsilon=epsilon)
        np.testing.assert_allclose(result, reference(X, temperature, epsilon), rtol=1e-6)
    # The step is towards the predicted class, which raises its share.
    assert np.all(scores.odin_score(network, X, epsilon=0.1) < scores.odin_score(network, X, epsilon=0))


def test_a_step_smaller_than_bfloat16_is_taken():
    x = jnp.asarray(X, jnp.bfloat16)
    moved, still = (scores.odin_score(network, x, temperature=1, epsilon=epsilon) for epsilon in (1e-3, 0))
    assert moved.dtype == np.float32
    assert np.all(moved < still)


def test_weights_that_change_are_seen_inside_a_jitted_function():
    @jax.jit
    def score(weights, x):
        return scores.odin_score(lambda rows: rows @ weights, x, temperature=1.0)

    weights, x = jnp.eye(3), jnp.array([[1.0, 2.0, 4.0]])
    first = score(weights, x)
    assert float(score(2 * weights, x)[0]) < float(first[0])
    assert score._cache_size() == 1
