"""The report: every case's row, where it was computed, as a table in the terminal and as JSON."""

import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import jax
import numpy as np
import torch

import ood_jax

from .agreement import Result
from .cases import Case
from .published import SOURCES

try:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "the report needs rich, which is not installed; install it with `pip install 'ood-jax[parity]'`."
    ) from error

PACKAGES = ("jax", "jaxlib", "numpy", "torch", "flax")
NOTHING = "nothing was compared"
# A file has no width to keep to, and a folded line cannot be searched; longer names widen it further.
PIPED_WIDTH = 160


class Verdict(StrEnum):
    """What came of a case."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    FAILED = "failed"
    NOT_INSTALLED = "not installed"

    @property
    def bad(self) -> bool:
        """Whether it counts as a disagreement."""
        return self in (Verdict.DISAGREES, Verdict.FAILED)


COLORS = {
    Verdict.AGREES: "green",
    Verdict.DISAGREES: "bold red",
    Verdict.FAILED: "bold red",
    Verdict.NOT_INSTALLED: "yellow",
}


# The rows.


class Row(NamedTuple):
    """What came of one case; the figures are its results' largest, None where no result has any."""

    name: str
    source: str
    verdict: Verdict
    results: tuple[Result, ...] = ()
    failure: str | None = None

    @property
    def difference(self) -> float | None:
        """Ours from the source's, in ulps."""
        return _largest(result.difference for result in self.results)

    @property
    def error(self) -> float | None:
        """Ours from the truth, in ulps."""
        return _largest(result.error for result in self.results)

    @property
    def source_error(self) -> float | None:
        """The source's from the truth, in ulps."""
        return _largest(result.source_error for result in self.results)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it does not agree: a line a result that disagrees, or what went wrong."""
        if self.failure is not None:
            return (self.failure,)
        if self.verdict is not Verdict.DISAGREES:
            return ()
        return tuple(str(result) for result in self.results if not result.agrees) or (NOTHING,)


def _largest(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return float(np.max(known)) if known else None  # not max(), which loses a nan


def evaluate(case: Case) -> Row:
    """Runs a case, if its source is installed. An error in it is a verdict, for the other cases are to run too."""
    if SOURCES[case.source].installed is None:
        return Row(case.name, case.source, Verdict.NOT_INSTALLED)
    try:
        agreement = case.run()
    except Exception as error:
        return Row(case.name, case.source, Verdict.FAILED, failure=f"{type(error).__name__}: {error}")
    verdict = Verdict.AGREES if agreement.agrees else Verdict.DISAGREES
    return Row(case.name, case.source, verdict, agreement.results)


def succeeded(rows: Sequence[Row]) -> bool:
    """Whether nothing disagrees and something agrees; nothing compared is no agreement."""
    verdicts = {row.verdict for row in rows}
    return Verdict.AGREES in verdicts and not any(verdict.bad for verdict in verdicts)


def counts(rows: Sequence[Row]) -> dict[Verdict, int]:
    """How many rows have each verdict."""
    return {verdict: sum(row.verdict is verdict for row in rows) for verdict in Verdict}


def summary(rows: Sequence[Row]) -> str:
    """The counts in a line."""
    agree, *others = counts(rows).items()
    names = {Verdict.DISAGREES: "disagree"}
    return ", ".join(
        [
            f"{agree[1]} of {len(rows)} cases agree",
            *(f"{n} {names.get(verdict, verdict)}" for verdict, n in others if n),
        ]
    )


# Where it was computed.


def environment() -> dict[str, Any]:
    """All that could change a figure."""
    config: Any = jax.config  # its options are not annotated
    return {
        "versions": {"ood_jax": ood_jax.__version__, **{package: _version(package) for package in PACKAGES}},
        "sources": {
            name: {"pinned": source.version, "installed": source.installed} for name, source in SOURCES.items()
        },
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": {
            "jax": [f"{device.platform} ({device.device_kind})" for device in jax.devices()],
            "torch_cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "matmul_precision": {
            "jax_default_matmul_precision": config.jax_default_matmul_precision,
            "torch.get_float32_matmul_precision": torch.get_float32_matmul_precision(),
            "torch.backends.cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        },
        "jax_enable_x64": bool(config.jax_enable_x64),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def described(environment: Mapping[str, Any]) -> dict[str, str]:
    """The environment in words, a line an entry."""
    devices = environment["devices"]
    return {
        "versions": ", ".join(f"{name} {found or 'not installed'}" for name, found in environment["versions"].items()),
        "sources": ", ".join(_source(name, **found) for name, found in environment["sources"].items()),
        "Python": f"{environment['python']} on {environment['platform']}",
        "devices": f"jax {', '.join(devices['jax'])}; torch {devices['torch_cuda'] or 'cpu, CUDA not available'}",
        "matmul": ", ".join(f"{name}={value}" for name, value in environment["matmul_precision"].items()),
        "x64": f"jax_enable_x64={environment['jax_enable_x64']}; cases in float64 turn it on for themselves",
    }


def _source(name: str, pinned: str | None, installed: str | None) -> str:
    text = f"{name} {installed or 'not installed'}"
    return text if pinned in (None, installed) else f"{text} (pinned {pinned})"


# In the terminal.


def figure(value: float | None) -> str:
    """A number of ulps, three digits of it."""
    return "-" if value is None else f"{value:.3g}"


def show(console: Console, environment: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Prints the environment, the table, what disagrees, and the counts."""
    for name, text in described(environment).items():
        console.print(f"{name + ':':<10}{text}", soft_wrap=True)
    console.print(
        "\nThe largest over each case's results, in ulps; for draws -log10 of the p-value. Errors are from the truth."
    )
    console.print(as_table(rows, gap=1 if console.width >= 100 else 0), crop=False)
    for row in rows:
        if row.reasons:
            console.print(f"{row.name}: {row.verdict}", style=COLORS[row.verdict], soft_wrap=True)
            for reason in row.reasons:
                console.print(f"    {reason}", soft_wrap=True)
    console.print(f"\n{summary(rows)}", style="bold")


def as_table(rows: Sequence[Row], gap: int = 1) -> Table:
    """A row a case."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
    # A name is folded, never cut: its end is what tells it from its neighbours.
    table.add_column("case", overflow="fold", min_width=16)
    table.add_column("source", no_wrap=True)
    for header in ("results", "apart", "our\nerror", "source's\nerror"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in rows:
        figures = (figure(value) for value in (row.difference, row.error, row.source_error))
        # Capitals stand out where there are no colours.
        verdict = Text(row.verdict.upper() if row.verdict.bad else row.verdict, COLORS[row.verdict])
        table.add_row(Text(row.name), Text(row.source), str(len(row.results)), *figures, verdict)
    return table


def console_for(rows: Sequence[Row]) -> Console:
    """The console on stdout. A file gets lines wide enough for every name."""
    console = Console(markup=False, emoji=False, highlight=False)
    if console.is_terminal:
        return console
    needed = 100 + max((len(row.name) for row in rows), default=0)
    return Console(markup=False, emoji=False, highlight=False, width=max(PIPED_WIDTH, needed))


# As JSON.


def as_json(environment: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Everything, each result included. It is strict JSON: a figure that is not finite is its name in a string."""
    tally = {verdict.replace(" ", "_"): count for verdict, count in counts(rows).items()}
    contents = {
        "environment": environment,
        "summary": {"text": summary(rows), "succeeded": succeeded(rows), "cases": len(rows), **tally},
        "cases": [_row(row) for row in rows],
    }
    return json.dumps(_strict(contents), indent=2, allow_nan=False) + "\n"


def _row(row: Row) -> dict[str, Any]:
    figures = {"difference": row.difference, "error": row.error, "source_error": row.source_error}
    return row._asdict() | figures | {"results": [_result(result) for result in row.results]}


def _result(result: Result) -> dict[str, Any]:
    worst = None if result.worst is None else result.worst._asdict()
    return result._asdict() | {"agrees": result.agrees, "worst": worst}


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(entry) for entry in value]
    if isinstance(value, np.generic):
        return _strict(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
