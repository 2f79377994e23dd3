"""The table of cases: each function of `ood_jax` beside its sources, over dtypes, layouts, shapes and extremes."""

import functools
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

import ood_jax

from . import definitions, published, truth
from .agreement import Agreement, difference, error
from .convert import to_numpy, to_torch
from .replay import cutmix_calls, mixup_calls, replaying

Array = NDArray[Any]

SOURCES = {"definition": definitions, "incerto": published}

# The definition rounds both products and the sum, and so do we; one ulp each way is left for λ and 1 - λ.
MIXUP_ULPS = 2
# A loss is a handful of sums and logarithms of numbers as large as the logits and log K, each rounded to half an ulp of
# that size on both sides; the source sums K exponentials plainly, whose errors grow like the root of K. A gradient is
# the same of numbers up to the weight of a row, and an exponent as large as the logits carries its rounding into it.
LOSS_ULPS = 8


class Case(NamedTuple):
    """A named comparison; `run()` carries it out."""

    name: str
    run: Callable[[], list[Agreement]]


def cases() -> Iterator[Case]:
    """Every case, in the order of the report."""
    yield from _mixing_cases()
    yield from _criterion_cases()
    yield from _loss_cases()


# Mixing: the same draw in both frameworks.


def _mixing_cases() -> Iterator[Case]:
    for source in SOURCES:
        for dtype in ("float32", "float64", "bfloat16", "float16", "uint8", "int32"):
            for shape in ((8, 3, 6, 10), (5, 7), (1, 1, 4, 4)):
                name = f"mixup {source} {dtype} {'x'.join(map(str, shape))}"
                yield Case(name, partial(compare_mixup, name, source, dtype, shape))
        for dtype in ("float32", "bfloat16", "uint8"):
            for size in ((32, 32), (7, 19), (1, 5)):
                for data_format in ("NCHW", "NHWC"):
                    name = f"cutmix {source} {dtype} {data_format} {size[0]}x{size[1]}"
                    yield Case(name, partial(compare_cutmix, name, source, dtype, size, data_format))
        for function in ("mixup", "cutmix"):
            name = f"{function} {source} alpha=0"
            yield Case(name, partial(compare_unmixed, name, source, function))


def compare_mixup(name: str, source: str, dtype: str, shape: tuple[int, ...], alpha: float = 0.4) -> list[Agreement]:
    """Mixup with an injected draw."""
    rng = _rng(name)
    with jax.enable_x64(dtype == "float64"):
        x, y = _images(rng, shape, dtype), rng.integers(0, 10, shape[0])
        lam, partner = float(np.float32(rng.beta(alpha, alpha))), rng.permutation(shape[0])
        ours = ood_jax.apply_mixup(
            ood_jax.MixupDraw(jnp.asarray(lam), jnp.asarray(partner)), jnp.asarray(x), jnp.asarray(y)
        )
        with replaying(mixup_calls(lam, partner, alpha=alpha)):
            mixed, *rest = SOURCES[source].mixup_data(to_torch(x), to_torch(y), alpha)
        exact = _wide(lam) * _wide(x) + (1 - _wide(lam)) * _wide(x)[partner]
        out = ours.x.dtype
        # In half precision the definition rounds three times and we once, so there the truth alone is the judge.
        tolerance = MIXUP_ULPS if jnp.finfo(out).bits >= 32 else 4
        scale = 0 if jnp.finfo(out).bits >= 32 else float(np.abs(_wide(x)).max(initial=0))
        theirs = to_numpy(mixed)
        first = Agreement(
            "x", difference(ours.x, theirs, out, scale=scale), tolerance, error(ours.x, exact, out),
            error(theirs, exact, out),
        )  # fmt: skip
        return [first, *_labels_and_lam(ours, rest)]


def compare_cutmix(
    name: str, source: str, dtype: str, size: tuple[int, int], data_format: str, alpha: float = 0.7
) -> list[Agreement]:
    """CutMix with injected λ, partners and centre, the box included."""
    rng = _rng(name)
    n = 6
    x, y = _images(rng, (n, 3, *size), dtype), rng.integers(0, 10, n)
    lam, partner = float(np.float32(rng.beta(alpha, alpha))), rng.permutation(n)
    center = (int(rng.integers(size[0])), int(rng.integers(size[1])))
    draw = ood_jax.CutMixDraw(ood_jax.cutmix_box(lam, center, size), jnp.asarray(partner))
    images = x if data_format == "NCHW" else x.transpose(0, 2, 3, 1)
    ours = ood_jax.apply_cutmix(draw, jnp.asarray(images), jnp.asarray(y), data_format=data_format)
    with replaying(cutmix_calls(lam, partner, center, size, alpha=alpha)):
        mixed, *rest = SOURCES[source].CutMix(alpha)(to_torch(x), to_torch(y))
    back = np.asarray(ours.x) if data_format == "NCHW" else np.asarray(ours.x).transpose(0, 3, 1, 2)
    return [_exact("x", back, to_numpy(mixed)), *_labels_and_lam(ours, rest)]


def compare_unmixed(name: str, source: str, function: str) -> list[Agreement]:
    """Alpha 0 leaves the batch as it is; the partners are the definition's too."""
    rng = _rng(name)
    x, y = _images(rng, (6, 3, 5, 4), "float32"), rng.integers(0, 10, 6)
    draw: Any
    if function == "mixup":
        draw = ood_jax.draw_mixup(jax.random.key(0), 6, alpha=0)
        ours = ood_jax.apply_mixup(draw, jnp.asarray(x), jnp.asarray(y))
        calls = mixup_calls(1.0, np.asarray(draw.partner), alpha=0)
        theirs = partial(SOURCES[source].mixup_data, alpha=0)
    else:
        draw = ood_jax.draw_cutmix(jax.random.key(0), 6, (5, 4), alpha=0)
        ours = ood_jax.apply_cutmix(draw, jnp.asarray(x), jnp.asarray(y), data_format="NCHW")
        calls = cutmix_calls(1.0, np.asarray(draw.partner), (2, 1), (5, 4), alpha=0)
        theirs = SOURCES[source].CutMix(0)
    with replaying(calls):
        mixed, *rest = theirs(to_torch(x), to_torch(y))
    return [_exact("x", ours.x, to_numpy(mixed)), _exact("x unchanged", ours.x, x), *_labels_and_lam(ours, rest)]


def _labels_and_lam(ours: ood_jax.Mixed, theirs: list[Any]) -> list[Agreement]:
    y_a, y_b, lam = theirs
    return [
        _exact("y_a", ours.y_a, to_numpy(y_a)),
        _exact("y_b", ours.y_b, to_numpy(y_b)),
        # The host's λ is float64, rounded twice before it comes to float32; ours once. So at most they are neighbours.
        Agreement("lam", difference(ours.lam, np.float32(lam), jnp.float32), 1),
    ]


def _exact(name: str, ours: Any, theirs: Array) -> Agreement:
    return Agreement(name, difference(ours, theirs, jnp.float32), 0)


# Losses: values and gradients, held to the truth.


class LossPair(NamedTuple):
    """A loss of ours, a source's, and the truth, each a function of (logits_in, targets, logits_out)."""

    ours: Callable[..., jax.Array]
    theirs: Callable[..., torch.Tensor]
    truth: Callable[..., truth.Loss]


@functools.cache
def loss_pairs() -> Mapping[str, LossPair]:
    """Both losses beside both sources, which publish different forms."""
    pairs = {}
    for source, oe_form, energy_form in (("definition", "kl", "pairwise"), ("incerto", "cross_entropy", "mean")):
        module = SOURCES[source]
        pairs[f"outlier_exposure {source}"] = LossPair(
            partial(ood_jax.outlier_exposure_loss, form=oe_form, lambda_oe=0.5),
            module.OutlierExposureLoss(0.5),
            partial(truth.outlier_exposure, form=oe_form, lambda_oe=0.5),
        )
        pairs[f"energy_regularized {source}"] = LossPair(
            partial(ood_jax.energy_regularized_loss, form=energy_form, lambda_energy=0.1, margin=10.0),
            module.EnergyRegularizedLoss(0.1, 10.0),
            partial(truth.energy_regularized, form=energy_form, lambda_energy=0.1, margin=10.0),
        )
    return pairs


def _loss_cases() -> Iterator[Case]:
    for title, pair in loss_pairs().items():
        for dtype in ("float32", "bfloat16", "float16", "float64"):
            for classes in (2, 10, 1000) if dtype == "float32" else (10,):
                for scale in (1e-3, 1.0, 10.0):
                    name = f"{title} {dtype} K={classes} scale={scale:g}"
                    yield Case(name, partial(compare_loss, name, pair, dtype, (16, classes), scale))
        name = f"{title} float32 K=21841 scale=1"
        yield Case(name, partial(compare_loss, name, pair, "float32", (4, 21841), 1.0))
        for scale in (1e2, 1e4):
            name = f"{title} float32 K=10 extreme={scale:g}"
            yield Case(name, partial(compare_loss, name, pair, "float32", (16, 10), scale))
        name = f"{title} float32 K=10 one row"
        yield Case(name, partial(compare_loss, name, pair, "float32", (1, 10), 1.0))


def compare_loss(name: str, pair: LossPair, dtype: str, shape: tuple[int, int], scale: float) -> list[Agreement]:
    """A loss and its gradients with respect to both logits."""
    rng = _rng(name)
    logits_in, logits_out = (_logits(rng, shape, scale, dtype) for _ in range(2))
    targets = rng.integers(0, shape[1], shape[0])
    return compare_loss_on(pair, logits_in, targets, logits_out)


def compare_loss_on(pair: LossPair, logits_in: Array, targets: Array, logits_out: Array) -> list[Agreement]:
    """The same on given inputs."""
    with jax.enable_x64(logits_in.dtype == np.float64):
        ours = jax.value_and_grad(pair.ours, argnums=(0, 2))(jnp.asarray(logits_in), targets, jnp.asarray(logits_out))
        leaves = [to_torch(logits).requires_grad_() for logits in (logits_in, logits_out)]
        # Half precision is widened first, as the contract has it; its gradients come back in half precision.
        widened = [leaf if leaf.dtype == torch.float64 else leaf.float() for leaf in leaves]
        theirs = pair.theirs(widened[0], to_torch(targets), widened[1])
        theirs.backward()
        exact = pair.truth(logits_in, targets, logits_out)
        tolerance = _tolerance(logits_out)
        size = float(np.abs(_wide(logits_in)).max() + np.abs(_wide(logits_out)).max()) + np.log(logits_in.shape[-1])
        row = (1 + size) / len(logits_in)
        return [
            _against_truth("loss", ours[0], to_numpy(theirs), exact.value, size, tolerance),
            _against_truth("grad_in", ours[1][0], _gradient(leaves[0]), exact.grad_in, row, tolerance),
            _against_truth("grad_out", ours[1][1], _gradient(leaves[1]), exact.grad_out, row, tolerance),
        ]


def _criterion_cases() -> Iterator[Case]:
    for source in SOURCES:
        for targets in ("classes", "probabilities"):
            for function in ("mixup_criterion", "mixup_cross_entropy"):
                name = f"{function} {source} {targets}"
                yield Case(name, partial(compare_criterion, name, source, function, targets))


def compare_criterion(name: str, source: str, function: str, kind: str) -> list[Agreement]:
    """The mixed loss with mean cross entropy as the criterion."""
    rng = _rng(name)
    logits = _logits(rng, (16, 10), 3.0, "float32")
    if kind == "classes":
        y_a, y_b = rng.integers(0, 10, (2, 16))
    else:
        y_a, y_b = rng.dirichlet(np.ones(10), (2, 16)).astype(np.float32)
    lam = float(np.float32(rng.beta(1, 1)))
    if function == "mixup_criterion":
        ours: Callable[..., jax.Array] = partial(ood_jax.mixup_criterion, _mean_cross_entropy)
    else:
        ours = ood_jax.mixup_cross_entropy
    value, gradient = jax.value_and_grad(lambda z: ours(z, y_a, y_b, lam))(jnp.asarray(logits))
    leaf = to_torch(logits).requires_grad_()
    criterion = functional.cross_entropy
    theirs = SOURCES[source].mixup_criterion(criterion, leaf, to_torch(y_a), to_torch(y_b), float(lam))
    theirs.backward()
    exact = truth.mixup_cross_entropy(logits, y_a, y_b, lam)
    return [
        _against_truth("loss", value, to_numpy(theirs), exact.value, float(np.abs(logits).max()), LOSS_ULPS),
        _against_truth("grad", gradient, _gradient(leaf), exact.grad_in, 1 / 16, LOSS_ULPS),
    ]


def _mean_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    return ood_jax.outlier_exposure_loss(logits, targets)


def _against_truth(name: str, ours: jax.Array, theirs: Array, exact: Any, scale: float, tolerance: float) -> Agreement:
    dtype = ours.dtype
    apart = difference(ours, theirs, dtype, scale=scale)
    return Agreement(name, apart, tolerance, error(ours, exact, dtype), error(theirs, exact, dtype))


def _tolerance(logits_out: Array) -> float:
    # Past this range the definition takes logarithms of subnormal numbers, and the truth alone is the judge.
    if np.ptp(_wide(logits_out), axis=-1).max() > 87:
        return np.inf
    return LOSS_ULPS + np.sqrt(logits_out.shape[-1])


def _gradient(leaf: torch.Tensor) -> Array:
    assert leaf.grad is not None
    return to_numpy(leaf.grad)


def _rng(name: str) -> np.random.Generator:
    # Inputs follow from the case's name alone, so any case can be run by itself and gives the same figures.
    return np.random.default_rng(zlib.crc32(name.encode()))


def _images(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    if dtype in ("uint8", "int32"):
        return rng.integers(0, 256, shape).astype(dtype)
    return rng.standard_normal(shape).astype(jnp.dtype(dtype))


def _logits(rng: np.random.Generator, shape: tuple[int, int], scale: float, dtype: str) -> Array:
    return (rng.standard_normal(shape) * scale).astype(jnp.dtype(dtype))


def _wide(array: Any) -> NDArray[np.longdouble]:
    return np.asarray(array).astype(np.float64).astype(np.longdouble)
