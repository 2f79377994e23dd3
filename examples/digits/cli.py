"""The command line, shared by the NNX and the Linen example: options, progress bar, table, files."""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from . import experiment, plots, report
from .methods import METHODS, Method
from .train import Trainer

# The table needs about 95 columns; piped into a file, rich would fold it at 80.
WIDTH = 100
STEPS = 800


def run_example(
    argv: Sequence[str] | None, *, prog: str, title: str, make_trainer: Callable[[Method, int], Trainer], splits: int
) -> None:
    options = parse(argv, prog=prog, splits=splits, out=Path("out") / prog.rpartition(".")[2])
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    trainers = {name: make_trainer(METHODS[name], options.steps) for name in options.methods}

    start = time.perf_counter()
    with Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.fields[loss]:>10}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        total = options.splits * len(trainers) * options.steps
        task = progress.add_task("preparing", total=total, loss="")

        def on_report(method: str, split: int, done: int, loss: float | None) -> None:
            description = f"split {split + 1}/{options.splits} {method}"
            progress.update(
                task, advance=done, description=description, loss="" if loss is None else f"loss {loss:.3f}"
            )

        outcomes = experiment.run(
            trainers, seed=options.seed, splits=options.splits, steps=options.steps, report=on_report
        )
        progress.update(task, description=f"trained {options.splits * len(trainers)} networks", loss="")
    seconds = time.perf_counter() - start

    title = f"{title} on six of ten digits"
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    report.save(options.out, outcomes, title, settings, seconds)
    console.print(report.as_table(outcomes, title))
    plots.save(options.out, outcomes, options.seed)
    console.print(f"{seconds:.0f} s; table, results and pictures are in {options.out}", highlight=False)


def parse(argv: Sequence[str] | None, *, prog: str, splits: int, out: Path) -> argparse.Namespace:
    """Parses the options; a bad one ends the program with exit status 2 and says which, before any training."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Train a small network on six of scikit-learn's ten digits, and see how well it notices the other "
        "four (near) and patches of a photograph (far).",
    )

    def add(name: str, text: str, **settings: Any) -> None:
        parser.add_argument(name, help=f"{text} (default: %(default)s)", **settings)

    add("--splits", "random splits to average over", type=whole(1), default=splits, metavar="N")
    add("--steps", "training steps of each network", type=whole(1), default=STEPS, metavar="N")
    add("--seed", "of everything random", type=whole(0, 2**32 - 1), default=0, metavar="N")
    add("--out", "folder for the table, the results and the pictures", type=Path, default=out, metavar="DIR")
    names = list(METHODS)
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=names,
        default=names,
        metavar="METHOD",
        help=f"some of: {', '.join(names)} (default: all)",
    )
    options = parser.parse_args(argv)
    options.methods = list(dict.fromkeys(options.methods))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"argument --out: cannot make the folder {options.out}: {error.strerror}")
    if not os.access(options.out, os.W_OK | os.X_OK):
        parser.error(f"argument --out: cannot write to the folder {options.out}")
    return options


def whole(least: int, most: float = float("inf")) -> Callable[[str], int]:
    """Reads an option that is a whole number within limits."""

    def parse_whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
        if not least <= value <= most:
            limits = f"at least {least}" if value < least else f"at most {most}"
            raise argparse.ArgumentTypeError(f"must be {limits}, got {value}")
        return value

    return parse_whole
