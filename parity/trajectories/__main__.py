"""Trains with every method in both dtypes, and writes docs/trajectories.md and its picture."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import METHODS, Trajectory, plot, run
from . import __doc__ as about
from .page import page


def write(folder: Path, trajectories: Sequence[Trajectory]) -> None:
    """Writes the page and its picture."""
    (folder / "trajectories").mkdir(parents=True, exist_ok=True)
    (folder / "trajectories.md").write_text(page(trajectories), encoding="utf-8")
    plot(trajectories).savefig(folder / "trajectories" / "curves.png", dpi=130)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains with every method in both dtypes, and reports; returns 1 if any disagrees."""
    parser = argparse.ArgumentParser(prog="python -m parity.trajectories", description=about.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs"), help="where to write; default: docs")
    folder = parser.parse_args(arguments).folder
    trajectories = []
    for method in METHODS:
        for dtype in ("float32", "float64"):
            trajectories.append(run(method, dtype))
            print(trajectories[-1], flush=True)
    write(folder, trajectories)
    return 0 if all(trajectory.agrees for trajectory in trajectories) else 1


if __name__ == "__main__":
    sys.exit(main())
