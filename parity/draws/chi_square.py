"""Chi-square tests of draws counted in cells: against a law, or one sample against another."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .drawn import Cells

FALSE_ALARM = 1e-6
"""The probability with which a test of equal distributions says that they differ."""

_LEAST = 20  # draws expected in a cell; fewer, and the chi-square law is wrong about tails as far out as FALSE_ALARM


def law_surprise(cells: Cells, law: NDArray[np.float64]) -> float:
    """How surprising draws are of a law, the probability of each cell: -log10 of the p-value of a chi-square test."""
    counts = np.bincount(cells, minlength=law.size)
    if counts.size > law.size or counts[law == 0].any():
        return math.inf  # impossible draws
    return _surprise(counts[None], law[None] * cells.size)


def sample_surprise(first: Cells, second: Cells) -> float:
    """How surprising two samples are of one law: -log10 of the p-value of a chi-square test."""
    size = int(max(first.max(), second.max())) + 1
    counts = np.stack([np.bincount(sample, minlength=size) for sample in (first, second)])
    totals = counts.sum(axis=1, keepdims=True)
    return _surprise(counts, counts.sum(axis=0) / totals.sum() * totals)


def _surprise(counts: NDArray[np.intp], expected: NDArray[np.float64]) -> float:
    """-log10 of the chi-square test's p-value, for counts and expected counts (samples, cells)."""
    pools = _pools(expected.min(axis=0))
    observed, expected = _pooled(counts, pools), _pooled(expected, pools)
    statistic = ((observed - expected) ** 2 / expected).sum()
    return float(-stats.chi2.logsf(statistic, observed.shape[1] - 1) / math.log(10)) + 0.0  # no -0


def _pools(expected: NDArray[np.float64]) -> Cells:
    """Which cells are counted together: frequent ones alone, rare ones all as one, so that no draw is left out."""
    frequent = expected >= _LEAST
    rest = int(frequent.sum())
    if expected[~frequent].sum() < _LEAST:
        rest -= 1  # with the last of the frequent ones, being too rare even together
    if rest < 1:
        raise ValueError(f"draws in one cell alone tell no distributions apart; {_LEAST} must be expected in two")
    return np.where(frequent, np.cumsum(frequent) - 1, rest)


def _pooled(numbers: NDArray[Any], pools: Cells) -> NDArray[np.float64]:
    return np.stack([np.bincount(pools, row) for row in numbers])
