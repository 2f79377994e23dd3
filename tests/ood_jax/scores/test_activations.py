"""ReAct's threshold against NumPy's percentile; ASH and SCALE against their definitions, one example at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ood_jax import scores

RNG = np.random.default_rng(0)
D = 20


def test_the_threshold_is_the_percentile_of_all():
    relu = np.maximum(RNG.standard_normal((60, D)), 0)
    cases = {
        "after a ReLU": relu,
        "of both signs": RNG.standard_normal((60, D)),
        "over many magnitudes": np.exp(RNG.uniform(-20, 20, (60, D))),
        "ties": np.round(4 * relu) / 4,
        "nearly alike": 1 + 1e-4 * RNG.random((60, D)),
        "all zeros": np.zeros((60, D)),
    }
    for name, features in cases.items():
        features = features.astype(np.float32)
        for percentile in (0.0, 77.7, 90.0, 100.0):
            state = scores.fit_react(features.reshape(3, 20, D), percentile=percentile)
            expected = np.percentile(features.astype(np.float64), percentile)
            np.testing.assert_allclose(state.threshold, expected, rtol=1e-5, err_msg=f"{name} {percentile}")
    assert state.counts.nbytes < 34e6
    in_half = scores.fit_react(jnp.asarray(relu, jnp.bfloat16))
    expected = np.percentile(np.asarray(jnp.asarray(relu, jnp.bfloat16), np.float64), 90)
    np.testing.assert_allclose(in_half.threshold, expected, rtol=1e-5)


def test_counts_go_on_where_a_float_that_counts_by_one_would_stop():
    # 2^24 + 2^22 zeros in one call: at 2^24 a float32 plus 1 is itself.
    many = jnp.concatenate([jnp.zeros(5 * 2**22), jnp.ones(2**21)])[None]
    assert float(scores.fit_react(many, percentile=90).threshold) == 0
    np.testing.assert_allclose(scores.fit_react(many, percentile=92).threshold, 1, rtol=1e-5)


def test_what_makes_the_threshold_nan():
    features = np.linspace(-1, 1, 100, dtype=np.float32)[None]
    for bad in (np.nan, np.inf, 1e10, -np.inf):
        with_bad = np.where(np.arange(100) == 99, np.float32(bad), features)
        threshold = scores.fit_react(with_bad, percentile=100 if bad > 0 else 0).threshold
        assert np.isnan(threshold), bad
    # What is too large to be counted apart has no say in a percentile below it, but NaN is no number at all.
    large = np.where(np.arange(100) == 99, np.float32(np.inf), features)
    np.testing.assert_allclose(scores.fit_react(large, percentile=50).threshold, np.percentile(large, 50), atol=1e-6)
    assert np.isnan(scores.fit_react(np.where(features > 0.9, np.nan, features), percentile=50).threshold)
    assert np.isnan(scores.fit_react(features[:0]).threshold)
    # Traced, so that it cannot raise; and so are the features, which the compiler would otherwise count itself, slowly.
    traced = jax.jit(lambda features, percentile: scores.fit_react(features, percentile=percentile))
    for percentile in (-1.0, 101.0, jnp.nan):
        assert np.isnan(traced(features, percentile).threshold)


def test_react_cuts_off_at_the_threshold():
    features = RNG.standard_normal((6, D)).astype(np.float32)
    state = scores.fit_react(features, percentile=60)
    result = scores.react_features(state, features)
    np.testing.assert_array_equal(result, np.minimum(features, state.threshold))
    assert np.sum(result < features) == 48  # 40% of 120
    assert scores.react_features(state, jnp.asarray(features, jnp.bfloat16)).dtype == np.float32


def shaped(x, percentile, form):
    """The definitions, for one example in float64."""
    x = x.astype(np.float64)
    keep = np.argsort(-x, kind="stable")[: D - round(D * percentile / 100)]
    pruned = np.zeros(D)
    pruned[keep] = x[keep]
    if form == "b":
        pruned[keep] = x.sum() / len(keep)
    if form == "s":
        pruned *= np.exp(x.sum() / x[keep].sum())
    return x * np.exp(x.sum() / x[keep].sum()) if form == "scale" else pruned


def of_form(form):
    if form == "scale":
        return scores.scale_features
    return lambda features, **options: scores.ash_features(features, form=form, **options)


@pytest.mark.parametrize("form", ["p", "b", "s", "scale"])
def test_shaped_features(form):
    features = np.maximum(RNG.standard_normal((2, 7, D)), 0).astype(np.float32)
    features[0, 0, :10] = 1.5  # ties
    shape = of_form(form)
    for percentile in (0.0, 40.0, 65.0, 90.0, 62.5):
        expected = np.apply_along_axis(shaped, -1, features, percentile, form)
        np.testing.assert_allclose(shape(features, percentile=percentile), expected, rtol=1e-5)
    zeros = jnp.zeros((1, D))
    np.testing.assert_array_equal(shape(zeros), zeros)
    assert np.isfinite(jax.grad(lambda x: shape(x).sum())(zeros)).all()
    assert shape(zeros.astype(jnp.bfloat16)).dtype == np.float32
    hidden = jnp.asarray(features).at[1, 3, 0].set(jnp.nan)  # the smallest of its example is pruned, NaN is not
    assert np.isnan(shape(hidden)[1, 3]).any()
    for percentile in (-1.0, 98.0, 100.0, jnp.nan):  # traced, so that it cannot raise
        assert np.isnan(jax.jit(lambda p: shape(features, percentile=p))(percentile)).all()


def test_as_many_units_stay_as_are_promised():
    # Halves are rounded to even: 3.5 units of ten pruned are 4, and 1.5 are 2. XLA divides by a constant by multiplying
    # with its reciprocal, which is no half any more.
    @jax.jit
    def left(features, percentiles):
        prune = lambda p: scores.ash_features(features, percentile=p, form="p")  # noqa: E731
        return jnp.sum(jax.vmap(prune)(percentiles) > 0, axis=-1)

    percentiles = np.arange(100.0)
    for units in (10, 30, 50, 64, 70, 110, 130):
        pruned = [round(units * p / 100) for p in percentiles]
        legal = np.array(pruned) < units
        with jax.enable_x64(True):
            for dtype in (np.float32, np.float64):
                stay = left(jnp.arange(1, units + 1, dtype=dtype), jnp.asarray(percentiles, dtype))
                np.testing.assert_array_equal(stay[legal], units - np.array(pruned)[legal], err_msg=f"{units} {dtype}")


def test_the_defaults_are_the_papers():
    features = np.maximum(RNG.standard_normal((3, D)), 0).astype(np.float32)
    for result, percentile, form in (
        (scores.ash_features(features), 90.0, "s"),
        (scores.scale_features(features), 85.0, "scale"),
    ):
        np.testing.assert_allclose(result, np.apply_along_axis(shaped, -1, features, percentile, form), rtol=1e-5)


def test_the_largest_percentile_of_more_than_float32_counts_one_by_one():
    few = scores.fit_react(jnp.array([[1.0, 3.0]]), percentile=100)
    for factor in (2**24, 2**25, 10**9, 2**32 - 3):
        # As many batches would have made it.
        many = few._replace(counts=few.counts * jnp.uint32(factor))
        np.testing.assert_allclose(scores.merge(many, few).threshold, 3, rtol=1e-5)
    # Also where it is so rare that it does not show in a float32 sum.
    common = few._replace(counts=few.counts.at[jnp.nonzero(few.counts, size=1)].set(2**30))
    np.testing.assert_allclose(scores.merge(common, few).threshold, 3, rtol=1e-5)


def test_a_rank_that_is_rounded_is_that_of_an_activation():
    # Sums of counts like these, rounded, would find an empty bin, beyond all or between two.
    below = float(np.nextafter(np.float32(100), np.float32(0)))
    for features, percentile, place, factor in (
        (np.geomspace(1, 1e4, 100), below, 99, 3 * 2**20 + 1),
        (np.geomspace(1, 1e4, 100), below, 99, 40000003),
        (np.geomspace(1, 1.05, 40), 90, 35, 596356003),
    ):
        state = scores.fit_react(features.astype(np.float32)[None], percentile=percentile)
        nothing = state._replace(counts=jnp.zeros_like(state.counts))
        many = scores.merge(state._replace(counts=state.counts * jnp.uint32(factor)), nothing)
        off = np.abs(many.threshold / features[place : place + 2] - 1)
        assert off.min() < 1e-5, (place, factor)


def test_counts_are_exact_until_a_bin_is_full():
    one = scores.fit_react(jnp.array([[0.0, 5.0]]), percentile=49)
    for many, threshold in ((2**24, 0), (3 * 10**9, 0), (2**32 - 3, 0), (2**32 - 2, np.nan)):
        state = scores.merge(one._replace(counts=one.counts * jnp.uint32(many)), one)
        assert int(state.counts.max()) == many + 1
        np.testing.assert_array_equal(state.threshold, threshold)
    fuller = scores.merge(scores.merge(one, state), one)
    assert int(fuller.counts.max()) == 2**32 - 1
    assert np.isnan(scores.update(fuller, jnp.ones((2, 3))).threshold)


def test_a_factor_that_overflows_leaves_pruned_units_at_0():
    ones = jnp.ones(1000)
    shaped = np.asarray(scores.ash_features(ones, percentile=99.5))  # a factor of exp(200)
    assert np.isinf(shaped).sum() == 5
    assert (shaped == 0).sum() == 995
    scaled = np.asarray(scores.scale_features(ones.at[:250].set(0), percentile=99.5))  # exp(150)
    assert np.isinf(scaled).sum() == 750
    assert (scaled == 0).sum() == 250
