"""The tables in docs/results are those of the values beside them."""

import csv
import gzip
import json
from pathlib import Path

from examples.benchmark import page, traps
from examples.benchmark.cells import Cell
from examples.benchmark.evaluate import Row
from examples.benchmark.recipe import METHODS
from examples.benchmark.summary import Key, collect, estimate

RESULTS = Path(__file__).parents[3] / "docs/results"


def values_of(name):
    measured = {}
    with gzip.open(RESULTS / name, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cell = Cell(row["dataset"], row["method"], row["framework"], int(row["seed"]))
            measured.setdefault(cell, []).append(Row(row["metric"], float(row["value"]), row["score"], row["ood"]))
    return measured


def test_the_page_is_of_these_values():
    measured = values_of("results.csv.gz")
    assert len(measured) == len(METHODS) * 2 * 2 * 5
    made = page.as_page(collect(measured)).splitlines()
    written = (RESULTS / page.NAME).read_text(encoding="utf-8").splitlines()
    assert made[4:] == written[4:]  # the lines before have the versions


def test_the_table_of_choosing_is_of_these_values():
    values = collect(values_of("results.csv.gz"))

    def written(method, score):
        auroc = [
            format(estimate(values[Key(dataset, method, "jax", "auroc", score, ood)].values()), ".1f")
            for dataset in ("fashion", "digits")
            for ood in ("near", "far")
        ]
        return [*auroc, format(estimate(values[Key("fashion", method, "jax", "ece")].values()), ".1f")]

    text = (RESULTS.parent / "choosing.md").read_text(encoding="utf-8")
    table = text.partition("## What was measured")[2].partition("## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    assert {row[0] for row in rows[2:]} == set(METHODS)
    for method, score, *figures in rows[2:]:
        assert figures == written(method, score), (method, score)


def test_what_is_said_of_ten_classes():
    accuracy = [
        row.value for rows in values_of("fashion-10.csv.gz").values() for row in rows if row.metric == "accuracy"
    ]
    assert len(accuracy) == 3
    assert min(accuracy) > 0.92
    assert f"{estimate(accuracy)}%" in (RESULTS.parent / "results.md").read_text(encoding="utf-8")


def test_every_trap_has_its_values_and_its_picture():
    found = json.loads((RESULTS / "traps.json").read_text(encoding="utf-8"))
    for name, trap in traps.TRAPS.items():
        assert list(found[name]) == list(trap.variants)
        assert f"results/trap-{name}.png" in (RESULTS.parent / "choosing.md").read_text(encoding="utf-8")
