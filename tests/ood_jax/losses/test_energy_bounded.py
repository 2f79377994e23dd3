"""The bounded energy loss and the pooled mean, against their formulas in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax

N, M, K = 6, 9, 5
# Energies of the inputs below lie about -4, so each margin leaves rows on both sides of its hinge.
OPTIONS = {"lambda_energy": 0.3, "m_in": -4.0, "m_out": -3.5}
# A term is a few float32 operations, each off by 6e-8; a hinge near its corner magnifies that by E / (E - m).
RTOL = 5e-6
WHERE = {
    "all": {},
    "in": {"where_in": np.arange(N) % 3 != 1},
    "out": {"where_out": np.arange(M) % 4 < 2},
    "both": {"where_in": np.arange(N) < 4, "where_out": np.arange(M) > 5},
}
REDUCTIONS = pytest.mark.parametrize("reduction", ["separate", "pooled"])
MASKED = pytest.mark.parametrize("masked", WHERE)
loss = ood_jax.energy_bounded_loss


def inputs(seed=0, scale=2.0):
    rng = np.random.default_rng(seed)
    logits_in, logits_out = ((scale * rng.standard_normal((n, K)) + 1).astype(np.float32) for n in (N, M))
    return logits_in, rng.integers(0, K, N), logits_out


def energies(logits):
    logits = np.asarray(logits).astype(np.float64)
    largest = logits.max(-1, keepdims=True)
    energy = -largest[..., 0] - np.log(np.exp(logits - largest).sum(-1))
    return energy, np.exp(logits + energy[..., None])  # and the probabilities


def mean(values, rows):
    return values.sum() / max(rows, 1)


def formula(
    logits_in, targets, logits_out, lambda_energy, m_in, m_out, reduction="separate", where_in=None, where_out=None
):
    """Value and gradients, of rows that are dropped by hand."""
    where_in = np.ones(len(logits_in), bool) if where_in is None else where_in
    where_out = np.ones(len(logits_out), bool) if where_out is None else where_out
    (energy_in, p_in), (energy_out, p_out) = energies(logits_in), energies(logits_out)
    labelled = where_in & (targets != -100)
    one_hot = np.eye(K)[np.where(labelled, targets, 0)]
    entropy = np.where(labelled, -energy_in - (one_hot * np.asarray(logits_in).astype(np.float64)).sum(-1), 0)
    over = np.where(where_in, np.maximum(energy_in - m_in, 0), 0)
    under = np.where(where_out, np.maximum(m_out - energy_out, 0), 0)
    rows_ce, rows_in, rows_out = labelled.sum(), where_in.sum(), where_out.sum()
    if reduction == "pooled":
        rows_ce = rows_in = rows_out = rows_in + rows_out
    value = mean(entropy, rows_ce) + lambda_energy * (mean(over**2, rows_in) + mean(under**2, rows_out))
    by_entropy = labelled[:, None] * (p_in - one_hot) / max(rows_ce, 1)
    grad_in = by_entropy - lambda_energy * 2 * over[:, None] * p_in / max(rows_in, 1)
    return value, grad_in, lambda_energy * 2 * under[:, None] * p_out / max(rows_out, 1)


def value_and_gradients(logits_in, targets, logits_out, **options):
    value, gradients = jax.value_and_grad(lambda a, b: loss(a, targets, b, **options), argnums=(0, 1))(
        jnp.asarray(logits_in), jnp.asarray(logits_out)
    )
    return value, *gradients


def assert_close(result, expected, rtol=RTOL):
    for a, b in zip(result, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a).astype(np.float64), b, rtol=rtol, atol=1e-7)


# Against the formula.


@REDUCTIONS
@MASKED
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradients_are_the_formulas(reduction, masked, seed):
    arguments, options = inputs(seed), OPTIONS | WHERE[masked] | {"reduction": reduction}
    assert_close(value_and_gradients(*arguments, **options), formula(*arguments, **options))


def test_the_inputs_have_rows_on_both_sides_of_each_hinge():
    logits_in, _, logits_out = inputs()
    for energy, bound in ((energies(logits_in)[0], OPTIONS["m_in"]), (energies(logits_out)[0], OPTIONS["m_out"])):
        assert 0 < np.sum(energy > bound) < len(energy)


def test_by_hand():
    # Energies 0 and -log 2 in, -log 4 out; the first row is sure, the second undecided.
    logits_in, logits_out = np.array([[0.0, -np.inf], [0.0, 0.0]], np.float32), np.log([[2.0, 2.0]]).astype(np.float32)
    value = loss(logits_in, np.array([0, 1]), logits_out, lambda_energy=2.0, m_in=-1.0, m_out=-0.5)
    hinges = (1 + (1 - np.log(2)) ** 2) / 2 + (np.log(4) - 0.5) ** 2
    np.testing.assert_allclose(value, np.log(2) / 2 + 2 * hinges, rtol=1e-6)


def test_defaults_are_the_authors():
    arguments = inputs()
    explicit = loss(*arguments, lambda_energy=0.1, m_in=-23.0, m_out=-5.0, reduction="separate")
    assert float(loss(*arguments)) == float(explicit)


@REDUCTIONS
def test_a_mask_equals_dropping_the_rows(reduction):
    (logits_in, targets, logits_out), where = inputs(), WHERE["both"]
    options = OPTIONS | {"reduction": reduction}
    value, grad_in, grad_out = value_and_gradients(logits_in, targets, logits_out, **options, **where)
    keep_in, keep_out = where["where_in"], where["where_out"]
    kept = value_and_gradients(logits_in[keep_in], targets[keep_in], logits_out[keep_out], **options)
    assert_close((value, grad_in[keep_in], grad_out[keep_out]), kept)
    assert not np.any(grad_in[~keep_in])
    assert not np.any(grad_out[~keep_out])


@REDUCTIONS
def test_rows_that_do_not_count_may_hold_anything(reduction):
    logits_in, targets, logits_out = inputs()
    options = OPTIONS | {"where_in": np.arange(N) != 1, "where_out": np.arange(M) != 2, "reduction": reduction}
    clean = value_and_gradients(logits_in, targets, logits_out, **options)
    logits_in[1], targets[1], logits_out[2] = np.nan, 99, np.inf
    for a, b in zip(clean, value_and_gradients(logits_in, targets, logits_out, **options), strict=True):
        np.testing.assert_array_equal(a, b)


@REDUCTIONS
@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf])
def test_no_rows_at_all_are_zero_with_zero_gradients(reduction, fill):
    none = {"where_in": np.zeros(N, bool), "where_out": np.zeros(M, bool)}
    logits_in, logits_out = np.full((N, K), fill, np.float32), np.full((M, K), fill, np.float32)
    result = value_and_gradients(logits_in, np.zeros(N, int), logits_out, **OPTIONS, **none, reduction=reduction)
    for leaf in result:
        np.testing.assert_array_equal(leaf, np.zeros(leaf.shape))
    empty = jnp.zeros((0, K))
    assert float(loss(empty, jnp.zeros(0, int), empty, **OPTIONS, reduction=reduction)) == 0


@REDUCTIONS
def test_no_outliers_equal_outliers_that_are_all_masked(reduction):
    (logits_in, targets, logits_out), options = inputs(), OPTIONS | {"reduction": reduction}
    masked, grad_in, grad_out = value_and_gradients(
        logits_in, targets, logits_out, **options, where_out=np.zeros(M, bool)
    )
    alone, gradient = jax.value_and_grad(lambda z: loss(z, targets, **options))(jnp.asarray(logits_in))
    assert_close((alone, gradient), (masked, grad_in), rtol=1e-6)
    assert not np.any(grad_out)
    assert_close((alone, gradient), formula(logits_in, targets, np.zeros((0, K)), **options)[:2])
    # The data's energy is bounded without outliers too.
    assert float(alone) > float(ood_jax.outlier_exposure_loss(logits_in, targets))


@REDUCTIONS
def test_no_data_leaves_the_outliers(reduction):
    arguments, options = inputs(), OPTIONS | {"reduction": reduction, "where_in": np.zeros(N, bool)}
    value, grad_in, grad_out = value_and_gradients(*arguments, **options)
    assert_close((value, grad_in, grad_out), formula(*arguments, **options))
    assert float(value) > 0
    assert not np.any(grad_in)


@REDUCTIONS
def test_the_energy_counts_rows_of_minus_100_and_the_cross_entropy_does_not(reduction):
    logits_in, targets, logits_out = inputs()
    targets[[0, 3]] = -100
    options = OPTIONS | {"reduction": reduction}
    result = value_and_gradients(logits_in, targets, logits_out, **options)
    assert_close(result, formula(logits_in, targets, logits_out, **options))
    assert energies(logits_in)[0][3] > OPTIONS["m_in"]
    assert np.all(result[1][3] != 0)
    unlabelled = value_and_gradients(logits_in, np.full(N, -100), logits_out, **options)
    assert_close(unlabelled, formula(logits_in, np.full(N, -100), logits_out, **options))


def test_any_other_label_out_of_range_is_nan():
    logits_in, targets, logits_out = inputs()
    for label in (-1, K):
        targets[2] = label
        assert np.isnan(loss(logits_in, targets, logits_out, **OPTIONS))


@REDUCTIONS
def test_class_probabilities_and_leading_axes(reduction):
    (logits_in, targets, logits_out), where = inputs(), WHERE["both"]
    options = OPTIONS | {"reduction": reduction}
    expected = loss(logits_in, targets, logits_out, **options, **where)
    one_hot = np.eye(K, dtype=np.float32)[targets]
    np.testing.assert_allclose(loss(logits_in, one_hot, logits_out, **options, **where), expected, rtol=1e-6)
    where = {"where_in": where["where_in"].reshape(2, 3), "where_out": where["where_out"].reshape(3, 3)}
    folded = logits_in.reshape(2, 3, K), targets.reshape(2, 3), logits_out.reshape(3, 3, K)
    np.testing.assert_allclose(loss(*folded, **options, **where), expected, rtol=1e-6)


# The pooled mean of outlier exposure.


@MASKED
@pytest.mark.parametrize("form", ["kl", "cross_entropy"])
def test_pooled_outlier_exposure_is_one_mean_over_all_rows(masked, form):
    logits_in, targets, logits_out = inputs()
    targets[3] = -100  # is no row of the mean
    where = WHERE[masked]
    options = {"form": form, "lambda_oe": 0.7, "reduction": "pooled"} | where
    value, (grad_in, grad_out) = jax.value_and_grad(
        lambda a, b: ood_jax.outlier_exposure_loss(a, targets, b, **options), argnums=(0, 1)
    )(jnp.asarray(logits_in), jnp.asarray(logits_out))
    keep_in = where.get("where_in", np.ones(N, bool)) & (targets != -100)
    keep_out = where.get("where_out", np.ones(M, bool))
    (energy_in, p_in), (energy_out, p_out) = energies(logits_in), energies(logits_out)
    one_hot = np.eye(K)[np.where(keep_in, targets, 0)]
    entropy = -energy_in - (one_hot * logits_in).sum(-1)
    term = -energy_out - logits_out.astype(np.float64).mean(-1) - (np.log(K) if form == "kl" else 0)
    rows = keep_in.sum() + keep_out.sum()
    expected = (entropy[keep_in].sum() + 0.7 * term[keep_out].sum()) / rows
    by_in, by_out = keep_in[:, None] * (p_in - one_hot), 0.7 * keep_out[:, None] * (p_out - 1 / K)
    assert_close((value, grad_in, grad_out), (expected, by_in / rows, by_out / rows))


def test_pooled_outlier_exposure_without_rows():
    logits_in, targets, logits_out = inputs()
    pooled = {"reduction": "pooled"}
    oe = ood_jax.outlier_exposure_loss
    np.testing.assert_allclose(oe(logits_in, targets, **pooled), oe(logits_in, targets), rtol=1e-6)
    none = {"where_in": np.zeros(N, bool), "where_out": np.zeros(M, bool)}
    assert float(oe(logits_in * np.nan, targets, logits_out * np.nan, **none, **pooled)) == 0


# Dtypes and extremes.


@REDUCTIONS
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_logits_are_computed_in_float32(reduction, dtype):
    logits_in, targets, logits_out = inputs()
    logits_in, logits_out = jnp.asarray(logits_in, dtype), jnp.asarray(logits_out, dtype)
    options = OPTIONS | {"reduction": reduction}
    value, *gradients = value_and_gradients(logits_in, targets, logits_out, **options)
    assert value.dtype == jnp.float32
    assert all(gradient.dtype == jnp.dtype(dtype) for gradient in gradients)
    np.testing.assert_allclose(value, formula(logits_in, targets, logits_out, **options)[0], rtol=RTOL)
    margins = ood_jax.calibrate_margins(logits_in, logits_out)
    assert {margin.dtype for margin in margins} == {jnp.dtype(jnp.float32)}


@REDUCTIONS
def test_float64_stays_float64(reduction):
    with jax.enable_x64(True):
        logits_in, targets, logits_out = inputs()
        logits_in, logits_out = logits_in + 1e-9 * np.arange(K), logits_out.astype(np.float64)
        options = OPTIONS | {"reduction": reduction}
        result = value_and_gradients(logits_in, targets, logits_out, **options)
        assert {leaf.dtype for leaf in result} == {jnp.dtype(jnp.float64)}
        assert_close(result, formula(logits_in, targets, logits_out, **options), rtol=1e-12)
        assert loss(jnp.asarray(logits_in, jnp.bfloat16), targets, logits_out, **OPTIONS).dtype == jnp.float64


@REDUCTIONS
@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_extreme_logits_have_finite_gradients(reduction, extreme):
    logits_in, targets, logits_out = inputs()
    logits_in[::2, 1] = logits_out[::2, 2] = extreme
    logits_in[1], logits_out[1] = extreme, extreme
    options = OPTIONS | {"reduction": reduction}
    result = value_and_gradients(logits_in, targets, logits_out, **options)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in result)
    # An energy of 1e4 is known to 1e-3 in float32, but its hinge only needs its own seven digits.
    assert_close(result, formula(logits_in, targets, logits_out, **options), rtol=1e-5)


# Margins.


@pytest.mark.parametrize(
    ("m_in", "m_out"),
    [
        (-5.0, -23.0),
        (-5.0, -5.0),
        (3, 2),
        (2, 2.0),
        (np.float32(1), np.float64(0)),
        (np.int64(1), 1),
        (np.nan, 0.0),
        (jnp.float32(3), 2.0),
    ],
)
def test_numbers_out_of_order_are_an_error(m_in, m_out):
    with pytest.raises(ValueError, match=r"^`m_in` must be below `m_out`.*swap them"):
        loss(*inputs(), m_in=m_in, m_out=m_out)


def test_one_margin_is_checked_against_the_others_default():
    with pytest.raises(ValueError, match=r"^`m_in`.*m_out=-5\.0"):
        loss(*inputs(), m_in=0.0)
    with pytest.raises(ValueError, match=r"^`m_in`.*m_in=-23\.0"):
        loss(*inputs(), m_out=-30.0)


@pytest.mark.parametrize("m_in", [-3.5, -3.0, np.nan])
@REDUCTIONS
def test_traced_margins_out_of_order_are_nan(m_in, reduction):
    arguments = inputs()
    traced = jax.jit(lambda m_in, m_out: loss(*arguments, m_in=m_in, m_out=m_out, reduction=reduction))
    traced_alone = jax.jit(lambda m_in: loss(*arguments[:2], m_in=m_in, m_out=-3.5, reduction=reduction))
    assert np.isnan(traced(m_in, -3.5))
    assert np.isfinite(traced(-4.0, -3.5))
    assert np.isnan(traced_alone(m_in))  # one of the two is enough


def test_margins_as_arrays_give_the_same_and_compile_once():
    arguments = inputs()
    values = [loss(*arguments, lambda_energy=0.3, m_in=jnp.float32(-4.0), m_out=jnp.float32(-3.5))]
    compiled = loss._cache_size()
    for m_in, m_out in ((-5.0, -3.0), (-6.0, -2.5)):
        values.append(loss(*arguments, lambda_energy=0.3, m_in=jnp.float32(m_in), m_out=jnp.float32(m_out)))
        np.testing.assert_allclose(values[-1], formula(*arguments, 0.3, m_in, m_out)[0], rtol=RTOL)
    assert loss._cache_size() == compiled
    assert float(values[0]) == float(loss(*arguments, **OPTIONS))


def test_the_loss_has_derivatives_by_its_margins():
    logits_in, targets, logits_out = inputs()
    by_margins = jax.grad(
        lambda m_in, m_out: loss(logits_in, targets, logits_out, lambda_energy=0.3, m_in=m_in, m_out=m_out), (0, 1)
    )(jnp.float32(-4.0), jnp.float32(-3.5))
    over = np.maximum(energies(logits_in)[0] + 4.0, 0)
    under = np.maximum(-3.5 - energies(logits_out)[0], 0)
    np.testing.assert_allclose(by_margins, (-0.6 * over.mean(), 0.6 * under.mean()), rtol=RTOL)


# Calibration.


def test_calibrated_margins_are_the_mean_energies():
    logits_in, targets, logits_out = inputs()
    logits_in = logits_in + 3  # as after training
    margins = ood_jax.calibrate_margins(logits_in, logits_out)
    assert isinstance(margins, ood_jax.Margins)
    m_in, m_out = energies(logits_in)[0].mean(), energies(logits_out)[0].mean()
    np.testing.assert_allclose(margins.m_in, m_in, rtol=1e-6)
    np.testing.assert_allclose(margins.m_out, m_out, rtol=1e-6)
    np.testing.assert_allclose(margins.m_in, ood_jax.free_energy(logits_in).mean(), rtol=1e-6)
    folded = ood_jax.calibrate_margins(logits_in.reshape(2, 3, K), logits_out.reshape(3, 3, K))
    np.testing.assert_allclose(folded, margins, rtol=1e-6)
    # And into the loss, eager and traced.
    expected = formula(logits_in, targets, logits_out, 0.1, m_in, m_out)[0]
    np.testing.assert_allclose(loss(logits_in, targets, logits_out, **margins._asdict()), expected, rtol=RTOL)

    @jax.jit
    def calibrated(logits_in, logits_out):
        margins = ood_jax.calibrate_margins(logits_in, logits_out)
        return loss(logits_in, targets, logits_out, m_in=margins.m_in, m_out=margins.m_out)

    np.testing.assert_allclose(calibrated(logits_in, logits_out), expected, rtol=RTOL)


def test_margins_of_a_model_that_prefers_outliers_are_refused():
    logits_in, targets, logits_out = inputs()
    m_in, m_out = ood_jax.calibrate_margins(logits_in, logits_out + 9)
    assert float(m_in) > float(m_out)
    with pytest.raises(ValueError, match=r"^`m_in`"):
        loss(logits_in, targets, logits_out, m_in=m_in, m_out=m_out)


@pytest.mark.parametrize(("rows_in", "rows_out", "named"), [(0, M, "logits_in"), (N, 0, "logits_out")])
def test_a_mean_needs_a_row(rows_in, rows_out, named):
    with pytest.raises(ValueError, match=rf"^`{named}` must have at least one row, got shape \(0, {K}\)"):
        ood_jax.calibrate_margins(np.zeros((rows_in, K), np.float32), np.zeros((rows_out, K), np.float32))
