"""What process 0 tells: a line a step in `metrics.jsonl`, and progress in the terminal."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Metrics:
    """Holds the steps up to the checkpoint that a run goes on from, and then every step once."""

    def __init__(self, path: Path, step: int) -> None:
        # Not emptied: cut after the last step that counts, so that a kill right here loses nothing.
        self._file = path.open("ab+")
        self._file.seek(0)
        kept = size = 0
        for line in self._file:
            if kept == step or not _is_step(line, kept + 1):
                break
            kept, size = kept + 1, size + len(line)
        self._file.truncate(size)
        self.kept = kept

    def write(self, step: int, losses: Sequence[float]) -> None:
        for number, loss in enumerate(losses, start=step):
            self._file.write(json.dumps({"step": number, "loss": loss}).encode() + b"\n")
        self._file.flush()

    def sync(self) -> None:
        """To the disk itself, before a checkpoint says that the steps are done."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _is_step(line: bytes, step: int) -> bool:
    try:
        return line.endswith(b"\n") and json.loads(line)["step"] == step
    except (ValueError, KeyError, TypeError):
        return False


class Reporter:
    """A bar in a terminal, plain lines elsewhere, nothing on the other processes."""

    def __init__(self, *, first: bool, start: int, steps: int, batch: int) -> None:
        console = Console(quiet=not first)
        self._plain = first and not console.is_terminal
        self._steps, self._batch = steps, batch
        self._step, self._time = start, time.perf_counter()
        self._bar = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
            disable=not first or self._plain,
        )
        self._task = self._bar.add_task("compiling", total=steps, completed=start)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._bar.stop()

    def report(self, step: int, loss: float) -> None:
        now = time.perf_counter()
        rate = self._batch * (step - self._step) / (now - self._time)
        self._step, self._time = step, now
        text = f"loss {loss:.4f}  {rate:,.0f} examples/s"
        self._bar.update(self._task, completed=step, description=text)
        if self._plain:
            print(f"step {step}/{self._steps}  {text}", flush=True)
