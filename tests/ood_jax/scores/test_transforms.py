"""Every score and fit under jit, vmap, scan and shard_map, in one program each, and eagerly with NumPy arrays."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from ood_jax import scores

RNG = np.random.default_rng(0)
COPIES, ROWS, D, K = 4, 6, 5, 3
FEATURES = np.abs(RNG.standard_normal((COPIES, 2, ROWS, D))).astype(np.float32)
LABELS = RNG.integers(0, K, (COPIES, 2, ROWS))
KERNEL, BIAS = RNG.standard_normal((D, K)).astype(np.float32), RNG.standard_normal(K).astype(np.float32)
THRESHOLD = scores.fit_react(FEATURES, percentile=80)


def head(features):
    return features @ KERNEL + BIAS[None]


def everything(features, labels):
    """Each public function but those that hold ReAct's large state, on training features and queries."""
    (train, test), labels = features, labels[0]
    logits = head(test)
    moments = scores.update(scores.fit_mahalanobis(train, labels, num_classes=K), test, labels)
    bank, vim = scores.fit_knn(train), scores.fit_vim(train, KERNEL, BIAS, dim=2)
    return {
        "msp": scores.msp_score(logits, temperature=2),
        "max_logit": scores.max_logit_score(logits),
        "energy": scores.energy_score(logits),
        "entropy": scores.entropy_score(logits),
        "kl_uniform": scores.kl_uniform_score(logits),
        "gen": scores.gen_score(logits, top=2),
        "odin": scores.odin_score(head, test, temperature=2, epsilon=0.01),
        "mahalanobis": scores.mahalanobis_score(moments, test, ridge=0.01),
        "relative": scores.relative_mahalanobis_score(moments, test, ridge=0.01),
        "knn": scores.knn_score(scores.merge(bank, bank), test, k=3, block=4),
        "vim": scores.vim_score(scores.merge(vim, vim), test),
        "react": scores.react_features(THRESHOLD, test),
        "ash": scores.ash_features(test, percentile=40),
        "scale": scores.scale_features(test, percentile=40),
    }


def one_by_one():
    alone = jax.jit(everything)
    results = [alone(features, labels) for features, labels in zip(FEATURES, LABELS, strict=True)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *results)


EXPECTED = one_by_one()


def assert_same(results, expected=EXPECTED):
    for name, result in results.items():
        np.testing.assert_allclose(result, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def mapped():
    mesh = jax.make_mesh((COPIES,), ("copy",), axis_types=(AxisType.Auto,))
    split = PartitionSpec("copy")
    return jax.shard_map(jax.vmap(everything), mesh=mesh, in_specs=split, out_specs=split)


TRANSFORMS = {
    "scan": lambda: lambda *arrays: jax.lax.scan(lambda _, one: (None, everything(*one)), None, arrays)[1],
    "shard_map of vmap": mapped,
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_in_one_program(name):
    assert_same(jax.jit(TRANSFORMS[name]())(FEATURES, LABELS))


def test_eager_with_numpy_arrays():
    test = FEATURES[0, 1]
    with jax.disable_jit():
        results = {
            "msp": scores.msp_score(head(test), temperature=2),
            "ash": scores.ash_features(test, percentile=40),
        }
    assert_same(results, {name: result[0] for name, result in EXPECTED.items()})


def test_any_leading_axes():
    queries = FEATURES.reshape(-1, D)
    moments = scores.fit_mahalanobis(FEATURES, LABELS, num_classes=K)
    flat = scores.fit_mahalanobis(queries, LABELS.reshape(-1), num_classes=K)
    np.testing.assert_array_equal(moments.scatter, flat.scatter)
    bank = scores.fit_knn(FEATURES)

    @jax.jit
    def score(x):
        return (
            scores.gen_score(x, top=2),
            scores.knn_score(bank, x, k=3),
            scores.mahalanobis_score(moments, x),
        )

    for result, expected in zip(score(FEATURES), score(queries), strict=True):
        np.testing.assert_allclose(result, expected.reshape(FEATURES.shape[:-1]), rtol=1e-5, atol=1e-6)
    for result, expected in zip(score(queries[3]), score(queries), strict=True):
        np.testing.assert_allclose(result, expected[3], rtol=1e-5, atol=1e-6)


def test_gradients_by_features():
    """In float64, whose steps are so small that neither the neighbour nor the class changes."""
    with jax.enable_x64():
        features, kernel, bias = (array.astype(np.float64) for array in (FEATURES, KERNEL, BIAS))
        moments = scores.fit_mahalanobis(features, LABELS, num_classes=K)
        bank, vim = scores.fit_knn(features[0]), scores.fit_vim(features, kernel, bias, dim=2)
        x, direction = RNG.standard_normal((2, ROWS, D))

        def total(x):
            return {
                "mahalanobis": scores.mahalanobis_score(moments, x).sum(),
                "knn": scores.knn_score(bank, x, k=2).sum(),
                "vim": scores.vim_score(vim, x).sum(),
            }

        slopes, step = jax.jit(jax.jacrev(total))(x), 1e-6
        for name, ahead in total(x + step * direction).items():
            difference = (ahead - total(x - step * direction)[name]) / (2 * step)
            np.testing.assert_allclose(np.vdot(slopes[name], direction), difference, rtol=1e-6, err_msg=name)


def test_changing_a_number_never_compiles_again():
    logits, features = head(FEATURES[0, 0]), FEATURES[0, 0]
    moments = scores.fit_mahalanobis(features, LABELS[0, 0], num_classes=K)
    calls = {
        "temperature": (scores.msp_score, lambda v: scores.msp_score(logits, temperature=v)),
        "temperature of the energy": (scores.energy_score, lambda v: scores.energy_score(logits, temperature=v)),
        "gamma": (scores.gen_score, lambda v: scores.gen_score(logits, gamma=v)),
        "epsilon": (scores.odin_score, lambda v: scores.odin_score(head, features, epsilon=v)),
        "ridge": (scores.mahalanobis_score, lambda v: scores.mahalanobis_score(moments, features, ridge=v)),
        "percentile of ash": (scores.ash_features, lambda v: scores.ash_features(features, percentile=100 * v)),
        "percentile of scale": (scores.scale_features, lambda v: scores.scale_features(features, percentile=100 * v)),
    }
    for name, (function, call) in calls.items():
        first = call(0.25)
        compiled = function._cache_size()
        assert not np.array_equal(call(0.5), first), name
        assert function._cache_size() == compiled, name
