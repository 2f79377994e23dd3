"""What each process runs: `python worker.py OUT PORT COUNT INDEX`.

Together they mix a batch and take its losses, and each compares its part with what it gets of the whole batch on one
device of its own. OUT then says of every check what was wrong, or null.
"""

import functools
import hashlib
import json
import math
import os
import re
import sys
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import ood_jax

N, K = 32, 5
ROWS, WHOLE = PartitionSpec("data"), PartitionSpec()
COLLECTIVE = re.compile(
    r"= (\S+|\(.*?\)) (?:all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)
STYLES = ("auto axes", "explicit axes", "shard_map")
LOSS_STYLES = ("auto axes", "shard_map")
MIXINGS = {"mixup": ood_jax.mixup, "cutmix": ood_jax.cutmix}
LOSSES = {
    "outlier exposure": ood_jax.outlier_exposure_loss,
    "energy mean": functools.partial(ood_jax.energy_regularized_loss, form="mean"),
    "energy pairwise": functools.partial(ood_jax.energy_regularized_loss, form="pairwise"),
}
MASKS = ("all", "other rows a shard", "a shard without anything", "a process without outliers", "no outliers")

_RNG = np.random.default_rng(0)
X = _RNG.standard_normal((N, 6, 10, 2)).astype(np.float32)
Y = _RNG.integers(0, K, N)
LOGITS_IN, LOGITS_OUT = _RNG.standard_normal((2, N, K)).astype(np.float32)
TARGETS = np.where(np.arange(N) == 5, -100, Y)


def make_key():
    return jax.random.key(3)  # not on import: it would start JAX before the processes have met


def mesh_for(style):
    kind = AxisType.Explicit if style == "explicit axes" else AxisType.Auto
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(kind,))


def split(mesh, *arrays):
    """Global arrays, of which each process has only its own rows."""
    each = N // jax.process_count()
    mine = slice(jax.process_index() * each, (jax.process_index() + 1) * each)
    sharding = NamedSharding(mesh, ROWS)
    return tuple(jax.make_array_from_process_local_data(sharding, array[mine], array.shape) for array in arrays)


def assert_parts(results, expected, compare):
    """This process's shards of global arrays, beside the same part of local ones."""
    for ours, whole in zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True):
        assert (ours.shape, ours.dtype) == (whole.shape, whole.dtype)
        assert len(ours.sharding.device_set) == jax.device_count()
        for shard in ours.addressable_shards:
            compare(np.asarray(shard.data), np.asarray(whole)[shard.index])


# Mixing.


def all_forms(name, axis_name=None):
    """One program with every form: a compilation costs more than a run."""
    shards = jax.device_count()
    forms = [{"groups": shards}, {"groups": 2 * shards, "per_example": True}]
    return lambda key, x, y: [MIXINGS[name](key, x, y, axis_name=axis_name, **form) for form in forms]


@functools.cache
def mixed_here(name):
    """On one device of this process."""
    forms = jax.jit(all_forms(name))(make_key(), jnp.asarray(X), jnp.asarray(Y))
    assert all(np.any(mixed.x != X) and np.any(mixed.y_b != Y) for mixed in forms)
    return forms


@functools.cache
def mixed_together(name, style):
    """Over all processes: the result, and the program, which for mixup has the backward too."""
    mesh = mesh_for(style)
    mix = all_forms(name, "data" if style == "shard_map" else None)
    if style == "shard_map":
        mix = jax.shard_map(mix, mesh=mesh, in_specs=(WHOLE, ROWS, ROWS), out_specs=ROWS)

    def inputs_beside(key, x, y):
        mixed = mix(key, x, y)
        return [form.x for form in mixed], mixed

    def both(key, x, y, cotangents):
        """The cotangents come as an argument, laid out as the batch."""
        _, backward, mixed = jax.vjp(lambda x: inputs_beside(key, x, y), x, has_aux=True)
        return mixed, backward(cotangents)

    with jax.set_mesh(mesh):
        arguments = (make_key(), *split(mesh, X, Y))
        if name == "mixup":
            arguments = (*arguments, list(split(mesh, X, X)))
        program = jax.jit(both if name == "mixup" else mix).lower(*arguments).compile()
        result = program(*arguments)
    return result[0] if name == "mixup" else result, program.as_text()


def assert_mixed(name, results, expected):
    for ours, whole in zip(results, expected, strict=True):
        for field in whole._fields:
            close = functools.partial(np.testing.assert_array_max_ulp, maxulp=1)
            compare = close if (name, field) == ("mixup", "x") else np.testing.assert_array_equal
            assert_parts(getattr(ours, field), getattr(whole, field), compare)


def check_mixed(name, style):
    assert_mixed(name, mixed_together(name, style)[0], mixed_here(name))


def check_nothing_travels(name, style):
    assert not COLLECTIVE.findall(mixed_together(name, style)[1])


def check_one_group():
    """Each shard needs a row of another process: right, and what the check above would find."""
    mix = jax.jit(functools.partial(ood_jax.mixup, pairing="roll"))
    arguments = (make_key(), *split(mesh_for("auto axes"), X, Y))
    program = mix.lower(*arguments).compile()
    assert_mixed("mixup", [program(*arguments)], [mix(make_key(), jnp.asarray(X), jnp.asarray(Y))])
    assert COLLECTIVE.findall(program.as_text())


# Losses.


def masks_for(name, shards, processes):
    """Which rows count: of the data, and of the outliers."""
    shard, row = np.divmod(np.arange(N), N // shards)
    everything, nothing = np.ones(N, bool), np.zeros(N, bool)
    return {
        "all": (everything, everything),
        "other rows a shard": (row > shard, row <= 2 * shard + 1),
        "a shard without anything": (shard > 0, shard > 0),
        "a process without outliers": (everything, np.arange(N) >= N // processes),
        "no outliers": (everything, nothing),
    }[name]


def all_losses(axis_name=None):
    """One program with every loss and its gradients."""

    def with_gradients(loss):
        def masked(logits_in, targets, logits_out, where_in, where_out):
            return loss(logits_in, targets, logits_out, where_in=where_in, where_out=where_out, axis_name=axis_name)

        if axis_name is not None:
            masked = jax.shard_map(masked, mesh=mesh_for("shard_map"), in_specs=ROWS, out_specs=WHOLE)
        return jax.value_and_grad(masked, argnums=(0, 2))

    losses = {name: with_gradients(loss) for name, loss in LOSSES.items()}
    return jax.jit(lambda *arguments: {name: loss(*arguments) for name, loss in losses.items()})


losses_here = functools.cache(all_losses)


@functools.cache
def losses_together(style):
    arguments = split(mesh_for(style), LOGITS_IN, TARGETS, LOGITS_OUT, *np.ones((2, N), bool))
    return all_losses("data" if style == "shard_map" else None).lower(*arguments).compile()


@functools.cache
def losses_of(style, mask):
    """Over all processes, and here."""
    arguments = (LOGITS_IN, TARGETS, LOGITS_OUT, *masks_for(mask, jax.device_count(), jax.process_count()))
    together = losses_together(style)(*split(mesh_for(style), *arguments))
    return together, losses_here()(*(jnp.asarray(argument) for argument in arguments))


def check_loss(name, style, mask):
    result, expected = (losses[name] for losses in losses_of(style, mask))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
    value, (by_logits_in, by_logits_out) = expected
    assert value > 0
    assert np.any(by_logits_in != 0)
    assert np.any(by_logits_out != 0) == (mask != "no outliers")
    assert_parts(result, expected, functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-8))


def check_only_scalars_travel(style):
    results = COLLECTIVE.findall(losses_together(style).as_text())
    assert results
    shapes = [shape.split(",") for result in results for shape in re.findall(r"\[([\d,]*)\]", result)]
    sizes = [math.prod(int(size or 1) for size in shape) for shape in shapes]
    assert max(sizes) <= jax.device_count()


CHECKS = {f"{name} with {style}": functools.partial(check_mixed, name, style) for name in MIXINGS for style in STYLES}
CHECKS |= {
    f"nothing travels in {name} with {style}": functools.partial(check_nothing_travels, name, style)
    for name in MIXINGS
    for style in STYLES
}
CHECKS["one group over all"] = check_one_group
CHECKS |= {
    f"{name} with {style} and {mask}": functools.partial(check_loss, name, style, mask)
    for name in LOSSES
    for style in LOSS_STYLES
    for mask in MASKS
}
CHECKS |= {
    f"only scalars travel in losses with {style}": functools.partial(check_only_scalars_travel, style)
    for style in LOSS_STYLES
}


def digest_here():
    """Of the mixed batches that each process compares its part with: alike in all."""
    leaves = jax.tree.leaves([mixed_here(name) for name in MIXINGS])
    return hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest()


def rows_here():
    """The first and last row of each shard, by the numbers that are in it."""
    numbers = split(mesh_for("auto axes"), np.arange(N))[0]
    return [[int(shard.data[0]), int(shard.data[-1])] for shard in numbers.addressable_shards]


def run(check):
    # Anything but an assertion may leave the others waiting for this process, and ends it.
    try:
        check()
    except AssertionError:
        return traceback.format_exc()


def main(out, port, count, index):
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    address = f"127.0.0.1:{port}"
    jax.distributed.initialize(address, int(count), int(index), coordinator_bind_address=address)
    report = {
        "processes": jax.process_count(),
        "rows": rows_here(),
        "wrong": {name: run(check) for name, check in CHECKS.items()},
        "digest": digest_here(),
    }
    Path(out).write_text(json.dumps(report))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # an ordinary end would first wait for the others, who wait for this one
