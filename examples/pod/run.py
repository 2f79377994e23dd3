"""A run from the checks of its options to its result, the same on every process."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from ..digits.evaluate import SCORES, auroc
from . import folder
from .checkpoints import Description, Flat, Writer, put_aside, read_newest
from .cli import Options
from .data import DATA, Data, batches
from .metrics import Metrics, Reporter
from .runtime import Refused, check_same_options, from_first, is_first, say, together
from .train import (
    METHOD,
    Batch,
    State,
    Trainer,
    copy_to_all,
    describe_model,
    digest,
    flatten,
    make_trainer,
    split_over,
    unflatten,
)

# Reading the loss waits for the step to finish, so it is not read at every step.
REPORT_EVERY = 10


def run(options: Options) -> None:
    together(lambda: check_same_options(options))
    together(lambda: check_layout(options))
    data = together(lambda: DATA[options.data](options.seed))
    trainer = make_trainer(data, seed=options.seed, groups=options.groups)
    fresh = jax.device_get(trainer.init())
    description = describe(options, fresh)

    with contextlib.ExitStack() as stack:
        together(lambda: open_folder(options, stack) if is_first() else None)
        together(lambda: check_shared(options.out))
        flat = together(lambda: restore(options, description, flatten(fresh)) if is_first() else flatten(fresh))
        host = unflatten(fresh, from_first(flat))
        state = train(options, trainer, copy_to_all(trainer.mesh, host), data, description)
        if is_first():
            finish(options, trainer, state, data)
        # The others wait here, where they are heard from, and not in the farewell, which has a limit of time.
        multihost_utils.sync_global_devices("finished")


def check_layout(options: Options) -> None:
    processes, devices = jax.process_count(), jax.device_count()
    if options.batch % processes:
        raise Refused(f"--batch {options.batch} is not a multiple of the {processes} processes")
    if jax.local_device_count() * processes != devices:
        raise Refused(f"the {devices} devices are not shared equally by the {processes} processes")
    if options.groups % devices:
        raise Refused(f"--groups {options.groups} is not a multiple of the {devices} devices")
    if options.batch % options.groups:
        raise Refused(f"--batch {options.batch} is not a multiple of --groups {options.groups}")


def describe(options: Options, state: State) -> Description:
    """What a checkpoint must agree with. The number of steps is not in it: a run may be made longer."""
    return {
        "model": describe_model(state),
        "method": METHOD,
        "data": options.data,
        "batch": options.batch,
        "groups": options.groups,
        "seed": options.seed,
    }


def open_folder(options: Options, stack: contextlib.ExitStack) -> None:
    try:
        folder.make(options.out)
    except OSError as error:
        raise Refused(f"--out {options.out}: cannot write to this folder: {error.strerror}") from None
    if not stack.enter_context(folder.lock(options.out)):
        raise Refused(f"--out {options.out}: another run is at work in this folder")


def check_shared(out: Path) -> None:
    """All processes see the folder that process 0 has made."""
    if not out.is_dir():
        raise Refused(f"--out {out}: not the folder of process 0, or not yet; all processes must share it")


def restore(options: Options, description: Description, fresh: Flat) -> Flat:
    found = read_newest(options.out, description, fresh)
    metrics = options.out / folder.METRICS
    if found is None:
        if metrics.exists():
            raise Refused(f"{metrics} is there, but none of its checkpoints; choose another --out to begin anew")
        return fresh
    if found.step > options.steps:
        raise Refused(f"--steps {options.steps}: {options.out} is at step {found.step} already")
    put_aside(options.out, found)
    say(f"resuming from step {found.step}")
    return found.flat


def train(options: Options, trainer: Trainer, state: State, data: Data, description: Description) -> State:
    start = int(state.step)
    writer = Writer(options.out, description)
    if start == 0:
        # At once and waited for: from now on the folder says what is in it.
        writer.save(0, flatten(state))
        writer.wait()
    metrics = open_metrics(options, start) if is_first() else None
    losses: list[jax.Array] = []
    with Reporter(first=is_first(), start=start, steps=options.steps, batch=options.batch) as reporter:
        for batch in read(options, trainer, data, start):
            state, loss = trainer.step(state, batch)
            losses.append(loss)
            step = start + len(losses)
            saves = step % options.checkpoint_every == 0 or step == options.steps
            if saves or step % REPORT_EVERY == 0:
                values = [float(loss) for loss in losses]
                if metrics is not None:
                    metrics.write(start + 1, values)
                    reporter.report(step, values[-1])
                    if saves:
                        metrics.sync()
                start, losses = step, []
            if saves:
                writer.save(step, flatten(state))
    writer.close()
    multihost_utils.sync_global_devices("trained")
    if metrics is not None:
        metrics.close()
    return state


def open_metrics(options: Options, start: int) -> Metrics:
    metrics = Metrics(options.out / folder.METRICS, start)
    if metrics.kept < start:
        say(f"{folder.METRICS} lacks what was after step {metrics.kept}; the losses up to step {start} are lost")
    return metrics


def read(options: Options, trainer: Trainer, data: Data, start: int) -> Iterator[Batch]:
    """The global batches of the steps that are left."""
    mine = batches(
        data,
        seed=options.seed,
        batch=options.batch,
        part=jax.process_index(),
        parts=jax.process_count(),
        start=start,
    )
    for _ in range(start, options.steps):
        yield split_over(trainer.mesh, next(mine))


def finish(options: Options, trainer: Trainer, state: State, data: Data) -> None:
    """Tests the network, and writes the result with the digest of all that was learnt."""
    host = jax.device_get(state)
    known, unknown = (trainer.predict(host.params, x) for x in (data.x_test, data.unknown))
    result: dict[str, Any] = {
        "steps": int(host.step),
        "accuracy": float((np.asarray(known).argmax(-1) == data.y_test).mean()),
        "auroc": auroc(*(np.asarray(SCORES["softmax"](logits)) for logits in (known, unknown))),
        "digest": digest(flatten(host)),
    }
    target = options.out / folder.RESULT
    half = target.with_suffix(".tmp")
    half.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    half.replace(target)
    print(f"accuracy {100 * result['accuracy']:.1f} %, AUROC {100 * result['auroc']:.1f} %; {target}", flush=True)
