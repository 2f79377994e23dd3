"""Bad input is an error that names the argument, what was expected, what came, and a way out."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ood_jax import scores

X, Y, Z = jnp.ones((6, 4)), jnp.zeros(6, int), jnp.zeros((6, 3))
KERNEL, BIAS = jnp.ones((4, 3)), jnp.zeros(3)
MOMENTS = scores.fit_mahalanobis(X, Y, num_classes=2)
BANK = scores.fit_knn(X)
VIM = scores.fit_vim_subspace(MOMENTS, KERNEL, BIAS, dim=2)
REACT = scores.ReactState(jnp.float32(1), jnp.float32(90), jnp.zeros((2, 2)))


class Unhashable:
    """As a dataclass of weights is."""

    __hash__ = None

    def __call__(self, x):
        return x


fit, fit_vim, subspace = scores.fit_mahalanobis, scores.fit_vim, scores.fit_vim_subspace
distance, knn, odin = scores.mahalanobis_score, scores.knn_score, scores.odin_score
update, merge = scores.update, scores.merge

# function called, its error, the argument named, and a word each of what came and of what to do
CASES = {
    # logits
    "integer logits": (partial(scores.msp_score, Y), TypeError, "logits", "int32", "astype"),
    "a list of logits": (partial(scores.entropy_score, [1.0]), TypeError, "logits", "list", "asarray"),
    "logits of no class": (partial(scores.max_logit_score, Z[:, :0]), ValueError, "logits", "(6, 0)", "one class"),
    "no logits": (partial(scores.kl_uniform_score, Z[0, 0]), ValueError, "logits", "()", "last axis"),
    "temperatures": (partial(scores.msp_score, Z, temperature=Z), ValueError, "temperature", "(6, 3)", "vmap"),
    "gamma true": (partial(scores.gen_score, Z, gamma=True), TypeError, "gamma", "bool", "floats"),
    "too many of the top": (partial(scores.gen_score, Z, top=4), ValueError, "top", "got 4", "None sums"),
    "none of the top": (partial(scores.gen_score, Z, top=0), ValueError, "top", "got 0", "at least 1"),
    "half of the top": (partial(scores.gen_score, Z, top=1.5), TypeError, "top", "float", "Python int"),
    # ODIN
    "no network": (partial(odin, None, X), TypeError, "apply", "NoneType", "pass it first"),
    "a network without a hash": (partial(odin, Unhashable(), X), TypeError, "apply", "Unhashable", "lambda"),
    "inputs of integers": (partial(odin, jnp.tanh, Y), TypeError, "x", "int32", "floats"),
    "logits of another shape": (partial(odin, lambda x: x[0], X), ValueError, "apply(x)", "(4,)", "reduce"),
    "logits of another batch": (partial(odin, lambda x: x[:2], X), ValueError, "apply(x)", "(2, 4)", "one row"),
    "an output of two": (partial(odin, lambda x: (x, x), X), TypeError, "apply(x)", "tuple", "asarray"),
    "a step for each input": (partial(odin, jnp.tanh, X, epsilon=X), ValueError, "epsilon", "(6, 4)", "vmap"),
    # moments
    "integer features": (partial(fit, X.astype(int), Y, num_classes=2), TypeError, "features", "int32", "astype"),
    "features of no unit": (partial(fit, X[:, :0], Y, num_classes=2), ValueError, "features", "(6, 0)", "one unit"),
    "no labels": (partial(fit, X, None, num_classes=2), TypeError, "labels", "NoneType", "its class"),
    "float labels": (partial(fit, X, X[:, 0], num_classes=2), TypeError, "labels", "float32", "int32"),
    "labels of another batch": (partial(fit, X, Y[:5], num_classes=2), ValueError, "labels", "(5,)", "one batch"),
    "a label too large": (partial(fit, X, Y + 2, num_classes=2), ValueError, "labels", "got 2", "`where`"),
    "a label ignored elsewhere": (
        partial(fit, X, np.array([0, 1, 0, -100, 1, 0]), num_classes=2),
        ValueError,
        "labels",
        "got -100",
        "leave such rows out",
    ),
    "a label beyond NumPy's classes": (
        partial(fit, X, Y + 2, num_classes=np.int64(2)),
        ValueError,
        "labels",
        "got 2",
        "`where`",
    ),
    "classes of a half": (partial(fit, X, Y, num_classes=2.0), TypeError, "num_classes", "float", "Python int"),
    "classes by name": (partial(fit, X, Y, num_classes="2"), TypeError, "num_classes", "str", "Python int"),
    "unknown classes": (partial(fit, X, Y, num_classes=None), TypeError, "num_classes", "NoneType", "Python int"),
    "no classes": (partial(fit, X, Y, num_classes=0), ValueError, "num_classes", "got 0", "at least 1"),
    "a mask of numbers": (partial(fit, X, Y, num_classes=2, where=Y), TypeError, "where", "int32", "> 0"),
    "a mask of units": (partial(fit, X, Y, num_classes=2, where=X > 0), ValueError, "where", "(6, 4)", "`features`"),
    "an axis by number": (partial(fit, X, Y, num_classes=2, axis_name=0), TypeError, "axis_name", "got 0", "names"),
    "an axis that is not there": (
        partial(fit, X, Y, num_classes=2, axis_name="data"),
        ValueError,
        "axis_name",
        "'data'",
        "leave it out",
    ),
    "another state": (partial(distance, BANK, X), TypeError, "state", "KNNState", "fit_mahalanobis"),
    "features of another layer": (partial(distance, MOMENTS, Z), ValueError, "features", "(6, 3)", "same layer"),
    "a ridge a class": (partial(distance, MOMENTS, X, ridge=Z), ValueError, "ridge", "(6, 3)", "vmap"),
    "features of a list": (
        partial(scores.relative_mahalanobis_score, MOMENTS, [1.0]),
        TypeError,
        "features",
        "list",
        "asarray",
    ),
    # nearest neighbours
    "moments for a bank": (partial(knn, MOMENTS, X), TypeError, "state", "MahalanobisState", "fit_knn"),
    "too far a neighbour": (partial(knn, BANK, X), ValueError, "k", "got 50", "nearer"),
    "no neighbour": (partial(knn, BANK, X, k=0), ValueError, "k", "got 0", "at least 1"),
    "no block": (partial(knn, BANK, X, k=1, block=0), ValueError, "block", "got 0", "at least 1"),
    "queries of another layer": (partial(knn, BANK, Z, k=1), ValueError, "features", "(6, 3)", "same layer"),
    # ViM
    "a transposed kernel": (partial(fit_vim, X, KERNEL.T, BIAS, dim=2), ValueError, "kernel", "(3, 4)", "transpose"),
    "an integer kernel": (partial(fit_vim, X, KERNEL.astype(int), BIAS, dim=2), TypeError, "kernel", "int32", "own"),
    "no bias": (partial(fit_vim, X, KERNEL, None, dim=2), TypeError, "bias", "NoneType", "zeros"),
    "another bias": (partial(fit_vim, X, KERNEL, X[0], dim=2), ValueError, "bias", "(4,)", "zeros"),
    "nothing left over": (partial(subspace, MOMENTS, KERNEL, BIAS, dim=4), ValueError, "dim", "got 4", "below the 4"),
    "a subspace of none": (partial(subspace, MOMENTS, KERNEL, BIAS, dim=0), ValueError, "dim", "got 0", "at least"),
    "a bank for moments": (partial(subspace, BANK, KERNEL, BIAS, dim=2), TypeError, "moments", "KNNState", "fit_"),
    "moments for ViM": (partial(scores.vim_score, MOMENTS, X), TypeError, "state", "MahalanobisState", "fit_vim"),
    # activations
    "a fraction too large": (partial(scores.fit_react, X, percentile=900), ValueError, "percentile", "900", "fraction"),
    "a percentile in an array": (
        partial(scores.fit_react, X, percentile=np.float32(101)),
        ValueError,
        "percentile",
        "101",
        "fraction",
    ),
    "a percentile on the device": (
        partial(scores.scale_features, X, percentile=jnp.asarray(100.0)),
        ValueError,
        "percentile",
        "100",
        "below 100",
    ),
    "a percentile in half": (
        partial(scores.ash_features, X, percentile=jnp.bfloat16(100)),
        ValueError,
        "percentile",
        "100",
        "below 100",
    ),
    "percentiles": (partial(scores.fit_react, X, percentile=Z), ValueError, "percentile", "(6, 3)", "vmap"),
    "a bank for ReAct": (partial(scores.react_features, BANK, X), TypeError, "state", "KNNState", "fit_react"),
    "unknown form": (partial(scores.ash_features, X, percentile=50, form="S"), ValueError, "form", "'S'", "'b' or"),
    "all pruned": (partial(scores.ash_features, X, percentile=100), ValueError, "percentile", "100", "below 100"),
    "too few units": (partial(scores.scale_features, X, percentile=95), ValueError, "percentile", "95", "lower"),
    # states
    "no state": (partial(update, X, X), TypeError, "state", "float32[6, 4]", "fit_*"),
    "an update without labels": (partial(update, MOMENTS, X), TypeError, "labels", "NoneType", "its class"),
    "an update with a bad label": (
        partial(update, MOMENTS, X, Y - 1),
        ValueError,
        "labels",
        "got -1",
        "`fit_mahalanobis`",
    ),
    "labels for a bank": (partial(update, BANK, X, Y), ValueError, "labels", "int32[6]", "leave them out"),
    "an update of another layer": (partial(update, VIM, Z), ValueError, "features", "(6, 3)", "same layer"),
    "states of two kinds": (partial(merge, MOMENTS, BANK), TypeError, "other", "KNNState", "like `state`"),
    "banks of two layers": (partial(merge, BANK, scores.fit_knn(Z)), ValueError, "other.bank", "(6, 3)", "same layer"),
    "moments of more classes": (
        partial(merge, MOMENTS, scores.fit_mahalanobis(X, Y, num_classes=3)),
        ValueError,
        "other",
        "(3, 4)",
        "classes",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_error_names_the_argument_what_came_and_what_to_do(name):
    call, error, argument, came, advice = CASES[name]
    with pytest.raises(error) as raised:
        call()
    message = str(raised.value)
    assert message.startswith(f"`{argument}`")
    assert came in message
    assert advice in message
    assert re.fullmatch(r"`.+\.", message, re.DOTALL)


def test_what_need_not_fit_raises_nothing():
    # A mask spares labels; what is traced cannot be looked at.
    fit(X, Y - 1, num_classes=2, where=jnp.zeros(6, bool))
    jax.eval_shape(partial(fit, num_classes=2), X, Y - 1)
    jax.eval_shape(lambda p: scores.ash_features(X, percentile=p), 100.0)


def test_too_many_activations_for_one_call():
    many = jax.ShapeDtypeStruct((2**20, 2**11), jnp.bfloat16)
    with pytest.raises(ValueError, match=r"`features` must be fewer than 2\^31 .* `update`, a batch at a time"):
        jax.eval_shape(scores.fit_react, many)
