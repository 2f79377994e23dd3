"""Ours and the sources agree, case by case, and on many more inputs than the table holds."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import ood_jax
from parity import truth
from parity.agreement import error
from parity.cases import cases
from parity.cases._case import MODES, call
from parity.cases.loss_pairs import loss_pairs
from parity.cases.losses import compare_loss_on
from parity.published import SOURCES
from parity.tolerances import TOLERANCES

CASES = {case.name: case for case in cases()}
DEFINED = ("outlier_exposure definition kl", "energy_regularized definition pairwise")


@pytest.mark.parametrize("name", CASES)
def test_case_agrees(name):
    agreement = CASES[name].run()
    assert agreement, str(agreement)
    if CASES[name].source != "definition":
        assert SOURCES[CASES[name].source].installed == SOURCES[CASES[name].source].version


def test_the_table_covers_what_it_says():
    assert len(CASES) == len(list(cases())) == 621
    published = {
        "mixup": ["definition", "incerto", "kornia", "torchvision", "timm", "timm per row"],
        "cutmix": ["definition", "incerto", "kornia", "torchvision", "timm", "timm per row"],
        "box": ["definition", "incerto", "kornia", "torchvision", "timm"],
        "soft_targets": ["torchvision", "timm"],
        "mixup_criterion": ["definition", "incerto"],
        "mixup_cross_entropy": ["definition", "incerto"],
        "outlier_exposure": ["definition kl", "incerto cross_entropy", "pytorch-ood pooled"],
        "energy_regularized": ["definition pairwise", "incerto mean"],
        "energy_bounded": ["pytorch-ood separate", "pytorch-ood pooled"],
        "free_energy": ["pytorch-ood"],
        "msp": ["incerto", "pytorch-ood T=3"],
        "max_logit": ["incerto", "pytorch-ood"],
        "energy": ["incerto T=2", "pytorch-ood T=2"],
        "entropy": ["pytorch-ood"],
        "gen": ["pytorch-ood", "pytorch-ood 2 of K"],
        "odin": ["incerto", "pytorch-ood"],
        "mahalanobis": ["incerto total", "pytorch-ood"],
        "relative_mahalanobis": ["pytorch-ood"],
        "knn": ["incerto normalized", "pytorch-ood"],
        "vim": ["pytorch-ood"],
        "react": ["pytorch-ood"],
        "ash": ["pytorch-ood s", "pytorch-ood b", "pytorch-ood p"],
        "scale": ["pytorch-ood"],
        "auroc": ["scikit-learn", "torchmetrics", "incerto", "pytorch-ood"],
        "aupr": [
            "scikit-learn average_precision",
            "scikit-learn average_precision in",
            "scikit-learn trapezoid",
            "torchmetrics average_precision",
            "pytorch-ood trapezoid",
            "pytorch-ood trapezoid in",
        ],
        "fpr_at_tpr": ["scikit-learn first in", "pytorch-ood first", "incerto interp"],
        "detection_error": ["scikit-learn"],
        "oscr": ["pytorch-ood"],
        "expected_calibration_error": ["torchmetrics", "incerto"],
        "adaptive_expected_calibration_error": ["incerto", "pytorch-ood"],
        "brier_score": ["incerto", "scikit-learn"],
        "draw_mixup": ["definition", "incerto", "torchvision", "timm"],
        "draw_cutmix": ["definition", "incerto", "kornia", "torchvision", "timm"],
    }
    for function, sources in published.items():
        for source in sources:
            assert any(name.startswith(f"{function} {source} ") for name in CASES), (function, source)
    for function in ("mixup", "cutmix", "outlier_exposure", "energy_regularized", "energy_bounded", "mixup_criterion"):
        for word in ("float32", "float64", "bfloat16", "eager", "vmap"):
            assert any(name.startswith(f"{function} ") and word in name for name in CASES), (function, word)


def test_values_and_every_derivative_are_compared():
    soft = "outlier_exposure definition kl float32 K=10 scale=2 probabilities"
    derivatives = {
        soft: "logits_in logits_out lambda_oe targets_in",
        "energy_regularized definition pairwise float32 K=10 scale=1": "logits_in logits_out lambda_energy margin",
        "energy_bounded pytorch-ood pooled float32 K=10 scale=1": "logits_in logits_out lambda_energy m_in m_out",
        "mixup_criterion definition probabilities float32": "logits lam y_a y_b",
    }
    for name, inputs in derivatives.items():
        results = [result.name for result in CASES[name].run().results]
        assert sorted(results) == sorted(["loss", "forward", *(f"d/d {name}" for name in inputs.split())])
    for name in ("mixup definition float32 8x3x6x10", "cutmix kornia float32 NCHW 7x19"):
        assert {"x", "y_a", "y_b", "lam", "d/d x", "forward"} <= {result.name for result in CASES[name].run().results}


def test_the_tolerances_are_the_derived_ones():
    assert {name: tolerance.ulps for name, tolerance in TOLERANCES.items() if name != "trajectory"} == {
        "exact": 0,
        "lam": 1,
        "mixup": 2,
        "mixup half": 4,
        "mixup gradient": 4,
        "soft targets": 4,
        "loss": 8,
    }


def random_inputs(seed, classes, rows):
    """One of many regimes: flat to saturated, untrained to trained, shifted."""
    rng = np.random.default_rng((seed, classes, rows))
    scale_in, scale_out = 10 ** rng.uniform(-4, 2, 2)
    logits_in = (rng.standard_normal((rows, classes)) * scale_in + rng.choice([0, 0, 30])).astype(np.float32)
    logits_out = (rng.standard_normal((rows, classes)) * scale_out + rng.choice([0, 0, -30])).astype(np.float32)
    targets = logits_in.argmax(-1) if rng.random() < 0.5 else rng.integers(0, classes, rows)
    if rng.random() < 0.3:
        logits_in[np.arange(rows), targets] += np.float32(rng.uniform(2, 30))
    return logits_in, targets, logits_out


# One shape a test, for a new one compiles everything again; and fewer inputs of those that take long.
SHAPES = [(classes, rows, 34) for classes, rows in [(1, 7), (2, 64), (10, 1), (10, 64), (100, 7), (100, 64)]]
SHAPES += [(1000, 1, 13), (1000, 64, 13), (21841, 1, 4), (21841, 7, 4)]


@pytest.mark.parametrize(("classes", "rows", "count"), SHAPES)
def test_the_accuracy_contract_holds_on_random_inputs(classes, rows, count):
    # 238 inputs, each for both losses in both forms: values and both gradients by the logits.
    for seed in range(count):
        for name, pair in loss_pairs().items():
            if pair.source == "pytorch-ood" and seed % 6:
                continue  # the same terms, differently reduced
            # Not the derivatives by single numbers, which add up a rounded share a row, as the source's do.
            for result in compare_loss_on(pair, *random_inputs(seed, classes, rows), forward=False)[:3]:
                assert result.agrees, (seed, name, str(result))


@pytest.mark.parametrize(
    ("classes", "rows", "count"), [(1, 7, 6), (2, 7, 12), (10, 64, 12), (100, 7, 12), (1000, 64, 4), (21841, 7, 4)]
)
def test_the_accuracy_contract_holds_for_a_gpus_program(classes, rows, count, as_on_gpu):
    with as_on_gpu():
        for seed in range(count):
            for name in DEFINED:
                for result in compare_loss_on(loss_pairs()[name], *random_inputs(seed, classes, rows), forward=False)[
                    :3
                ]:
                    assert result.agrees, (seed, name, str(result))


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("kind", ["one-hot", "smoothed", "uniform", "any"])
def test_the_accuracy_contract_holds_for_class_probabilities(kind, gpu, as_on_gpu):
    loss = jax.jit(jax.value_and_grad(ood_jax.outlier_exposure_loss))
    with as_on_gpu() if gpu else contextlib.nullcontext():
        hold_the_contract_of_class_probabilities(loss, kind)


def hold_the_contract_of_class_probabilities(loss, kind):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rows, classes = int(rng.choice([1, 16])), int(rng.choice([2, 10, 100, 1000, 3000]))
        logits = (rng.standard_normal((rows, classes)) * 10 ** rng.uniform(-2, 1.3)).astype(np.float32)
        labels = rng.integers(0, classes, rows)
        logits[np.arange(rows), labels] += np.float32(rng.choice([0.0, rng.uniform(2, 15)]))
        one_hot = np.eye(classes)[labels]
        smoothing = 10 ** rng.uniform(-6, -0.5)
        targets = {
            "one-hot": one_hot,
            "smoothed": (1 - smoothing) * one_hot + smoothing / classes,
            "uniform": np.full((rows, classes), 1 / classes),
            "any": rng.dirichlet(np.ones(classes), rows),
        }[kind].astype(np.float32)
        leaf = torch.from_numpy(logits).requires_grad_()
        theirs = torch.nn.functional.cross_entropy(leaf, torch.from_numpy(targets))
        theirs.backward()
        value, gradient = loss(logits, targets)
        # As labels the truth of a one-hot target is free of the cancellation in p - t.
        terms, slopes = truth.cross_entropy(logits.astype(np.longdouble), labels if kind == "one-hot" else targets)
        assert error(value, terms.mean(), np.float32) <= error(theirs.item(), terms.mean(), np.float32) + 2
        if kind in ("one-hot", "smoothed"):  # a prediction may equal others, and then no gradient has a digit left
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
            for result in compare_loss_on(pair, logits_in, targets, logits_out, forward=False)[:3]:
                assert result.agrees, (name, classes, str(result))


@pytest.mark.parametrize(("classes", "rows"), [(513, 4), (1000, 1), (1000, 64), (3000, 1)])
def test_the_accuracy_contract_holds_where_all_terms_of_a_sum_round_alike(classes, rows):
    # All logits but one are equal. Of a few thousand numbers XLA's CPU compiler adds up one term after the other.
    rng = np.random.default_rng((classes, rows))
    pairs = [loss_pairs()[name] for name in DEFINED]
    for _ in range(6):
        logits_in, logits_out = np.zeros((2, rows, classes), np.float32)
        logits_in[:, 3], logits_out[:, 5] = rng.uniform(0, 12, 2)
        for pair in pairs:
            for result in compare_loss_on(pair, logits_in, np.full(rows, 7), logits_out, forward=False)[:3]:
                assert result.agrees, (pair.source, str(result))


@pytest.mark.parametrize(("classes", "rows"), [(1000, 64), (1500, 1), (3000, 1)])
def test_the_accuracy_contract_holds_where_class_probabilities_round_alike(classes, rows):
    loss = jax.jit(jax.value_and_grad(ood_jax.outlier_exposure_loss))
    rng = np.random.default_rng((classes, rows))
    for sureness, smoothing in zip(rng.uniform(0, 12, 6), rng.uniform(0, 1, 6), strict=True):
        logits = np.zeros((rows, classes), np.float32)
        logits[:, 3] = sureness
        targets = np.full((rows, classes), smoothing / classes, np.float32)
        targets[:, 7] += np.float32(1 - smoothing)
        theirs = torch.from_numpy(logits).requires_grad_()
        value = torch.nn.functional.cross_entropy(theirs, torch.from_numpy(targets))
        value.backward()
        terms, slopes = truth.cross_entropy(logits.astype(np.longdouble), targets)
        for mine, other, exact in zip(
            loss(logits, targets), (value.item(), theirs.grad.numpy()), (terms.mean(), slopes / rows), strict=True
        ):
            assert error(mine, exact, np.float32) <= error(other, exact, np.float32) + 2


def test_where_the_definition_overflows_ours_is_finite_and_right():
    pair = loss_pairs()["outlier_exposure definition kl"]
    logits = np.array([[1e4, 0.0, -1e4]], np.float32)
    loss, _, grad_out, *_ = compare_loss_on(pair, logits, np.array([0]), logits)
    assert np.isinf(loss.source_error)
    assert np.isinf(grad_out.source_error)
    assert loss.agrees
    assert grad_out.agrees
    assert np.isfinite(float(ood_jax.outlier_exposure_loss(logits, np.array([0]), logits)))


def test_each_mode_is_what_it_says():
    seen = []

    def function(x):
        seen.append((jax.config.jax_disable_jit, isinstance(x, jax.core.Tracer)))
        return x + jnp.sum(x)

    x = jnp.array([1.0, 2.0, 4.0])
    for mode in MODES:
        np.testing.assert_array_equal(call(mode, function, x), x + 7)
    assert dict(zip(MODES, seen, strict=True)) == {"jit": (False, False), "eager": (True, False), "vmap": (False, True)}
