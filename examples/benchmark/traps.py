"""Four mistakes, and what each costs: `python -m examples.benchmark.traps`, the pictures of docs/choosing.md.

Networks learn six classes from 6,000 images of Fashion-MNIST, with three seeds; everything but the mistake is the
benchmark's recipe.
"""

import argparse
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.pyplot as plt
import numpy as np

import ood_jax
from ood_jax import metrics, scores

from ..fashion import find_or_exit
from .data import Task, load_task
from .experiment import calibrate
from .jax_training import LOSSES, Apply, Batch, Loss, Run, predict
from .model import Weights, initial_weights
from .recipe import METHODS, RECIPES, Method, batches, learning_rates
from .summary import Estimate, estimate

SEEDS = (0, 1, 2)
ROWS = 6000
# More passes than the benchmark's, for there are fewer rows.
RECIPE = RECIPES["fashion"]._replace(epochs=8, tuning_epochs=2)
SCRATCH, TUNED = METHODS["outlier-exposure"], METHODS["outlier-exposure-tuned"]


class Measured(NamedTuple):
    """Of one network; `near` and `far` are the AUROC of the energy score."""

    accuracy: float
    ece: float
    near: float
    far: float


class Trap(NamedTuple):
    """A row of variants: what to call each, and how to train it on a task, from the trained baseline."""

    title: str
    axis: str
    variants: Mapping[str, Callable[[Task, Weights, int], Weights]]
    shown: Sequence[str]


def two_forwards(key: jax.Array, batch: Batch, apply: Apply, margins: ood_jax.Margins) -> jax.Array:
    """Outlier exposure with a forward for the images and another for the outliers."""
    return ood_jax.outlier_exposure_loss(apply(batch.x), batch.y, apply(batch.outliers), form="cross_entropy")


def mixup_of(alpha: float) -> Loss:
    def loss(key: jax.Array, batch: Batch, apply: Apply, margins: ood_jax.Margins) -> jax.Array:
        x, y_a, y_b, lam = ood_jax.mixup(key, batch.x, batch.y, alpha=alpha)
        return ood_jax.mixup_cross_entropy(apply(x), y_a, y_b, lam)

    return loss


def train(
    task: Task,
    start: Weights | None,
    seed: int,
    loss: Loss,
    method: Method = SCRATCH,
    ratio: float = 1,
    margins: ood_jax.Margins | None = None,
) -> Weights:
    start = initial_weights(task.classes, RECIPE.stride, seed) if start is None else start
    margins = margins or ood_jax.Margins(jnp.float32(-1), jnp.float32(1))
    run = Run(task, loss, RECIPE.stride, start, seed, margins)
    rates = learning_rates(RECIPE, method, len(task.train.x))
    order = batches(RECIPE, method, seed, len(task.train.x), len(task.outliers), ratio=ratio)
    for rows, rate in zip(order, rates, strict=True):
        run.step(rows, rate)
    return run.weights()


def tune_with(m_in: float | None) -> Callable[[Task, Weights, int], Weights]:
    """Energy fine-tuning with this upper bound for the data, the outliers' at -5; None calibrates both."""

    def train_it(task: Task, baseline: Weights, seed: int) -> Weights:
        margins = ood_jax.Margins(jnp.float32(m_in or 0), jnp.float32(-5))
        if m_in is None:
            margins = calibrate(functools.partial(predict, classes=task.classes, stride=RECIPE.stride), baseline, task)
        return train(task, baseline, seed, LOSSES["energy-bounded"], TUNED, margins=margins)

    return train_it


def from_scratch(loss: Loss, ratio: float = 1) -> Callable[[Task, Weights, int], Weights]:
    return lambda task, baseline, seed: train(task, None, seed, loss, ratio=ratio)


TRAPS = {
    "batch-norm": Trap(
        "Batch normalisation, outlier exposure",
        "forwards",
        {"one": from_scratch(LOSSES["outlier-exposure"]), "two": from_scratch(two_forwards)},
        ("accuracy", "near", "far"),
    ),
    "margins": Trap(
        "Bounds of the energy loss, fine-tuning",
        "m_in (m_out = -5)",
        {"calibrated": tune_with(None), **{f"{m_in}": tune_with(m_in) for m_in in (-7.0, -15.0, -23.0, -40.0)}},
        ("accuracy", "near", "far"),
    ),
    "ratio": Trap(
        "Outliers to images, outlier exposure",
        "outliers for each image",
        {f"{ratio:g}": from_scratch(LOSSES["outlier-exposure"], ratio) for ratio in (0.125, 0.5, 1, 2)},
        ("accuracy", "near", "far"),
    ),
    "calibration": Trap(
        "Calibration under mixup",
        "α of mixup (0: none)",
        {f"{alpha:g}": from_scratch(mixup_of(alpha)) for alpha in (0.0, 0.1, 0.2, 0.5, 1.0)},
        ("accuracy", "ece", "near"),
    ),
}


def measure(task: Task, weights: Weights) -> Measured:
    logits_of = functools.partial(predict, weights, classes=task.classes, stride=RECIPE.stride)
    known = logits_of(task.test.x).logits
    score = scores.energy_score(known)
    aurocs = {
        name: float(metrics.auroc(score, scores.energy_score(logits_of(x).logits))) for name, x in task.unknown.items()
    }
    labels = jnp.asarray(task.test.y)
    return Measured(
        accuracy=float(jnp.mean(known.argmax(-1) == labels)),
        ece=float(metrics.expected_calibration_error(jax.nn.softmax(known), labels)),
        near=aurocs.pop("near"),
        far=float(np.mean(list(aurocs.values()))),
    )


def run(folder: Path | None) -> dict[str, dict[str, list[Measured]]]:
    found: dict[str, dict[str, list[Measured]]] = {name: {} for name in TRAPS}
    for seed in SEEDS:
        task = load_task("fashion", seed, folder=folder, rows=ROWS)
        baseline = train(task, None, seed, LOSSES["cross-entropy"])
        for name, trap in TRAPS.items():
            for variant, train_it in trap.variants.items():
                measured = measure(task, train_it(task, baseline, seed))
                found[name].setdefault(variant, []).append(measured)
                print(f"seed {seed} {name} {variant}: {measured}", flush=True)
    return found


def draw(out: Path, found: Mapping[str, Mapping[str, Sequence[Measured]]]) -> None:
    matplotlib.use("agg")
    for name, trap in TRAPS.items():
        figure, axes = plt.subplots(1, len(trap.shown), figsize=(3 * len(trap.shown), 2.6), layout="constrained")
        for axis, metric in zip(axes, trap.shown, strict=True):
            points = [_estimate(found[name][variant], metric) for variant in trap.variants]
            errors = [100 * (point.error or 0) for point in points]
            axis.errorbar(list(trap.variants), [100 * point.mean for point in points], errors, fmt="o-", capsize=3)
            axis.set_xlabel(trap.axis)
            axis.set_title(LABELS[metric])
        figure.suptitle(trap.title)
        figure.savefig(out / f"trap-{name}.png", dpi=110)
        plt.close(figure)


LABELS = {"accuracy": "accuracy, %", "ece": "ECE, %", "near": "near AUROC, %", "far": "far AUROC, %"}


def _estimate(measured: Sequence[Measured], metric: str) -> Estimate:
    return estimate(getattr(one, metric) for one in measured)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.benchmark.traps", description=__doc__.split(":")[0])
    parser.add_argument("--fashion", type=Path, metavar="DIR", help="folder with Fashion-MNIST's four files")
    parser.add_argument("--out", type=Path, default=Path("out/traps"), metavar="DIR", help="default: %(default)s")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found = run(find_or_exit(parser, options.fashion))
    contents = {
        name: {variant: [one._asdict() for one in measured] for variant, measured in variants.items()}
        for name, variants in found.items()
    }
    (options.out / "traps.json").write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
    draw(options.out, found)


if __name__ == "__main__":
    main()
