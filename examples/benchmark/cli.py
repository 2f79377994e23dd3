"""The command line: options, progress bars, the page at the end."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .. import fashion
from ..digits.cli import whole
from . import cells, page
from .data import DATASETS
from .experiment import Settings, backend, measure, train
from .recipe import METHODS

FRAMEWORKS = {"jax": ("jax",), "torch": ("torch",), "both": ("jax", "torch")}
SEEDS = 5
REDUCED_SEEDS = 2


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    options = parser.parse_args(argv)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"argument --out: cannot make the folder {options.out}: {error.strerror}")
    if not os.access(options.out, os.W_OK | os.X_OK):
        parser.error(f"argument --out: cannot write to the folder {options.out}")
    try:
        settings = Settings(options.out, _fashion_folder(options), options.reduced)
        seeds = options.seeds or range(REDUCED_SEEDS if options.reduced else SEEDS)
        wanted = list(cells.cells(options.datasets, options.methods, FRAMEWORKS[options.framework], seeds))
        cells.check_recipes(options.out, settings.fingerprint)
        for framework in FRAMEWORKS[options.framework]:
            backend(framework)  # a missing package is told now, not half-way
    except fashion.Refused as error:
        parser.error(str(error))
    failed = run(settings, wanted)
    page.save(options.out)
    if failed:
        sys.exit("\n".join(failed))


def run(settings: Settings, wanted: Sequence[cells.Cell]) -> list[str]:
    """Trains and measures what is not done; gives what went wrong, for one network must not cost the others."""
    console = Console()
    failed = []
    start = time.perf_counter()
    columns = TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as progress:
        whole_run = progress.add_task("networks", total=len(wanted), note="")
        training = progress.add_task("", total=1, note="")
        for cell in wanted:
            progress.reset(training, description=cell.name, total=1, note="")

            def report(done: int, total: int, loss: float) -> None:
                progress.update(training, completed=done, total=total, note=f"loss {loss:.3f}")

            try:
                if not cells.is_trained(settings.out, cell):
                    train(settings, cell, report)
                if not cells.is_measured(settings.out, cell, settings.measured_fingerprint(cell)):
                    progress.update(training, note="measuring")
                    cells.save_rows(settings.out, cell, settings.measured_fingerprint(cell), measure(settings, cell))
                    progress.console.print(f"{cell.name} is done", highlight=False)
            except (fashion.Refused, ValueError) as error:  # such as scores that are NaN
                failed.append(f"{cell.name}: {error}")
                progress.console.print(failed[-1], highlight=False)
            progress.advance(whole_run)
        progress.update(training, description="done", note="")
    console.print(f"{time.perf_counter() - start:.0f} s; the page is {settings.out / page.NAME}", highlight=False)
    return failed


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.benchmark",
        description="Train networks with every method, from scratch and fine-tuned, and measure how well they detect "
        "what they do not know. A network that is done is never trained again: the same command goes on where it was.",
    )

    def add_some(name: str, text: str, choices: Sequence[str], default: Sequence[str]) -> None:
        parser.add_argument(
            name,
            nargs="+",
            choices=choices,
            default=default,
            metavar=name.strip("-").removesuffix("s").upper(),
            help=f"{text}; some of: {', '.join(choices)} (default: {', '.join(default)})",
        )

    add_some("--methods", "how to train", list(METHODS), list(METHODS))
    add_some("--datasets", "what to learn", list(DATASETS), ["digits", "fashion"])
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=whole(0, 2**31 - 1),
        metavar="N",
        help=f"each is a split, initial weights and an order of the rows (default: 0 to {SEEDS - 1})",
    )
    parser.add_argument(
        "--framework",
        choices=list(FRAMEWORKS),
        default="jax",
        help="torch is the same recipe in PyTorch with the published losses (default: %(default)s)",
    )
    parser.add_argument(
        "--reduced",
        action="store_true",
        help=f"fewer rows of Fashion-MNIST, and seeds 0 to {REDUCED_SEEDS - 1}: minutes on two cores",
    )
    parser.add_argument("--fashion", type=Path, metavar="DIR", help="folder with Fashion-MNIST's four files")
    parser.add_argument("--download", action="store_true", help="download Fashion-MNIST if it is nowhere")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/benchmark"),
        metavar="DIR",
        help="folder for results and page (default: %(default)s)",
    )
    return parser


def _fashion_folder(options: argparse.Namespace) -> Path | None:
    """Looked for first of all, so that a run does not end half-way for want of it."""
    if all(dataset == "digits" for dataset in options.datasets):
        return None
    return fashion.find(options.fashion, download=options.download)
