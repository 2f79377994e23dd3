import math

import pytest

from examples.benchmark import cells, page
from examples.benchmark.cells import Cell
from examples.benchmark.evaluate import Row
from examples.benchmark.summary import Key, collect, difference, estimate, rank, twins


def test_far_is_the_mean_of_the_far_sets_and_near_is_not_among_them():
    rows = [Row("auroc", value, "msp", ood) for ood, value in (("near", 0.1), ("noise", 0.8), ("textures", 0.6))]
    values = collect({Cell("digits", "mixup", "jax", 4): [*rows, Row("accuracy", 0.9)]})
    of = Key("digits", "mixup", "jax", "auroc", "msp")
    assert values[of._replace(ood="far")] == {4: pytest.approx(0.7)}
    assert values[of._replace(ood="near")] == {4: 0.1}
    assert values[Key("digits", "mixup", "jax", "accuracy")] == {4: 0.9}


def test_estimate_is_mean_and_standard_error():
    mean, error = estimate([1, 2, 6])
    assert mean == 3
    assert error == pytest.approx(math.sqrt(7 / 3))  # variance 14 / 2, over 3
    assert estimate([5]) == (5, None)
    assert f"{estimate([0.5, 0.7])}" == "60.0 ± 10.0"


def test_difference_pairs_the_seeds_that_both_have():
    pair = difference({0: 1.0, 1: 2.0, 2: 4.0, 9: 100.0}, {2: 1.0, 1: 0.0, 0: 0.0})
    assert pair.mean == 2
    assert pair.error == pytest.approx(1 / math.sqrt(3))
    # Student's t for two degrees of freedom is 4.303, and the mean 3.46 errors.
    assert pair.within_noise
    assert pair.in_errors == pytest.approx(2 * math.sqrt(3))


def test_difference_that_all_seeds_agree_on_is_not_noise():
    assert not difference({0: 1.0, 1: 2.0, 2: 3.1}, {0: 0.0, 1: 1.0, 2: 2.0}).within_noise


def test_rank_puts_the_best_first_whichever_way_the_metric_goes():
    keys = {
        metric: [Key("d", method, "jax", metric, "msp", "near") for method in "ab"] for metric in ("auroc", "fpr95")
    }
    values = {
        key: {0: level, 1: level + 0.1} for of in keys.values() for key, level in zip(of, (0.2, 0.6), strict=True)
    }
    assert [found.key.method for found in rank(values, keys["auroc"])] == ["b", "a"]
    assert [found.key.method for found in rank(values, keys["fpr95"])] == ["a", "b"]
    assert rank(values, keys["auroc"])[1].difference.mean == pytest.approx(-0.4)


def test_a_page_without_near_ood_has_no_ranks_of_it(tmp_path):
    rows = [Row("accuracy", 0.9), Row("auroc", 0.8, "msp", "noise"), Row("fpr95", 0.3, "msp", "noise")]
    for seed in range(2):
        cells.save_rows(tmp_path, Cell("fashion-10", "baseline", "torch", seed), "", rows)
    page.save(tmp_path)
    text = (tmp_path / page.NAME).read_text()
    assert "AUROC, far: baseline (msp) 80.0" in text
    assert "AUROC, near" not in text
    assert "| baseline | 90.0 ± 0.0 | – | msp | – | – | 80.0 ± 0.0 | 30.0 ± 0.0 |" in text


def test_twins_need_two_seeds_of_both():
    jax, torch = (Key("d", "mixup", framework, "accuracy") for framework in ("jax", "torch"))
    assert twins({jax: {0: 1.0, 1: 1.0}, torch: {0: 1.0}}) == []
    (twin,) = twins({jax: {0: 0.5, 1: 0.9, 2: 9.0}, torch: {0: 0.4, 1: 0.6}})
    assert twin.key == jax
    assert twin.pairs == 2
    assert twin.jax.mean == pytest.approx(0.7)
    assert twin.difference.mean == pytest.approx(0.2)
