"""The fitted detectors of features against float64 references in SciPy, scikit-learn and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from scipy.special import expit, logsumexp
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestNeighbors

from ood_jax import scores

RNG = np.random.default_rng(0)
N, K, D, QUERIES = 400, 5, 24, 60


def gaussians(spread, offset=0.0, apart=3.0):
    """Training features of K classes with standard deviations `spread` along some axes, and queries about them."""
    axes = np.linalg.qr(RNG.standard_normal((D, D)))[0] * spread
    labels = np.r_[np.arange(K), RNG.integers(0, K, N - K)]
    means = apart * RNG.standard_normal((K, D)) + offset
    features = RNG.standard_normal((N, D)) @ axes.T + means[labels]
    queries = RNG.standard_normal((QUERIES, D)) @ (2 * axes).T + means[RNG.integers(0, K, QUERIES)]
    return features.astype(np.float32), labels, queries.astype(np.float32)


CASES = {
    "well-conditioned": gaussians(np.linspace(0.5, 2, D)),
    "variances from 1 to 1e4": gaussians(np.geomspace(1, 100, D)),
    "far from 0": gaussians(np.linspace(0.5, 2, D), offset=300.0),
    "classes far apart": gaussians(np.linspace(0.5, 2, D), apart=200.0),
}


def mahalanobis(features, labels, queries, ridge):
    """Distances to each class and to the whole in float64, and the relative errors that float32 leaves them."""
    features, queries = features.astype(np.float64), queries.astype(np.float64)
    means = np.stack([features[labels == k].mean(0) for k in range(K)])

    def distances(residuals, centers):
        covariance = residuals.T @ residuals / len(residuals)
        covariance += ridge * np.mean(np.diag(covariance)) * np.eye(D)
        factor = scipy.linalg.cho_factor(covariance, lower=True)
        gaps = queries[:, None] - centers
        # A covariance that is rounded moves its inverse by an ulp times its condition number; features that are rounded
        # move by an ulp of their size, which counts in standard deviations.
        variances = np.linalg.eigvalsh(covariance)
        conditions = variances[-1] / variances[0] + np.abs(features).max() / np.sqrt(variances[0])
        allowed = 2e-6 + 2.0**-23 * conditions
        return np.stack([np.sum(gap * scipy.linalg.cho_solve(factor, gap.T).T, -1) for gap in gaps]), allowed

    whole = features.mean(0)
    return distances(features - means[labels], means), distances(features - whole, whole[None])


def test_mahalanobis_distances():
    for name, (features, labels, queries) in CASES.items():
        state = scores.fit_mahalanobis(features, labels, num_classes=K)
        for ridge in (0.0, 1e-4, 0.1):
            (to_class, allowed), (to_all, allowed_all) = mahalanobis(features, labels, queries, ridge)
            nearest, whole = to_class.min(-1), to_all[:, 0]
            result = scores.mahalanobis_score(state, queries, ridge=ridge)
            np.testing.assert_allclose(result, nearest, rtol=allowed, err_msg=name)
            relative = scores.relative_mahalanobis_score(state, queries, ridge=ridge)
            assert np.all(np.abs(relative - (nearest - whole)) <= allowed * nearest + allowed_all * whole), name
    by_row = scores.mahalanobis_score(state, queries)
    np.testing.assert_array_equal(scores.mahalanobis_score(state, queries.reshape(3, -1, D)), by_row.reshape(3, -1))


def test_the_nearest_class_is_what_scikit_learns_discriminant_decides_for():
    # With equal priors the largest discriminant is the smallest distance, and they differ by a number of the row's own.
    features, labels, queries = CASES["well-conditioned"]
    state = scores.fit_mahalanobis(features, labels, num_classes=K)
    peer = LinearDiscriminantAnalysis(solver="lsqr", priors=np.full(K, 1 / K)).fit(features.astype(float), labels)
    single = [scores.mahalanobis_score(only(state, k), queries, ridge=0.0) for k in range(K)]
    np.testing.assert_array_equal(np.argmin(single, 0), peer.predict(queries.astype(float)))


def only(state, k):
    """The state with every row of the other classes forgotten, but not their scatter."""
    return state._replace(count=jnp.zeros(K).at[k].set(N))


def test_a_class_without_rows_is_no_class():
    features, labels, queries = CASES["well-conditioned"]
    without, more = (scores.fit_mahalanobis(features, labels, num_classes=number) for number in (K, K + 2))
    np.testing.assert_array_equal(more.mean[K:], np.zeros((2, D)))
    queries = np.concatenate([queries[1:], np.zeros((1, D), np.float32)])  # an empty class's mean is 0
    distances = scores.mahalanobis_score(without, queries)
    np.testing.assert_allclose(scores.mahalanobis_score(more, queries), distances, rtol=1e-5)
    # A difference of two distances, so it errs like those, however near to 0 it is.
    one, other = (scores.relative_mahalanobis_score(state, queries) for state in (more, without))
    assert np.all(np.abs(one - other) <= 1e-5 * distances)


def test_a_singular_covariance_is_factorised_by_default():
    # Dead units, a copy of a unit, and fewer rows than units.
    features, labels, queries = CASES["well-conditioned"]
    for change in (lambda x: np.where(np.arange(D) < 5, 0, x), lambda x: np.concatenate([x[:, :12]] * 2, -1)):
        for rows in (N, D - 4):
            state = scores.fit_mahalanobis(change(features)[:rows], labels[:rows], num_classes=K)
            (to_class, _), _ = mahalanobis(change(features)[:rows], labels[:rows], change(queries), 1e-4)
            np.testing.assert_allclose(scores.mahalanobis_score(state, change(queries)), to_class.min(-1), rtol=5e-3)
    assert np.isnan(scores.mahalanobis_score(state, change(queries), ridge=0.0)).all()


def test_what_makes_a_mahalanobis_score_nan():
    features, labels, queries = CASES["well-conditioned"]
    state = scores.fit_mahalanobis(features, labels, num_classes=K)
    assert np.isnan(scores.mahalanobis_score(state, queries, ridge=-1.0)).all()
    nothing = scores.fit_mahalanobis(features[:0], labels[:0], num_classes=K)
    assert not any(np.any(part) for part in nothing)
    assert np.isnan(scores.mahalanobis_score(nothing, queries)).all()
    for label in (-1, K, -100):  # traced, so that it cannot raise
        wrong = jnp.asarray(labels).at[7].set(label)
        bad = jax.jit(lambda labels: scores.fit_mahalanobis(features, labels, num_classes=K))(wrong)
        assert all(np.isnan(part).all() for part in bad)
        assert np.isnan(scores.relative_mahalanobis_score(bad, queries)).all()
        spared = scores.fit_mahalanobis(features, wrong, num_classes=K, where=jnp.arange(N) != 7)
        assert all(np.isfinite(part).all() for part in spared)


def test_rows_that_do_not_count_may_hold_anything():
    features, labels, _ = CASES["well-conditioned"]
    where = RNG.random(N) < 0.6
    padded = np.where(where[:, None], features, np.nan).astype(np.float32)
    masked = scores.fit_mahalanobis(padded, np.where(where, labels, 99), num_classes=K, where=where)
    chosen = scores.fit_mahalanobis(features[where], labels[where], num_classes=K)
    for one, other in zip(masked, chosen, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())


def test_many_rows_far_from_zero_keep_their_variance():
    # The first sum reaches 1e10, where a float32 counts by a thousand, so the mean that it gives is off by some
    # standard deviations: their square is what the moments must not be left with.
    features = (RNG.standard_normal((2**20, 4)) * [0.5, 1, 2, 4] + 1e4).astype(np.float32)
    state = scores.fit_mahalanobis(features, np.zeros(len(features), int), num_classes=1)
    rows = features.astype(np.float64)
    np.testing.assert_allclose(state.mean[0], rows.mean(0), rtol=1e-7)
    expected = np.cov(rows.T, ddof=0) * len(rows)
    np.testing.assert_allclose(state.scatter, expected, atol=1e-6 * expected.max())


def test_narrow_labels():
    features = RNG.standard_normal((300, 2)).astype(np.float32)
    labels = np.arange(300) % 100
    expected = scores.fit_mahalanobis(features, labels, num_classes=200)
    for dtype in (np.int8, np.uint8, np.uint32):  # 199 as int8 is negative
        for one, other in zip(
            scores.fit_mahalanobis(features, labels.astype(dtype), num_classes=200), expected, strict=True
        ):
            np.testing.assert_array_equal(one, other)


def unit(features):
    features = features.astype(np.float64)
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


def test_rows_of_any_size_have_unit_length():
    rows = np.array([[3e38, 3e38], [9e37, 1e37], [-3e38, 0], [1e-37, 1e-37], [2e-38, 0], [0, 0]], np.float32)
    expected = unit(rows[:-1])
    np.testing.assert_allclose(scores.fit_knn(rows).bank, [*expected, [0, 0]], rtol=1e-6)


def test_knn_distances():
    bank = RNG.standard_normal((1000, D)).astype(np.float32) * RNG.uniform(1e-30, 1e30, (1000, 1)).astype(np.float32)
    queries = RNG.standard_normal((QUERIES, D)).astype(np.float32)
    queries[:3] = 2 * bank[5:8] / np.abs(bank[5:8]).max(-1, keepdims=True)  # in the bank
    queries[3:6] = queries[:3] * (1 + 1e-4 * RNG.standard_normal((3, D)))  # very near it
    state = scores.fit_knn(bank)
    np.testing.assert_allclose(state.bank, unit(bank), rtol=1e-6, atol=1e-7)
    reference = NearestNeighbors(algorithm="brute").fit(unit(bank)).kneighbors(unit(queries), 50)[0]
    for k, block in ((1, 1024), (2, 300), (50, 7), (50, 1000)):
        result = scores.knn_score(state, queries, k=k, block=block)
        # A distance of 1e-4 between vectors whose lengths are each off by 1.2e-7 has three digits; any other six.
        np.testing.assert_allclose(result, reference[:, k - 1], rtol=1e-6, atol=2.4e-7, err_msg=f"{k} {block}")
    with jax.enable_x64():
        double = scores.knn_score(scores.fit_knn(jnp.asarray(bank, float)), jnp.asarray(queries, float), k=2, block=99)
        assert double.dtype == np.float64
        np.testing.assert_allclose(double, reference[:, 1], rtol=1e-9, atol=3e-8)


def test_the_last_neighbour_is_the_farthest():
    bank, queries = RNG.standard_normal((2, 20, D)).astype(np.float32)
    farthest = np.linalg.norm(unit(queries)[:, None] - unit(bank), axis=-1).max(-1)
    result = scores.knn_score(scores.fit_knn(bank), queries, k=20, block=3)
    np.testing.assert_allclose(result, farthest, rtol=1e-6)


def test_without_jit_a_bank_may_be_a_single_block():
    with jax.disable_jit():
        score = scores.knn_score(scores.fit_knn(jnp.eye(3)), jnp.eye(3), k=2, block=8)
    np.testing.assert_allclose(score, np.full(3, np.sqrt(2)), rtol=1e-6)


def test_features_of_zeros_have_no_direction_to_go():
    state = scores.fit_knn(RNG.standard_normal((9, 4)).astype(np.float32))
    rows = jnp.array([[0.0] * 4, [1.0, 2.0, 0.0, 1.0]])
    gradient = jax.grad(lambda x: scores.knn_score(state, x, k=3).sum())(rows)
    np.testing.assert_array_equal(gradient[0], np.zeros(4))
    assert np.abs(gradient[1]).max() > 0.01


def test_zeros_and_nan_in_knn():
    bank = np.eye(3, dtype=np.float32)
    zero, bad = np.zeros((1, 3), np.float32), np.full((1, 3), np.nan, np.float32)
    both = scores.knn_score(scores.fit_knn(bank), np.concatenate([zero, bad, bank[:1]]), k=1)
    np.testing.assert_array_equal(both, [1, np.nan, 0])
    with_zero = scores.knn_score(scores.fit_knn(np.concatenate([bank, zero])), np.concatenate([zero, -bank]), k=1)
    np.testing.assert_array_equal(with_zero, [0, 1, 1, 1])
    assert np.isnan(scores.knn_score(scores.fit_knn(np.concatenate([bad, bank])), bank, k=2, block=2)).all()
    gradient = jax.grad(lambda x: scores.knn_score(scores.fit_knn(bank), x, k=1).sum())(np.concatenate([zero, bank]))
    assert np.isfinite(gradient).all()


def vim(features, kernel, bias, dim, queries):
    """The origin by least squares, the subspace by a singular value decomposition of the features themselves."""
    features, kernel, bias, queries = (part.astype(np.float64) for part in (features, kernel, bias, queries))
    origin = np.linalg.lstsq(kernel.T, -bias)[0]
    principal = scipy.linalg.svd(features - origin, full_matrices=False)[2][:dim]

    def left_over(x):
        x = x - origin
        return np.linalg.norm(x - x @ principal.T @ principal, axis=-1)

    alpha = (features @ kernel + bias).max(-1).sum() / left_over(features).sum()
    # By how much a covariance that is rounded once turns the subspace: C. Davis, W. M. Kahan, 1970.
    variances = np.linalg.svd(features - origin, compute_uv=False) ** 2
    angle = 2.0**-23 * variances[0] / (variances[dim - 1] - variances[dim])
    return alpha * left_over(queries), logsumexp(queries @ kernel + bias, axis=-1), alpha * angle


def test_vim():
    kernel, bias = RNG.standard_normal((D, K)).astype(np.float32), RNG.standard_normal(K).astype(np.float32)
    for name in ("well-conditioned", "variances from 1 to 1e4", "far from 0"):
        features, _, queries = CASES[name]
        for dim in (8, D - 1):
            virtual, energy, turned = vim(features, kernel, bias, dim, queries)
            state = scores.fit_vim(features.reshape(4, -1, D), kernel, bias, dim=dim)
            result = scores.vim_score(state, queries)
            allowed = 1e-5 * (np.abs(virtual) + np.abs(energy)) + turned * np.linalg.norm(queries, axis=-1)
            assert np.all(np.abs(result - (virtual - energy)) <= allowed), (name, dim)
    # The paper's probability of the virtual class is the sigmoid of the score.
    share = np.exp(virtual - np.logaddexp(virtual, energy))
    np.testing.assert_allclose(expit(virtual - energy), share, rtol=1e-9)


def test_vim_without_rows_is_nan():
    kernel, bias = RNG.standard_normal((D, K)).astype(np.float32), np.zeros(K, np.float32)
    features, labels, queries = CASES["well-conditioned"]
    moments = scores.fit_mahalanobis(features, labels, num_classes=K)
    for state in (
        scores.fit_vim_subspace(moments, kernel, bias, dim=3),
        scores.fit_vim(features[:0], kernel, bias, dim=3),
    ):
        assert np.isnan(scores.vim_score(state, queries)).all()


def test_memory_is_bounded():
    # All similarities would be 64 MB, all differences to the classes 131 MB.
    bank = scores.KNNState(jax.ShapeDtypeStruct((2**18, 8), jnp.float32))
    assert scores.knn_score.lower(bank, jnp.zeros((64, 8))).compile().memory_analysis().temp_size_in_bytes < 4e6
    shapes = (1000,), (1000, 128), (128, 128)
    state = scores.MahalanobisState(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    program = scores.mahalanobis_score.lower(state, jnp.zeros((256, 128))).compile()
    assert program.memory_analysis().temp_size_in_bytes < 8e6
