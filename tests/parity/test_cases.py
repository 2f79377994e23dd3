"""Ours and the sources agree, case by case; and parity says so when they do not."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import ood_jax
from parity import __main__ as report
from parity import cases as table
from parity import truth
from parity.agreement import error
from parity.cases import LossPair, cases, compare_criterion, compare_cutmix, compare_loss_on, compare_mixup, loss_pairs

CASES = {case.name: case for case in cases()}


@pytest.mark.parametrize("name", CASES)
def test_case_agrees(name):
    agreements = CASES[name].run()
    assert agreements
    for agreement in agreements:
        assert agreement.agrees, agreement


def test_the_table_covers_what_it_says():
    assert len(CASES) == 172
    for function in (
        "mixup",
        "cutmix",
        "mixup_criterion",
        "mixup_cross_entropy",
        "outlier_exposure",
        "energy_regularized",
    ):
        for source in ("definition", "incerto"):
            assert any(name.startswith(f"{function} {source}") for name in CASES)
    for name, case in CASES.items():
        if "K=10 scale=1" in name and "float32" in name:
            assert [agreement.name for agreement in case.run()] == ["loss", "grad_in", "grad_out"]
        if name.startswith("mixup_c"):
            assert [agreement.name for agreement in case.run()] == ["loss", "grad"]


def test_the_tolerances_are_the_derived_ones():
    assert table.MIXUP_ULPS == 2
    assert table.LOSS_ULPS == 8


def test_cutmix_is_compared_in_the_layout_named(monkeypatch):
    formats = []
    monkeypatch.setattr(
        table.ood_jax,
        "apply_cutmix",
        lambda *a, data_format: formats.append(data_format) or apply_cutmix(*a, data_format=data_format),
    )
    for data_format in ("NHWC", "NCHW"):
        CASES[f"cutmix definition uint8 {data_format} 7x19"].run()
    assert formats == ["NHWC", "NCHW"]


def random_inputs(seed):
    """One of many regimes: 1 to 21,841 classes, one row to 64, flat to saturated, untrained to trained, shifted."""
    rng = np.random.default_rng(seed)
    classes = int(rng.choice([1, 2, 10, 100, 1000, 21841], p=[0.02, 0.2, 0.36, 0.2, 0.17, 0.05]))
    rows = int(rng.choice([1, 7, 64] if classes <= 1000 else [1, 7]))
    scale_in, scale_out = 10 ** rng.uniform(-4, 2, 2)
    logits_in = (rng.standard_normal((rows, classes)) * scale_in + rng.choice([0, 0, 30])).astype(np.float32)
    logits_out = (rng.standard_normal((rows, classes)) * scale_out + rng.choice([0, 0, -30])).astype(np.float32)
    targets = logits_in.argmax(-1) if rng.random() < 0.5 else rng.integers(0, classes, rows)
    if rng.random() < 0.3:
        logits_in[np.arange(rows), targets] += np.float32(rng.uniform(2, 30))
    return logits_in, targets, logits_out


@pytest.mark.parametrize("batch", range(15))
def test_the_accuracy_contract_holds_on_random_inputs(batch):
    # 300 inputs, each for both losses in both forms: values and both gradients.
    for seed in range(20 * batch, 20 * (batch + 1)):
        for name, pair in loss_pairs().items():
            for agreement in compare_loss_on(pair, *random_inputs(seed)):
                assert agreement.agrees, (seed, name, agreement)


@pytest.mark.parametrize("kind", ["one-hot", "smoothed", "any"])
def test_the_accuracy_contract_holds_for_class_probabilities(kind):
    loss = jax.jit(jax.value_and_grad(ood_jax.outlier_exposure_loss))
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rows, classes = int(rng.choice([1, 16])), int(rng.choice([2, 10, 100, 1000]))
        logits = (rng.standard_normal((rows, classes)) * 10 ** rng.uniform(-1, 1.3)).astype(np.float32)
        labels = rng.integers(0, classes, rows)
        logits[np.arange(rows), labels] += np.float32(rng.choice([0.0, rng.uniform(2, 15)]))
        one_hot = np.eye(classes)[labels]
        targets = {"one-hot": one_hot, "smoothed": 0.9 * one_hot + 0.1 / classes}.get(
            kind, rng.dirichlet(np.ones(classes), rows)
        )
        targets = targets.astype(np.float32)
        leaf = torch.from_numpy(logits).requires_grad_()
        theirs = torch.nn.functional.cross_entropy(leaf, torch.from_numpy(targets))
        theirs.backward()
        value, gradient = loss(logits, targets)
        # As labels the truth of a one-hot target is free of the cancellation in p - t.
        terms, slopes = truth.cross_entropy(logits.astype(np.longdouble), labels if kind == "one-hot" else targets)
        assert error(value, terms.mean(), np.float32) <= error(theirs.item(), terms.mean(), np.float32) + 2
        if kind != "any":  # a prediction may equal any target, and then neither gradient has a digit left
            mine, other = (error(g, slopes / rows, np.float32) for g in (gradient, leaf.grad.numpy()))
            assert mine <= other + 2


@pytest.mark.parametrize("scale", [3e1, 1e2, 1e3, 1e4])
@pytest.mark.parametrize("labels", ["right", "random"])
def test_the_accuracy_contract_holds_on_extremes(scale, labels):
    rng = np.random.default_rng(int(scale))
    for classes in (2, 10, 1000):
        logits_in, logits_out = (rng.uniform(-scale, scale, (2, 8, classes))).astype(np.float32)
        targets = logits_in.argmax(-1) if labels == "right" else rng.integers(0, classes, 8)
        for name, pair in loss_pairs().items():
            for agreement in compare_loss_on(pair, logits_in, targets, logits_out):
                assert agreement.agrees, (name, classes, agreement)


def test_where_the_definition_overflows_ours_is_finite_and_right():
    pair = loss_pairs()["outlier_exposure definition"]
    logits = np.array([[1e4, 0.0, -1e4]], np.float32)
    loss, _, grad_out = compare_loss_on(pair, logits, np.array([0]), logits)
    assert np.isinf(loss.source_error)
    assert np.isinf(grad_out.source_error)
    assert loss.agrees
    assert grad_out.agrees
    assert np.isfinite(float(pair.ours(logits, np.array([0]), logits)))


# Planted faults: each must be reported.


def reported(agreements):
    return not all(agreement.agrees for agreement in agreements)


LOSS_FAULTS = {
    "energy sign": lambda i, t, o: ood_jax.energy_regularized_loss(o, t, i) - ood_jax.outlier_exposure_loss(o, t)
    + ood_jax.outlier_exposure_loss(i, t),
    "margin left out": lambda i, t, o: ood_jax.energy_regularized_loss(i, t, o, margin=0.0),
    "weight left out": lambda i, t, o: ood_jax.energy_regularized_loss(i, t, o, lambda_energy=1.0),
    "another form": lambda i, t, o: ood_jax.energy_regularized_loss(i, t, o, form="mean"),
    "outliers ignored": lambda i, t, o: ood_jax.energy_regularized_loss(i, t, 0 * o),
    "labels shifted": lambda i, t, o: ood_jax.energy_regularized_loss(i, (t + 1) % i.shape[-1], o),
    "no gradient to the outliers": lambda i, t, o: ood_jax.energy_regularized_loss(i, t, jax.lax.stop_gradient(o)),
    "bfloat16 inside": lambda i, t, o: ood_jax.energy_regularized_loss(i.astype(jnp.bfloat16), t, o),
}  # fmt: skip


@pytest.mark.parametrize("fault", LOSS_FAULTS)
def test_a_fault_in_the_energy_loss_is_reported(fault):
    pair = loss_pairs()["energy_regularized definition"]
    rng = np.random.default_rng(0)
    logits_in, logits_out = (3 * rng.standard_normal((2, 16, 10))).astype(np.float32)
    logits_out -= 9  # some pairs are over the margin and some are not
    inputs = logits_in, rng.integers(0, 10, 16), logits_out
    assert not reported(compare_loss_on(pair, *inputs))
    assert reported(compare_loss_on(LossPair(LOSS_FAULTS[fault], pair.theirs, pair.truth), *inputs))


@pytest.mark.parametrize("form", ["cross_entropy"])
def test_the_other_form_of_outlier_exposure_is_reported(form):
    pair = loss_pairs()["outlier_exposure definition"]
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((16, 10)).astype(np.float32), rng.integers(0, 10, 16), np.ones((16, 10), np.float32)
    faulty = LossPair(lambda i, t, o: ood_jax.outlier_exposure_loss(i, t, o, form=form), pair.theirs, pair.truth)
    assert reported(compare_loss_on(faulty, *inputs))


apply_mixup, apply_cutmix = ood_jax.apply_mixup, ood_jax.apply_cutmix  # as they are before a test replaces them
APPLY = {ood_jax.MixupDraw: apply_mixup, ood_jax.CutMixDraw: apply_cutmix}


def swapped_labels(draw, x, y, **options):
    mixed = APPLY[type(draw)](draw, x, y, **options)
    return mixed._replace(y_a=mixed.y_b, y_b=mixed.y_a)


def inverted_lam(draw, x, y, **options):
    mixed = APPLY[type(draw)](draw, x, y, **options)
    return mixed._replace(lam=1 - mixed.lam)


ONE_ULP = jnp.float32(2**-23)
APPLY_FAULTS = {
    "labels swapped": (swapped_labels, swapped_labels),
    "lam for 1 - lam": (inverted_lam, inverted_lam),
    "lam reversed inside": (
        lambda draw, x, y: apply_mixup(draw._replace(lam=1 - draw.lam), x, y),
        lambda draw, x, y, **o: apply_cutmix(
            draw._replace(box=draw.box._replace(bottom=draw.box.bottom + 1)), x, y, **o
        ),
    ),
    "partner left out of the labels": (
        lambda draw, x, y: apply_mixup(draw, x, y)._replace(y_b=y),
        lambda draw, x, y, **o: apply_cutmix(draw, x, y, **o)._replace(y_b=y),
    ),
    "partner inverted": (
        lambda draw, x, y: apply_mixup(draw._replace(partner=jnp.argsort(draw.partner)), x, y),
        lambda draw, x, y, **o: apply_cutmix(draw._replace(partner=jnp.argsort(draw.partner)), x, y, **o),
    ),
    "a few units in the last place": (
        lambda draw, x, y: apply_mixup(draw._replace(lam=draw.lam * (1 + 8 * ONE_ULP)), x, y),
        lambda draw, x, y, **o: apply_cutmix(draw, x * (1 + 2 * ONE_ULP), y, **o),
    ),
}


@pytest.mark.parametrize("function", ["mixup", "cutmix"])
@pytest.mark.parametrize("fault", APPLY_FAULTS)
def test_a_fault_in_mixing_is_reported(monkeypatch, function, fault):
    def run():
        if function == "mixup":
            return compare_mixup("planted", "definition", "float32", (8, 5, 3))
        return compare_cutmix("planted", "definition", "float32", (9, 14), "NHWC", alpha=1.0)

    assert not reported(run())
    faulty = APPLY_FAULTS[fault][function == "cutmix"]
    monkeypatch.setattr(table.ood_jax, f"apply_{function}", faulty)
    assert reported(run())


def test_a_swapped_centre_is_reported(monkeypatch):
    box = ood_jax.cutmix_box
    monkeypatch.setattr(table.ood_jax, "cutmix_box", lambda lam, center, size: box(lam, center[::-1], size[::-1]))
    assert reported(compare_cutmix("planted", "definition", "float32", (9, 14), "NCHW"))


def test_a_fault_in_the_mixed_loss_is_reported(monkeypatch):
    assert not reported(compare_criterion("planted", "definition", "mixup_cross_entropy", "classes"))
    faulty = lambda logits, y_a, y_b, lam: ood_jax.mixup_criterion(table._mean_cross_entropy, logits, y_b, y_a, lam)  # noqa: E731
    monkeypatch.setattr(table.ood_jax, "mixup_cross_entropy", faulty)
    assert reported(compare_criterion("planted", "definition", "mixup_cross_entropy", "classes"))


# The report.


def few_cases():
    return [CASES["cutmix definition uint8 NHWC 7x19"], CASES["mixup incerto float32 5x7"]]


def test_the_report_prints_a_line_a_case_and_succeeds(monkeypatch, capsys):
    monkeypatch.setattr(report, "cases", few_cases)
    assert report.main() == 0
    output = capsys.readouterr().out
    for case in few_cases():
        assert len(re.findall(rf"^{re.escape(case.name)} .* agrees$", output, re.MULTILINE)) == 1
    assert "2 of 2 cases agree" in output


def test_the_report_fails_on_a_disagreement(monkeypatch, capsys):
    monkeypatch.setattr(report, "cases", few_cases)
    monkeypatch.setattr(table.ood_jax, "apply_mixup", inverted_lam)
    assert report.main() == 1
    output = capsys.readouterr().out
    assert "DISAGREES" in output
    assert "1 of 2 cases agree" in output


@pytest.mark.parametrize(("missing", "module"), [("torch", "parity"), ("incerto", "parity.published")])
def test_a_missing_source_is_an_error_that_names_the_extra(missing, module):
    probe = f"import sys; sys.modules[{missing!r}] = None; import {module}"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert result.returncode != 0
    assert "ModuleNotFoundError" in result.stderr
    assert "pip install 'ood-jax[parity]'" in result.stderr
