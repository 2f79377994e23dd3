"""What every test runs under."""

import contextlib
import gc
import os
import tempfile

# Before anything imports jax: no search for a TPU where only its compiler is installed, and several devices on one
# host, for the tests of sharding.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

import jax
import numpy as np
import pytest

# Many tests build the same programs. Each process keeps its own: JAX does not write its files at once.
_programs = tempfile.TemporaryDirectory()
jax.config.update("jax_compilation_cache_dir", _programs.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

_TESTS_A_SWEEP = 50
_since_sweep = 0


@pytest.fixture(autouse=True)
def few_programs():
    """Drops compiled programs now and then.

    Each holds a few dozen memory mappings, of which Linux allows a process 65,530: the whole suite would exceed them,
    and crash.
    """
    global _since_sweep
    yield
    _since_sweep += 1
    if _since_sweep >= _TESTS_A_SWEEP:
        _since_sweep = 0
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True)
def own_numbers(request):
    """Gives each test random numbers of its own, whichever tests ran before it in the same process."""
    if hasattr(request.module, "RNG"):
        request.module.RNG = np.random.default_rng(list(request.node.name.encode()))


@pytest.fixture
def as_on_gpu(monkeypatch):
    """A context in which programs are those for a GPU, with sums in its order: a few terms a thread, then by pairs."""

    @contextlib.contextmanager
    def context():
        jax.clear_caches()
        with monkeypatch.context() as patch:
            patch.setattr(jax.lax, "platform_dependent", _for_gpu)
            patch.setattr(jax.lax, "reduce", _by_threads)
            yield
        jax.clear_caches()

    return context


def _for_gpu(*args, default, **by_platform):
    return by_platform.get("cuda", default)(*args)


def _by_threads(operands, initial, merge, axes, reduce=jax.lax.reduce, few=16):
    """`jax.lax.reduce` of several arrays over their last axis, 16 terms at a time."""
    (axis,) = axes
    assert axis == operands[0].ndim - 1
    while operands[0].shape[-1] > few:
        filled = [_filled(*pair, few) for pair in zip(operands, initial, strict=True)]
        threads = filled[0].shape[-1] // few
        operands = [part.reshape(*part.shape[:-1], threads, few) for part in filled]
        operands = reduce(operands, list(initial), merge, (axis + 1,))
    return reduce(list(operands), list(initial), merge, axes)


def _filled(operand, value, few):
    """The last axis filled up to a multiple."""
    missing = -operand.shape[-1] % few
    return jax.lax.pad(operand, value, [(0, 0, 0)] * (operand.ndim - 1) + [(0, missing, 0)])
