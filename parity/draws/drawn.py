"""What batches drew, and what a batch is: how many rows, and images of which size."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROWS = 4
"""Rows of a batch; few, so that each of the 24 permutations is frequent."""

HEIGHT, WIDTH = 5, 7
"""The image's size: unlike, so that swapped sides show, and small, so that each box is frequent."""

Cells = NDArray[np.intp]


class Draws(NamedTuple):
    """What a number of batches drew.

    Attributes:
      lam: (batches, r), float32, r = 1 where the batch shares one, `ROWS` where each row draws; None unless mixup.
      box: (boxes, 4), top, bottom, left, right; zeros if empty. Boxes that could not be seen are left out. None unless
        CutMix.
      kept: (batches, r), the share of pixels kept, as λ is returned by CutMix; None unless CutMix.
      partner: (batches, ROWS). Batches whose partners could not be seen are left out.
    """

    lam: NDArray[np.float32] | None
    box: Cells | None
    kept: NDArray[np.float32] | None
    partner: Cells


def boxes(top: ArrayLike, bottom: ArrayLike, left: ArrayLike, right: ArrayLike) -> Cells:
    """Edges of one shape as boxes (n, 4); zeros for the empty ones, which show nowhere and so are all the same."""
    edges = np.stack([np.ravel(edge) for edge in (top, bottom, left, right)], axis=1).astype(np.intp)
    empty = (edges[:, 0] >= edges[:, 1]) | (edges[:, 2] >= edges[:, 3])
    edges[empty] = 0
    return edges
