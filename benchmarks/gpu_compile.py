"""Compiles mixing and losses for a GPU, ahead of time and without a GPU.

    python -m benchmarks.gpu_compile [--only PATTERN ...] [--json FILE]

The compiler for GPUs (`pip install 'ood-jax[gpu-compiler]'`) builds each program for an H200. Told are the kernels that
it starts, the memory it needs beside its inputs and outputs, and the bytes that its kernels read and write, as a ratio
to the least: for mixing two readings of the batch and one writing, for losses one of the logits (and class
probabilities) and one of their gradients. Bytes are not time: how long a kernel computes, or waits to be started, no
compiler tells.
"""

import os

# Before jax is imported: the compiler must not look for a GPU.
os.environ["JAX_PLATFORMS"] = "cpu"

import argparse
import fnmatch
import functools
import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

import ood_jax

from . import plain_losses as plain
from .kernels import kernels
from .mixing_forms import plain_cutmix, plain_mixup

# NVIDIA H200 SXM, from its data sheet and the limits of compute capability 9.0.
H200 = """
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
gpu_device_info {
  name: "NVIDIA H200"
  device_vendor: "NVIDIA Corporation"
  cuda_compute_capability { major: 9 }
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  memory_bandwidth: 4800000000000
  device_memory_size: 151397597184
  device_address_bits: 64
  l2_cache_size: 52428800
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  shared_memory_per_core: 233472
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  driver_version: "13.0.0"
  runtime_version: "13.0.0"
  compile_time_toolkit_version: "13.0.0"
  dnn_version: "9.10.0"
}
"""

BATCHES = {
    "images": ((128, 224, 224, 3), "bfloat16"),
    "float32 images": ((128, 224, 224, 3), "float32"),
    "uint8 images": ((128, 224, 224, 3), "uint8"),
    "tokens": ((128, 14, 14, 768), "bfloat16"),
}
LOGITS = ((8192, 1_000), (256, 1_000), (256, 21_841), (16, 262_144))

Function = Callable[..., Any]


class Program(NamedTuple):
    """A function of arrays, and the least bytes that it must read and write."""

    name: str
    function: Function
    arguments: tuple[Any, ...]
    least: int


def programs() -> Iterator[Program]:
    yield from mixing_programs()
    yield from loss_programs()


def mixing_programs() -> Iterator[Program]:
    forms: dict[str, dict[str, Any]] = {
        "": {},
        ", 4 groups": {"groups": 4},
        ", λ a row": {"per_example": True},
        ", 4 groups, λ a row": {"groups": 4, "per_example": True},
    }
    methods: dict[str, tuple[Function, Function]] = {
        "mixup": (ood_jax.mixup, plain_mixup),
        "cutmix": (ood_jax.cutmix, plain_cutmix),
    }
    for method, (ours, others) in methods.items():
        functions = {f"{method}{form}": partial(ours, **options) for form, options in forms.items()}
        functions |= {f"{method}, a few plain lines": partial(others)}
        for title, (shape, dtype) in BATCHES.items():
            key, x, y = random_key(), array(*shape, dtype=dtype), array(shape[0], dtype="int32")
            size = math.prod(shape) * x.dtype.itemsize
            result = math.prod(shape) * 4 if method == "mixup" and dtype == "uint8" else size
            for name, function in functions.items():
                yield Program(f"{name}, {title}", function, (key, x, y), 2 * size + result)


def loss_programs() -> Iterator[Program]:
    lam = array(dtype="float32")
    two_sided: dict[str, tuple[Function, Function]] = {
        "outlier exposure, KL": (ood_jax.outlier_exposure_loss, plain.outlier_exposure_kl),
        "outlier exposure, cross entropy": (
            partial(ood_jax.outlier_exposure_loss, form="cross_entropy"),
            plain.outlier_exposure,
        ),
        "energy, pairwise": (ood_jax.energy_regularized_loss, plain.energy_pairwise),
        "energy, mean": (partial(ood_jax.energy_regularized_loss, form="mean"), plain.energy_mean),
        "energy, bounded": (ood_jax.energy_bounded_loss, plain.energy_bounded),
    }
    for rows, classes in LOGITS:
        for dtype in ("float32", "bfloat16"):
            z, y = array(rows, classes, dtype=dtype), array(rows, dtype="int32")
            title, size = f"{rows:,}x{classes:,} {dtype}", 2 * rows * classes * z.dtype.itemsize
            for name, (ours, others) in two_sided.items():
                both = jax.value_and_grad(ours, argnums=(0, 2))
                yield Program(f"{name}, {title}", both, (z, y, z), 2 * size)
                both = jax.value_and_grad(others, argnums=(0, 1))
                yield Program(f"{name}, with log_softmax, {title}", both, (z, z, y), 2 * size)
            targets = array(rows, classes, dtype="float32")
            both = jax.value_and_grad(ood_jax.outlier_exposure_loss, argnums=(0, 2))
            name, least = "outlier exposure, class probabilities", 2 * size + rows * classes * 4
            yield Program(f"{name}, {title}", both, (z, targets, z), least)
            both = jax.value_and_grad(plain.outlier_exposure_of_probabilities, argnums=(0, 1))
            yield Program(f"{name}, with log_softmax, {title}", both, (z, z, targets), least)
            mixed = jax.value_and_grad(ood_jax.mixup_cross_entropy)
            yield Program(f"mixup cross entropy, {title}", mixed, (z, y, y, lam), size)
            mixed = jax.value_and_grad(plain.mixup)
            yield Program(f"mixup cross entropy, with log_softmax, {title}", mixed, (z, y, y, lam), size)
            energy = jax.value_and_grad(lambda z: ood_jax.free_energy(z).mean())
            yield Program(f"free energy, {title}", energy, (z,), size)


def array(*shape: int, dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=SingleDeviceSharding(gpu()))


def random_key() -> jax.ShapeDtypeStruct:
    return array(dtype=jax.random.key(0).dtype)


@functools.cache
def gpu() -> jax.Device:
    """A device to compile for."""
    (device,) = topologies.get_topology_desc("h200", "cuda", target_config=H200, topology="1x1x1").devices
    return device


def compiled_figures(program: Program) -> dict[str, Any]:
    """What the compiler says of a program."""
    executable = jax.jit(program.function).lower(*program.arguments).compile()
    started, memory = list(kernels(executable.as_text() or "")), executable.memory_analysis()
    assert memory is not None  # the compiler for GPUs gives it
    moved = sum(kernel.read + kernel.written for kernel in started)
    return {
        "kernels": len(started),
        "temporary_bytes": memory.temp_size_in_bytes,
        "moved_bytes": moved,
        "ratio": moved / program.least,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_compile", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="programs by name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    print("| program | kernels | MB temporary | MB moved | of the least |")
    print("| --- | ---: | ---: | ---: | ---: |")
    results = []
    for program in programs():
        if any(fnmatch.fnmatch(program.name, pattern) for pattern in options.only):
            figures = {"program": program.name, **compiled_figures(program)}
            results.append(figures)
            sizes = (f"{figures[f'{what}_bytes'] / 1e6:,.1f}" for what in ("temporary", "moved"))
            print(
                f"| {program.name} | {figures['kernels']} | {' | '.join(sizes)} | {figures['ratio']:.2f} |", flush=True
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
