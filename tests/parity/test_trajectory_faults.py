"""Faults planted in one side's training are reported."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

from parity import definitions
from parity.trajectories import run, source
from parity.trajectories.methods import LOSSES, Losses, source_cutmix, source_mixup
from parity.trajectories.ours import initial_weights
from parity.trajectories.setting import LEARNING_RATE, MOMENTUM

DTYPES = ("float32", "float64")
SHORT = 30
MARKED = 100  # how many times what is allowed a fault is apart


@functools.cache
def short(method, dtype):
    return run(method, dtype, steps=SHORT)


def with_source(method, dtype):
    """The short run, its source trained again, as a test has it by now."""
    return short(method, dtype)._replace(source=source.train_source(method, dtype, steps=SHORT))


# Faults of the optimizer and the weights do not depend on the method.


@pytest.mark.parametrize(
    "optimizer",
    [
        functools.partial(torch.optim.SGD, lr=1.01 * LEARNING_RATE, momentum=MOMENTUM),
        functools.partial(torch.optim.SGD, lr=LEARNING_RATE, momentum=0.99 * MOMENTUM),
        functools.partial(torch.optim.SGD, lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True),
        functools.partial(torch.optim.SGD, lr=LEARNING_RATE, momentum=MOMENTUM, dampening=0.1),
        functools.partial(torch.optim.SGD, lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=1e-4),
    ],
    ids=["learning rate off by 1%", "momentum off by 1%", "Nesterov", "dampening", "weight decay"],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_another_optimizer_is_reported(monkeypatch, optimizer, dtype):
    monkeypatch.setattr(source, "source_optimizer", lambda network: optimizer(network.parameters()))
    assert MARKED < with_source("outlier exposure", dtype).share < np.inf


def sides_swapped(params):
    weights = source.source_weights(params)
    return {name: weight.mT if weight.ndim == 4 else weight for name, weight in weights.items()}


def flattened_in_flax_order(params):
    kernel = torch.from_numpy(params["output"]["kernel"].T.copy())
    return source.source_weights(params) | {"output.weight": kernel}


@pytest.mark.parametrize("convert", [sides_swapped, flattened_in_flax_order])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_in_another_layout_are_reported(monkeypatch, convert, dtype):
    wrong = convert(initial_weights())
    monkeypatch.setattr(source, "source_weights", lambda params: wrong)
    assert MARKED < with_source("outlier exposure", dtype).share < np.inf


def mixed_loss(mix, weigh):
    def loss(logits_of, batch):
        x, y_a, y_b, lam = mix(batch)
        return definitions.mixup_criterion(functional.cross_entropy, logits_of(x), *weigh(batch, y_a, y_b, lam))

    return loss


def outlier_loss(criterion):
    return lambda logits_of, batch: criterion(logits_of(batch.images), batch.labels, logits_of(batch.outliers))


def cross_entropy_form(logits_in, targets, logits_out):
    return definitions.OutlierExposureLoss(0.5)(logits_in, targets, logits_out) + 0.5 * np.log(logits_out.shape[-1])


def mean_form(logits_in, targets, logits_out):
    gap = torch.logsumexp(logits_out, -1).mean() - torch.logsumexp(logits_in, -1).mean()
    return functional.cross_entropy(logits_in, targets) + 0.1 * functional.relu(gap + 3.0)


def swapped_lam(batch, y_a, y_b, lam):
    return y_a, y_b, 1 - lam


def own_labels(batch, y_a, y_b, lam):
    return y_a, y_a, lam


def drawn_lam(batch, y_a, y_b, lam):
    return y_a, y_b, batch.lam


WRONG_LOSSES = {
    "mixup, λ swapped": ("mixup", mixed_loss(source_mixup, swapped_lam)),
    "mixup, labels not mixed": ("mixup", mixed_loss(source_mixup, own_labels)),
    "mixup criterion, λ swapped": ("mixup criterion", mixed_loss(source_mixup, swapped_lam)),
    "mixup criterion, labels not mixed": ("mixup criterion", mixed_loss(source_mixup, own_labels)),
    "CutMix, λ swapped": ("cutmix", mixed_loss(source_cutmix, swapped_lam)),
    "CutMix, labels not mixed": ("cutmix", mixed_loss(source_cutmix, own_labels)),
    "CutMix, λ not adjusted": ("cutmix", mixed_loss(source_cutmix, drawn_lam)),
    "CutMix, images mixed as by mixup": ("cutmix", mixed_loss(source_mixup, drawn_lam)),
    "outlier exposure, weight": ("outlier exposure", outlier_loss(definitions.OutlierExposureLoss(0.505))),
    "outlier exposure, form": ("outlier exposure", outlier_loss(cross_entropy_form)),
    "energy, weight": ("energy", outlier_loss(definitions.EnergyRegularizedLoss(0.101, 3.0))),
    "energy, margin": ("energy", outlier_loss(definitions.EnergyRegularizedLoss(0.1, 3.03))),
    "energy, form": ("energy", outlier_loss(mean_form)),
}


@pytest.mark.parametrize("fault", WRONG_LOSSES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_another_loss_is_reported(monkeypatch, fault, dtype):
    method, wrong = WRONG_LOSSES[fault]
    monkeypatch.setitem(LOSSES, method, LOSSES[method]._replace(source=wrong))
    assert MARKED < with_source(method, dtype).share < np.inf


# Faults that float32 cannot see.


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_a_lam_off_by_less_than_float32_is_reported_in_float64_alone(monkeypatch, method):
    def off(batch, y_a, y_b, lam):
        return y_a, y_b, lam * (1 + 2.0**-26)

    wrong = mixed_loss({"mixup": source_mixup, "cutmix": source_cutmix}[method], off)
    monkeypatch.setitem(LOSSES, method, LOSSES[method]._replace(source=wrong))
    assert with_source(method, "float32").agrees
    assert not with_source(method, "float64").agrees


def test_float32_inside_our_float64_run_is_reported(monkeypatch):
    # The run that is wrong here is also the one that growth is measured on.
    right = LOSSES["outlier exposure"]

    def narrow(logits_of, batch):
        return right.ours(lambda x: logits_of(x).astype(jnp.float32), batch).astype(jnp.float64)

    monkeypatch.setitem(LOSSES, "narrow", Losses(narrow, right.source))
    assert not run("narrow", "float64", steps=SHORT).agrees
