"""How processes start, agree and end together, on `jax.distributed`.

JAX's coordination service, which lives in process 0, hears from every process and ends all of them when one falls
silent or the connection to process 0 breaks. It ends them by abort(), which cannot be caught as an exception; here it
is made to say, last of all, how to go on.
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from .folder import steps_in

if TYPE_CHECKING:
    from .cli import Options

REFUSED = 2
LOST = 3
# What the errors of collectives and barriers say when a process at the other end is gone.
SIGNS_OF_LOSS = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "oordination service", "Barrier")

Value = TypeVar("Value")


class Refused(Exception):  # noqa: N818
    """The run cannot be as asked, for the reason given; nothing has been changed."""


@contextlib.contextmanager
def joined(options: "Options") -> Iterator[None]:
    """Joins the other processes, if there are any, and leaves with them; an error ends this one and so all."""
    _make_deterministic()
    alone = options.processes == 1 and options.coordinator is None
    met = threading.Event()
    with contextlib.nullcontext() if alone else _abort_speaks(options, met):
        try:
            if not alone:
                _meet(options)
            met.set()
            yield
        except Refused as refusal:
            say(str(refusal))
            jax.distributed.shutdown()
            sys.exit(REFUSED)
        except (Exception, KeyboardInterrupt) as error:
            _stop(error, options)
        jax.distributed.shutdown()


def is_first() -> bool:
    return jax.process_index() == 0


def say(text: str) -> None:
    """One line on stderr, in one piece, whichever thread and process it comes from."""
    sys.stdout.flush()
    who = f"process {jax.process_index()} of {jax.process_count()}: " if jax.process_count() > 1 else ""
    os.write(sys.stderr.fileno(), f"examples.pod: {who}{text}\n".encode())


def together(function: Callable[[], Value]) -> Value:
    """Calls it on every process; if it is refused on one, it is on all."""
    refusal = value = None
    try:
        value = function()
    except Refused as error:
        refusal = error
    refused = np.atleast_1d(multihost_utils.process_allgather(np.int32(refusal is not None)))
    if refusal is not None:
        raise refusal
    if refused.any():
        raise Refused(f"stopped with process {refused.argmax()}, whose message says why")
    return value  # type: ignore[return-value]


def from_first(flat: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of process 0, on every process; the others give arrays of the same names, shapes and types."""
    # By name, for a dictionary from a checkpoint has another order. As bytes, for they are sent as a sum with zeros,
    # which would turn a float's -0 into 0.
    items = sorted(flat.items())
    joined = np.concatenate([np.ascontiguousarray(value).reshape(-1).view(np.uint8) for _, value in items])
    sent = np.asarray(multihost_utils.broadcast_one_to_all(joined))
    ends = np.cumsum([value.nbytes for _, value in items])[:-1]
    parts = zip(items, np.split(sent, ends), strict=True)
    return {name: part.view(value.dtype).reshape(value.shape) for (name, value), part in parts}


def check_same_options(options: "Options") -> None:
    shared = options._replace(process=None)
    mine = np.uint32(zlib.crc32(repr(shared).encode()))
    if multihost_utils.broadcast_one_to_all(mine) != mine:
        raise Refused("was started with other options than process 0; only --process may differ")


def _meet(options: "Options") -> None:
    # Else JAX takes SIGTERM for the notice of a later end, which a run that resumes from any step has no need of.
    jax.config.update("jax_enable_preemption_service", False)
    where: dict[str, Any] = {}
    if options.coordinator is not None:
        if options.process == 0:
            _check_port(options.coordinator)
        where = {
            "coordinator_address": options.coordinator,
            "num_processes": options.processes,
            "process_id": options.process,
        }
    limits = ("initialization_timeout", "heartbeat_timeout_seconds", "shutdown_timeout_seconds")
    where.update(dict.fromkeys(limits, options.patience))
    try:
        jax.distributed.initialize(**where)
    except ValueError as error:
        # What JAX says where no cluster is in sight: the process is alone.
        if options.coordinator is not None or "coordinator_address" not in str(error):
            raise


def _check_port(coordinator: str) -> None:
    """Here, for JAX crashes where the port is in use."""
    try:
        socket.create_server(("", int(coordinator.rpartition(":")[2]))).close()
    except (OSError, OverflowError) as error:
        raise Refused(f"--coordinator {coordinator}: cannot listen on this port: {error}") from None


def _stop(error: BaseException, options: "Options") -> NoReturn:
    """Says what happened and ends this process."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if jax.process_count() > 1 and any(sign in str(error) for sign in SIGNS_OF_LOSS):
        status = LOST
        say(f"{_lost(options)} ({reason}); {_how_to_go_on(options)}")
    else:
        status = 1
        if isinstance(error, Exception):
            traceback.print_exception(error)
        say(f"stopped by an error ({reason}); {_how_to_go_on(options)}")
    if jax.process_count() > 1:
        # Without the farewells at a usual exit, which wait for the others.
        os._exit(status)
    sys.exit(status)


def _lost(options: "Options") -> str:
    """Silence too: a collective that waits for the silent process may fail before JAX aborts."""
    return f"another process was lost, or silent for {options.patience} s (--patience)"


def _how_to_go_on(options: "Options") -> str:
    steps = steps_in(options.out)
    where = f"resume from step {steps[-1]}" if steps else "begin anew"
    return f"give the same command again, to every process, to {where}"


@contextlib.contextmanager
def _abort_speaks(options: "Options", met: threading.Event) -> Iterator[None]:
    """Has abort() print how to go on.

    JAX calls it from a thread of its own, without holding the interpreter's lock, so a Python function may answer the
    signal; `signal.signal` would run it too late, in the main thread, which may be waiting for a lost process.
    """

    def speak(signum: int) -> None:
        processes, process = options.processes, options.process
        who = "" if process is None else f"process {process} of {processes}: "
        what = _lost(options) if met.is_set() else f"not all processes came within {options.patience} s (--patience)"
        text = f"{what}, see JAX's message above; {_how_to_go_on(options)}"
        os.write(2, f"examples.pod: {who}{text}\n".encode())
        os._exit(LOST)

    kind = ctypes.CFUNCTYPE(None, ctypes.c_int)
    answer = kind(speak)
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    before = set_handler(signal.SIGABRT, ctypes.cast(answer, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(signal.SIGABRT, before)


def _make_deterministic() -> None:
    """Before JAX looks for devices: the same sums in the same order every time, in full float32."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    jax.config.update("jax_default_matmul_precision", "highest")
