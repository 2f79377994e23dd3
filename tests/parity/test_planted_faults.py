"""Every planted fault is reported: parity cannot pass by accident."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ood_jax
from parity import cases as table
from parity.agreement import Agreement, Result, compared
from parity.cases import losses

CASES = {case.name: case for case in table.cases()}

# As they are before a fault takes their place.
apply_mixup, apply_cutmix, cutmix_box = ood_jax.apply_mixup, ood_jax.apply_cutmix, ood_jax.cutmix_box
timm_box, kornia_box, soft_targets = ood_jax.timm_box, ood_jax.kornia_box, ood_jax.soft_targets
oe, energy = ood_jax.outlier_exposure_loss, ood_jax.energy_regularized_loss
bounded, criterion, free_energy = ood_jax.energy_bounded_loss, ood_jax.mixup_criterion, ood_jax.free_energy

ULP = jnp.float32(2**-23)
MIXUP, TIMM_MIXUP = "mixup definition float32 8x3x6x10", "mixup timm float32 8x3x6x10"
CUTMIX, KORNIA = "cutmix definition float32 NHWC 7x19", "cutmix kornia float32 NHWC 7x19"
OE = "outlier_exposure definition kl float32 K=10 scale=1"
ENERGY = "energy_regularized definition pairwise float32 K=10 scale=10"
MEAN = "energy_regularized incerto mean float32 K=10 scale=1"
POOLED = "outlier_exposure pytorch-ood pooled float32 K=10 scale=1"
BOUNDED = "energy_bounded pytorch-ood separate float32 K=10 scale=10"
CRITERION, ENERGY_SCORE = "mixup_criterion definition classes float32", "free_energy pytorch-ood float32 T=0.5"


def moved(edge, by):
    return lambda lam, center, size: (box := cutmix_box(lam, center, size))._replace(**{edge: getattr(box, edge) + by})


def relabelled(change):
    return lambda draw, x, y, **options: change(
        (apply_mixup if isinstance(draw, ood_jax.MixupDraw) else apply_cutmix)(draw, x, y, **options)
    )


def wrong_by(ulps):
    return lambda draw, x, y: (m := apply_mixup(draw, x, y))._replace(x=m.x * (1 + ulps * ULP))


# what is planted: the function replaced, its faulty form, the case that must notice
FAULTS = {
    "λ for 1 - λ in mixup": ("apply_mixup", lambda d, x, y: apply_mixup(d._replace(lam=1 - d.lam), x, y), MIXUP),
    "λ for 1 - λ beside the batch": ("apply_mixup", relabelled(lambda m: m._replace(lam=1 - m.lam)), MIXUP),
    "λ squared": ("apply_mixup", lambda d, x, y: apply_mixup(d._replace(lam=d.lam**2), x, y), MIXUP),
    "λ in bfloat16": (
        "apply_mixup",
        lambda d, x, y: apply_mixup(d._replace(lam=d.lam.astype(jnp.bfloat16).astype(jnp.float32)), x, y),
        MIXUP,
    ),
    "four ulp": ("apply_mixup", wrong_by(4), MIXUP),
    "partner not applied to the labels": ("apply_mixup", lambda d, x, y: apply_mixup(d, x, y)._replace(y_b=y), MIXUP),
    "partner not applied to the pixels": ("apply_mixup", lambda d, x, y: apply_mixup(d, x, y)._replace(x=x), MIXUP),
    "inverse of the permutation": (
        "apply_mixup",
        lambda d, x, y: apply_mixup(d._replace(partner=jnp.argsort(d.partner)), x, y),
        MIXUP,
    ),
    "labels swapped": ("apply_mixup", relabelled(lambda m: m._replace(y_a=m.y_b, y_b=m.y_a)), MIXUP),
    "labels of bfloat16": (
        "apply_mixup",
        relabelled(lambda m: m._replace(y_a=(m.y_a + 1000).astype(jnp.bfloat16).astype(int) - 1000)),
        MIXUP,
    ),
    "no gradient to the partner": (
        "apply_mixup",
        lambda d, x, y: apply_mixup(d, x, y)._replace(
            x=x * d.lam + jax.lax.stop_gradient(apply_mixup(d, x, y).x - x * d.lam)
        ),
        MIXUP,
    ),
    "smoothing by default": ("soft_targets", lambda m, k: soft_targets(m, k, smoothing=0.1), TIMM_MIXUP),
    "soft targets of the rows alone": ("soft_targets", lambda m, k: jax.nn.one_hot(m.y_a, k), TIMM_MIXUP),
    "height and width swapped": ("cutmix_box", lambda lam, c, s: cutmix_box(lam, c[::-1], s[::-1]), CUTMIX),
    "rows and columns swapped": (
        "cutmix_box",
        lambda lam, c, s: ood_jax.Box(*(b := cutmix_box(lam, c, s))[2:], *b[:2]),
        CUTMIX,
    ),
    "box one row longer": ("cutmix_box", moved("bottom", 1), "box definition 7x19"),
    "box one column to the left": ("cutmix_box", moved("left", -1), CUTMIX),
    "an odd side kept": ("cutmix_box", timm_box, "box definition 7x19"),
    "an odd side lost": ("timm_box", cutmix_box, "box timm 7x19"),
    "side by λ, not its root": (
        "cutmix_box",
        lambda lam, c, s: cutmix_box(1 - (1 - lam) ** 2, c, s),
        "box definition 32x32",
    ),
    "start for a centre": (
        "kornia_box",
        lambda lam, c, s: timm_box(lam, tuple((f * side).astype(int) for f, side in zip(c, s, strict=True)), s),
        KORNIA,
    ),
    "λ not adjusted to the clipped box": (
        "apply_cutmix",
        relabelled(lambda m: m._replace(lam=m.lam * (1 - 1e-3))),
        CUTMIX,
    ),
    "labels of CutMix swapped": ("apply_cutmix", relabelled(lambda m: m._replace(y_a=m.y_b, y_b=m.y_a)), CUTMIX),
    "one image not mixed": (
        "apply_cutmix",
        lambda d, x, y, **o: (m := apply_cutmix(d, x, y, **o))._replace(x=m.x.at[-1].set(x[-1])),
        CUTMIX,
    ),
    "λ for 1 - λ in the criterion": (
        "mixup_criterion",
        lambda c, z, a, b, lam: criterion(c, z, a, b, 1 - lam),
        CRITERION,
    ),
    "one label in the criterion": ("mixup_criterion", lambda c, z, a, b, lam: criterion(c, z, a, a, lam), CRITERION),
    "sum for mean in the criterion": (
        "mixup_criterion",
        lambda c, z, a, b, lam: len(z) * criterion(c, z, a, b, lam),
        CRITERION,
    ),
    "log K left out": ("outlier_exposure_loss", lambda *a, form, **o: oe(*a, **o), POOLED),
    "separate for pooled": ("outlier_exposure_loss", lambda *a, reduction, **o: oe(*a, **o), POOLED),
    "KL the other way round": (
        "outlier_exposure_loss",
        lambda i, t, o, *, lambda_oe, form: (
            oe(i, t)
            + lambda_oe * jnp.mean(jnp.sum(jax.nn.softmax(o) * (jax.nn.log_softmax(o) + np.log(o.shape[-1])), -1))
        ),
        OE,
    ),
    "mean over classes too": (
        "outlier_exposure_loss",
        lambda i, t, o, *, lambda_oe, form: oe(i, t, o, lambda_oe=lambda_oe / o.shape[-1]),
        OE,
    ),
    "outliers and data swapped": ("outlier_exposure_loss", lambda i, t, o, **k: oe(o, t, i, **k), OE),
    "weight dropped": ("outlier_exposure_loss", lambda *a, lambda_oe, **k: oe(*a, lambda_oe=1.0, **k), OE),
    "labels shifted": ("outlier_exposure_loss", lambda i, t, o, **k: oe(i, (t + 1) % 10, o, **k), OE),
    "no gradient to the outliers": (
        "outlier_exposure_loss",
        lambda i, t, o, **k: oe(i, t, jax.lax.stop_gradient(o), **k),
        OE,
    ),
    "logits rounded to bfloat16": (
        "outlier_exposure_loss",
        lambda i, t, o, **k: oe(i.astype(jnp.bfloat16).astype(i.dtype), t, o, **k),
        OE,
    ),
    "a mask that drops a row": (
        "outlier_exposure_loss",
        lambda i, t, o, **k: oe(i, t, o, where_in=jnp.arange(len(i)) > 0, **k),
        OE,
    ),
    "energy's sign": (
        "energy_regularized_loss",
        lambda i, t, o, **k: energy(-i, t, -o, **k) - oe(-i, t) + oe(i, t),
        ENERGY,
    ),
    "energies swapped": (
        "energy_regularized_loss",
        lambda i, t, o, **k: energy(o, t, i, **k) - oe(o, t) + oe(i, t),
        ENERGY,
    ),
    "margin left out": ("energy_regularized_loss", lambda *a, margin, **k: energy(*a, margin=0 * margin, **k), ENERGY),
    "hinge of means for pairs": ("energy_regularized_loss", lambda *a, form, **k: energy(*a, form="mean", **k), ENERGY),
    "pairs for a hinge of means": ("energy_regularized_loss", lambda *a, form, **k: energy(*a, **k) + 1e-4, MEAN),
    "margins swapped": (
        "energy_bounded_loss",
        lambda *a, m_in, m_out, **k: bounded(*a, m_in=-m_out - 30, m_out=-m_in - 30, **k),
        BOUNDED,
    ),
    "hinges not squared": (
        "energy_bounded_loss",
        lambda i, t, o, *, lambda_energy, m_in, m_out, reduction: (
            oe(i, t)
            + lambda_energy
            * (jnp.mean(jax.nn.relu(free_energy(i) - m_in)) + jnp.mean(jax.nn.relu(m_out - free_energy(o))))
        ),
        BOUNDED,
    ),
    "one hinge alone": (
        "energy_bounded_loss",
        lambda i, t, o, *, reduction, **k: bounded(i, t, **k),
        BOUNDED,
    ),
    "temperature dropped": ("free_energy", lambda z, *, temperature: free_energy(z), ENERGY_SCORE),
    "temperature not multiplied back": (
        "free_energy",
        lambda z, *, temperature: free_energy(z, temperature=temperature) / temperature,
        ENERGY_SCORE,
    ),
    "log-sum-exp for the energy": ("free_energy", lambda *a, **k: -free_energy(*a, **k), ENERGY_SCORE),
}


@pytest.fixture(autouse=True)
def no_compiled_losses():
    # They are compiled once for each loss, and would go on without the fault, or with it.
    losses._derivatives.cache_clear()
    yield
    losses._derivatives.cache_clear()


@pytest.mark.parametrize("case", sorted({case for *_, case in FAULTS.values()}))
def test_without_a_fault_the_case_agrees(case):
    assert CASES[case].run()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_reported(fault, monkeypatch):
    function, faulty, case = FAULTS[fault]
    monkeypatch.setattr(ood_jax, function, faulty)
    agreement = CASES[case].run()
    assert not agreement
    assert agreement.disagreeing


def test_a_signed_sum_is_not_what_is_compared():
    # Errors that cancel in the sum are as wrong as any.
    source = np.ones(4, np.float32)
    ours = source + np.array([1, -1, 1, -1], np.float32) * np.float32(1e-3)
    assert ours.sum() == source.sum()
    assert not compared("x", ours, source, np.float32, 8).agrees


def test_nothing_compared_is_no_agreement():
    assert not table.Case("none", "definition", lambda: Agreement("none", ())).run()
    assert not Result("nan", float("nan"), 1).agrees
