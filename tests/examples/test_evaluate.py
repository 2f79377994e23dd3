import jax.numpy as jnp
import numpy as np
import pytest

from examples.digits import evaluate

KNOWN = np.arange(20.0)  # 95% of 20 is 19, so the threshold keeps scores up to 18


def test_fpr95_is_the_share_of_the_unknown_within_the_threshold_that_keeps_95_percent_of_the_known():
    # Counted the other way round, with the unknown as the positive class, it would be 2 of 20.
    assert evaluate.fpr95(KNOWN, np.array([17.5, 18.5, 30.0, 40.0])) == 0.25


def test_fpr95_counts_the_unknown_on_the_threshold_as_taken_for_known():
    assert evaluate.fpr95(KNOWN, np.array([18.0, 18.0, 30.0, 40.0])) == 0.5


def test_fpr95_keeps_at_least_95_percent_where_no_threshold_keeps_just_that():
    # 9 of 10 are not enough, so all 10 are kept.
    assert evaluate.fpr95(np.arange(10.0), np.array([8.5, 9.5])) == 0.5


def test_perfect_detection():
    assert evaluate.auroc(KNOWN, KNOWN + 100) == 1
    assert evaluate.fpr95(KNOWN, KNOWN + 100) == 0


def test_reversed_scores_are_the_worst_possible():
    assert evaluate.auroc(KNOWN + 100, KNOWN) == 0
    assert evaluate.fpr95(KNOWN + 100, KNOWN) == 1


def test_auroc_is_the_share_of_pairs_in_order_with_ties_counting_half():
    known, unknown = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0])
    pairs = [(u > k) + 0.5 * (u == k) for k in known for u in unknown]
    assert evaluate.auroc(known, unknown) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("score", evaluate.SCORES)
def test_scores_are_higher_for_a_less_certain_prediction(score):
    sure, unsure = evaluate.SCORES[score](jnp.array([[9.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    assert sure < unsure


def test_softmax_score_is_what_the_largest_probability_lacks_of_1():
    logits = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]]))
    np.testing.assert_allclose(evaluate.SCORES["softmax"](logits), [0.3, 0.5], rtol=1e-6)


def test_a_measure_takes_the_score_the_unknown_and_the_metric_it_is_asked_for():
    scored = evaluate.Scored(KNOWN, near=KNOWN, far=KNOWN + 100)
    outcome = evaluate.Outcome(
        1.0, {"softmax": scored, "energy": evaluate.Scored(-KNOWN, KNOWN - 3.5, -KNOWN)}, np.zeros(1)
    )
    assert evaluate.measure(outcome, "softmax", "near", "auroc") == pytest.approx(0.5)
    assert evaluate.measure(outcome, "softmax", "far", "auroc") == 1
    assert evaluate.measure(outcome, "softmax", "far", "fpr95") == 0
    assert evaluate.measure(outcome, "energy", "near", "fpr95") == pytest.approx(0.15)


def test_an_estimate_is_the_mean_and_its_standard_error():
    mean, error = evaluate.estimate([1.0, 2.0, 3.0])
    assert mean == 2
    assert error == pytest.approx(1 / 3**0.5)
    assert evaluate.estimate([4.0]) == (4, None)
