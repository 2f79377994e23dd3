"""The folder of a run: what is in it, and whether it can be used."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

CHECKPOINTS = "checkpoints"
METRICS = "metrics.jsonl"
RESULT = "result.json"
DAMAGED = "damaged"


def steps_in(out: Path) -> list[int]:
    """Steps of the finished checkpoints: Orbax gives a folder its number when all of it is written."""
    with contextlib.suppress(OSError):
        return sorted(int(name) for name in os.listdir(out / CHECKPOINTS) if name.isdecimal())
    return []


def make(out: Path) -> None:
    """Makes the folder, or says why it cannot; OSError."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):
        pass


@contextlib.contextmanager
def lock(out: Path) -> Iterator[bool]:
    """False if another run is at work in the folder. The system takes the lock back when the process ends, however."""
    descriptor = os.open(out, os.O_RDONLY)
    try:
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks
    return True
