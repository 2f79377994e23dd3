"""Times each function beside its PyTorch definition, turn by turn, and prints medians and their ratio.

Absolute times depend on the machine and on what else it does; the ratio of two that took turns depends less. A ratio
below 1 means that ours is faster.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

import ood_jax
from parity import definitions

from . import metrics

ROUNDS = 15


class Row(NamedTuple):
    name: str
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    rounds: int = ROUNDS


def rows() -> Iterator[Row]:
    yield from mixing_rows()
    for shape in ((256, 10), (256, 1000), (256, 21841)):
        yield from loss_rows(shape)
    yield beta_row()
    yield from (Row(*row, rounds=metrics.ROUNDS) for row in metrics.metric_rows())


def mixing_rows() -> Iterator[Row]:
    key, labels = jax.random.key(0), np.arange(32)
    images = np.random.default_rng(0).random((32, 3, 224, 224), np.float32)
    x, y = jnp.asarray(images), jnp.asarray(labels)
    theirs = torch.from_numpy(images), torch.from_numpy(labels)
    yield Row("mixup 32x3x224x224", lambda: ood_jax.mixup(key, x, y), lambda: definitions.mixup_data(*theirs))
    yield Row(
        "cutmix 32x3x224x224",
        lambda: ood_jax.cutmix(key, x, y, data_format="NCHW"),
        lambda: definitions.CutMix()(*theirs),
    )


def loss_rows(shape: tuple[int, int]) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    logits_in, logits_out = rng.standard_normal((2, *shape), np.float32)
    targets = rng.integers(0, shape[1], shape[0])
    losses = (
        ("outlier_exposure", ood_jax.outlier_exposure_loss, definitions.OutlierExposureLoss()),
        ("energy_regularized", ood_jax.energy_regularized_loss, definitions.EnergyRegularizedLoss()),
    )
    arrays = jnp.asarray(logits_in), jnp.asarray(targets), jnp.asarray(logits_out)
    for name, ours, theirs in losses:
        step = jax.jit(jax.value_and_grad(ours, argnums=(0, 2)))
        yield Row(
            f"{name} {shape[0]}x{shape[1]}, value and gradient",
            partial(step, *arrays),
            partial(torch_step, theirs, logits_in, targets, logits_out),
        )


def torch_step(loss: torch.nn.Module, logits_in: Any, targets: Any, logits_out: Any) -> Any:
    leaves = [torch.from_numpy(logits).requires_grad_() for logits in (logits_in, logits_out)]
    loss(leaves[0], torch.from_numpy(targets), leaves[1]).backward()
    return [leaf.grad for leaf in leaves]


def beta_row() -> Row:
    key = jax.random.key(0)
    peer = jax.jit(lambda key: jax.random.beta(key, 0.3, 0.3, (100_000,)))
    return Row("symmetric_beta 100,000 (peer: jax.random.beta)", lambda: ood_jax.symmetric_beta(key, 0.3, (100_000,)),
               lambda: peer(key))  # fmt: skip


def milliseconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    print(f"jax {jax.__version__} on {jax.default_backend()}, torch {torch.__version__} on {torch.get_num_threads()} "
          f"threads; medians of {ROUNDS}, for metrics of {metrics.ROUNDS}")  # fmt: skip
    print(f"{'':<52}{'ours, ms':>10}{'peer, ms':>10}{'ratio':>8}")
    for row in rows():
        for run in (row.ours, row.peer):  # compile, and warm the caches
            milliseconds(run)
        pairs = [(milliseconds(row.ours), milliseconds(row.peer)) for _ in range(row.rounds)]
        ours, peer = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"{row.name:<52}{ours:>10.2f}{peer:>10.2f}{ratio:>8.2f}")


if __name__ == "__main__":
    main()
