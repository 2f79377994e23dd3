"""The results as a table in the terminal, in Markdown, and in full as JSON.

Numbers are in per cent: the mean over the splits ± its standard error.
"""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from .evaluate import METRICS, SCORES, UNKNOWNS, Estimate, Outcome, estimate, measure

HEADER = ("Method", "Score", "Accuracy", "Near AUROC", "Near FPR95", "Far AUROC", "Far FPR95")
PACKAGES = ("ood-jax", "jax", "flax", "optax", "scikit-learn", "numpy")

Outcomes = Mapping[str, Sequence[Outcome]]


def as_rows(outcomes: Outcomes) -> list[list[str]]:
    """One row a method and score, in the order of `HEADER`; method and accuracy stand in its first row alone."""
    rows = []
    for method, of_method in outcomes.items():
        accuracy = _percent(estimate([outcome.accuracy for outcome in of_method]))
        for number, score in enumerate(SCORES):
            cells = [
                _percent(estimate([measure(outcome, score, unknown, metric) for outcome in of_method]))
                for unknown in UNKNOWNS
                for metric in METRICS
            ]
            rows.append([*((method, score, accuracy) if number == 0 else ("", score, "")), *cells])
    return rows


def as_table(outcomes: Outcomes, title: str) -> Table:
    table = Table(title=title, caption=caption(outcomes), box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    for number, column in enumerate(HEADER):
        table.add_column(column, justify="left" if number < 2 else "right")
    for row in as_rows(outcomes):
        table.add_row(*row, end_section=row[0] == "")
    return table


def as_markdown(outcomes: Outcomes, title: str) -> str:
    rule = ["---" if number < 2 else "---:" for number in range(len(HEADER))]
    lines = ["| " + " | ".join(row) + " |" for row in (HEADER, rule, *as_rows(outcomes))]
    return "\n".join([f"**{title}**", "", *lines, "", caption(outcomes), ""])


def as_json(outcomes: Outcomes, settings: Mapping[str, Any], seconds: float) -> str:
    """Everything in the table as fractions, split by split too, with how it was made."""
    contents = {
        "settings": dict(settings),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
        "seconds": round(seconds, 1),
        "methods": {method: _method(of_method) for method, of_method in outcomes.items()},
    }
    return json.dumps(contents, indent=2, allow_nan=False) + "\n"


def caption(outcomes: Outcomes) -> str:
    splits = len(next(iter(outcomes.values())))
    if splits == 1:
        return "Per cent, one split. AUROC: higher is better. FPR95: lower is better."
    return f"Per cent, mean ± standard error of {splits} splits. AUROC: higher is better. FPR95: lower is better."


def save(out: Path, outcomes: Outcomes, title: str, settings: Mapping[str, Any], seconds: float) -> None:
    (out / "table.md").write_text(as_markdown(outcomes, title), encoding="utf-8")
    (out / "results.json").write_text(as_json(outcomes, settings, seconds), encoding="utf-8")


def _method(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    cells: dict[str, Any] = {"accuracy": _cell([outcome.accuracy for outcome in outcomes])}
    for unknown in UNKNOWNS:
        cells[unknown] = {
            score: {
                metric: _cell([measure(outcome, score, unknown, metric) for outcome in outcomes]) for metric in METRICS
            }
            for score in SCORES
        }
    return cells


def _cell(values: Sequence[float]) -> dict[str, Any]:
    mean, error = estimate(values)
    return {"mean": mean, "standard_error": error, "splits": list(values)}


def _percent(value: Estimate) -> str:
    mean = f"{100 * value.mean:.1f}"
    return mean if value.error is None else f"{mean} ± {100 * value.error:.1f}"
