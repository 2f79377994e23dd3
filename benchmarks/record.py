"""A run of the suite as plain data, which is what is stored, shown and compared.

The schema: `about` says when, where and with what; the other members of a record are lists of the types below.
"""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import torch

from . import limit, timing
from .row import Contest

PACKAGES = (
    "jax", "jaxlib", "numpy", "torch", "incerto", "torchvision", "timm", "kornia", "pytorch-ood", "scikit-learn",
    "torchmetrics",
)  # fmt: skip
LIMIT = "limit"


class Measured(NamedTuple):
    """A row.

    Attributes:
      theme, name: what was measured.
      allocator: "default", or "raised" where glibc kept freed pages.
      rounds: how many.
      seconds: quartiles by contender, among them "ours" and, where there is one, "limit".
      ratios: quartiles of ours over each of the others, round by round.
      peers: who of them is to be beaten.
      absent: why a contender is missing.
      limited_by: which work the limit is of.
    """

    theme: str
    name: str
    allocator: str
    rounds: int
    seconds: Mapping[str, timing.Quartiles]
    ratios: Mapping[str, timing.Quartiles]
    peers: list[str]
    absent: Mapping[str, str]
    limited_by: str | None

    @property
    def fastest(self) -> str | None:
        return min(self.peers, key=lambda name: self.seconds[name].median, default=None)


class Grown(NamedTuple):
    """A sweep: medians in seconds by contender and size, and the exponents that fit."""

    theme: str
    name: str
    size: str
    sizes: list[int]
    seconds: Mapping[str, list[float]]
    exponents: Mapping[str, float]

    @property
    def title(self) -> str:
        return f"{self.name} by {self.size}"


class Started(NamedTuple):
    """A public function's seconds to be lowered, compiled, and called for the first time."""

    theme: str
    name: str
    lower: float
    compile: float
    first_call: float


class Failed(NamedTuple):
    """What was to be measured, and what came of it."""

    theme: str
    name: str
    allocator: str
    error: str


class Record(NamedTuple):
    about: Mapping[str, Any]
    rows: list[Measured]
    growth: list[Grown]
    startup: list[Started]
    failed: list[Failed]


def measured(theme: str, name: str, allocator: str, contest: Contest, plan: timing.Plan) -> Measured:
    """Everybody's turns, and what follows from them."""
    entries = {**contest.peers, **contest.beside}
    runs = {"ours": contest.ours} | {who: entry for who, entry in entries.items() if not isinstance(entry, str)}
    probes = limit.probes(contest.work) if contest.work else {}
    samples = timing.take_turns(runs | probes, plan)
    competing = {who: samples[who] for who in runs}
    limited_by = None
    if probes:
        limited_by, competing[LIMIT] = limit.limit({who: samples[who] for who in probes})
    return Measured(
        theme,
        name,
        allocator,
        rounds=len(samples["ours"]),
        seconds={who: timing.quartiles(times) for who, times in competing.items()},
        ratios={who: timing.ratio(samples["ours"], times) for who, times in competing.items() if who != "ours"},
        peers=[who for who in contest.peers if who in runs],
        absent={who: entry for who, entry in entries.items() if isinstance(entry, str)},
        limited_by=limited_by,
    )


def about(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "arguments": dict(arguments),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "libc": " ".join(platform.libc_ver()),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "jax_backend": jax.default_backend(),
        "torch_threads": torch.get_num_threads(),
        "versions": {package: _version(package) for package in PACKAGES},
    }


def write(record: Record, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lists = {name: [item._asdict() for item in getattr(record, name)] for name in Record._fields[1:]}
    path.write_text(json.dumps({"about": record.about, **lists}, indent=1) + "\n")


def read(path: Path) -> Record:
    """What `write` wrote.

    Raises:
      ValueError: it is not that; the message names the file.
    """
    try:
        found = json.loads(path.read_text())
        rows = [
            Measured(**row | {part: _quartiles(row[part]) for part in ("seconds", "ratios")}) for row in found["rows"]
        ]
        growth, started = [Grown(**item) for item in found["growth"]], [Started(**item) for item in found["startup"]]
        return Record(found["about"], rows, growth, started, [Failed(**item) for item in found["failed"]])
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not hold a run that `--json` stored: {error!r}") from error


def join(records: Iterable[Record], about: Mapping[str, Any]) -> Record:
    """One record of several processes'."""
    parts = list(records)
    lists = ([item for part in parts for item in getattr(part, name)] for name in Record._fields[1:])
    return Record(about, *lists)


def _quartiles(by_name: Mapping[str, list[float]]) -> dict[str, timing.Quartiles]:
    return {name: timing.Quartiles(*values) for name, values in by_name.items()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
