"""The restated definitions draw and compute as incerto does, and by hand where incerto has changed."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from parity import definitions
from parity.published import SOURCES, load

INCERTO = load("incerto")


def seeded(function, *arguments):
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    return function(*arguments)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, -1.0])
def test_mixing_is_incertos_draw_for_draw(alpha):
    x, y = torch.randn(7, 3, 5, 9), torch.arange(7)
    for ours, theirs in (
        (seeded(definitions.mixup_data, x, y, alpha), seeded(INCERTO.mixup_data, x, y, alpha)),
        (seeded(definitions.CutMix(alpha), x, y), seeded(INCERTO.CutMix(alpha), x, y)),
    ):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))


def test_the_criterion_is_incertos():
    logits, y_a, y_b = torch.randn(6, 4), torch.arange(6) % 4, torch.arange(6) % 3
    criterion = nn.CrossEntropyLoss()
    ours = definitions.mixup_criterion(criterion, logits, y_a, y_b, 0.3)
    assert torch.equal(ours, INCERTO.mixup_criterion(criterion, logits, y_a, y_b, 0.3))


def test_without_outliers_the_losses_are_cross_entropy():
    logits, targets = torch.randn(6, 4), torch.arange(6) % 4
    expected = nn.functional.cross_entropy(logits, targets)
    for loss in (definitions.OutlierExposureLoss(), definitions.EnergyRegularizedLoss()):
        assert torch.equal(loss(logits, targets), expected)


def test_outlier_exposure_is_incertos_less_the_entropy_of_the_uniform_distribution():
    logits_in, logits_out, targets = torch.randn(6, 4), torch.randn(9, 4), torch.arange(6) % 4
    ours = definitions.OutlierExposureLoss(0.7)(logits_in, targets, logits_out)
    theirs = INCERTO.OutlierExposureLoss(0.7)(logits_in, targets, logits_out)
    assert math.isclose(float(theirs - ours), 0.7 * math.log(4), rel_tol=1e-5)


def test_the_energy_hinge_is_on_pairs_where_incertos_is_on_means():
    logits_in, targets = torch.zeros(2, 2), torch.tensor([0, 1])
    logits_out = torch.log(torch.tensor([[4.0, 4.0], [0.25, 0.25]]))  # energies log 2 - log 16 and log 2 + 0.69
    cross_entropy = math.log(2)
    gaps = [math.log(4) + 0.5, -math.log(4) + 0.5]  # E_in - E_out + margin
    ours = definitions.EnergyRegularizedLoss(1.0, 0.5)(logits_in, targets, logits_out)
    assert math.isclose(float(ours), cross_entropy + (gaps[0] + 0) / 2, rel_tol=1e-6)
    theirs = INCERTO.EnergyRegularizedLoss(1.0, 0.5)(logits_in, targets, logits_out)
    assert math.isclose(float(theirs), cross_entropy + 0.5, rel_tol=1e-6)
    # Pairs need as many outliers as data.
    with pytest.raises(RuntimeError):
        definitions.EnergyRegularizedLoss()(torch.zeros(3, 2), torch.tensor([0, 1, 0]), logits_out)


def test_defaults_are_incertos():
    assert definitions.OutlierExposureLoss().lambda_oe == INCERTO.OutlierExposureLoss().lambda_oe
    ours, theirs = definitions.EnergyRegularizedLoss(), INCERTO.EnergyRegularizedLoss()
    assert (ours.lambda_energy, ours.margin) == (theirs.lambda_energy, theirs.margin)
    assert definitions.CutMix().alpha == INCERTO.CutMix().alpha


def test_the_version_compared_with_is_the_pinned_one():
    assert SOURCES["incerto"].installed == SOURCES["incerto"].version == "0.1.1"
