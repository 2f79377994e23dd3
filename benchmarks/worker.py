"""One process of the suite: measures some items of a theme and writes them as a record.

It is started by `python -m benchmarks`, with the environment that the theme needs.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from . import record, startup, themes, timing
from .growth import Sweep
from .row import Row


def main(theme: str, allocator: str, names: Sequence[str], quick: bool, path: Path) -> None:
    plan = timing.QUICK if quick else timing.Plan()
    rows, growth, functions = [], [], []
    for item in themes.items(quick=quick):
        if item.theme != theme or item.name not in names:
            continue
        if isinstance(item.what, Row):
            for_row = plan._replace(budget=item.what.budget)
            row = record.measured(theme, item.name, allocator, item.what.build(), for_row)
            rows.append(row)
            tell(item.name, f"{1e3 * row.seconds['ours'].median:.3f} ms, {row.rounds} rounds")
            torch._dynamo.reset()  # a program limit counts all shapes of a function that this process has met
        elif isinstance(item.what, Sweep):
            growth.append(grown(theme, item.what, plan))
            tell(item.name, f"exponents {growth[-1].exponents}")
        else:
            functions.append(item.name)
    started = []
    for name, figures in startup.measure(functions, quick=quick):
        started.append(record.Started(theme, name, *figures))
        tell(name, f"{figures.compile:.3f} s to compile")
    record.write(record.Record({}, rows, growth, started), path)


def grown(theme: str, sweep: Sweep, plan: timing.Plan) -> record.Grown:
    """All sizes and contenders take turns together."""
    runs = {(who, size): run for size in sweep.sizes for who, run in sweep.build(size).items()}
    samples = timing.take_turns({f"{who} {size}": run for (who, size), run in runs.items()}, plan)
    seconds: dict[str, list[float]] = {}
    for who, size in runs:
        seconds.setdefault(who, []).append(timing.quartiles(samples[f"{who} {size}"]).median)
    exponents = {who: timing.exponent(sweep.sizes, times) for who, times in seconds.items()}
    return record.Grown(theme, sweep.name, sweep.size, list(sweep.sizes), seconds, exponents)


def tell(name: str, what: str) -> None:
    print(f"  {name}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    order: dict[str, Any] = json.loads(sys.argv[1])
    main(**order | {"path": Path(order["path"])})
