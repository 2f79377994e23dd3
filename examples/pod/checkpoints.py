"""Orbax checkpoints: written by all processes while training goes on, read by process 0.

Each holds the run's description, so that a run only ever goes on with its own, and the digest of the state, so that a
damaged one is noticed even if it can be read. A folder gets its number when all of it is written; what a killed process
left half-written has another name and is no checkpoint.
"""

import contextlib
import gc
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orbax.checkpoint as ocp

from .folder import CHECKPOINTS, DAMAGED, steps_in
from .runtime import Refused, say
from .train import digest

KEPT = 3
Description = dict[str, str | int]
Flat = dict[str, np.ndarray]


class Found(NamedTuple):
    """A checkpoint, and newer ones that are damaged, with the reasons."""

    step: int
    flat: Flat
    damage: dict[int, str]


class Writer:
    """Writes in the background. Every process calls every method, at the same steps."""

    def __init__(self, out: Path, description: Description) -> None:
        self._description = description
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT,
            cleanup_tmp_directories=True,
            atomicity_options=ocp.options.AtomicityOptions(mode=ocp.options.AtomicityMode.ATOMIC_RENAME),
        )
        self._manager = ocp.CheckpointManager(
            (out / CHECKPOINTS).absolute(), options=options, item_names=("run", "state")
        )

    def save(self, step: int, flat: dict[str, Any]) -> None:
        run = {**self._description, "digest": digest(flat)}
        items = ocp.args.Composite(run=ocp.args.JsonSave(run), state=ocp.args.StandardSave(flat))
        self._manager.save(step, args=items)

    def wait(self) -> None:
        self._manager.wait_until_finished()

    def close(self) -> None:
        self._manager.close()


def read_newest(out: Path, description: Description, like: Flat) -> Found | None:
    """The newest checkpoint that is whole, and what is wrong with the newer ones. None: there are none at all."""
    damage: dict[int, str] = {}
    for step in reversed(steps_in(out)):
        try:
            with _one_error():
                flat = _read_whole((out / CHECKPOINTS / str(step)).absolute(), description, like)
            return Found(step, flat, damage)
        except Refused:
            raise
        except Exception as error:  # whatever Orbax, TensorStore and the file system say of damaged files
            damage[step] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    if damage:
        where, reasons = out / CHECKPOINTS, "; ".join(f"{step}: {reason}" for step, reason in damage.items())
        raise Refused(f"no checkpoint in {where} can be read ({reasons}); choose another --out to begin anew")
    return None


def put_aside(out: Path, found: Found) -> None:
    """Moves what is damaged out of the way of the checkpoints to come."""
    for step, reason in sorted(found.damage.items()):
        target = out / DAMAGED / str(step)
        number = 1
        while target.exists():
            number += 1
            target = out / DAMAGED / f"{step}-{number}"
        target.parent.mkdir(exist_ok=True)
        (out / CHECKPOINTS / str(step)).rename(target)
        say(f"checkpoint {step} is damaged ({reason}); moved to {target}, going back to step {found.step}")


def _read_whole(folder: Path, description: Description, like: Flat) -> Flat:
    run = _read(ocp.JsonCheckpointHandler, folder / "run", ocp.args.JsonRestore())
    written = run["digest"]
    for name, wanted in description.items():
        if run.get(name) != wanted:
            raise Refused(
                f"{folder} is of another run: its {name} is {run.get(name)!r}, here it is {wanted!r}; choose another "
                "--out, or the options of that run"
            )
    flat = _read(ocp.StandardCheckpointHandler, folder / "state", ocp.args.StandardRestore(like))
    if digest(flat) != written:
        raise ValueError("its contents are not what was written")
    return flat


def _read(handler: Any, path: Path, what: Any) -> Any:
    # Process 0 reads by itself: the others get it from there, and wait for nobody here.
    alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix="read")
    with ocp.Checkpointer(handler(multiprocessing_options=alone), multiprocessing_options=alone) as checkpointer:
        return checkpointer.restore(path, args=what)


@contextlib.contextmanager
def _one_error() -> Iterator[None]:
    """Of a damaged checkpoint every array fails by itself; what comes after the first error is not printed."""
    log, hook = logging.getLogger("asyncio"), sys.unraisablehook
    log.disabled, sys.unraisablehook = True, lambda _: None
    try:
        yield
    finally:
        gc.collect()
        log.disabled, sys.unraisablehook = False, hook
