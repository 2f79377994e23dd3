"""Processes of the example: their ports, their limits of time, and their end, whatever a test does."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from examples.pod import run
from examples.pod.__main__ import main
from examples.pod.folder import CHECKPOINTS, METRICS, RESULT, steps_in
from examples.pod.train import make_trainer

ROOT = Path(__file__).parents[3]
STEPS = 20
EVERY = 4
RUN = ["--steps", STEPS, "--checkpoint-every", EVERY, "--batch", 32, "--groups", 8]
PATIENCE = 5
# One device a process, and not the best code for it.
COMPILE_FAST = "--xla_backend_optimization_level=0"
# A run takes some ten seconds, more beside other tests; after the limit all its processes are killed.
LIMIT = 120


class Team:
    """The processes of one run, started; `with` ends them all."""

    def __init__(self, out, processes, *options, patience=PATIENCE, present=None, own=None):
        port = _free_port()
        self.logs = [out.with_name(f"{out.name}.{time.monotonic_ns()}.{i}.log") for i in range(processes)]
        self.started = time.monotonic()
        self.running = {}
        for i in range(processes) if present is None else present:
            where = ["--coordinator", f"127.0.0.1:{port}", "--processes", processes, "--process", i]
            command = ["-m", "examples.pod", "--out", out, *RUN, "--patience", patience, *where, *options]
            arguments, environment = (own or {}).get(i, ((), {}))
            with self.logs[i].open("wb") as log:
                self.running[i] = subprocess.Popen(
                    [sys.executable, *(str(word) for word in (*command, *arguments))],
                    cwd=ROOT,
                    env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": COMPILE_FAST, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def kill(self, i, with_signal=signal.SIGKILL):
        self.running[i].send_signal(with_signal)

    def wait(self, limit=LIMIT, of=None):
        """The exit statuses, by process; fails if one is still running when the time is over."""
        end = time.monotonic() + limit
        statuses = {}
        for i in self.running if of is None else of:
            try:
                statuses[i] = self.running[i].wait(max(0.01, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                pytest.fail(f"process {i} still runs after {limit} s:\n{self.log(i)}")
        return statuses

    def log(self, i):
        return self.logs[i].read_text(errors="replace")

    def last_line(self, i):
        return self.log(i).splitlines()[-1]


def finish(out, processes, *options):
    """Runs to the end, which it must reach."""
    with Team(out, processes, *options) as team:
        statuses = team.wait()
        assert set(statuses.values()) == {0}, "\n".join(team.log(i) for i in statuses)
        return team.log(0)


def outcome(out):
    """All that must be equal bit for bit; the result has the digest of parameters, optimizer state and step."""
    assert steps_in(out)[-1] == STEPS
    return (out / RESULT).read_bytes(), (out / METRICS).read_bytes()


def losses(out):
    lines = [json.loads(line) for line in (out / METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    return [line["loss"] for line in lines]


def wait_for_steps(team, out):
    end = time.monotonic() + 60
    while not ((out / METRICS).exists() and (out / METRICS).stat().st_size):
        assert time.monotonic() < end, team.log(0)
        time.sleep(0.1)


def as_at_step(step, run, out):
    """A copy of a finished run as it was when its checkpoint of this step was the newest."""
    shutil.copytree(run, out)
    (out / RESULT).unlink()
    for newer in steps_in(out):
        if newer > step:
            shutil.rmtree(out / CHECKPOINTS / str(newer))
    assert steps_in(out)[-1] == step
    return out


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def _free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture(scope="session")
def two(tmp_path_factory):
    """The run of two processes that nothing happens to."""
    out = tmp_path_factory.mktemp("pod") / "two"
    start = time.monotonic()
    finish(out, 2)
    return out, time.monotonic() - start


@pytest.fixture
def here(monkeypatch):
    yield from _here(monkeypatch)


_trainers = {}


def compiled_once(data, *, seed, groups):
    key = (data.x.shape, seed, groups)
    if key not in _trainers:
        _trainers[key] = make_trainer(data, seed=seed, groups=groups)
    return _trainers[key]


def _here(patch):
    """Runs the example in this process, on all its devices."""
    precision = jax.config.jax_default_matmul_precision
    patch.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"])
    patch.setattr(run, "make_trainer", compiled_once)
    yield lambda out, *options: main([str(word) for word in ("--processes", 1, "--out", out, *RUN, *options)])
    jax.config.update("jax_default_matmul_precision", precision)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The run in this process that nothing happens to; tests work on copies."""
    out = tmp_path_factory.mktemp("pod") / "finished"
    with pytest.MonkeyPatch.context() as patch:
        next(here := _here(patch))(out)
        next(here, None)
    return out
