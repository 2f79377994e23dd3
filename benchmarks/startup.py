"""What a program pays once: the import, and each public function's compilation and first call.

Functions are measured each in a process of its own, forked from one that has imported everything and done nothing. What
the first of all programs pays for the backend is paid there before the clock starts.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from . import public_calls
from .row import Contest, Row

REPEATS = 2
IMPORT = "import"


class Startup(NamedTuple):
    """Seconds, the least of a few measurements: other load only adds to what a compiler has to do.

    Attributes:
      lower: tracing a function and lowering it.
      compile: compiling what that gave.
      first_call: the first call of all, with everything that runs around the program.
    """

    lower: float
    compile: float
    first_call: float


def import_rows(*, quick: bool) -> Iterator[Row]:
    def build() -> Contest:
        return Contest(partial(_import, "ood_jax"), {}, {"jax": partial(_import, "jax, jax.numpy")})

    yield Row(IMPORT, build, budget=30)


def measure(name: str, *, repeats: int) -> Startup:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    # A worker that takes one task and goes is a fresh process.
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        found = [pool.submit(start, name).result() for _ in range(repeats)]
    return Startup(*map(min, zip(*found, strict=True)))


def start(name: str) -> Startup:
    """Calls a function, then compiles it again, in a process that has run a program of another."""
    jax.config.update("jax_enable_compilation_cache", False)
    call = public_calls.call(name)
    jax.clear_caches()
    jax.block_until_ready(jax.jit(lambda x: x + 1)(jnp.zeros(3)))
    first_call = _seconds(call.run)
    jax.clear_caches()
    lowered = []
    lower = _seconds(lambda: lowered.append(call.function.lower(*call.arguments, **call.options)))
    return Startup(lower, _seconds(lowered[0].compile), first_call)


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _import(modules: str) -> None:
    """Imports in a new process, with bytecode kept between calls as an installed package has it.

    The process ends at once, for the interpreter takes longer to shut down than to import this library.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = kept | {"PYTHONPYCACHEPREFIX": _bytecode().name}
    subprocess.run([sys.executable, "-c", f"import {modules}, os; os._exit(0)"], env=environment, check=True)


@cache
def _bytecode() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()
