"""Losses, value and gradient by all logits, beside the definitions and what libraries publish of the same form."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional

import ood_jax
from parity.published import SOURCES, load

from . import plain_losses as plain
from .limit import of_loss
from .row import COMPILED, DEFINITION, PLAIN, Contest, Entry, Row, compile_torch, compiled, published
from .timing import Run

LAM = 0.3
# Rows for each K: no array is larger than 23 MB.
SIZES = {10: 256, 100: 256, 1_000: 256, 21_841: 256, 262_144: 16}
QUICK_SIZES = {10: 8}
DTYPES = ("float32", "bfloat16")
# Arrays of so many classes are large enough for the allocator to matter.
LARGE = 21_841
# torch.compile takes seconds a program, so it enters where most comparisons are made, in both dtypes.
COMPILED_CLASSES = (1_000, 21_841)


Jax = Callable[..., jax.Array]
Torch = Callable[..., torch.Tensor]


class Loss(NamedTuple):
    """A loss, and who else has it.

    All take logits first, `sides` arrays of them, then `labels` arrays of classes, or of probabilities if `soft`.
    """

    ours: Jax
    plain: Jax
    sources: Mapping[str, Callable[[ModuleType], Torch]]
    sides: int = 2
    labels: int = 1
    soft: bool = False


def loss_rows(*, quick: bool) -> Iterator[Row]:
    for classes, rows in (QUICK_SIZES if quick else SIZES).items():
        for dtype in DTYPES:
            for name, loss in LOSSES.items():
                title = f"{name}, {rows:,}x{classes:,} {dtype}"
                build = partial(contest, loss, rows, classes, dtype, compiles=classes in COMPILED_CLASSES)
                yield Row(title, build, pages=classes >= LARGE)


def contest(loss: Loss, rows: int, classes: int, dtype: str, *, compiles: bool) -> Contest:
    rng = np.random.default_rng(0)
    logits = [rng.standard_normal((rows, classes), np.float32) for _ in range(loss.sides)]
    labels = [targets(rng, rows, classes, soft=loss.soft) for _ in range(loss.labels)]
    in_jax = [jnp.asarray(side, dtype) for side in logits], [jnp.asarray(each) for each in labels]
    in_torch = (
        [torch.from_numpy(side).to(getattr(torch, dtype)).requires_grad_() for side in logits],
        [torch.from_numpy(each) for each in labels],
    )
    peers: dict[str, Entry] = {
        source: published(source, partial(_torch_run, source, make, in_torch)) for source, make in loss.sources.items()
    }
    if compiles:
        peers[COMPILED] = _compiled(loss, in_torch)
    work = of_loss([(rows, classes)] * loss.sides, dtype, labels if loss.soft else ())
    return Contest(_jax_run(loss.ours, in_jax), peers, {PLAIN: _jax_run(loss.plain, in_jax)}, work)


def _compiled(loss: Loss, arguments: Any) -> Entry:
    """The first of the sources, which is the definition where it has the form."""
    source, make = next(iter(loss.sources.items()))
    if SOURCES[source].installed is None:
        return "not installed"
    run = _torch_run(source, lambda module: compile_torch(make(module)), arguments, load(source))
    return compiled(run)


def targets(rng: np.random.Generator, rows: int, classes: int, *, soft: bool) -> np.ndarray:
    labels = rng.integers(0, classes, rows)
    if not soft:
        return labels
    smoothed = np.full((rows, classes), 0.1 / classes, np.float32)
    smoothed[np.arange(rows), labels] += 0.9
    return smoothed


def _jax_run(function: Jax, arguments: tuple[list[jax.Array], list[jax.Array]]) -> Run:
    step = jax.jit(jax.value_and_grad(lambda logits, labels: function(*logits, *labels)))
    return partial(step, *arguments)


def _torch_run(source: str, make: Callable[[ModuleType], Torch], arguments: Any, module: ModuleType) -> Run:
    logits, labels = arguments
    if source == "pytorch-ood":  # both sides are one batch there, outliers those with labels below 0
        logits = [torch.cat(logits).detach().requires_grad_()]
        labels = [torch.cat([labels[0], torch.full_like(labels[0], -1)])]
    return partial(_torch_step, make(module), logits, labels)


def _torch_step(function: Torch, logits: list[torch.Tensor], labels: list[torch.Tensor]) -> Any:
    value = function(*logits, *labels)
    return value.detach(), torch.autograd.grad(value, logits)


def _sides(function: Callable[..., Any]) -> Callable[..., Any]:
    """From (data, outliers, labels), which puts what has gradients first, to (data, labels, outliers)."""
    return lambda inside, outside, labels: function(inside, labels, outside)


def _criterion(module: ModuleType) -> Torch:
    return lambda logits, y_a, y_b: module.mixup_criterion(functional.cross_entropy, logits, y_a, y_b, LAM)


LOSSES: Mapping[str, Loss] = {
    "outlier_exposure kl": Loss(
        _sides(ood_jax.outlier_exposure_loss),
        plain.outlier_exposure_kl,
        {DEFINITION: lambda module: _sides(module.OutlierExposureLoss())},
    ),
    "outlier_exposure kl of class probabilities": Loss(
        _sides(ood_jax.outlier_exposure_loss),
        plain.outlier_exposure_of_probabilities,
        {DEFINITION: lambda module: _sides(module.OutlierExposureLoss())},
        soft=True,
    ),
    "outlier_exposure cross_entropy": Loss(
        _sides(partial(ood_jax.outlier_exposure_loss, form="cross_entropy")),
        plain.outlier_exposure,
        {
            "incerto": lambda module: _sides(module.OutlierExposureLoss()),
            "pytorch-ood": lambda module: module.OutlierExposureLoss(),
        },
    ),
    "energy_regularized pairwise": Loss(
        _sides(ood_jax.energy_regularized_loss),
        plain.energy_pairwise,
        {DEFINITION: lambda module: _sides(module.EnergyRegularizedLoss())},
    ),
    "energy_regularized mean": Loss(
        _sides(partial(ood_jax.energy_regularized_loss, form="mean")),
        plain.energy_mean,
        {"incerto": lambda module: _sides(module.EnergyRegularizedLoss())},
    ),
    "energy_bounded": Loss(
        _sides(ood_jax.energy_bounded_loss),
        plain.energy_bounded,
        {"pytorch-ood": lambda module: module.EnergyRegularizedLoss()},
    ),
    "mixup_cross_entropy": Loss(
        partial(ood_jax.mixup_cross_entropy, lam=LAM),
        partial(plain.mixup, lam=LAM),
        {DEFINITION: _criterion, "incerto": _criterion},
        sides=1,
        labels=2,
    ),
    "mixup_criterion of cross entropy": Loss(
        partial(ood_jax.mixup_criterion, plain.mean_cross_entropy, lam=LAM),
        partial(plain.mixup, lam=LAM),
        {DEFINITION: _criterion, "incerto": _criterion},
        sides=1,
        labels=2,
    ),
    "free_energy": Loss(
        lambda logits: ood_jax.free_energy(logits).sum(),
        lambda logits: -jax.nn.logsumexp(logits, axis=-1).sum(),
        {DEFINITION: lambda module: lambda logits: -torch.logsumexp(logits, dim=-1).sum()},
        sides=1,
        labels=0,
    ),
}
