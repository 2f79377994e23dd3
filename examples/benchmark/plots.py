"""The pictures of the page. Points are means over seeds, bars their standard errors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from .summary import Key, Values, estimate, ranked_framework

COLOURS = {"msp": "#3b6fb6", "energy": "#d1632a"}
MARKERS = {"jax": "o", "torch": "D"}


def save(folder: Path, values: Values, datasets: Sequence[str], methods: Sequence[str], scores: Sequence[str]) -> None:
    matplotlib.use("agg")
    detection(folder / "detection.png", values, datasets, methods)
    calibration(folder / "calibration.png", values, datasets, methods)
    score_grid(folder / "scores.png", values, datasets, methods, scores)


def detection(path: Path, values: Values, datasets: Sequence[str], methods: Sequence[str]) -> None:
    """AUROC by method, near and far, for both scores and frameworks."""
    places = _places(values, datasets)
    figure, axes = plt.subplots(
        1, len(places), figsize=(1.5 + 2.6 * len(places), 0.9 + 0.36 * len(methods)), sharey=True, squeeze=False
    )
    for axis, (dataset, ood) in zip(axes[0], places, strict=True):
        for score, colour in COLOURS.items():
            for framework, marker in MARKERS.items():
                offset = {"msp": -0.18, "energy": 0.18}[score] + {"jax": -0.07, "torch": 0.07}[framework]
                _points(
                    axis,
                    values,
                    [Key(dataset, m, framework, "auroc", score, ood) for m in methods],
                    offset,
                    color=colour,
                    marker=marker,
                    mfc=colour if framework == "jax" else "white",
                    label=f"{score}, {framework}",
                )
        axis.set_title(f"{dataset}, {ood}")
        axis.set_xlabel("AUROC, %")
    _name_rows(axes[0][0], methods)
    _legend(figure, axes[0][0])
    _finish(figure, path)


def calibration(path: Path, values: Values, datasets: Sequence[str], methods: Sequence[str]) -> None:
    """Accuracy and expected calibration error by method."""
    places = [(dataset, metric) for dataset in datasets for metric in ("accuracy", "ece")]
    figure, axes = plt.subplots(
        1, len(places), figsize=(1.5 + 2.6 * len(places), 0.9 + 0.3 * len(methods)), sharey=True, squeeze=False
    )
    for axis, (dataset, metric) in zip(axes[0], places, strict=True):
        for framework, marker in MARKERS.items():
            offset = {"jax": -0.1, "torch": 0.1}[framework]
            _points(
                axis,
                values,
                [Key(dataset, m, framework, metric) for m in methods],
                offset,
                color="#444444",
                marker=marker,
                mfc="#444444" if framework == "jax" else "white",
                label=framework,
            )
        axis.set_title(dataset)
        axis.set_xlabel({"accuracy": "accuracy, %", "ece": "expected calibration error, %"}[metric])
    _name_rows(axes[0][0], methods)
    _legend(figure, axes[0][0])
    _finish(figure, path)


def score_grid(
    path: Path, values: Values, datasets: Sequence[str], methods: Sequence[str], scores: Sequence[str]
) -> None:
    """Mean AUROC of every score on every method's network."""
    places = _places(values, datasets)
    figure, axes = plt.subplots(
        1,
        len(places),
        figsize=(1.5 + 0.45 * len(methods) * len(places), 1.6 + 0.3 * len(scores)),
        sharey=True,
        squeeze=False,
    )
    for axis, (dataset, ood) in zip(axes[0], places, strict=True):
        framework = ranked_framework(values, dataset)
        keys = [[Key(dataset, method, framework, "auroc", score, ood) for method in methods] for score in scores]
        grid = np.array([[100 * _mean(values, key) for key in row] for row in keys])
        axis.imshow(grid, aspect="auto", cmap="viridis", vmin=50, vmax=100)
        for (row, column), value in np.ndenumerate(grid):
            if np.isfinite(value):
                axis.text(
                    column,
                    row,
                    f"{value:.0f}",
                    ha="center",
                    va="center",
                    size=7,
                    color="white" if value < 80 else "black",
                )
        axis.set_xticks(range(len(methods)), methods, rotation=90, size=7)
        axis.set_title(f"{dataset}, {ood}: AUROC, %", size=9)
    axes[0][0].set_yticks(range(len(scores)), scores, size=8)
    _finish(figure, path)


def _places(values: Values, datasets: Sequence[str]) -> list[tuple[str, str]]:
    """Data sets with the kinds of OOD that they have: no near-OOD where all classes are known."""
    present = {(key.dataset, key.ood) for key in values}
    return [place for dataset in datasets for ood in ("near", "far") if (place := (dataset, ood)) in present]


def _points(axis: Axes, values: Values, keys: Sequence[Key], offset: float, **style: Any) -> None:
    rows = [row for row, key in enumerate(keys) if key in values]
    estimates = [estimate(values[keys[row]].values()) for row in rows]
    axis.errorbar(
        [100 * found.mean for found in estimates],
        np.array(rows) + offset,
        xerr=[100 * (found.error or 0) for found in estimates],
        linestyle="none",
        markersize=4,
        elinewidth=1,
        **style,
    )


def _mean(values: Values, key: Key) -> float:
    return estimate(values[key].values()).mean if key in values else float("nan")


def _name_rows(axis: Axes, methods: Sequence[str]) -> None:
    axis.set_yticks(range(len(methods)), methods)
    axis.set_ylim(len(methods) - 0.5, -0.5)


def _legend(figure: plt.Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)


def _finish(figure: plt.Figure, path: Path) -> None:
    figure.set_layout_engine("constrained")
    figure.savefig(path, dpi=130)
    plt.close(figure)
