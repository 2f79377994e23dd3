"""Scores of logits beside incerto's and pytorch-ood's.

Where a library defines a score another way, what is compared is its number in our terms: `theirs` undoes a sign, a
factor or a constant. docs/scores.md has the list. The truth is each formula in NumPy's widest float.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

import ood_jax.scores as scores

from ..agreement import Result, compared, wide
from ..convert import to_numpy, to_torch
from ..published import load
from ..tolerances import loss_ulps
from ._case import Array, Case, case, random


def score_cases() -> Iterator[Case]:
    """Over dtypes and numbers of classes."""
    for name, pair in LOGITS.items():
        for dtype in ("float32", "float64"):
            for classes in (10, 1000) if dtype == "float32" else (10,):
                yield case(f"{name} {dtype} K={classes}", pair.source, compare_logits, pair, dtype, classes)


class LogitsPair(NamedTuple):
    """A score of logits of ours, a source's brought to the same terms, and the truth; each a function of logits."""

    source: str
    ours: Callable[[Any], jax.Array]
    theirs: Callable[[torch.Tensor], torch.Tensor]
    truth: Callable[[Array], Array]


def detectors_of(source: str) -> Any:
    """The module of a library's detectors."""
    load(source)  # makes the next import possible beside any PyTorch
    if source == "incerto":
        import incerto.ood.methods

        return incerto.ood.methods
    import pytorch_ood.detector

    return pytorch_ood.detector


def _of_model(name: str, **options: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """An incerto detector, of a model that returns the logits it is given."""
    return lambda logits: getattr(detectors_of("incerto"), name)(torch.nn.Identity(), **options).score(logits)


def _of_logits(name: str, **options: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda logits: getattr(detectors_of("pytorch-ood"), name).score(logits, **options)


def _shares(logits: Array) -> Array:
    """Softmax, largest first."""
    exp = np.exp(np.sort(logits, axis=-1)[:, ::-1] - logits.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def energy(logits: Array, temperature: float) -> Array:
    scaled = wide(logits) / temperature
    return -temperature * (scaled.max(-1) + np.log(np.exp(scaled - scaled.max(-1, keepdims=True)).sum(-1)))


def _gen(logits: Array, top: int | None = None) -> Array:
    shares = _shares(logits)
    return (shares * (1 - shares))[:, :top].__pow__(np.longdouble("0.1")).mean(-1)


LOGITS: Mapping[str, LogitsPair] = {
    "msp incerto": LogitsPair(
        "incerto", lambda z: scores.msp_score(z), _of_model("MSP"), lambda z: _shares(z)[:, 1:].sum(-1)
    ),
    "msp pytorch-ood T=3": LogitsPair(
        "pytorch-ood",
        lambda z: scores.msp_score(z, temperature=3),
        lambda z: 1 + _of_logits("MaxSoftmax", t=3.0)(z),  # minus the largest probability there
        lambda z: _shares(z / np.longdouble(3))[:, 1:].sum(-1),
    ),
    "max_logit incerto": LogitsPair(
        "incerto", lambda z: scores.max_logit_score(z), _of_model("MaxLogit"), lambda z: -z.max(-1)
    ),
    "max_logit pytorch-ood": LogitsPair(
        "pytorch-ood", lambda z: scores.max_logit_score(z), _of_logits("MaxLogit"), lambda z: -z.max(-1)
    ),
    "energy incerto T=2": LogitsPair(
        "incerto",
        lambda z: scores.energy_score(z, temperature=2),
        lambda z: 2 * _of_model("Energy", temperature=2.0)(z),  # without the factor T there
        lambda z: energy(z, 2),
    ),
    "energy pytorch-ood T=2": LogitsPair(
        "pytorch-ood",
        lambda z: scores.energy_score(z, temperature=2),
        _of_logits("EnergyBased", t=2.0),
        lambda z: energy(z, 2),
    ),
    "entropy pytorch-ood": LogitsPair(
        "pytorch-ood",
        lambda z: scores.entropy_score(z),
        _of_logits("Entropy"),
        lambda z: -(_shares(z) * np.log(_shares(z))).sum(-1),
    ),
    "gen pytorch-ood": LogitsPair(
        "pytorch-ood",
        lambda z: scores.gen_score(z) / z.shape[-1],  # a mean there
        _of_logits("GEN"),
        _gen,
    ),
    "gen pytorch-ood 2 of K": LogitsPair(
        "pytorch-ood", lambda z: scores.gen_score(z, top=2) / 2, _of_logits("GEN", M=2), partial(_gen, top=2)
    ),
}


def compare_logits(name: str, source: str, pair: LogitsPair, dtype: str, classes: int) -> list[Result]:
    """On logits whose probabilities are above 1e-7, where pytorch-ood clips some."""
    with jax.enable_x64(dtype == "float64"):
        logits = random(name).standard_normal((16, classes)).astype(jnp.dtype(dtype))
        ours = pair.ours(jnp.asarray(logits))
        theirs = to_numpy(pair.theirs(to_torch(logits)))
        # Sources take probabilities from 1, and energies carry the rounding of the largest logit.
        size = max(1.0, float(np.abs(wide(logits)).max()))
        exact = pair.truth(wide(logits))
        return [compared("score", ours, theirs, ours.dtype, loss_ulps(wide(logits)), truth=exact, scale=size)]
