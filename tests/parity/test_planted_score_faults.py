"""Every fault planted in a score or a detector is reported."""

import jax
import jax.numpy as jnp
import pytest

from ood_jax import scores
from parity import cases as table

CASES = {case.name: case for case in table.cases()}

# As they are before a fault takes their place.
msp, energy, entropy, gen, odin = (
    getattr(scores, f"{name}_score") for name in ("msp", "energy", "entropy", "gen", "odin")
)
fit_mahalanobis, mahalanobis = scores.fit_mahalanobis, scores.mahalanobis_score
fit_knn, knn, fit_vim, fit_react = scores.fit_knn, scores.knn_score, scores.fit_vim, scores.fit_react
ash = scores.ash_features


# what is planted: the function replaced, its faulty form, the case that must notice
FAULTS = {
    "1 - p, rounded to bfloat16": (
        "msp_score",
        lambda z, **o: msp(z, **o).astype(jnp.bfloat16).astype(z.dtype),
        "msp incerto float32 K=10",
    ),
    "temperature dropped": ("msp_score", lambda z, *, temperature: msp(z), "msp pytorch-ood T=3 float32 K=10"),
    "the smallest logit": ("max_logit_score", lambda z: -z.min(-1), "max_logit incerto float32 K=10"),
    "the sign of the energy": ("energy_score", lambda z, **o: -energy(z, **o), "energy pytorch-ood T=2 float32 K=10"),
    "the factor T left out": (
        "energy_score",
        lambda z, *, temperature: energy(z, temperature=temperature) / temperature,
        "energy incerto T=2 float32 K=10",
    ),
    "entropy in bits": ("entropy_score", lambda z: entropy(z) / jnp.log(2), "entropy pytorch-ood float32 K=10"),
    "another power": ("gen_score", lambda z, **o: gen(z, gamma=0.11, **o), "gen pytorch-ood float32 K=10"),
    "all classes for two": ("gen_score", lambda z, *, top: gen(z), "gen pytorch-ood 2 of K float32 K=10"),
    "a step the other way": (
        "odin_score",
        lambda *a, epsilon, **o: odin(*a, epsilon=-epsilon, **o),
        "odin incerto float32",
    ),
    "no step": ("odin_score", lambda *a, epsilon, **o: odin(*a, epsilon=0.0, **o), "odin pytorch-ood float32"),
    "one mean for all classes": (
        "fit_mahalanobis",
        lambda x, y, **o: (state := fit_mahalanobis(x, y, **o))._replace(mean=state.mean * 0 + x.mean(0)),
        "mahalanobis pytorch-ood float32",
    ),
    "means shifted by a class": (
        "fit_mahalanobis",
        lambda x, y, **o: (state := fit_mahalanobis(x, y, **o))._replace(mean=jnp.roll(state.mean, 1, -1)),
        "mahalanobis incerto total float32",
    ),
    "a ridge": ("mahalanobis_score", lambda *a, ridge: mahalanobis(*a, ridge=1e-2), "mahalanobis pytorch-ood float32"),
    "not relative": (
        "relative_mahalanobis_score",
        lambda *a, **o: mahalanobis(*a, **o),
        "relative_mahalanobis pytorch-ood float32",
    ),
    "the next neighbour": ("knn_score", lambda *a, k, **o: knn(*a, k=k + 1, **o), "knn pytorch-ood float32"),
    "neighbours lost": ("fit_knn", lambda x: fit_knn(x[::2]), "knn incerto normalized float32"),
    "one direction too many": (
        "fit_vim",
        lambda *a, dim: fit_vim(*a, dim=dim + 1),
        "vim pytorch-ood float32",
    ),
    "the bias left out": ("fit_vim", lambda x, k, b, *, dim: fit_vim(x, k, 0 * b, dim=dim), "vim pytorch-ood float32"),
    "another percentile": ("fit_react", lambda x: fit_react(x, percentile=91.0), "react pytorch-ood float32"),
    "nothing clipped": ("react_features", lambda state, x: x, "react pytorch-ood float32"),
    "pruned for scaled": ("ash_features", lambda x, *, form, **o: ash(x, form="p", **o), "ash pytorch-ood s float32"),
    "one unit fewer": (
        "ash_features",
        lambda x, *, percentile, form: ash(x, percentile=percentile + 8, form=form),
        "ash pytorch-ood p float32",
    ),
    "scaled for binarised": (
        "ash_features",
        lambda x, *, form, **o: ash(x, form="s", **o),
        "ash pytorch-ood b float32",
    ),
    "pruned and scaled": ("scale_features", lambda x, **o: ash(x, form="s", **o), "scale pytorch-ood float32"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_reported(fault, monkeypatch):
    function, faulty, case = FAULTS[fault]
    monkeypatch.setattr(scores, function, faulty)
    with jax.numpy_rank_promotion("allow"):
        agreement = CASES[case].run()
    assert not agreement
    assert agreement.disagreeing
