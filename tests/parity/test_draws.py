"""The comparison of draws: its cases, and the tests of distributions that they are made of."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from parity.draws import draw_cases
from parity.draws.chi_square import law_surprise, sample_surprise

CASES = {(source, name): run for name, source, run in draw_cases()}


def test_names_are_unique_and_a_case_gives_the_same_figures_again():
    assert len(CASES) == len(list(draw_cases()))
    run = CASES["definition", "draw_mixup definition alpha=1"]
    assert run() == run()


def test_a_case_leaves_the_global_generators_as_they_were():
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    expected = np.random.random(), torch.rand(()).item()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    CASES["definition", "draw_mixup definition alpha=1"]()
    assert (np.random.random(), torch.rand(()).item()) == expected  # noqa: NPY002


def test_false_alarms_come_at_the_stated_rate():
    # 1000 tests of equal distributions: the p-values are uniform, so a tenth lies below a tenth.
    rng = np.random.default_rng(0)
    law = np.array([0.5, 0.3, 0.15, 0.0499, 0.0001])
    one = [law_surprise(rng.choice(5, 2000, p=law), law) for _ in range(1000)]
    two = [sample_surprise(rng.choice(5, 2000, p=law), rng.choice(5, 9000, p=law)) for _ in range(1000)]
    for surprises in (one, two):
        assert stats.kstest(10.0 ** -np.array(surprises), "uniform").pvalue > 1e-4


def test_impossible_draws_are_reported_and_a_single_cell_is_no_test():
    assert law_surprise(np.array([0, 1] * 100 + [2]), np.array([0.5, 0.5, 0.0])) == math.inf
    assert law_surprise(np.array([0, 1] * 100 + [3]), np.array([0.5, 0.5, 0.0])) == math.inf
    with pytest.raises(ValueError, match="one cell"):
        sample_surprise(np.zeros(100, np.intp), np.zeros(100, np.intp))
