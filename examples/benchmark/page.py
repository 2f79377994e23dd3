"""The results as tidy CSV, as JSON, and as a page of tables and pictures."""

import csv
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from . import cells, plots
from .cells import Cell
from .evaluate import Row
from .recipe import METHODS
from .summary import Difference, Key, Values, collect, estimate, rank, ranked_framework, twins

NAME = "results.md"
PACKAGES = (
    "ood-jax",
    "jax",
    "flax",
    "optax",
    "numpy",
    "scikit-learn",
    "scikit-image",
    "torch",
    "incerto",
    "pytorch-ood",
)
# The scores that every method is compared by; the others have a table of their own.
SCORES = ("msp", "energy")
# How many differences of the two frameworks the page shows.
TWINS = 12
RANKS = (
    "≈ marks what these seeds cannot tell from the first: 0 lies in the 95% interval of the difference, seed by seed. "
    "The intervals are not widened for there being many."
)


def save(out: Path) -> None:
    """Writes results.csv, results.json, results.md and the pictures, of every cell measured in the folder."""
    measured = cells.load_all_rows(out)
    values = collect(measured)
    with cells.replaced(out / "results.json") as path:
        path.write_text(as_json(values), encoding="utf-8")
    with cells.replaced(out / "results.csv") as path, path.open("w", encoding="utf-8", newline="") as file:
        write_csv(file, measured)
    datasets, methods, scores = _present(values)
    plots.save(out, values, datasets, methods, scores)
    with cells.replaced(out / NAME) as path:
        path.write_text(as_page(values), encoding="utf-8")


def write_csv(file: Any, measured: Mapping[Cell, Sequence[Row]]) -> None:
    """One value a line."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*Cell._fields, "score", "ood", "metric", "value"])
    for cell, rows in measured.items():
        writer.writerows([*cell, row.score, row.ood, row.metric, repr(row.value)] for row in rows)


def as_json(values: Values) -> str:
    """Means, standard errors and the values by seed, with the versions that made them."""
    rows = [
        {**key._asdict(), **estimate(by_seed.values())._asdict(), "seeds": by_seed} for key, by_seed in values.items()
    ]
    return json.dumps({"versions": versions(), "values": rows}) + "\n"


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def as_page(values: Values) -> str:
    datasets, methods, scores = _present(values)
    lines = ["# Results", "", "Per cent, mean ± standard error over seeds. " + _versions_line(), ""]
    lines += ["![AUROC by method](detection.png)", ""]
    for dataset in datasets:
        seeds = sorted({seed for key, by_seed in values.items() if key.dataset == dataset for seed in by_seed})
        lines += [f"## {dataset}", "", f"Seeds {', '.join(map(str, seeds))}.", ""]
        for framework in ("jax", "torch"):
            if any(key.dataset == dataset and key.framework == framework for key in values):
                lines += [f"Trained in {FRAMEWORK_NAMES[framework]}:", ""]
                lines += [*main_table(values, dataset, framework, methods), ""]
        framework = ranked_framework(values, dataset)
        lines += [f"### Ranks, {FRAMEWORK_NAMES[framework]}", "", RANKS, ""]
        lines += [*ranks(values, dataset, framework, methods), ""]
        lines += [f"### Every score, {FRAMEWORK_NAMES[framework]}", ""]
        lines += [*score_table(values, dataset, framework, methods, scores), ""]
    if found := twin_lines(values):
        lines += ["## The same training in PyTorch", "", *found, ""]
    lines += ["## Calibration", "", "![accuracy and calibration](calibration.png)", ""]
    lines += ["## Scores", "", "![AUROC by score and method](scores.png)", ""]
    return "\n".join(lines)


FRAMEWORK_NAMES = {"jax": "JAX", "torch": "PyTorch"}


def main_table(values: Values, dataset: str, framework: str, methods: Sequence[str]) -> list[str]:
    header = ["Method", "Accuracy", "ECE", "Score", "Near AUROC", "Near FPR95", "Far AUROC", "Far FPR95"]
    rows = []
    for method in methods:
        for score in SCORES:
            of = Key(dataset, method, framework, "")
            own = [_cell(values, of._replace(metric=metric)) for metric in ("accuracy", "ece")]
            detection = [
                _cell(values, of._replace(metric=metric, score=score, ood=ood))
                for ood in ("near", "far")
                for metric in ("auroc", "fpr95")
            ]
            rows.append([method, *own, score, *detection] if score == SCORES[0] else ["", "", "", score, *detection])
    return table(header, [row for row in rows if any(cell not in ("", "–") for cell in row[4:])], left=(0, 3))


def ranks(values: Values, dataset: str, framework: str, methods: Sequence[str]) -> list[str]:
    """Methods with a score, by mean; ≈ marks what the seeds cannot tell from the best."""
    lines = []
    for ood in ("near", "far"):
        keys = [Key(dataset, method, framework, "auroc", score, ood) for method in methods for score in SCORES]
        if not (present := [key for key in keys if key in values]):
            continue  # no near-OOD where all classes are known
        ranked = rank(values, present)
        shown = [
            f"{'≈ ' if place and found.difference.within_noise else ''}{found.key.method} ({found.key.score}) "
            f"{100 * found.estimate.mean:.1f}"
            for place, found in enumerate(ranked)
        ]
        lines += [f"- AUROC, {ood}: " + ", ".join(shown)]
    return lines


def score_table(
    values: Values, dataset: str, framework: str, methods: Sequence[str], scores: Sequence[str]
) -> list[str]:
    """AUROC of every score on the baseline and, beside it, its best method."""
    rows = []
    for score in scores:
        row = [score]
        for ood in ("near", "far"):
            keys = [Key(dataset, method, framework, "auroc", score, ood) for method in methods]
            ranked = rank(values, [key for key in keys if key in values]) if any(key in values for key in keys) else []
            row += [_cell(values, Key(dataset, "baseline", framework, "auroc", score, ood))]
            row += [f"{ranked[0].estimate} ({ranked[0].key.method})" if ranked else "–"]
        rows.append(row)
    header = ["Score", "Near, baseline", "Near, best method", "Far, baseline", "Far, best method"]
    return table(header, rows, left=(0,))


def twin_lines(values: Values) -> list[str]:
    """JAX beside PyTorch: the figures, and how many differ by more than two standard errors."""
    shown = [
        twin
        for twin in twins(values)
        if twin.key.ood in ("", "near", "far") and twin.key.score in ("", *SCORES) and twin.key.metric != "brier"
    ]
    if not shown:
        return []
    shown.sort(key=lambda twin: -twin.difference.in_errors)
    beyond = sum(twin.difference.in_errors > 2 for twin in shown)
    seeds = shown[0].pairs
    header = ["Data", "Method", "Score", "OOD", "Metric", "JAX", "PyTorch", "Difference", "in errors"]
    rows = [
        [
            *twin.key[:2],
            twin.key.score,
            twin.key.ood,
            twin.key.metric,
            f"{twin.jax}",
            f"{twin.torch}",
            _signed(twin.difference),
            f"{twin.difference.in_errors:.1f}",
        ]
        for twin in shown[:TWINS]
    ]
    return [
        f"{len(shown) - beyond} of {len(shown)} figures agree within two standard errors of their difference, which is "
        f"taken seed by seed. With {seeds} seeds, {100 * 2 * stats.t.sf(2, seeds - 1):.0f}% of figures that do not "
        f"differ at all would lie beyond, and {100 * beyond / len(shown):.0f}% do. The {len(rows)} largest:",
        "",
        *table(header, rows, left=(0, 1, 2, 3, 4)),
    ]


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    rule = ["---" if number in left else "---:" for number in range(len(header))]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]


def _cell(values: Values, key: Key) -> str:
    return f"{estimate(values[key].values())}" if key in values else "–"


def _signed(difference: Difference) -> str:
    return f"{100 * difference.mean:+.1f} ± {100 * (difference.error or 0):.1f}"


def _versions_line() -> str:
    return ", ".join(f"{package} {version}" for package, version in versions().items()) + "."


def _present(values: Values) -> tuple[list[str], list[str], list[str]]:
    """The data sets, methods and scores that there are values of, in a fixed order."""
    datasets = sorted({key.dataset for key in values})
    methods = [method for method in METHODS if any(key.method == method for key in values)]
    return datasets, methods, list(dict.fromkeys(key.score for key in values if key.score))
