"""Every fault planted in a metric is reported."""

import pytest

from ood_jax import metrics
from parity import cases as table

CASES = {case.name: case for case in table.cases()}

# As they are before a fault takes their place.
auroc, aupr, fpr, least = metrics.auroc, metrics.aupr, metrics.fpr_at_tpr, metrics.detection_error
ece, brier, oscr = metrics.expected_calibration_error, metrics.brier_score, metrics.oscr

# what is planted: the function replaced, its faulty form, the case that must notice
FAULTS = {
    "sides swapped": ("auroc", lambda a, b: auroc(b, a), "auroc scikit-learn float32"),
    "a score lost": ("auroc", lambda a, b: auroc(a[1:], b), "auroc torchmetrics float32"),
    "ties by the order": ("auroc", lambda a, b: auroc(a - 1e-6, b), "auroc incerto float32"),
    "the other side positive": (
        "aupr",
        lambda a, b, *, positive, method: aupr(a, b, method=method),
        "aupr pytorch-ood trapezoid in float32",
    ),
    "steps for trapezoids": ("aupr", lambda a, b, **o: aupr(a, b), "aupr pytorch-ood trapezoid float32"),
    "data positive": ("fpr_at_tpr", lambda a, b, **o: fpr(a, b), "fpr_at_tpr pytorch-ood first float32"),
    "no interpolation": (
        "fpr_at_tpr",
        lambda a, b, *, positive, method: fpr(a, b, positive=positive),
        "fpr_at_tpr incerto interp float32",
    ),
    "error not halved": ("detection_error", lambda a, b: 2 * least(a, b), "detection_error scikit-learn float32"),
    "all correct": ("oscr", lambda a, c, b: oscr(a, c | True, b), "oscr pytorch-ood float32"),
    "one bin fewer": (
        "expected_calibration_error",
        lambda p, y, *, bins=15: ece(p, y, bins=bins - 1),
        "expected_calibration_error incerto float32",
    ),
    "equal widths for equal mass": (
        "adaptive_expected_calibration_error",
        lambda p, y, *, bins: ece(p, y, bins=bins),
        "adaptive_expected_calibration_error incerto float32",
    ),
    "halved": ("brier_score", lambda p, y: brier(p, y) / 2, "brier_score scikit-learn float32"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_reported(fault, monkeypatch):
    function, faulty, case = FAULTS[fault]
    monkeypatch.setattr(metrics, function, faulty)
    agreement = CASES[case].run()
    assert not agreement
    assert agreement.disagreeing
