import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import ood_jax

ALPHAS = [0.05, 0.2, 0.4, 1.0, 2.0, 7.5, 1e3, 1e6]


def kolmogorov_smirnov(draws, distribution):
    """The p-value that draws follow a distribution on [0, 1].

    Within 1e-3 of 1 float32 is coarse, and below 1e-37 draws are flushed to 0; those two tails are lumped together.
    """
    low, high = distribution.cdf(1e-37), distribution.cdf(1 - 1e-3)
    inside = (draws > 1e-37) & (draws < 1 - 1e-3)
    share = stats.binomtest(int(inside.sum()), len(draws), min(high - low, 1.0)).pvalue
    return min(share, stats.kstest((distribution.cdf(draws[inside]) - low) / (high - low), "uniform").pvalue)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_follows_the_beta_distribution(alpha):
    draws = np.asarray(ood_jax.symmetric_beta(jax.random.key(1), alpha, (200_000,)), np.float64)
    # A false alarm of 1 in 1,000, decided once and for all by the fixed key.
    assert kolmogorov_smirnov(draws, stats.beta(alpha, alpha)) > 1e-3
    # The upper tail is the lower one mirrored.
    assert stats.binomtest(int(np.sum(draws < 0.5)), len(draws)).pvalue > 1e-3


def test_the_test_would_notice_another_distribution():
    draws = np.asarray(ood_jax.symmetric_beta(jax.random.key(1), 0.4, (200_000,)), np.float64)
    for wrong in (stats.beta(0.42, 0.42), stats.beta(0.4, 0.41)):
        assert kolmogorov_smirnov(draws, wrong) < 1e-3
    folded = np.maximum(draws, 1 - draws)
    assert kolmogorov_smirnov(folded, stats.beta(0.4, 0.4)) < 1e-3


@pytest.mark.parametrize("alpha", [1e-4, 0.1, 1.0, 30.0])
def test_moments(alpha):
    draws = np.asarray(ood_jax.symmetric_beta(jax.random.key(2), alpha, (400_000,)), np.float64)
    variance = 1 / (4 * (2 * alpha + 1))
    kurtosis = float(stats.beta(alpha, alpha).stats("k"))
    assert abs(draws.mean() - 0.5) < 4 * np.sqrt(variance / len(draws))
    assert abs(draws.var() / variance - 1) < 4 * np.sqrt((kurtosis + 2) / len(draws))


def test_extreme_alpha_stays_in_range():
    for alpha in (1.2e-38, 1e-6, 1e30, 3e38):
        draws = ood_jax.symmetric_beta(jax.random.key(3), alpha, (1000,))
        assert bool(jnp.all((draws >= 0) & (draws <= 1)))


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
def test_no_distribution_gives_nan(alpha):
    assert bool(jnp.isnan(ood_jax.symmetric_beta(jax.random.key(0), alpha)))


def test_an_array_of_alphas_draws_one_each():
    alpha = jnp.array([[0.1, 1.0], [10.0, 1e5]])
    draws = jax.vmap(lambda key: ood_jax.symmetric_beta(key, alpha, (2, 2)))(
        jax.random.split(jax.random.key(0), 20_000)
    )
    np.testing.assert_allclose(draws.var(axis=0), 1 / (4 * (2 * alpha + 1)), rtol=0.05)


def test_same_key_same_draw_and_another_key_another():
    first, again = (ood_jax.symmetric_beta(jax.random.key(4), 1.0, (8,)) for _ in range(2))
    other = ood_jax.symmetric_beta(jax.random.key(5), 1.0, (8,))
    assert first.tolist() == again.tolist()
    assert not set(first.tolist()) & set(other.tolist())


def test_is_float32_also_under_x64():
    with jax.enable_x64(True):
        assert ood_jax.symmetric_beta(jax.random.key(0), 0.5).dtype == jnp.float32


def test_has_no_loop():
    jaxpr = str(jax.make_jaxpr(lambda key: ood_jax.symmetric_beta(key, 0.3, (5,)))(jax.random.key(0)))
    assert "while" not in jaxpr
    # jax.random.beta hides its rejection loops in a primitive of their own.
    assert "gamma" not in jaxpr
    assert "gamma" in str(jax.make_jaxpr(lambda key: jax.random.loggamma(key, 0.3, (5,)))(jax.random.key(0)))


@pytest.mark.parametrize("alpha", [0.3, 1.0, 5.0])
def test_derivative_in_alpha_is_that_of_the_path(alpha):
    key = jax.random.key(6)
    draws = np.asarray(ood_jax.symmetric_beta(key, alpha, (200,)), np.float64)
    slopes = np.asarray(jax.jacfwd(lambda a: ood_jax.symmetric_beta(key, a, (200,)))(alpha))
    moved = np.asarray(ood_jax.symmetric_beta(key, alpha * 1.001, (200,)), np.float64)
    inside = (draws > 1e-3) & (draws < 1 - 1e-3)
    np.testing.assert_allclose(slopes[inside], ((moved - draws) / (alpha * 0.001))[inside], rtol=0.05, atol=2e-3)


@pytest.mark.parametrize("alpha", [1e-30, 1e-4, 1.0, 1e30])
def test_derivative_is_finite(alpha):
    slopes = jax.jacfwd(lambda a: ood_jax.symmetric_beta(jax.random.key(0), a, (1000,)))(alpha)
    assert bool(jnp.all(jnp.isfinite(slopes)))


def test_each_device_draws_its_own_part():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))

    def draw(key):
        return ood_jax.symmetric_beta(key, 0.4, (65_536,))

    whole, part = (
        jax.jit(draw, **options).lower(jax.random.key(0)).compile() for options in ({}, {"out_shardings": sharding})
    )
    assert part.cost_analysis()["flops"] < whole.cost_analysis()["flops"] / 4
    np.testing.assert_array_equal(part(jax.random.key(0)), whole(jax.random.key(0)))
