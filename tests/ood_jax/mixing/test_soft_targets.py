"""Dense targets of a mixed batch, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ood_jax

N, K = 7, 5
LAMS = {"batch": np.float32(0.3), "rows": np.linspace(0, 1, N, dtype=np.float32)}
EVERY_LAM = pytest.mark.parametrize("lam", LAMS)
SMOOTHINGS = pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])


def mixed(y_a, y_b, lam):
    return ood_jax.Mixed(jnp.zeros((len(y_a), 2)), y_a, y_b, lam)


def labels(seed=0):
    return np.random.default_rng(seed).integers(0, K, (2, N))


def probabilities(seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(K), (2, N)).astype(np.float32)


def formula(t_a, t_b, lam, smoothing):
    lam = np.broadcast_to(np.asarray(lam, np.float64), len(t_a))[:, None]
    t_a, t_b = ((1 - smoothing) * t.astype(np.float64) + smoothing / t.shape[1] for t in (t_a, t_b))
    return lam * t_a + (1 - lam) * t_b


@EVERY_LAM
@SMOOTHINGS
def test_classes(lam, smoothing):
    y_a, y_b = labels()
    result = ood_jax.soft_targets(mixed(y_a, y_b, LAMS[lam]), K, smoothing=smoothing)
    assert result.shape == (N, K)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, formula(np.eye(K)[y_a], np.eye(K)[y_b], LAMS[lam], smoothing), atol=2e-7)
    np.testing.assert_allclose(result.sum(-1), np.ones(N), rtol=1e-6)


@EVERY_LAM
@SMOOTHINGS
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_class_probabilities(lam, smoothing, dtype):
    t_a, t_b = (t.astype(jnp.dtype(dtype)) for t in probabilities())
    result = ood_jax.soft_targets(mixed(t_a, t_b, LAMS[lam]), K, smoothing=smoothing)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, formula(t_a, t_b, LAMS[lam], smoothing), atol=2e-7)
    if dtype == "float32":
        np.testing.assert_allclose(result.sum(-1), np.ones(N), rtol=1e-6)


def test_smoothing_is_off_unless_asked_for():
    y_a, y_b = labels()
    batch = mixed(y_a, y_b, LAMS["rows"])
    np.testing.assert_array_equal(ood_jax.soft_targets(batch, K), ood_jax.soft_targets(batch, K, smoothing=0.0))
    pure = ood_jax.soft_targets(mixed(y_a, y_b, np.float32(1)), K)
    np.testing.assert_array_equal(pure, np.eye(K)[y_a])


def test_float64_stays_float64():
    with jax.enable_x64(True):
        t_a, t_b = probabilities().astype(np.float64)
        result = ood_jax.soft_targets(mixed(t_a, t_b, LAMS["rows"]), K, smoothing=0.1)
        assert result.dtype == jnp.float64
        np.testing.assert_allclose(result, formula(t_a, t_b, LAMS["rows"], 0.1), rtol=1e-14)


@pytest.mark.parametrize("label", [-100, -1, K, 10**6])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("lam", [0.3, 0.0, 1.0])
def test_a_class_out_of_range_makes_its_row_nan_and_no_other(label, side, lam):
    pair = labels()
    pair[side, 2] = label
    result = np.asarray(ood_jax.soft_targets(mixed(*pair, np.float32(lam)), K))
    assert np.all(np.isnan(result[2]))
    assert np.all(np.isfinite(np.delete(result, 2, axis=0)))


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, np.nan])
def test_a_smoothing_that_gives_no_distribution_is_nan(smoothing):
    mixed = ood_jax.Mixed(jnp.zeros((2, 1)), jnp.array([0, 1]), jnp.array([1, 0]), jnp.float32(0.5))
    assert np.isnan(ood_jax.soft_targets(mixed, 3, smoothing=smoothing)).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_narrow_classes_do_not_wrap_around(dtype):
    # 256 + 10 is 10 as uint8, and 300 itself is 44.
    y_a, y_b = np.array([0, 10, 43, 44, 99, 127]), np.array([127, 44, 0, 10, 1, 2])
    result = ood_jax.soft_targets(mixed(y_a.astype(dtype), y_b.astype(dtype), np.float32(0.25)), 300)
    np.testing.assert_array_equal(result, 0.25 * np.eye(300)[y_a] + 0.75 * np.eye(300)[y_b])
    if dtype == np.uint8:
        top = np.array([255, 200], dtype)
        result = ood_jax.soft_targets(mixed(top, top, np.float32(1)), 300)
        np.testing.assert_array_equal(result, np.eye(300)[top])


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_negative_narrow_classes_are_out_of_range(dtype):
    y = np.array([-100, -1, 3], dtype)
    result = np.asarray(ood_jax.soft_targets(mixed(y, y, np.float32(0.5)), 300))
    assert np.isnan(result).all(axis=1).tolist() == [True, True, False]


@EVERY_LAM
@pytest.mark.parametrize("soft", [False, True])
def test_a_loss_on_dense_targets_is_the_loss_on_two_labels(lam, soft):
    y_a, y_b = probabilities() if soft else labels()
    logits = np.random.default_rng(1).standard_normal((N, K)).astype(np.float32)
    dense = optax.softmax_cross_entropy(logits, ood_jax.soft_targets(mixed(y_a, y_b, LAMS[lam]), K))
    expected = ood_jax.mixup_cross_entropy(logits, y_a, y_b, LAMS[lam])
    np.testing.assert_allclose(dense.mean(), expected, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"per_example": True}, {"groups": 2}])
def test_what_mixup_and_cutmix_return_can_be_passed_on(options):
    y = np.array([0, 1, 2, 3])
    x = np.zeros((4, 6, 6, 1), np.float32)
    for mix in (ood_jax.mixup, ood_jax.cutmix):
        batch = mix(jax.random.key(0), x, y, **options)
        expected = formula(np.eye(K)[np.asarray(batch.y_a)], np.eye(K)[np.asarray(batch.y_b)], batch.lam, 0)
        np.testing.assert_allclose(ood_jax.soft_targets(batch, K), expected, atol=2e-7)


def test_an_empty_batch():
    none = np.zeros(0, int)
    assert ood_jax.soft_targets(mixed(none, none, np.float32(0.5)), K).shape == (0, K)
