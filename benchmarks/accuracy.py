"""Prints the table of docs/numerics.md: errors against the truth where formulas differ most."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from parity.cases.loss_pairs import loss_pairs
from parity.cases.losses import compare_loss_on

OUTLIER_EXPOSURE, ENERGY = "outlier_exposure definition kl", "energy_regularized definition pairwise"


def situations() -> Iterator[tuple[str, str, Any, Any, Any]]:
    """What happens, the loss, and its inputs."""
    rng = np.random.default_rng(0)
    rows, classes = 64, 10
    labels = np.arange(rows) % classes

    def normal(scale: float) -> Any:
        return (scale * rng.standard_normal((rows, classes))).astype(np.float32)

    def confident(gap: float) -> Any:
        return normal(1) + np.float32(gap) * np.eye(classes, dtype=np.float32)[labels]

    yield "first steps of training", OUTLIER_EXPOSURE, normal(1), labels, normal(1)
    yield "right by 10, outliers arbitrary", OUTLIER_EXPOSURE, confident(10), labels, normal(1)
    yield "right by 20, outliers within 0.01 of uniform", OUTLIER_EXPOSURE, confident(20), labels, normal(0.01)
    yield "outliers' softmax underflows", OUTLIER_EXPOSURE, confident(3), labels, normal(50)
    large = rng.standard_normal((2, 8, 21841)).astype(np.float32)
    yield "21,841 classes", OUTLIER_EXPOSURE, large[0], rng.integers(0, 21841, 8), large[1]
    yield "21,841 classes", ENERGY, large[0], rng.integers(0, 21841, 8), large[1]
    huge = normal(1e4)
    moved = huge + rng.uniform(-5, 5, (rows, 1)).astype(np.float32)
    yield "logits of 1e4, all right", ENERGY, huge, huge.argmax(-1), moved


def main() -> None:
    print(
        "| | loss | of the loss | of the gradient, data | of the gradient, outliers |\n| --- | --- | --- | --- | --- |"
    )
    for name, loss, *inputs in situations():
        results = compare_loss_on(loss_pairs()[loss], *inputs, forward=False)[:3]
        cells = [f"{result.error:.1f} / {result.source_error:,.1f}" for result in results]
        print(f"| {name} | {loss.split()[0]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
