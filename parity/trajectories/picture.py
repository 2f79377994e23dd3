"""The picture of training trajectories: their curves, and the chaos in them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .trajectory import Trajectory

# Okabe and Ito's colours, which are told apart with any kind of colour vision.
COLORS = {"float32": "#D55E00", "float64": "#0072B2"}
OURS, SOURCE = "#56B4E9", "#000000"


def plot(trajectories: Sequence[Trajectory]) -> Figure:
    """A row a method: both losses on top of one another, and their differences beside what roundings explain.

    Args:
      trajectories: the float32 and the float64 one of each method, in any order.
    """
    methods = list(dict.fromkeys(trajectory.method for trajectory in trajectories))
    # Drawn without pyplot, which would keep every figure and could want a display.
    figure = Figure(figsize=(11, 0.6 + 2.5 * len(methods)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(methods), 2, sharex=True, squeeze=False, width_ratios=(2, 3))
    for row, method in zip(axes, methods, strict=True):
        of_method = {trajectory.dtype: trajectory for trajectory in trajectories if trajectory.method == method}
        _losses(row[0], of_method["float32"])
        _differences(row[1], of_method)
    _share_limits(list(axes[:, 1]))
    axes[0, 0].set_title("loss in float32")
    axes[0, 1].set_title("how far apart the losses are; shaded: what roundings explain")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    return figure


def _losses(axis: Axes, trajectory: Trajectory) -> None:
    axis.plot(trajectory.ours, color=OURS, linewidth=4, label="Flax, optax, ood_jax")
    axis.plot(trajectory.source, color=SOURCE, linewidth=0.9, label="PyTorch, the definitions")
    axis.set(ylim=(0, None), xlim=(0, len(trajectory.ours) - 1))
    axis.set_ylabel(trajectory.method, fontsize=12, fontweight="bold")
    _tidy(axis)


def _differences(axis: Axes, of_method: dict[str, Trajectory]) -> None:
    for dtype, trajectory in of_method.items():
        color, steps = COLORS[dtype], np.arange(len(trajectory.ours))
        axis.fill_between(steps, trajectory.response, trajectory.allowed, color=color, alpha=0.18, linewidth=0)
        # Equal losses have no place on a logarithmic axis.
        apart = np.where(trajectory.differences > 0, trajectory.differences, np.nan)
        axis.plot(steps, apart, color=color, linewidth=1)
        at_end: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        axis.annotate(dtype, (steps[-1], trajectory.response[-1]), color=color, annotation_clip=False, **at_end)
    axis.set_yscale("log")
    _mark_chaos(axis, of_method["float32"].chaos_step())
    _tidy(axis)


def _mark_chaos(axis: Axes, step: int | None) -> None:
    if step is None:
        return
    axis.axvline(step, color="grey", linewidth=1, linestyle=":")
    on_left = step > axis.get_xlim()[1] / 2
    axis.annotate(
        f"chaos in float32 from step {step}",
        (step, 0.47),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if on_left else 5, 0),
        textcoords="offset points",
        ha="right" if on_left else "left",
        color="dimgrey",
        fontsize=9,
    )


def _share_limits(axes: Sequence[Axes]) -> None:
    """One scale for all methods, so that their chaos can be compared."""
    limits = np.array([axis.get_ylim() for axis in axes])
    for axis in axes:
        axis.set_ylim(limits[:, 0].min(), limits[:, 1].max())


def _tidy(axis: Axes) -> None:
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
