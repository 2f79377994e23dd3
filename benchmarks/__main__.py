"""Times everything beside its peers and its limit, and tells what it cost.

    python -m benchmarks [--only PATTERN ...] [--quick] [--json FILE] [--page FILE] [--against FILE]

Each theme runs in a process of its own, and twice where the allocator matters. A pattern is a theme, such as
`losses`, or a row's name with wildcards, such as `mixup*`.
"""

import os

# Before jax is imported: the peers run on the CPU, and so does ours.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import fnmatch
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import compare, page, record
from .themes import ALLOCATORS, THEMES, Item, items


def main(arguments: Sequence[str] | None = None) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    stored = None
    try:  # before the minutes that the run takes
        stored = record.read(options.against) if options.against else None
        chosen = choose(list(items(quick=options.quick)), options.only)
    except ValueError as error:
        parser.error(str(error))
    about = record.about({"only": options.only, "quick": options.quick})
    if (about["load"] or 0) > about["cores"] / 2:
        print(f"other programs run beside this one: {about['load']:.1f} on {about['cores']} cores", file=sys.stderr)
    run = record.join(measure(chosen, quick=options.quick), about)
    if options.json:
        record.write(run, options.json)
    text = page.page(run)
    if options.page:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(text)
    else:
        print(text)
    if stored:
        print(page.comparison(compare.compared(stored, run)))
    if run.failed:
        parser.exit(1, f"{len(run.failed)} could not be measured; the page names them\n")


def choose(all_items: Sequence[Item], patterns: Sequence[str] | None) -> list[Item]:
    """The items that some pattern matches.

    Raises:
      ValueError: a pattern matches none.
    """
    if patterns is None:
        return list(all_items)
    for pattern in patterns:
        if not any(_matches(item, pattern) for item in all_items):
            raise ValueError(
                f"--only {pattern!r} matches nothing; give a theme ({', '.join(THEMES)}), or a row's name with "
                "wildcards, such as 'mixup*'"
            )
    return [item for item in all_items if any(_matches(item, pattern) for pattern in patterns)]


def _matches(item: Item, pattern: str) -> bool:
    return item.theme == pattern or fnmatch.fnmatchcase(item.name, pattern)


def measure(chosen: Sequence[Item], *, quick: bool) -> Iterator[record.Record]:
    """A process for each theme and allocator."""
    for theme in THEMES:
        for allocator in ALLOCATORS:
            names = [item.name for item in chosen if item.theme == theme and (item.pages or allocator == "default")]
            if names:
                print(f"{theme}, {allocator} allocator", file=sys.stderr, flush=True)
                yield run_worker(theme, allocator, names, quick=quick)


def run_worker(theme: str, allocator: str, names: Sequence[str], *, quick: bool) -> record.Record:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "record.json")
        order = {"theme": theme, "allocator": allocator, "names": names, "quick": quick, "path": str(path)}
        environment = {**os.environ, **ALLOCATORS[allocator], **THEMES[theme].environment}
        command = [sys.executable, "-m", "benchmarks.worker", json.dumps(order)]
        ended = subprocess.run(command, check=False, env=environment).returncode
        found = record.read(path) if path.exists() else record.Record({}, [], [], [], [])
    done = {item.name for part in (found.rows, found.startup, found.failed) for item in part}
    done |= {item.title for item in found.growth}
    missing = [record.Failed(theme, name, allocator, f"exit status {ended}") for name in names if name not in done]
    return found._replace(failed=[*found.failed, *missing])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="PATTERN", help="themes or names to run")
    parser.add_argument("--quick", action="store_true", help="small sizes and two rounds: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to store the run")
    parser.add_argument("--page", type=Path, metavar="FILE", help="where to write the page; otherwise it is printed")
    parser.add_argument("--against", type=Path, metavar="FILE", help="a stored run to compare with")
    return parser


if __name__ == "__main__":
    main()
