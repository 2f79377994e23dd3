"""The ranking metrics beside scikit-learn's on the same scores, and beside values worked out by hand."""

from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn

from ood_jax.metrics import aupr, auroc, detection_error, fpr_at_tpr, ood_metrics
from ood_jax.metrics._exact import multiple

# What a call computes: by name, a function of scores, masks and the rate that fpr_at_tpr is asked for.
VARIANTS = {
    "auroc": lambda s_in, s_out, tpr, **masks: auroc(s_in, s_out, **masks),
    "detection_error": lambda s_in, s_out, tpr, **masks: detection_error(s_in, s_out, **masks),
    **{
        f"aupr {positive} {method}": partial(
            lambda s_in, s_out, tpr, options, **masks: aupr(s_in, s_out, **options, **masks),
            options={"positive": positive, "method": method},
        )
        for positive in ("ood", "id")
        for method in ("average_precision", "trapezoid")
    },
    **{
        f"fpr {positive} {method}": partial(
            lambda s_in, s_out, tpr, options, **masks: fpr_at_tpr(s_in, s_out, tpr=tpr, **options, **masks),
            options={"positive": positive, "method": method},
        )
        for positive in ("ood", "id")
        for method in ("first", "nearest", "interp")
    },
}
RATES = (0.95, 0.9, 0.8, 0.75, 0.5, 0.3, 1.0)


@jax.jit
def all_variants(s_in, s_out, where_in, where_out, tpr):
    values = {name: f(s_in, s_out, tpr, where_in=where_in, where_out=where_out) for name, f in VARIANTS.items()}
    together = ood_metrics(s_in, s_out, where_in=where_in, where_out=where_out)._asdict()
    return values | {f"together {name}": value for name, value in together.items()}


def reference(s_in, s_out, tpr):
    """scikit-learn's figures, and the FPR by each definition from its curve."""
    is_out, scores = np.r_[np.zeros(len(s_in)), np.ones(len(s_out))], np.r_[s_in, s_out]
    values = {"auroc": sklearn.roc_auc_score(is_out, scores)}
    for positive, y, s in (("ood", is_out, scores), ("id", 1 - is_out, -scores)):
        precision, recall, _ = sklearn.precision_recall_curve(y, s)
        values[f"aupr {positive} trapezoid"] = sklearn.auc(recall, precision)
        values[f"aupr {positive} average_precision"] = sklearn.average_precision_score(y, s)
        false, true, _ = sklearn.roc_curve(y, s, drop_intermediate=False)
        values[f"fpr {positive} first"] = false[np.argmax(true >= tpr)]
        values[f"fpr {positive} nearest"] = nearest(false, true, tpr, int(y.sum()))
        thinned = sklearn.roc_curve(y, s)
        values[f"fpr {positive} interp"] = np.interp(tpr, thinned[1], thinned[0])
    values["detection_error"] = np.min(false + 1 - true) / 2
    together = {
        "auroc": values["auroc"],
        "aupr_in": values["aupr id average_precision"],
        "aupr_out": values["aupr ood average_precision"],
        "fpr95": false[np.argmax(true >= 0.95)],
        "detection_error": values["detection_error"],
    }
    return values | {f"together {name}": value for name, value in together.items()}


def nearest(false, true, tpr, total):
    """The point of the nearest recall, the first of several in order of falling recall, as in Hendrycks's code.

    That code compares distances in float64; here they are integers, so that rounding decides none.
    """
    false, true = false[1:], true[1:]  # its curve has no point that accepts nothing
    last = np.searchsorted(true, true[-1])
    counts = np.round(true[last::-1] * total).astype(np.int64)
    level = Fraction(str(tpr))
    distance = np.abs(counts * level.denominator - level.numerator * total)
    return false[last::-1][np.argmin(distance)]


def drawn(rng, n, m, bits):
    """Scores on a grid of 2**-bits: the coarser, the more ties."""
    return tuple(
        np.round(rng.normal(shift, 1, size) * 2**bits) / 2**bits for size, shift in ((n, 0), (m, rng.normal()))
    )


def padded(rng, scores, size):
    """The scores at random places among NaN that do not count."""
    places = np.sort(rng.permutation(size)[: len(scores)])
    full, where = np.full(size, np.nan), np.zeros(size, bool)
    full[places], where[places] = scores, True
    return full, where


def sizes(rng, i):
    """Up to 40 scores a side, then up to 4,000, with sides up to 1,000 times as large as the other; then a million.

    Half a million a side make 2.5e11 pairs, more than 32 bits count.
    """
    if i < 380:
        return 4000, rng.integers(1, 41, 2)
    if i < 440:
        return 4000, rng.integers(1, 4001, 2)
    if i < 498:
        small = rng.integers(1, 5)
        return 4000, rng.permutation([small, min(1000 * small, 4000)])
    return 500_000, [(500_000, 500_000), (500_000, 500)][i - 498]


def test_500_random_inputs_equal_scikit_learn_in_both_precisions():
    rng = np.random.default_rng(0)
    worst = {np.float32: {}, np.float64: {}}
    for i in range(500):
        size, (n, m) = sizes(rng, i)
        scores, tpr = drawn(rng, n, m, rng.choice([0, 2, 6, 12])), float(rng.choice(RATES))
        expected = reference(*scores, tpr)
        for dtype in worst:
            # In float64, scores that no float32 could tell apart.
            given = [1 + s * 2.0**-40 if dtype == np.float64 else s for s in scores]
            (s_in, where_in), (s_out, where_out) = (padded(rng, s, size) for s in given)
            with jax.enable_x64(dtype == np.float64):
                values = jax.device_get(all_variants(s_in.astype(dtype), s_out.astype(dtype), where_in, where_out, tpr))
            for name, value in values.items():
                worst[dtype][name] = max(worst[dtype].get(name, 0), abs(float(value) - expected[name]))
    assert worst[np.float32].keys() == expected.keys()
    assert {name: error for name, error in worst[np.float32].items() if not error <= 1e-6} == {}
    assert {name: error for name, error in worst[np.float64].items() if not error <= 1e-12} == {}


def test_masks_equal_slicing():
    rng = np.random.default_rng(1)
    s_in, s_out = drawn(rng, 30, 20, 2)
    (full_in, where_in), (full_out, where_out) = padded(rng, s_in, 64), padded(rng, s_out, 64)
    full_in, where_in = full_in.reshape(4, 16), where_in.reshape(4, 16)  # any shape counts one by one
    masked = ood_metrics(np.float32(full_in), np.float32(full_out), where_in=where_in, where_out=where_out)
    sliced = ood_metrics(np.float32(s_in), np.float32(s_out))
    np.testing.assert_allclose(masked, sliced, atol=2e-7, rtol=0)


def test_values_by_hand_with_ties():
    # In 1 1 2 3, out 1 2 4. Of 12 pairs 6 are in order and 3 tie.
    s_in, s_out = jnp.array([1.0, 2.0, 1.0, 3.0]), jnp.array([2.0, 4.0, 1.0])
    assert float(auroc(s_in, s_out)) == pytest.approx(7.5 / 12, abs=1e-7)
    # Outliers at or above 4, 2, 1: 1, 2, 3, with data 0, 2, 4.
    assert float(aupr(s_in, s_out)) == pytest.approx((1 + 2 / 4 + 3 / 7) / 3, abs=1e-7)
    # Just above 2 and 1 lie the data 3, and 2 and 3: the precision there is 1/2 and 2/4.
    expected = (1 + (1 / 2 + 2 / 4) / 2 + (2 / 4 + 3 / 7) / 2) / 3
    assert float(aupr(s_in, s_out, method="trapezoid")) == pytest.approx(expected, abs=1e-7)
    # Data at or below 1, 2, 3: 2, 3, 4, with outliers 1, 2, 2.
    assert float(aupr(s_in, s_out, positive="id")) == pytest.approx((2 * 2 / 3 + 3 / 5 + 4 / 6) / 4, abs=1e-7)
    assert [float(fpr_at_tpr(s_in, s_out, tpr=tpr)) for tpr in (0.5, 0.51, 0.75, 0.76)] == pytest.approx(
        [1 / 3, 2 / 3, 2 / 3, 2 / 3]
    )
    # Rates of 2/4, 3/4, 1 with 1/3, 2/3, 2/3 false; halfway between two the higher.
    assert [float(fpr_at_tpr(s_in, s_out, tpr=tpr, method="nearest")) for tpr in (0.62, 0.625, 0.88)] == pytest.approx(
        [1 / 3, 2 / 3, 2 / 3]
    )
    assert float(fpr_at_tpr(s_in, s_out, tpr=0.6, method="interp")) == pytest.approx(1 / 3 + 0.4 / 3)
    # With all data accepted the line goes on to where all outliers are.
    at_most = [float(fpr_at_tpr(s_in, s_out, tpr=1, method=method)) for method in ("first", "nearest", "interp")]
    assert at_most == pytest.approx([2 / 3, 2 / 3, 1])
    # A threshold of 4 misses two of three outliers and no datum; 2 misses one outlier, and two data.
    assert float(detection_error(s_in, s_out)) == pytest.approx((0 + 2 / 3) / 2, abs=1e-7)


def test_a_perfect_detector_is_perfect_exactly_and_an_inverted_one_worst():
    rng = np.random.default_rng(2)
    # As a float32, 83 times its reciprocal is not 1.
    low, high = rng.random(83).astype(np.float32), 2 + rng.random(83).astype(np.float32)
    assert [float(v) for v in ood_metrics(low, high)] == [1, 1, 1, 0, 0]
    auroc, *_, fpr95, error = map(float, ood_metrics(high, low))
    assert (auroc, fpr95, error) == (0, 1, 0.5)
    assert float(ood_metrics(low, low).auroc) == 0.5


def test_a_threshold_of_exactly_the_rate_suffices():
    # As a float32, 0.95 is below 19/20 and 0.8 above 8/10.
    s_in = np.arange(1000.0)
    for dtype in (np.float32, np.float64):
        for total in (5, 10, 20, 25, 50, 100, 1000):
            for hundredths in (28, 55, 57, 80, 90, 95, 99):
                needed = -(-total * hundredths // 100)
                s_out = np.array([needed - 1.5, needed - 1.0, needed - 0.5])  # the second ties with the last needed
                with jax.enable_x64(dtype == np.float64):
                    result = fpr_at_tpr(
                        s_in.astype(dtype), s_out.astype(dtype), tpr=hundredths / 100, where_in=s_in < total
                    )
                assert float(result) == pytest.approx(2 / 3), (dtype, total, hundredths)


def test_a_few_of_many_are_exactly_their_rate():
    # As a float64 a rate below 2**-10 has bits beyond the 62 that products are made of.
    n = 10_000
    s_out = np.arange(n)
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            for k in range(1, 12):
                for method, data_above in (("first", k - 1), ("interp", k)):  # up to the outlier, or to the next one
                    result = fpr_at_tpr((s_out - 0.5).astype(dtype), s_out.astype(dtype), tpr=k / n, method=method)
                    assert round(float(result) * n) == data_above, (dtype, k)


def test_a_rate_one_bit_below_a_multiple_of_two_to_the_minus_30():
    with jax.enable_x64(True):
        below = multiple(jnp.int32(4096), jnp.nextafter(jnp.float64(2**-12), 0), rounded=1)
        assert (int(below.whole), bool(below.is_whole)) == (0, False)
        assert float(below.rest) > 1 - 2**-40


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_zeros_tie_infinities_rank_at_the_ends_and_every_dtype_gives_float32(dtype):
    smallest = jnp.finfo(dtype).smallest_subnormal
    s_in = jnp.array([-0.0, -jnp.inf, jnp.inf, 0.0, -smallest], dtype)
    s_out = jnp.array([0.0, jnp.inf, smallest, -jnp.inf], dtype)
    # pairs won and half of those tied, by outlier: 2 + 1, 4 + 1/2, 4, 1/2
    result = auroc(s_in, s_out)
    assert result.dtype == jnp.float32
    assert float(result) == pytest.approx((3 + 4.5 + 4 + 0.5) / 20, abs=1e-7)


def test_nothing_but_the_order_counts():
    rng = np.random.default_rng(3)
    s_in, s_out = (s.astype(np.float32) for s in drawn(rng, 64, 64, 3))
    one, two = (all_variants(f(s_in), f(s_out), None, None, 0.9) for f in (lambda s: s, lambda s: 2 * s**3 - 5))
    assert one == two
    shuffled = all_variants(rng.permutation(s_in), rng.permutation(s_out), None, None, 0.9)
    assert one == shuffled
    turned = all_variants(-s_out, -s_in, None, None, 0.9)  # data and outliers change places
    for name in ("aupr {} average_precision", "aupr {} trapezoid", "fpr {} first", "fpr {} nearest", "fpr {} interp"):
        assert turned[name.format("ood")] == one[name.format("id")]
    assert turned["auroc"] == one["auroc"]
