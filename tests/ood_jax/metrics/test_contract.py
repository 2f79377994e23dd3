"""What cannot be computed: an error where the arrays are given, NaN where they are traced; and bad arguments."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ood_jax import metrics

S = jnp.arange(6.0)
M = S > 2
P, L = jnp.full((6, 3), 1 / 3), jnp.zeros(6, jnp.int32)
RIGHT = S > 1
NAN = S.at[4].set(jnp.nan)
HISTOGRAM = metrics.score_histogram(S, S, low=0.0, high=6.0, bins=3)
EMPTY = metrics.score_histogram(S, S, low=0.0, high=6.0, bins=3, where_out=S < 0)
SPOILED = HISTOGRAM._replace(counts_in=-jnp.ones_like(HISTOGRAM.counts_in))

TWO_SIDED = {
    "auroc": metrics.auroc,
    "aupr": metrics.aupr,
    "fpr_at_tpr": metrics.fpr_at_tpr,
    "detection_error": metrics.detection_error,
    "ood_metrics": metrics.ood_metrics,
    "oscr": lambda s_in, s_out, **masks: metrics.oscr(s_in, jnp.ones(jnp.shape(s_in), bool), s_out, **masks),
    "ccr_at_fpr": lambda s_in, s_out, **masks: metrics.ccr_at_fpr(
        s_in, jnp.ones(jnp.shape(s_in), bool), s_out, **masks
    ),
}
CALIBRATION = (
    metrics.expected_calibration_error,
    metrics.adaptive_expected_calibration_error,
    metrics.brier_score,
)
histogram = partial(metrics.score_histogram, low=0.0, high=1.0)

# call, error, argument named, a word each of what came and of what to do
CASES = {
    "integer outliers": (partial(metrics.auroc, S, L), TypeError, "scores_out", "int32", "astype"),
    "a list": (partial(metrics.auroc, [1.0], S), TypeError, "scores_in", "list", "asarray"),
    "a mask of numbers": (partial(metrics.aupr, S, S, where_in=S), TypeError, "where_in", "float32", "> 0"),
    "a mask of another shape": (partial(metrics.auroc, S, S, where_out=M[:5]), ValueError, "where_out", "(5,)", "(6,)"),
    "unknown positive": (partial(metrics.aupr, S, S, positive="out"), ValueError, "positive", "'out'", "'ood'"),
    "unknown method": (partial(metrics.fpr_at_tpr, S, S, method="last"), ValueError, "method", "'last'", "'nearest'"),
    "unknown area": (partial(metrics.aupr, S, S, method="interp"), ValueError, "method", "'interp'", "'trapezoid'"),
    "a rate in per cent": (partial(metrics.fpr_at_tpr, S, S, tpr=95), ValueError, "tpr", "95", "0.95"),
    "an array in per cent": (
        partial(metrics.fpr_at_tpr, S, S, tpr=jnp.float32(95)),
        ValueError,
        "tpr",
        "95",
        "0.95",
    ),
    "a negative array": (partial(metrics.ccr_at_fpr, S, RIGHT, S, fpr=np.array(-0.1)), ValueError, "fpr", "-0.1", "[0"),
    "a rate of none": (partial(metrics.fpr_at_tpr, S, S, tpr=0.0), ValueError, "tpr", "0.0", "(0, 1]"),
    "two rates": (partial(metrics.fpr_at_tpr, S, S, tpr=jnp.ones(2)), ValueError, "tpr", "(2,)", "vmap"),
    "a negative rate": (partial(metrics.ccr_at_fpr, S, RIGHT, S, fpr=-0.1), ValueError, "fpr", "-0.1", "[0, 1]"),
    "correct as numbers": (partial(metrics.oscr, S, S, S), TypeError, "correct_in", "float32", "== y"),
    "correct of another shape": (partial(metrics.oscr, S, M[:5], S), ValueError, "correct_in", "(5,)", "(6,)"),
    "integer probabilities": (partial(CALIBRATION[0], P > 0, L), TypeError, "probabilities", "bool", "softmax"),
    "no classes": (partial(CALIBRATION[0], P[:, :0], L), ValueError, "probabilities", "(6, 0)", "one class"),
    "one-hot labels": (partial(CALIBRATION[1], P, P), TypeError, "labels", "float32", "argmax"),
    "labels of another size": (partial(CALIBRATION[2], P, L[:5]), ValueError, "labels", "(5,)", "(6,)"),
    "logits": (partial(CALIBRATION[0], 9 * P, L), ValueError, "probabilities", "6 of 6", "softmax"),
    "NaN probabilities": (
        partial(CALIBRATION[1], P.at[0].set(jnp.nan), L),
        ValueError,
        "probabilities",
        "1 of 6",
        "NaN",
    ),
    "a label out of range": (partial(CALIBRATION[2], P, L.at[1].set(-100)), ValueError, "labels", "1 rows", "where"),
    "no rows": (partial(CALIBRATION[0], P[:0], L[:0]), ValueError, "probabilities", "(0, 3)", "needs one"),
    "no bins": (partial(CALIBRATION[0], P, L, bins=0), ValueError, "bins", "0", "at least 1"),
    "bins of a half": (partial(CALIBRATION[1], P, L, bins=1.5), TypeError, "bins", "float", "Python int"),
    "a range upside down": (partial(histogram, S, S, low=2), ValueError, "low", "high=1.0", "below"),
    "an array for a bound": (partial(histogram, S, S, low=jnp.float32(2)), ValueError, "low", "high=1.0", "below"),
    "a range without end": (partial(histogram, S, S, high=np.inf), ValueError, "low", "high=inf", "finite"),
    "a range of nothing in float32": (
        partial(histogram, S, S, low=1e8, high=1e8 + 1),
        ValueError,
        "low",
        "low=100000000.0",
        "float32",
    ),
    "a range too wide for float32": (
        partial(histogram, S, S, low=-3e38, high=3e38),
        ValueError,
        "low",
        "3e+38",
        "finite",
    ),
    "NaN in a histogram": (partial(histogram, S, NAN), ValueError, "scores_out", "1 NaN of 6", "where_out"),
    "no bins in a histogram": (partial(histogram, S, S, bins=0), ValueError, "bins", "0", "at least 1"),
    "an axis by number": (partial(histogram, S, S, axis_name=0), TypeError, "axis_name", "got 0", "names"),
    "an axis that is not there": (
        partial(histogram, S, S, axis_name="data"),
        ValueError,
        "axis_name",
        "'data'",
        "leave it out",
    ),
    "a tuple for a histogram": (
        partial(metrics.histogram_metrics, tuple(HISTOGRAM)),
        TypeError,
        "histogram",
        "tuple",
        "score_histogram",
    ),
    "a tuple to merge": (
        partial(metrics.merge_histograms, HISTOGRAM, (1,)),
        TypeError,
        "b",
        "tuple",
        "score_histogram",
    ),
    "a spoiled histogram": (partial(metrics.histogram_metrics, SPOILED), ValueError, "histogram", "negative", "NaN"),
    "a histogram of one side": (
        partial(metrics.histogram_metrics, EMPTY),
        ValueError,
        "histogram",
        "counts_out",
        "merge",
    ),
    "unlike numbers of bins": (
        partial(metrics.merge_histograms, HISTOGRAM, histogram(S, S, bins=4)),
        ValueError,
        "b",
        "4",
        "same `bins`",
    ),
    "unlike ranges": (
        partial(metrics.merge_histograms, HISTOGRAM, histogram(S, S, bins=3)),
        ValueError,
        "b",
        "(0.0, 1.0)",
        "same `low`",
    ),
}


def test_the_error_names_the_argument_what_came_and_what_to_do():
    for name, (call, error, argument, came, advice) in CASES.items():
        with pytest.raises(error) as raised:
            call()
        message = str(raised.value)
        assert re.fullmatch(r"`.+\.", message, re.DOTALL), name
        assert message.startswith(f"`{argument}"), name
        assert came in message, name
        assert advice in message, name


def test_nan_and_empty_sides_are_errors_where_given_and_nan_where_traced():
    calls = {
        "NaN inside": (NAN, S, None, None, "`scores_in`", "1 NaN of 6"),
        "NaN outside": (S, NAN, None, M, "`scores_out`", "1 NaN of 3"),
        "nothing inside": (S[:0], S, None, None, "`scores_in`", "(0,) with none"),
        "nothing that counts outside": (S, NAN, None, S < 0, "`scores_out`", "(6,) with none"),
    }
    for function in TWO_SIDED.values():
        for s_in, s_out, where_in, where_out, argument, came in calls.values():
            with pytest.raises(ValueError, match=re.escape(came)) as raised:
                function(s_in, s_out, where_in=where_in, where_out=where_out)
            assert str(raised.value).startswith(argument)

    @jax.jit
    def traced(s_in, s_out, where_in, where_out):
        return [function(s_in, s_out, where_in=where_in, where_out=where_out) for function in TWO_SIDED.values()]

    for call, (s_in, s_out, where_in, where_out, *_) in calls.items():
        assert np.isnan(jax.tree.leaves(traced(s_in, s_out, where_in, where_out))).all(), call
    # What does not count may be NaN.
    assert np.isfinite(jax.tree.leaves(traced(NAN, NAN, S < 3, S < 3))).all()
    assert float(metrics.auroc(NAN, NAN, where_in=S < 3, where_out=S < 3)) == 0.5


def test_errors_of_given_numbers_come_while_tracing_too():
    with pytest.raises(ValueError, match="1 NaN of 6"):
        jax.jit(lambda x: metrics.auroc(S, NAN) + x)(1.0)
    # Known scores of one side are checked, even if the other is traced; and known ones without fault pass.
    with pytest.raises(ValueError, match="scores_out"):
        jax.jit(lambda s: metrics.auroc(s, NAN))(S)
    assert float(jax.jit(lambda s: metrics.auroc(s, S))(S)) == 0.5


def test_traced_rates_out_of_range_give_nan():
    for function, rates in (
        (lambda rate: metrics.fpr_at_tpr(S, S, tpr=rate), (0.0, 1.01, jnp.nan)),
        (lambda rate: metrics.ccr_at_fpr(S, RIGHT, S, fpr=rate), (-0.01, 1.01, jnp.nan)),
    ):
        traced = jax.jit(function)
        assert np.isnan([traced(rate) for rate in rates]).all()
        assert np.isfinite(traced(1.0))


def test_traced_probabilities_and_labels_out_of_range_give_nan():
    @jax.jit
    def values(p, labels, where):
        return [metric(p, labels, where=where) for metric in CALIBRATION]

    everything = jnp.ones(6, bool)
    for p, labels in ((P.at[2, 0].set(-0.1), L), (P.at[2].set(jnp.nan), L), (P, L.at[2].set(3)), (P, L.at[2].set(-1))):
        assert np.isnan(values(p, labels, everything)).all()
        assert np.isfinite(values(p, labels, everything.at[2].set(False))).all()
    assert np.isnan(values(P, L, ~everything)).all()
    assert np.isnan(jax.jit(lambda p, labels: [metric(p, labels) for metric in CALIBRATION])(P[:0], L[:0])).all()


def test_traced_histograms_that_are_spoiled_give_nan():
    traced = jax.jit(histogram)
    spoiled = (
        traced(S, NAN),
        traced(S, S, low=1.0),
        jax.jit(metrics.merge_histograms)(HISTOGRAM, HISTOGRAM._replace(high=jnp.float32(7))),
        jax.jit(metrics.merge_histograms)(HISTOGRAM, SPOILED),
    )
    for one in spoiled:
        assert (one.counts_in == -1).all()
        assert (one.counts_out == -1).all()
    read = jax.jit(metrics.histogram_metrics)
    assert np.isnan(jax.tree.leaves((read(SPOILED), read(EMPTY)))).all()


def test_a_total_beyond_what_is_counted_spoils_a_histogram():
    many = HISTOGRAM._replace(counts_in=jnp.array([0, 1_400_000_000, 0, 0, 0], jnp.int32))
    assert (metrics.merge_histograms(many, many).counts_in == -1).all()
    assert int(metrics.merge_histograms(many, HISTOGRAM).counts_in[1]) == 1_400_000_002
