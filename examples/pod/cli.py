"""The command line. All processes get the same options, but for `--process`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..digits.cli import whole
from .data import DATA


class Options(NamedTuple):
    out: Path
    data: str
    steps: int
    batch: int
    groups: int
    checkpoint_every: int
    seed: int
    patience: int
    coordinator: str | None
    processes: int | None
    process: int | None


def parse(argv: Sequence[str] | None) -> Options:
    """Parses the options; a bad one ends the program with exit status 2 and says which."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.pod",
        description="Train a small network with CutMix and outlier exposure on one process or many. Killed and started "
        "again with the same command, it resumes from the last checkpoint.",
    )

    def add(name: str, text: str, **settings: Any) -> None:
        parser.add_argument(name, help=f"{text} (default: %(default)s)", **settings)

    add("--out", "folder that all processes share", type=Path, default=Path("out/pod"), metavar="DIR")
    add("--data", "what to learn: digits, or Fashion-MNIST", choices=list(DATA), default="digits")
    add("--steps", "training steps in all", type=whole(1), default=400, metavar="N")
    add("--batch", "rows of a batch, all processes together", type=whole(1), default=64, metavar="B")
    add("--groups", "CutMix stays inside each of this many parts of a batch", type=whole(1), default=8, metavar="G")
    add("--checkpoint-every", "steps from one checkpoint to the next", type=whole(1), default=50, metavar="N")
    add("--seed", "of everything random", type=whole(0, 2**32 - 1), default=0, metavar="N")
    add("--patience", "seconds to wait for a silent process", type=whole(1), default=60, metavar="S")

    meeting = parser.add_argument_group(
        "where the processes meet",
        "All three, or none where JAX finds out: one process, a TPU pod, SLURM, Open MPI.",
    )
    meeting.add_argument("--coordinator", metavar="HOST:PORT", help="an address of process 0, and a free port there")
    meeting.add_argument("--processes", type=whole(1), metavar="P", help="how many; 1 alone: do not look for others")
    meeting.add_argument("--process", type=whole(0), metavar="I", help="which of them this is, counted from 0")
    options = Options(**vars(parser.parse_args(argv)))
    _check_meeting(parser, options)
    return options


def _check_meeting(parser: argparse.ArgumentParser, options: Options) -> None:
    given = [options.coordinator is not None, options.processes is not None, options.process is not None]
    alone = options.processes == 1 and options.coordinator is None and options.process in (None, 0)
    if any(given) and not all(given) and not alone:
        parser.error("--coordinator, --processes and --process go together")
    if options.processes is not None and options.process is not None and options.process >= options.processes:
        parser.error(f"argument --process: must be at most {options.processes - 1}, got {options.process}")
    if options.coordinator is not None and not options.coordinator.rpartition(":")[2].isdecimal():
        parser.error(f"argument --coordinator: must be HOST:PORT, got {options.coordinator!r}")
