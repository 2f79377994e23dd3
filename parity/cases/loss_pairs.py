"""Every loss beside each source that publishes it and beside the truth, all three as functions of the same inputs."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import torch

import ood_jax

from .. import truth
from ..published import load
from ._case import Array

Inputs = dict[str, Any]


class LossPair(NamedTuple):
    """A loss of ours, a source's and the truth, each a function of (targets, inputs by name).

    Attributes:
      source: who publishes it.
      ours: (inputs, targets) -> loss.
      theirs: the same, of tensors.
      truth: the same, of arrays.
      numbers: the loss's inputs beside the logits, and their values.
      degree: 2 if squares of energies enter, else 1; for the size of what is rounded.
    """

    source: str
    ours: Callable[[Inputs, Any], jax.Array]
    theirs: Callable[[Inputs, Any], torch.Tensor]
    truth: Callable[[Inputs, Array], truth.Loss]
    numbers: Mapping[str, float]
    degree: int = 1


@functools.cache
def loss_pairs() -> Mapping[str, LossPair]:
    """Every loss beside each source that publishes it."""
    oe, energy = {"lambda_oe": 0.5}, {"lambda_energy": 0.1, "margin": 10.0}
    bounded = {"lambda_energy": 0.1, "m_in": -23.0, "m_out": -5.0}
    pairs = {}
    for source, oe_form, energy_form in (("definition", "kl", "pairwise"), ("incerto", "cross_entropy", "mean")):
        pairs[f"outlier_exposure {source} {oe_form}"] = _pair(
            source, "outlier_exposure", _module(source, "OutlierExposureLoss"), oe, form=oe_form
        )
        pairs[f"energy_regularized {source} {energy_form}"] = _pair(
            source, "energy_regularized", _module(source, "EnergyRegularizedLoss"), energy, form=energy_form
        )
    pairs["outlier_exposure pytorch-ood pooled"] = _pair(
        "pytorch-ood",
        "outlier_exposure",
        _joined("OutlierExposureLoss", {"lambda_oe": "alpha"}, "mean"),
        oe,
        form="cross_entropy",
        reduction="pooled",
    )
    names = {"lambda_energy": "alpha", "m_in": "m_in", "m_out": "m_out"}
    for reduction, theirs in (("separate", "mean"), ("pooled", "none")):
        pairs[f"energy_bounded pytorch-ood {reduction}"] = _pair(
            "pytorch-ood",
            "energy_bounded",
            _joined("EnergyRegularizedLoss", names, theirs),
            bounded,
            degree=2,
            reduction=reduction,
        )
    return pairs


def _pair(
    source: str,
    function: str,
    theirs: Callable[[Inputs, Any], torch.Tensor],
    numbers: Mapping[str, float],
    *,
    degree: int = 1,
    **options: str,
) -> LossPair:
    def ours(inputs: Inputs, targets: Any) -> jax.Array:
        inputs = dict(inputs)
        logits_in, logits_out = inputs.pop("logits_in"), inputs.pop("logits_out")
        targets = inputs.pop("targets_in", targets)
        return getattr(ood_jax, f"{function}_loss")(logits_in, targets, logits_out, **inputs, **options)

    def exact(inputs: Inputs, targets: Array) -> truth.Loss:
        inputs = dict(inputs)
        logits_in, logits_out = inputs.pop("logits_in"), inputs.pop("logits_out")
        targets = inputs.pop("targets_in", targets)
        return getattr(truth, function)(logits_in, targets, logits_out, **inputs, **options)

    return LossPair(source, ours, theirs, exact, numbers, degree)


def _module(source: str, name: str) -> Callable[[Inputs, Any], torch.Tensor]:
    """A module of the definitions' shape; its numbers are attributes, which tensors can replace."""

    def loss(inputs: Inputs, targets: Any) -> torch.Tensor:
        module = getattr(load(source), name)()
        for attribute, value in inputs.items():
            if attribute in vars(module):
                setattr(module, attribute, value)
        return module(inputs["logits_in"], inputs.get("targets_in", targets), inputs["logits_out"])

    return loss


def _joined(name: str, attributes: Mapping[str, str], reduction: str) -> Callable[[Inputs, Any], torch.Tensor]:
    """A module of pytorch-ood, which takes data and outliers as one batch with labels of -1 for the outliers."""

    def loss(inputs: Inputs, targets: Any) -> torch.Tensor:
        module = getattr(load("pytorch-ood"), name)(reduction=reduction)
        for ours, theirs in attributes.items():
            setattr(module, theirs, inputs[ours])
        logits_out = inputs["logits_out"]
        labels = torch.cat([targets, torch.full((len(logits_out),), -1)])
        return module(torch.cat([inputs["logits_in"], logits_out]), labels).mean()

    return loss
