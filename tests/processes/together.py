"""Processes that start together and end together: when all are done, when one fails, or when their time is up."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
# Not the best code, for it runs once.
COMPILE_FAST = "--xla_backend_optimization_level=0"
# Of a process that failed, the others often know the reason: so long they may still write it.
GRACE = 1.0
# The coordinator's words when its port was taken between our look at it and its start.
PORT_TAKEN = "Failed to add port to server"
# What is killed cannot kill its own, so the kernel does; it forgets who was orphaned before it was asked.
GUARD = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("orphaned at birth")
os.execv(command[0], command)
"""


class Failed(Exception):  # noqa: N818
    """A process failed or was late; the message holds what each of them wrote."""


class Job(NamedTuple):
    process: subprocess.Popen
    log: Path
    out: Path


def run_together(script, count, folder, *, seconds, devices=1):
    """Runs `script OUT PORT COUNT INDEX` in so many processes; what each wrote to OUT, as JSON.

    `seconds` bounds all of it. A taken port is given a second try, with another.
    """
    deadline = time.monotonic() + seconds
    for tries_left in (1, 0):
        with started(script, count, folder, devices=devices) as jobs:
            verdict = _wait(jobs, deadline, seconds)
        if verdict is None:
            return [json.loads(job.out.read_text()) for job in jobs]
        if tries_left and any(PORT_TAKEN in job.log.read_text(errors="replace") for job in jobs):
            continue
        raise Failed("\n".join([verdict, *(_describe(i, job) for i, job in enumerate(jobs))]))
    raise AssertionError("not reached")


@contextlib.contextmanager
def started(script, count, folder, *, devices=1):
    """The processes, each in a session of its own; none is left after the `with`, however it ends."""
    port = free_port()
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} {COMPILE_FAST}",
    }
    jobs = []
    try:
        for index in range(count):
            log, out = folder / f"{index}.log", folder / f"{index}.json"
            command = [sys.executable, "-W", "error", script, out, port, count, index]
            with log.open("wb") as stream:
                process = subprocess.Popen(
                    [sys.executable, "-ISc", GUARD, *map(str, (os.getpid(), *command))],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    start_new_session=True,
                )
            jobs.append(Job(process, log, out))
        yield jobs
    finally:
        for job in jobs:
            # Also of one that has ended: its children may have not.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.process.pid, signal.SIGKILL)
        for job in jobs:
            job.process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(jobs, deadline, seconds):
    """Until all are done; None if they are well, or what is wrong."""
    failed = None
    while time.monotonic() < deadline:
        statuses = [job.process.poll() for job in jobs]
        if failed is None and any(statuses):
            failed = [(index, status) for index, status in enumerate(statuses) if status]
            deadline = min(deadline, time.monotonic() + GRACE)
        if None not in statuses:
            break
        time.sleep(0.02)
    if failed is not None:
        return "; ".join(f"process {index} of {len(jobs)} ended with status {status}" for index, status in failed)
    late = [str(index) for index, job in enumerate(jobs) if job.process.poll() is None]
    return f"still running after {seconds} s, and killed: process {', '.join(late)} of {len(jobs)}" if late else None


def _describe(index, job):
    return f"--- process {index} wrote:\n{job.log.read_text(errors='replace')[-6000:]}"
