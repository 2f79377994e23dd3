"""The scores of logits against mpmath or float64, on usual and on extreme rows."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

from ood_jax import free_energy, scores

RNG = np.random.default_rng(0)
ROWS, CLASSES = 12, 7
# Each row has another spread, from nearly uniform to a hopeless underflow, and some have ties and impossible classes.
LOGITS = np.stack([RNG.standard_normal(CLASSES) * 10.0**e for e in np.linspace(-4, 4, ROWS)]).astype(np.float32)
LOGITS[3, :2] = LOGITS[3].max()
LOGITS[5, 4] = -np.inf
LOGITS[6] += 1e4  # to divide by a temperature first would round away what they differ by
LOGITS[7] = [40, 0, 0, 1, -50, 3, 2]


def exactly(row, temperature=1):
    """The probabilities with 60 digits, largest first."""
    exp = [mpmath.exp(mpmath.mpf(float(z)) / temperature) for z in row]
    return sorted((e / sum(exp) for e in exp), reverse=True)


def msp(row, temperature=1):
    return sum(exactly(row, temperature)[1:])


def entropy(row):
    return -sum(p * mpmath.log(p) for p in exactly(row) if p)


def gen(row, gamma=0.1, top=CLASSES):
    complements = [sum(p for j, p in enumerate(exactly(row)) if j != k) for k in range(CLASSES)]
    return sum(p**gamma * q**gamma for p, q in list(zip(exactly(row), complements, strict=True))[:top])


def kl_uniform(row):
    p = exactly(row)
    return -mpmath.inf if not all(p) else sum(mpmath.log(q) + mpmath.log(CLASSES) for q in p) / CLASSES


def energy(row, temperature=1):
    return -temperature * mpmath.log(sum(mpmath.exp(mpmath.mpf(float(z)) / temperature) for z in row))


REFERENCES = {
    "msp": (scores.msp_score, msp),
    "msp T=5": (lambda z: scores.msp_score(z, temperature=5), lambda row: msp(row, 5)),
    "max_logit": (scores.max_logit_score, lambda row: -max(row)),
    "energy T=2": (lambda z: scores.energy_score(z, temperature=2), lambda row: energy(row, 2)),
    "entropy": (scores.entropy_score, entropy),
    "kl_uniform": (scores.kl_uniform_score, kl_uniform),
    "gen": (scores.gen_score, gen),
    "gen γ=0.5, 3 of 7": (lambda z: scores.gen_score(z, gamma=0.5, top=3), lambda row: gen(row, 0.5, 3)),
}


@jax.jit
def every(logits):
    """All scores in one program, for what takes the time is compiling."""
    return {name: score(logits) for name, (score, _) in REFERENCES.items()}


def test_every_digit_also_on_extreme_rows():
    single, half = every(jnp.asarray(LOGITS)), every(jnp.asarray(LOGITS, jnp.bfloat16))
    rounded = every(jnp.asarray(LOGITS, jnp.bfloat16).astype(jnp.float32))
    with jax.enable_x64():
        double = every(jnp.asarray(LOGITS, jnp.float64))
    for name, (_, reference) in REFERENCES.items():
        with mpmath.workdps(60):
            expected = np.array([float(reference(row)) for row in LOGITS])
        assert [result[name].dtype for result in (single, half, double)] == [np.float32, np.float32, np.float64]
        # An exponent of 87, the last that float32 can hold, carries half an ulp of its own into the result.
        np.testing.assert_allclose(single[name], expected, rtol=6e-6, atol=1e-37, err_msg=name)
        np.testing.assert_allclose(double[name], expected, rtol=1e-13, atol=1e-300, err_msg=name)
        np.testing.assert_allclose(half[name], rounded[name], rtol=1e-6, err_msg=name)


def test_confident_rows_do_not_tie():
    logits = jnp.zeros((ROWS, CLASSES)).at[:, 2].set(jnp.linspace(18, 80, ROWS))
    for name in ("msp", "entropy"):
        assert len(np.unique(every(logits)[name])) == ROWS
    # GEN works on logarithms, so it goes on where every other probability underflows.
    assert len(np.unique(every(10 * logits)["gen"])) == ROWS


def test_higher_is_more_out_of_distribution():
    logits = jnp.zeros((ROWS, CLASSES)).at[:, 2].set(jnp.linspace(9, 0.2, ROWS))
    for name, result in every(logits).items():
        if name != "gen γ=0.5, 3 of 7":
            assert np.all(np.diff(result) > 0), name


def test_rows_without_a_softmax():
    infinite = jnp.zeros((ROWS, CLASSES)).at[0, 1].set(jnp.inf).at[1].set(-jnp.inf).at[2, 3].set(jnp.nan)
    results = every(infinite)
    for name in ("msp", "entropy", "gen"):
        np.testing.assert_array_equal(results[name][:3], [0, np.nan, np.nan])  # certain, impossible, unknown
    np.testing.assert_array_equal(results["max_logit"][:3], [-np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(results["kl_uniform"][:3], [np.nan, np.nan, np.nan])


def test_a_single_class_is_certain():
    for score in (scores.msp_score, scores.entropy_score, scores.gen_score):
        np.testing.assert_array_equal(score(jnp.array([[3.0], [jnp.nan], [-jnp.inf]])), [0, np.nan, 0])


def test_numbers_out_of_range_are_nan():
    logits = jnp.asarray(LOGITS)
    for number in (0.0, -1.0, jnp.nan):
        for result in (
            scores.msp_score(logits, temperature=number),
            scores.energy_score(logits, temperature=number),
            scores.gen_score(logits, gamma=number),
        ):
            assert np.isnan(result).all()


def test_the_energy_is_the_librarys():
    np.testing.assert_array_equal(
        scores.energy_score(jnp.asarray(LOGITS), temperature=3), free_energy(jnp.asarray(LOGITS), temperature=3)
    )


def test_gradients_are_finite_where_a_class_is_impossible_and_where_two_tie():
    @jax.jit
    def gradients(logits):
        functions = (scores.msp_score, scores.entropy_score, scores.gen_score)
        return [jax.grad(lambda z, score=score: jnp.sum(score(z)))(logits) for score in functions]

    for gradient in gradients(jnp.asarray(LOGITS)):
        assert np.isfinite(gradient).all()
        # Adding a constant to all logits changes no softmax.
        np.testing.assert_allclose(jnp.sum(gradient, axis=-1), np.zeros(ROWS), atol=2e-6)


def test_the_derivative_by_temperature_does_not_see_an_impossible_class():
    row = [2.0, 1.0, -0.5]
    for score in (scores.msp_score, scores.energy_score):
        for impossible in (-np.inf, -3e38):

            def slope(*logits, score=score):
                logits = jnp.array(logits)
                backward = jax.grad(lambda t: score(logits, temperature=t))(1.5)
                forward = jax.jvp(lambda t: score(logits, temperature=t), (1.5,), (1.0,))[1]
                curvature = jax.grad(jax.grad(lambda t: score(logits, temperature=t)))(1.5)
                return np.array([backward, forward, curvature])

            np.testing.assert_allclose(slope(*row, impossible), slope(*row), rtol=1e-5, err_msg=f"{score} {impossible}")


def test_the_derivative_by_temperature_is_that_of_the_definition():
    logits = jnp.array([2.0, 1.0, -0.5])
    definitions = {
        scores.msp_score: lambda t: 1 - jax.nn.softmax(logits / t).max(),
        scores.energy_score: lambda t: -t * jax.nn.logsumexp(logits / t),
    }
    for score, definition in definitions.items():
        for order in (jax.grad, lambda f: jax.grad(jax.grad(f))):
            ours = order(lambda t, score=score: score(logits, temperature=t))(1.5)
            np.testing.assert_allclose(ours, order(definition)(1.5), rtol=1e-4)
