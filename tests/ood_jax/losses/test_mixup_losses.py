import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ood_jax
from parity import truth

N, K = 8, 5
per_example = optax.softmax_cross_entropy_with_integer_labels


def mean_cross_entropy(logits, labels):
    return per_example(logits, labels).mean()


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((N, K)).astype(np.float32)
    y_a, y_b = rng.integers(0, K, (2, N)).astype(np.int32)
    return logits, y_a, y_b, rng.beta(1, 1, N).astype(np.float32)


def test_criterion_weighs_the_rows_own_targets_by_lam():
    logits, y_a, y_b, _ = inputs()
    loss = ood_jax.mixup_criterion(mean_cross_entropy, logits, y_a, y_b, 0.9)
    a, b = mean_cross_entropy(logits, y_a), mean_cross_entropy(logits, y_b)
    np.testing.assert_allclose(loss, 0.9 * a + 0.1 * b, rtol=1e-6)
    assert abs(float(a - b)) > 0.1  # so that swapping them would show


def test_criterion_keeps_the_shape_of_the_criterion():
    logits, y_a, y_b, lam = inputs()
    expected = lam * per_example(logits, y_a) + (1 - lam) * per_example(logits, y_b)
    np.testing.assert_allclose(ood_jax.mixup_criterion(per_example, logits, y_a, y_b, lam), expected, rtol=1e-6)
    scalar = ood_jax.mixup_criterion(per_example, logits, y_a, y_b, 0.25)
    np.testing.assert_allclose(scalar, 0.25 * per_example(logits, y_a) + 0.75 * per_example(logits, y_b), rtol=1e-6)


def test_criterion_with_more_axes_weighs_the_first():
    logits, y_a, y_b, lam = inputs()
    stacked = jnp.stack([logits, 2 * logits], axis=1)

    def criterion(pred, y):
        return per_example(pred, jnp.stack([y, y], axis=1))

    result = ood_jax.mixup_criterion(criterion, stacked, y_a, y_b, lam)
    assert result.shape == (N, 2)
    np.testing.assert_allclose(result[:, 1], ood_jax.mixup_criterion(per_example, 2 * logits, y_a, y_b, lam), rtol=1e-6)


def test_criterion_takes_any_model_output():
    logits, y_a, y_b, _ = inputs()
    outputs = {"logits": logits, "features": np.zeros((N, 2))}
    result = ood_jax.mixup_criterion(lambda out, y: mean_cross_entropy(out["logits"], y), outputs, y_a, y_b, 0.3)
    np.testing.assert_allclose(result, ood_jax.mixup_criterion(mean_cross_entropy, logits, y_a, y_b, 0.3), rtol=1e-6)


def test_criterion_is_computed_in_float32():
    result = ood_jax.mixup_criterion(
        lambda pred, y: pred.mean() - y, jnp.ones(3, jnp.bfloat16), *jnp.zeros((2,), jnp.bfloat16), 0.3
    )
    assert result.dtype == jnp.float32


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_cross_entropy_is_the_truth(rows, kind):
    logits, y_a, y_b, lam = inputs(1)
    if kind == "probabilities":
        y_a, y_b = np.random.default_rng(3).dirichlet(np.ones(K), (2, N)).astype(np.float32)
    lam = lam if rows else lam[0]
    value, gradient = jax.value_and_grad(ood_jax.mixup_cross_entropy)(jnp.asarray(logits), y_a, y_b, lam)
    exact = truth.mixup_cross_entropy(logits, y_a, y_b, lam)
    np.testing.assert_allclose(value, float(exact.value), rtol=1e-6)
    np.testing.assert_allclose(gradient, exact.grad_in.astype(np.float64), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("rows", [False, True])
def test_cross_entropy_is_that_of_dense_soft_labels(rows):
    logits, y_a, y_b, lam = inputs(2)
    lam = lam if rows else lam[:1]
    soft = lam[:, None] * np.eye(K)[y_a] + (1 - lam[:, None]) * np.eye(K)[y_b]
    expected = -(soft * np.asarray(jax.nn.log_softmax(logits))).sum(-1).mean()
    np.testing.assert_allclose(
        ood_jax.mixup_cross_entropy(logits, y_a, y_b, lam if rows else lam[0]), expected, rtol=1e-6
    )


def test_cross_entropy_ignores_each_label_by_itself():
    # As the definition with F.cross_entropy: two means, each over the rows whose own label counts.
    logits, y_a, y_b, _ = inputs(3)
    y_a[0] = y_b[1] = y_b[2] = -100
    a = per_example(logits[1:], y_a[1:]).mean()
    b = per_example(np.delete(logits, [1, 2], 0), np.delete(y_b, [1, 2])).mean()
    np.testing.assert_allclose(ood_jax.mixup_cross_entropy(logits, y_a, y_b, 0.3), 0.3 * a + 0.7 * b, rtol=1e-6)


def test_cross_entropy_exponentiates_the_logits_once():
    logits, y_a, y_b, _ = inputs()

    def exponentials(loss):
        program = jax.jit(jax.value_and_grad(loss)).lower(logits).compile().as_text()
        return sum(" exponential(" in line and f"f32[{N},{K}]" in line for line in program.splitlines())

    once = exponentials(lambda z: ood_jax.outlier_exposure_loss(z, y_a))
    assert once > 0
    assert exponentials(lambda z: ood_jax.mixup_cross_entropy(z, y_a, y_b, 0.3)) == once
    # The count would show a second one.
    assert exponentials(lambda z: jnp.exp(2 * z).sum() + ood_jax.outlier_exposure_loss(z, y_a)) > once


def test_end_to_end_with_mixing():
    key = jax.random.key(0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((N, 4)).astype(np.float32), rng.integers(0, K, N)
    weights = rng.standard_normal((4, K)).astype(np.float32)

    def loss(weights):
        mixed = ood_jax.mixup(key, x, y, per_example=True)
        return ood_jax.mixup_cross_entropy(mixed.x @ weights, mixed.y_a, mixed.y_b, mixed.lam)

    before, gradient = jax.value_and_grad(loss)(weights)
    assert float(loss(weights - 0.1 * gradient)) < float(before)
