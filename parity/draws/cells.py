"""The cells that draws are counted in, of λ, boxes, permutations and pairs, and the laws of those that have one."""

import functools
import math
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .drawn import HEIGHT, ROWS, WIDTH, Cells

_SMALLEST = 2.0**-100  # λ below is one bin, because not every generator reaches as far down
_LARGEST = 1 - 2.0**-23  # λ above is one bin, because PyTorch's Beta gives the float32 below 1 for 1


def lam_cells(lam: NDArray[np.float32], alpha: float, bins: int) -> tuple[Cells, NDArray[np.float64]]:
    edges, law = _lam_bins(alpha, bins)
    return np.searchsorted(edges, lam.astype(np.float64)), law


@functools.cache
def _lam_bins(alpha: float, bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges between bins of λ that are about equally likely, and the bins' exact probabilities under Beta(α, α)."""
    beta = stats.beta(alpha, alpha)
    last = np.clip(beta.ppf(np.arange(1, bins) / bins), _SMALLEST, _LARGEST).astype(np.float32)
    # Halfway to the next float32, an edge parts what rounds down from what rounds up. So rounding moves nothing over
    # it, and the bin above the last edge has the lump at 1.
    edges = np.unique((last.astype(np.float64) + np.nextafter(last, np.float32(2)).astype(np.float64)) / 2)
    return edges, np.diff(beta.cdf(edges), prepend=0.0, append=1.0)


def two_rows(cells: Cells, law: NDArray[np.float64]) -> tuple[Cells, NDArray[np.float64]]:
    return joined(cells[:, 0], cells[:, 1], law.size), np.outer(law, law).ravel()


def joined(first: Cells, second: Cells, size: int) -> Cells:
    """The cells of a pair, whose second entry is below `size`."""
    return first * size + second


def box_cells(box: Cells) -> Cells:
    return np.asarray(np.ravel_multi_index(tuple(box.T), (HEIGHT + 1, HEIGHT + 1, WIDTH + 1, WIDTH + 1)), np.intp)


def permutation_cells(partner: Cells) -> Cells:
    return np.asarray(np.ravel_multi_index(tuple(partner.T), (ROWS,) * ROWS), np.intp)


@functools.cache
def permutation_law() -> NDArray[np.float64]:
    law = np.zeros(ROWS**ROWS)
    law[permutation_cells(np.array(list(permutations(range(ROWS)))))] = 1 / math.factorial(ROWS)
    return law
