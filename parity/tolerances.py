"""How far a result may be from its source's, in ulps: one table, each entry with its derivation."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Tolerance(NamedTuple):
    """The largest difference allowed, in ulps, and why."""

    ulps: float
    why: str


TOLERANCES: Mapping[str, Tolerance] = {
    "exact": Tolerance(
        0, "Pixels, labels, rows and boxes are copied, compared or counted in integers: nothing rounds, in any dtype."
    ),
    "lam": Tolerance(
        1,
        "λ of the host is float64, rounded to float32 once or twice on its way; ours is rounded once. So at most they "
        "are neighbours. Where a source computes 1 - area, the ulp is that of 1.",
    ),
    "mixup": Tolerance(
        2,
        "Float32 and float64: both sides round both products and their sum. One ulp each way is left for λ and 1 - λ, "
        "which a source may round elsewhere.",
    ),
    "mixup half": Tolerance(
        4,
        "Bfloat16 and float16, in ulps of the largest input: a source rounds λ, 1 - λ, both products and the sum, "
        "half an ulp each and twice for each factor of a product; ours rounds once.",
    ),
    "mixup gradient": Tolerance(
        4,
        "A sum of two products, with weights rounded as in mixup, in ulps of the largest entry: half an ulp for each "
        "of three roundings on each side, and one for λ. The derivative for λ is a sum over all pixels, in ulps of the "
        "sum of their sizes, where the roundings of the products average out.",
    ),
    "soft targets": Tolerance(
        4,
        "In ulps of 1: on and off values, two products and a sum, half an ulp each at most, on both sides.",
    ),
    "loss": Tolerance(
        8,
        "A loss is a handful of sums, exponentials and logarithms of numbers as large as the logits and log K, each "
        "rounded to half an ulp of that size on both sides; in ulps of that size. Gradients are the same of numbers up "
        "to a row's weight, and an exponent as large as the logits carries its rounding into it. The root of K is "
        "added, because the source sums K exponentials plainly, whose errors grow like it. Float64 is held to the same "
        "number of its own, smaller ulps. Where softmax underflows the truth alone is the judge.",
    ),
    "trajectory": Tolerance(
        1, "Of the distance that a rounding of the weights would take the curve; see docs/trajectories.md."
    ),
}


def ulps(operation: str) -> float:
    """The tolerance of an operation."""
    return TOLERANCES[operation].ulps


def loss_ulps(logits: np.ndarray) -> float:
    """The tolerance of a loss of these logits."""
    if np.ptp(logits, axis=-1).max(initial=0) > 87:  # exp(-87) is subnormal in float32
        return np.inf
    return ulps("loss") + float(np.sqrt(logits.shape[-1]))
