"""Pictures: ROC curves, score histograms, and a contact sheet of mixed images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import ood_jax

from .data import SIDE, load_split
from .evaluate import SCORES, UNKNOWNS, Outcome, Scored, roc
from .methods import METHODS

# Okabe and Ito's colours, which are told apart with any kind of colour vision; line styles help where lines overlap.
COLORS = dict(zip(METHODS, ("#000000", "#E69F00", "#009E73", "#0072B2", "#D55E00"), strict=True))
STYLES = dict(zip(METHODS, ("-", "--", "-.", ":", "-"), strict=True))
SOURCE_COLORS = {"known": "#0072B2", "near": "#E69F00", "far": "#CC79A7"}
SOURCE_NAMES = {"known": "known digits", "near": "other digits (near)", "far": "photograph (far)"}
SCORE_NAMES = {"softmax": "1 − largest softmax probability", "energy": "free energy"}
BOX_COLOR = "#E69F00"
FALSE_RATES = np.linspace(0, 1, 1001)
COLUMNS = 12

Outcomes = Mapping[str, Sequence[Outcome]]


def save(out: Path, outcomes: Outcomes, seed: int) -> None:
    figures = {"roc": roc_curves(outcomes), "scores": histograms(outcomes), "mixed": contact_sheet(seed)}
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=150)


def roc_curves(outcomes: Outcomes) -> Figure:
    """Known against near and far, for both scores: at each false positive rate, the mean over splits."""
    figure = _figure(9.5, 8)
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for row, unknown in zip(axes, UNKNOWNS, strict=True):
        for axis, score in zip(row, SCORES, strict=True):
            for method, of_method in outcomes.items():
                curves = [roc(o.scores[score].known, getattr(o.scores[score], unknown)) for o in of_method]
                kept = np.mean([np.interp(FALSE_RATES, *curve) for curve in curves], axis=0)
                axis.plot(FALSE_RATES, kept, color=COLORS[method], linestyle=STYLES[method], label=method)
            axis.axhline(0.95, color="grey", linewidth=0.8)
            axis.set_title(f"{SOURCE_NAMES[unknown]}, {SCORE_NAMES[score]}", fontsize=10)
            axis.grid(alpha=0.3)
    axes[0, 0].annotate("95% kept", (0.99, 0.945), ha="right", va="top", color="grey", fontsize=9)
    axes[0, 0].set(xlim=(0, 1), ylim=(0, 1.01))
    axes[0, 1].legend(loc="lower right")
    figure.supxlabel("share of the unknown taken for known (false positive rate)")
    figure.supylabel("share of the known kept (true positive rate)")
    return figure


def histograms(outcomes: Outcomes) -> Figure:
    """Where the scores of known, near and far images lie, all splits together."""
    figure = _figure(9.5, 1.2 + 1.9 * len(outcomes))
    axes = figure.subplots(len(outcomes), len(SCORES), squeeze=False)
    for row, (method, of_method) in zip(axes, outcomes.items(), strict=True):
        for axis, score in zip(row, SCORES, strict=True):
            _histogram(axis, [outcome.scores[score] for outcome in of_method])
        row[0].set_ylabel(f"{method}\nshare of images")
    for axis, score in zip(axes[-1], SCORES, strict=True):
        axis.set_xlabel(f"{SCORE_NAMES[score]}  (right: more out-of-distribution)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def contact_sheet(seed: int) -> Figure:
    """Digits, their partners, and the two mixed both ways, with λ drawn for each."""
    key_data, key_mixup, key_cutmix = jax.random.split(jax.random.key(seed), 3)
    x, y, _ = load_split(key_data).train
    rows = np.linspace(0, len(x) - 1, COLUMNS, dtype=int)
    x, y = x[rows], y[rows]
    draw = ood_jax.draw_mixup(key_mixup, COLUMNS, per_example=True)
    # A draw is plain data, so CutMix can be given mixup's partners, to show the same pairs.
    cut = ood_jax.draw_cutmix(key_cutmix, COLUMNS, (SIDE, SIDE), per_example=True)._replace(partner=draw.partner)
    mixup, cutmix = ood_jax.apply_mixup(draw, x, y), ood_jax.apply_cutmix(cut, x, y)

    figure = _figure(0.9 * COLUMNS, 4.5)
    axes = figure.subplots(4, COLUMNS)
    sheet = {"image": x, "partner": x[draw.partner], "mixup": mixup.x, "CutMix": cutmix.x}
    for row, (name, images) in zip(axes, sheet.items(), strict=True):
        row[0].set_ylabel(name)
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
    for row, lams in zip(axes[2:], (mixup.lam, cutmix.lam), strict=True):
        for axis, lam in zip(row, lams, strict=True):
            axis.set_title(f"λ = {float(lam):.2f}", fontsize=9)
    for axis, top, bottom, left, right in zip(axes[3], *cut.box, strict=True):
        # A pixel's middle is at its number, so its edge half a pixel before.
        corner, width, height = (float(left) - 0.5, float(top) - 0.5), float(right - left), float(bottom - top)
        axis.add_patch(Rectangle(corner, width, height, fill=False, color=BOX_COLOR, linewidth=1.5, clip_on=False))
    figure.suptitle("λ is the image's share, 1 − λ its partner's; CutMix pastes the box from the partner", fontsize=11)
    return figure


def _histogram(axis: Axes, scored: Sequence[Scored]) -> None:
    parts = {name: np.concatenate([getattr(s, name) for s in scored]) for name in SOURCE_NAMES}
    everything = np.concatenate(list(parts.values()))
    low, high = np.quantile(everything, [0.001, 0.999])
    edges = np.linspace(low, high, 50)
    for name, values in parts.items():
        shares = np.full(len(values), 1 / len(values))
        # The few values outside are counted in the outermost bars.
        values = np.clip(values, low, high)
        style: dict[str, Any] = {"color": SOURCE_COLORS[name], "weights": shares, "bins": edges}
        axis.hist(values, alpha=0.35, **style)
        axis.hist(values, histtype="step", label=SOURCE_NAMES[name], **style)
    axis.set_yscale("log")


def _figure(width: float, height: float) -> Figure:
    # Drawn without pyplot, which would keep every figure and could want a display.
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
