"""Compiles mixing, losses and a training step for whole TPU pods, ahead of time and without a TPU.

    python -m benchmarks.pod_compile [--topology v5e:2x4 ...] [--only PATTERN ...] [--json FILE]

The compiler for TPUs (`pip install 'ood-jax[tpu-compiler]'`) tells for each program what travels between chips, the
memory it needs beside its inputs and outputs, and the bytes it moves through memory. Each chip has 128 images of
224 x 224 x 3 in bfloat16, or as many bytes of 14 x 14 tokens of 768 numbers, or 128 rows of 1,000 float32 logits and as
many of outliers, or of both 65,536; the training step has 64 images and 64 outliers a chip.
"""

import os

# Before jax is imported: the compiler must not look for a TPU.
os.environ |= {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # nor lock one
}

import argparse
import fnmatch
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import ood_jax

from . import plain_losses as plain
from .hlo import collectives
from .vit import CLASSES, initial_state, train_step

# A pair of each kind of chip, for each kind needs other amounts of memory.
TOPOLOGIES = ("v5e:2x4", "v5e:16x16", "v5p:2x2x2", "v5p:16x16x16")
EACH = 128
# Rows of logits, and rows and classes: more than a chip's fast memory holds.
MANY = 65_536
MANY_CLASSES = 4_096, 21_841
IMAGE = (224, 224, 3)
TOKENS = {"mixup": (196, 768), "cutmix": (14, 14, 768)}


class Program(NamedTuple):
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def programs(mesh: Mesh) -> Iterator[Program]:
    yield from mixing_programs(mesh)
    yield from loss_programs(mesh)
    yield training_program(mesh)


def mixing_programs(mesh: Mesh) -> Iterator[Program]:
    chips = mesh.size
    key, x, y = random_key(mesh), by_row(mesh, EACH, *IMAGE, dtype=jnp.bfloat16), by_row(mesh, EACH, dtype=jnp.int32)
    forms: dict[str, dict[str, Any]] = {
        "global": {},
        "global roll": {"pairing": "roll"},
        "grouped": {"groups": chips},
        "4 groups a chip, λ a row": {"groups": 4 * chips, "per_example": True},
    }
    for name, function in {"mixup": ood_jax.mixup, "cutmix": ood_jax.cutmix}.items():
        for form, options in forms.items():
            yield Program(f"{name}, {form}", partial(function, **options), (key, x, y))
        grouped = partial(function, groups=chips)
        yield Program(f"{name}, grouped, backward", partial(pull_back, grouped), (key, x, y, x))
        tokens = by_row(mesh, EACH, *TOKENS[name], dtype=jnp.bfloat16)
        yield Program(f"{name}, grouped, tokens", grouped, (key, tokens, y))


def pull_back(mix: Callable[..., ood_jax.Mixed], key: jax.Array, x: jax.Array, y: jax.Array, given: jax.Array) -> Any:
    return jax.vjp(lambda x: mix(key, x, y).x, x)[1](given)


def loss_programs(mesh: Mesh) -> Iterator[Program]:
    losses: dict[str, Callable[..., jax.Array]] = {
        "outlier exposure": ood_jax.outlier_exposure_loss,
        "energy, pairwise": ood_jax.energy_regularized_loss,
        "energy, mean": partial(ood_jax.energy_regularized_loss, form="mean"),
    }
    others = {"outlier exposure": plain.outlier_exposure_kl, "energy, pairwise": plain.energy_pairwise}
    for each, rows in ((EACH, ""), (MANY, ", many rows")):
        logits, labels = by_row(mesh, each, CLASSES), by_row(mesh, each, dtype=jnp.int32)
        for name, loss in losses.items():
            gradients = jax.value_and_grad(loss, argnums=(0, 2))
            yield Program(f"{name}{rows}, and gradients", gradients, (logits, labels, logits))
        mixed = (logits, labels, labels, jax.ShapeDtypeStruct((), jnp.float32))
        gradients = jax.value_and_grad(ood_jax.mixup_cross_entropy)
        yield Program(f"mixup cross entropy{rows}, and gradients", gradients, mixed)
    for name, loss in others.items():
        gradients = jax.value_and_grad(loss, argnums=(0, 1))
        yield Program(f"{name}, many rows, with log_softmax", gradients, (logits, logits, labels))
    yield Program("mixup cross entropy, many rows, with log_softmax", jax.value_and_grad(plain.mixup), mixed)
    logits = by_row(mesh, *MANY_CLASSES)
    gradients = jax.value_and_grad(ood_jax.outlier_exposure_loss, argnums=(0, 2))
    yield Program("outlier exposure, class probabilities, and gradients", gradients, (logits, logits, logits))
    gradients = jax.value_and_grad(plain.outlier_exposure_of_probabilities, argnums=(0, 1))
    yield Program("outlier exposure, class probabilities, with log_softmax", gradients, (logits, logits, logits))


def training_program(mesh: Mesh) -> Program:
    each = 64
    images, labels = by_row(mesh, each, *IMAGE, dtype=jnp.bfloat16), by_row(mesh, each, dtype=jnp.int32)
    state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, PartitionSpec())),
        jax.eval_shape(initial_state, jax.random.key(0)),
    )
    step = partial(train_step, groups=mesh.size)
    return Program("training step, ViT-S/16", step, (state, random_key(mesh), images, labels, images))


def by_row(mesh: Mesh, each: int, *shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return jax.ShapeDtypeStruct((each * mesh.size, *shape), dtype, sharding=sharding)


def random_key(mesh: Mesh) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=NamedSharding(mesh, PartitionSpec()))


def compiled_figures(program: Program) -> dict[str, Any]:
    """What the compiler says of a program, by chip."""
    start = time.perf_counter()
    try:
        executable = jax.jit(program.function).lower(*program.arguments).compile()
    except jax.errors.JaxRuntimeError as error:
        needed = re.search(r"required .*\((\S+)\) exceeds available HBM \((\S+)\)", str(error))
        if not needed:
            raise
        return {"error": f"out of memory: {needed[1]} of {needed[2]}", "seconds": time.perf_counter() - start}
    seconds = time.perf_counter() - start
    found = list(collectives(executable.as_text() or ""))
    memory, cost = executable.memory_analysis(), executable.cost_analysis()
    assert memory is not None  # the TPU's compiler gives both
    assert cost is not None
    return {
        "collectives": dict(Counter(kind for kind, _ in found)),
        "collective_bytes": sum(size for _, size in found),
        "temporary_bytes": memory.temp_size_in_bytes,
        "accessed_bytes": cost["bytes accessed"],
        "seconds": seconds,
    }


def row(figures: dict[str, Any]) -> str:
    """One line of the table in docs/pods.md."""
    start = f"| {figures['program']} | {figures['chips']:,} {figures['topology'].partition(':')[0]} |"
    if "error" in figures:
        return f"{start} {figures['error']} | | | | {figures['seconds']:.0f} |"
    kinds = ", ".join(f"{count} {kind}" for kind, count in figures["collectives"].items()) or "none"
    sizes = " | ".join(megabytes(figures[f"{what}_bytes"]) for what in ("collective", "temporary", "accessed"))
    return f"{start} {kinds} | {sizes} | {figures['seconds']:.0f} |"


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f}" if size >= 1e5 else f"{size / 1e6:.6f}".rstrip("0").rstrip(".")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pod_compile", description=__doc__.split("\n")[0])
    parser.add_argument("--topology", nargs="+", default=TOPOLOGIES, help="pods by the compiler's names")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="programs by name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    print("| program | chips | collectives | MB sent | MB temporary | MB accessed | compile s |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    results = []
    for topology in options.topology:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=topology)
        mesh = topologies.make_mesh(devices, (len(devices.devices),), ("data",))
        for program in programs(mesh):
            if any(fnmatch.fnmatch(program.name, pattern) for pattern in options.only):
                figures = compiled_figures(program)
                results.append({"program": program.name, "topology": topology, "chips": mesh.size, **figures})
                print(row(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
