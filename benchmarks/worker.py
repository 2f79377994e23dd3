"""One process of the suite: measures some items of a theme and writes them as a record.

It is started by `python -m benchmarks`, with the environment that the theme needs.
"""

import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from . import record, startup, themes, timing
from .growth import Sweep
from .row import Row


def main(theme: str, allocator: str, names: Sequence[str], quick: bool, path: Path) -> None:
    plan = timing.QUICK if quick else timing.Plan()
    found = record.Record({}, [], [], [], [])
    for item in themes.items(quick=quick):
        if item.theme == theme and item.name in names:
            try:
                measure(item, allocator, plan, found)
            except Exception as error:  # the others are to be measured nevertheless
                traceback.print_exc()
                found.failed.append(record.Failed(theme, item.name, allocator, f"{type(error).__name__}: {error}"))
            record.write(found, path)  # after each, for the process may be killed at the next


def measure(item: themes.Item, allocator: str, plan: timing.Plan, found: record.Record) -> None:
    if isinstance(item.what, Row):
        row = record.measured(
            item.theme, item.name, allocator, item.what.build(), plan._replace(budget=item.what.budget)
        )
        found.rows.append(row)
        tell(item.name, f"{1e3 * row.seconds['ours'].median:.3f} ms, {row.rounds} rounds")
        torch._dynamo.reset()  # a program limit counts all shapes of a function that this process has met
    elif isinstance(item.what, Sweep):
        found.growth.append(grown(item.theme, item.what, plan))
        tell(item.name, f"exponents {found.growth[-1].exponents}")
    else:
        figures = startup.measure(item.name, repeats=1 if plan == timing.QUICK else startup.REPEATS)
        found.startup.append(record.Started(item.theme, item.name, *figures))
        tell(item.name, f"{figures.compile:.3f} s to compile")


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
