"""The command line of the report: `python -m parity --help`."""

import argparse
import difflib
import fnmatch
import heapq
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from . import page, report
from .cases import Case, cases
from .files import check_writable, write
from .tolerances import TOLERANCES

# After report, which says what to do where rich is missing.
from rich.console import Console  # isort: skip
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # isort: skip

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

DISAGREES, UNUSABLE, INTERRUPTED = 1, 2, 130  # the last is 128 and the number of the signal, as in a shell


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the report; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _check(parser, options)
    chosen = _chosen(parser, options.only)
    if options.list:
        console = report.console_for(())
        for case in chosen:
            console.print(case.name, soft_wrap=True)
        return 0
    try:
        return _run(chosen, options)
    except KeyboardInterrupt:
        print("interrupted; nothing is reported or written", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m parity",
        description="Compare every function of ood_jax with the PyTorch libraries that publish it.",
        epilog="Exit status: 0 if every case agrees whose source is installed; 1 if any disagrees or fails, or none "
        "could be compared; 2 for bad arguments or a file that cannot be written; 130 if interrupted.",
    )
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        help="only the cases with this in their name, upper or lower case alike; a shell pattern: * is any text, "
        "? any character, [ab] either of two",
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases, a line each, and run none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every result and the environment as JSON")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="write a page with all of it, histograms, tolerances and training trajectories, which take a minute more",
    )
    return parser


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends the program if the options do not go together or a file could not be written, before anything runs."""
    files = {name: getattr(options, name) for name in ("json", "html") if getattr(options, name) is not None}
    if options.list and files:
        parser.error(f"argument --list: runs nothing, so --{' and --'.join(files)} would have nothing to hold")
    if len({file.resolve() for file in files.values()}) < len(files):
        parser.error("argument --html: is the same file as --json; give each its own")
    for name, file in files.items():
        try:
            check_writable(file)
        except OSError as error:
            parser.error(f"argument --{name}: cannot write {file}: {error.strerror}")
    if options.html is not None:
        try:
            page.check_trainable()
        except ModuleNotFoundError as error:
            parser.error(f"argument --html: {error}")


def _chosen(parser: argparse.ArgumentParser, pattern: str | None) -> list[Case]:
    every = list(cases())
    if pattern is None:
        return every
    chosen = [case for case in every if fnmatch.fnmatchcase(case.name.lower(), f"*{pattern.lower()}*")]
    if not chosen:
        near = "".join(f"\n    {name}" for name in _nearest(pattern, [case.name for case in every]))
        parser.error(f"argument --only: no case matches {pattern!r}; some near it (--list prints all):{near}")
    return chosen


def _nearest(pattern: str, names: Sequence[str]) -> list[str]:
    """Three names with a part most like the pattern."""
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(pattern.lower())
    length = len(pattern.split()) or 1

    def likeness(name: str) -> float:
        words = name.lower().split()
        ratios = []
        for start in range(max(1, len(words) - length + 1)):
            matcher.set_seq1(" ".join(words[start : start + length]))
            ratios.append(matcher.ratio())
        return max(ratios)

    return heapq.nlargest(3, names, key=likeness)


def _run(chosen: Sequence[Case], options: argparse.Namespace) -> int:
    environment = report.environment()
    with _progress() as progress:
        rows = list(_each(progress, "comparing", report.evaluate, chosen))
        trained = list(_each(progress, "training", page.train, page.trainings() if options.html else ()))
    console = report.console_for(rows)
    report.show(console, environment, rows)
    for run in trained:
        if not run.agrees:
            console.print(run.text, style="bold red", soft_wrap=True)
    try:
        if options.json is not None:
            write(options.json, report.as_json(environment, rows))
        if options.html is not None:
            write(options.html, page.as_html(environment, rows, TOLERANCES, trained))
    except OSError as error:
        print(f"cannot write the report: {error}", file=sys.stderr)
        return UNUSABLE
    return 0 if report.succeeded(rows) and all(run.agrees for run in trained) else DISAGREES


def _progress() -> Progress:
    """A bar on stderr, unless somebody's pipe or file gets the report."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    seen = sys.stdout.isatty() and console.is_terminal
    return Progress(*columns, console=console, transient=True, disable=not seen)


def _each(
    progress: Progress, description: str, act: Callable[[Item], Outcome], items: Sequence[Item]
) -> Iterator[Outcome]:
    for item in progress.track(items, description=description) if items else ():
        yield act(item)


if __name__ == "__main__":
    sys.exit(main())
