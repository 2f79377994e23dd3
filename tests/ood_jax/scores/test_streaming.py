"""A fit in batches, in parts that are merged, or over devices is the fit of the whole."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from benchmarks.hlo import collectives
from ood_jax import scores

RNG = np.random.default_rng(0)
N, K, D, DEVICES = 240, 3, 6, 8
LABELS = RNG.integers(0, K, N)
# Far from 0, where sums of squares would have lost the variance; and sorted, so that batches differ and lack classes.
LABELS[: N // 2].sort()
FEATURES = (RNG.standard_normal((N, D)) * np.linspace(0.1, 3, D) + 100 * LABELS[:, None] + 50).astype(np.float32)
KERNEL, BIAS = RNG.standard_normal((D, K)).astype(np.float32), RNG.standard_normal(K).astype(np.float32)


def mahalanobis(features, labels, **options):
    return scores.fit_mahalanobis(features, labels, num_classes=K, **options)


WHOLE = mahalanobis(FEATURES, LABELS)
SUBSPACE = scores.fit_vim_subspace(WHOLE, KERNEL, BIAS, dim=2)
FITS = {
    "mahalanobis": mahalanobis,
    "knn": lambda features, labels: scores.fit_knn(features),
    "vim": lambda features, labels: scores.update(SUBSPACE, features),
    "react": lambda features, labels: scores.fit_react(features),
}


def assert_equal(state, expected, name):
    """To 1e-5 of the largest entry of each part; counts to the last one."""
    assert type(state) is type(expected)
    for field, one, other in zip(state._fields, state, expected, strict=True):
        if field in ("counts", "count", "percentile", "bank"):
            assert np.array_equal(one, other), f"{name} {field}"
        else:
            largest = float(np.abs(other).max())
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * largest, err_msg=f"{name} {field}")


def test_updates_and_merges_give_the_state_of_the_whole():
    for detector, fit in FITS.items():
        expected = fit(FEATURES, LABELS)
        first, other = ((FEATURES[half], LABELS[half]) for half in (slice(N // 2), slice(N // 2, N)))
        labels = [other[1]] if detector == "mahalanobis" else []
        assert_equal(scores.update(fit(*first), other[0], *labels), expected, f"update {detector}")
        assert_equal(scores.merge(fit(*first), fit(*other)), expected, f"merge {detector}")
    assert_equal(scores.update(WHOLE, FEATURES[:0], LABELS[:0]), WHOLE, "an empty batch")


def test_updates_inside_a_scan():
    batches = FEATURES.reshape(8, -1, D), LABELS.reshape(8, -1)
    for detector, fit in FITS.items():
        if detector == "knn":
            continue  # it grows

        def step(state, batch, detector=detector):
            features, labels = batch
            return scores.update(state, features, labels if detector == "mahalanobis" else None), None

        result, _ = jax.lax.scan(step, fit(FEATURES[:0], LABELS[:0]), batches)
        assert_equal(result, fit(FEATURES, LABELS), f"scan {detector}")


def test_the_moments_are_numpys():
    # Not only alike in batches: right.
    features = FEATURES.astype(np.float64)
    means = np.stack([features[k == LABELS].mean(0) for k in range(K)])
    centered = features - means[LABELS]
    np.testing.assert_array_equal(WHOLE.count, np.bincount(LABELS))
    np.testing.assert_allclose(WHOLE.mean, means, rtol=2e-7)
    np.testing.assert_allclose(WHOLE.scatter, centered.T @ centered, rtol=1e-5, atol=1e-5 * N)


def test_vim_in_two_passes_is_vim_in_one():
    features = (
        FEATURES - 100 * LABELS[:, None].astype(np.float32) - 50
    )  # variances of one size leave the subspace sharp
    expected = scores.fit_vim(features, KERNEL, BIAS, dim=2)
    state = scores.update(scores.fit_vim_subspace(mahalanobis(features, LABELS), KERNEL, BIAS, dim=2), features)
    result, expected = (scores.vim_score(each, features) for each in (state, expected))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_what_does_not_belong_together_merges_to_nan():
    other = scores.fit_vim_subspace(mahalanobis(FEATURES[:50], LABELS[:50]), KERNEL, BIAS, dim=2)
    merged = scores.merge(scores.update(SUBSPACE, FEATURES), scores.update(other, FEATURES))
    assert np.isnan(scores.vim_score(merged, FEATURES)).all()
    unlike = scores.merge(scores.fit_react(FEATURES), scores.fit_react(FEATURES, percentile=80))
    assert np.isnan(unlike.threshold)


def test_a_bad_label_in_one_batch_stays_visible():
    bad = jax.jit(scores.update)(WHOLE, FEATURES[:2], jnp.array([0, K]))
    assert np.isnan(scores.merge(WHOLE, bad).scatter).all()


def over_devices(body, in_specs, check_vma=True):
    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))
    return jax.jit(jax.shard_map(body, mesh=mesh, in_specs=in_specs, out_specs=PartitionSpec(), check_vma=check_vma))


def test_moments_over_a_mesh_axis():
    split = PartitionSpec("data")
    fit = over_devices(lambda x, y, where: mahalanobis(x, y, where=where, axis_name="data"), split)
    masks = {"all": np.ones(N, bool), "unequal": RNG.random(N) < 0.5, "one empty shard": np.arange(N) >= N // DEVICES}
    for name, where in masks.items():
        # What is masked may be anything.
        result = fit(np.where(where[:, None], FEATURES, np.nan), np.where(where, LABELS, -1), where)
        assert_equal(result, mahalanobis(FEATURES[where], LABELS[where]), name)
    wrong = LABELS.copy()
    wrong[-1] = K
    assert all(np.isnan(part).any() for part in fit(FEATURES, wrong, masks["all"]))


def test_a_bank_over_a_mesh_axis():
    bank = RNG.standard_normal((N, D)).astype(np.float32)
    queries = np.concatenate([RNG.standard_normal((20, D)), bank[:5]]).astype(np.float32)
    state, split = scores.fit_knn(bank), PartitionSpec("data")
    for k, check_vma in ((1, True), (50, False)):  # a shard has 30 rows, and lends them all
        score = over_devices(
            lambda state, queries, k=k: scores.knn_score(state, queries, k=k, block=16, axis_name="data"),
            (split, PartitionSpec()),
            check_vma=check_vma,
        )
        np.testing.assert_array_equal(score(state, queries), scores.knn_score(state, queries, k=k))
    bad = state._replace(bank=state.bank.at[-1].set(jnp.nan))
    assert np.isnan(score(bad, queries)).all()


def test_rows_spread_over_a_mesh_without_an_axis_name():
    queries = RNG.standard_normal((2 * DEVICES, D)).astype(np.float32)
    moments, bank, vim = WHOLE, scores.fit_knn(FEATURES), scores.fit_vim(FEATURES, KERNEL, BIAS, dim=2)
    calls = {
        "mahalanobis": lambda x: scores.mahalanobis_score(moments, x),
        "knn": lambda x: scores.knn_score(bank, x, k=3),
        "vim": lambda x: scores.vim_score(vim, x),
        "ash": lambda x: scores.ash_features(jnp.abs(x), percentile=50),
        "scale": lambda x: scores.scale_features(jnp.abs(x), percentile=50),
    }
    for kind, some in ((AxisType.Auto, ("knn",)), (AxisType.Explicit, tuple(calls))):
        mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(kind,))
        with jax.set_mesh(mesh):
            layout = jax.NamedSharding(mesh, PartitionSpec("data"))
            features, labels, spread = jax.device_put((FEATURES, LABELS, queries), layout)
            for name in ("mahalanobis", "react") if kind == AxisType.Explicit else ():
                assert_equal(FITS[name](features, labels), FITS[name](FEATURES, LABELS), f"{name} {kind}")
            for name in some:
                result = calls[name](spread)
                np.testing.assert_allclose(result, calls[name](queries), rtol=1e-5, err_msg=f"{name} {kind}")
                if kind == AxisType.Explicit:
                    assert result.sharding.spec[0] == "data", name
                    # Nothing travels; but top_k on CPU is one call, for which similarities are gathered.
                    program = jax.jit(calls[name]).lower(spread).compile().as_text()
                    assert name == "knn" or not list(collectives(program)), name


def test_any_axis_split_over_explicit_ones():
    features = (RNG.standard_normal((8, 12, D)) * np.linspace(0.1, 3, D) + 1).astype(np.float32)
    labels, queries = LABELS[:96].reshape(8, 12), RNG.standard_normal((5, D)).astype(np.float32)

    @jax.jit
    def everything(x, y):
        bank, vim = scores.fit_knn(x), scores.fit_vim(x, KERNEL, BIAS, dim=2)
        return {
            "bank": scores.update(bank, x).bank,
            "neighbours": scores.knn_score(bank, queries, k=3, block=32),  # which are not on the mesh
            "vim": scores.vim_score(scores.update(vim, x), x),
            "distance": scores.mahalanobis_score(mahalanobis(x, y), queries),
            "relative": scores.relative_mahalanobis_score(mahalanobis(x, y), queries),
            "ash": scores.ash_features(x, percentile=50),
            "scale": scores.scale_features(x, percentile=50),
        }

    expected = everything(features, labels)
    # The relative score is the difference of two distances of hundreds, and has their error.
    errors = dict.fromkeys(expected, 1e-5) | {"relative": 1e-6 * float(np.abs(expected["distance"]).max())}
    mesh = jax.make_mesh((4, 2), ("data", "unit"), axis_types=(AxisType.Explicit,) * 2)
    for axes in (("data", None, "unit"), (None, "data", None)):
        layouts = [jax.NamedSharding(mesh, PartitionSpec(*part)) for part in (axes, axes[:2])]
        results = everything(jax.device_put(features, layouts[0]), jax.device_put(labels, layouts[1]))
        for name, result in results.items():
            np.testing.assert_allclose(result, expected[name], rtol=1e-4, atol=errors[name], err_msg=f"{name} {axes}")
        assert results["vim"].sharding.spec[:2] == axes[:2]
        assert results["ash"].sharding.spec == PartitionSpec(*axes)
        assert results["bank"].sharding.spec[0] == axes[0]


def test_vim_of_a_last_layer_that_is_split_over_explicit_axes():
    kernel, bias = RNG.standard_normal((D, 4)).astype(np.float32), RNG.standard_normal(4).astype(np.float32)
    expected = scores.vim_score(scores.fit_vim(FEATURES, kernel, bias, dim=2), FEATURES)
    moments = scores.fit_mahalanobis(FEATURES, np.zeros(N, int), num_classes=1)
    mesh = jax.make_mesh((4, 2), ("data", "unit"), axis_types=(AxisType.Explicit,) * 2)

    def place(array, *axes):
        return jax.device_put(array, jax.NamedSharding(mesh, PartitionSpec(*axes)))

    with jax.set_mesh(mesh):
        for axes in ((None, "unit"), ("unit", None), ("unit", "data")):
            features, head = place(FEATURES, None, axes[0]), (place(kernel, *axes), place(bias, axes[1]))
            state = scores.fit_vim(features, *head, dim=2)
            again = scores.update(scores.fit_vim_subspace(moments, *head, dim=2), features)
            for each in (state, again):
                np.testing.assert_allclose(scores.vim_score(each, features), expected, rtol=1e-4, err_msg=f"{axes}")
