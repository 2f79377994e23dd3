"""Mixing: the same draw on both sides; values and derivatives, in every dtype and layout."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import torch

import ood_jax

from ..agreement import Result, compared, wide
from ..convert import to_numpy, to_torch
from ..injected import Injected, Theirs, cutmix, mixup, partners
from ..tolerances import ulps
from ._case import MODES, Array, Case, call, case, images, random, torch_forward

FLOATS = ("float32", "float64", "bfloat16", "float16")
PER_ROW = ("kornia", "timm per row")
BOXES = {"kornia": "kornia_box", "timm": "timm_box", "timm per row": "timm_box"}


def mixing_cases() -> Iterator[Case]:
    """Mixup and CutMix."""
    for kind in ("definition", "incerto", "kornia", "torchvision", "timm", "timm per row"):
        restated = kind in ("definition", "incerto")
        for dtype in (*FLOATS, "uint8", "int32") if restated else FLOATS:
            for shape in ((8, 3, 6, 10), (5, 7), (1, 1, 4, 4)) if restated else ((8, 3, 6, 10),):
                yield _mixup_case(kind, dtype, shape)
        for mode in MODES[1:]:
            yield _mixup_case(kind, "float32", (8, 3, 6, 10), mode)
        for dtype in ("float32", "float64", "bfloat16", "float16", *(("uint8",) if restated else ())):
            for size in ((32, 32), (7, 19), (1, 5)):
                for data_format in ("NCHW", "NHWC"):
                    yield _cutmix_case(kind, dtype, size, data_format)
        for mode in MODES[1:]:
            yield _cutmix_case(kind, "float32", (7, 19), "NHWC", mode)
    for source in ("definition", "incerto"):
        for function in ("mixup", "cutmix"):
            yield case(f"{function} {source} alpha=0", source, compare_unmixed, function)


def box_of(kind: str) -> Callable[..., ood_jax.Box]:
    """Our geometry of a source's box; torchvision's is the definition's."""
    return getattr(ood_jax, BOXES.get(kind, "cutmix_box"))


def _mixup_case(kind: str, dtype: str, shape: tuple[int, ...], mode: str = "jit") -> Case:
    name = f"mixup {kind} {dtype} {'x'.join(map(str, shape))}" + ("" if mode == "jit" else f" {mode}")
    return case(name, kind.split()[0], compare_mixup, kind, dtype, shape, mode)


def _cutmix_case(
    kind: str, dtype: str, size: tuple[int, int], data_format: Literal["NHWC", "NCHW"], mode: str = "jit"
) -> Case:
    name = f"cutmix {kind} {dtype} {data_format} {size[0]}x{size[1]}" + ("" if mode == "jit" else f" {mode}")
    return case(name, kind.split()[0], compare_cutmix, kind, dtype, size, data_format, mode)


def compare_mixup(name: str, source: str, kind: str, dtype: str, shape: tuple[int, ...], mode: str) -> list[Result]:
    """Mixup with an injected draw: the mixed batch, its labels, and its derivatives."""
    rng = random(name)
    with jax.enable_x64(dtype == "float64"):
        n, alpha = shape[0], 0.4
        x, y = images(rng, shape, dtype), rng.integers(0, 10, n)
        lam = rng.beta(alpha, alpha, n if kind in PER_ROW else ()).astype(np.float32)
        if kind in PER_ROW:  # they round 1 - λ to float32, so let it be exact
            lam = np.round(lam * 2**23).astype(np.float32) * np.float32(2**-23)
        draw = Injected(lam if lam.ndim else float(lam), partners(source, rng, n), alpha=alpha)
        ours_draw = ood_jax.MixupDraw(jnp.asarray(lam), jnp.asarray(draw.partner))
        mixed = call(mode, ood_jax.apply_mixup, ours_draw, jnp.asarray(x), jnp.asarray(y))
        theirs = mixup(source, to_torch(x), to_torch(y), draw)
        out = mixed.x.dtype
        weight = wide(lam).reshape(lam.shape + (1,) * (len(shape) - 1 if lam.ndim else 0))
        exact = weight * wide(x) + (1 - weight) * wide(x)[draw.partner]
        # In half precision sources round three times and we once, so there the truth alone is the judge of small sums.
        half = jnp.finfo(out).bits < 32
        scale = float(np.abs(wide(x)).max(initial=0))
        operation = "mixup half" if half else "mixup"
        results = [
            compared("x", mixed.x, to_numpy(theirs.x), out, ulps(operation), truth=exact, scale=scale if half else 0),
            *labels_and_lam(mixed, theirs, source),
        ]
        if x.dtype.kind not in "ui":
            results += _mixup_derivatives(source, draw, x, y, lam, mode)
        return results


def _mixup_derivatives(source: str, draw: Injected, x: Array, y: Array, lam: Array, mode: str) -> list[Result]:
    rng = np.random.default_rng(0)
    cotangent, tangent = (rng.standard_normal(x.shape).astype(x.dtype) for _ in range(2))
    partner = jnp.asarray(draw.partner)

    def of_both(images: jax.Array, weight: jax.Array) -> jax.Array:
        return ood_jax.apply_mixup(ood_jax.MixupDraw(weight, partner), images, jnp.asarray(y)).x

    def derivatives(*arrays: jax.Array) -> Any:
        images, weight, cotangent, tangent = arrays
        by_images, by_lam = jax.vjp(of_both, images, weight)[1](cotangent)
        return by_images, by_lam, jax.jvp(lambda z: of_both(z, weight), (images,), (tangent,))[1]

    arrays = [jnp.asarray(array) for array in (x, lam, cotangent, tangent)]
    gradient, by_lam, along = call(mode, jax.jit(derivatives), *arrays)

    def theirs(tensor: torch.Tensor, weight: Any = None) -> torch.Tensor:
        return mixup(source, tensor, to_torch(y), draw if weight is None else draw._replace(lam=weight)).x

    leaf = to_torch(x).requires_grad_()
    theirs(leaf).backward(to_torch(cotangent))
    assert leaf.grad is not None
    their_along = torch_forward(theirs, to_torch(x), to_torch(tangent))
    weight = wide(lam).reshape(lam.shape + (1,) * (x.ndim - 1 if lam.ndim else 0))
    exact = weight * wide(cotangent)
    np.add.at(exact, draw.partner, (1 - weight) * wide(cotangent))
    exact_along = weight * wide(tangent) + (1 - weight) * wide(tangent)[draw.partner]
    tolerance = ulps("mixup gradient")
    sizes = [float(np.abs(wide(array)).max()) for array in (cotangent, tangent)]
    results = [
        compared("d/d x", gradient, to_numpy(leaf.grad), x.dtype, tolerance, truth=exact, scale=sizes[0]),
        compared("forward", along, their_along, x.dtype, tolerance, truth=exact_along, scale=sizes[1]),
    ]
    if source in ("definition", "incerto") and x.dtype in (np.float32, np.float64):
        number = torch.tensor(float(lam), dtype=to_torch(x).dtype, requires_grad=True)
        theirs(to_torch(x), number).backward(to_torch(cotangent))
        assert number.grad is not None
        terms = wide(cotangent) * (wide(x) - wide(x)[draw.partner])
        reach = float(np.abs(terms).sum())
        results.append(
            compared(
                "d/d lam", by_lam, to_numpy(number.grad), by_lam.dtype, tolerance,
                truth=terms.sum(), scale=reach, error_scale=reach,
            )
        )  # fmt: skip
    return results


def compare_cutmix(
    name: str,
    source: str,
    kind: str,
    dtype: str,
    size: tuple[int, int],
    data_format: Literal["NHWC", "NCHW"],
    mode: str,
) -> list[Result]:
    """CutMix with injected λ, partners and position, the box included."""
    rng = random(name)
    n, alpha = 6, 0.7
    with jax.enable_x64(dtype == "float64"):
        x, y = images(rng, (n, 3, *size), dtype), rng.integers(0, 10, n)
        shape = (n,) if kind in PER_ROW else ()
        lam = _unambiguous(rng.beta(alpha, alpha, (100, *shape)).astype(np.float32), size, kind)
        partner = partners(source, rng, n)
        position: tuple[Any, Any]
        if kind == "kornia":
            position = rng.random(shape, np.float32), rng.random(shape, np.float32)
        else:
            position = rng.integers(0, size[0], shape), rng.integers(0, size[1], shape)
        draw = Injected(lam if shape else float(lam), partner, position, alpha)
        box = box_of(kind)(jnp.asarray(lam), tuple(map(jnp.asarray, position)), size)
        layout = _layout(data_format)
        back = tuple(int(axis) for axis in np.argsort(layout))

        def ours(draw: ood_jax.CutMixDraw, images: jax.Array, targets: jax.Array) -> ood_jax.Mixed:
            mixed = ood_jax.apply_cutmix(draw, images.transpose(layout), targets, data_format=data_format)
            return mixed._replace(x=mixed.x.transpose(back))

        ours_draw = ood_jax.CutMixDraw(box, jnp.asarray(partner))
        mixed = call(mode, ours, ours_draw, jnp.asarray(x), jnp.asarray(y))
        theirs = cutmix(source, to_torch(x), to_torch(y), draw)
        results = [_exact("x", mixed.x, to_numpy(theirs.x)), *labels_and_lam(mixed, theirs, source)]
        if x.dtype.kind not in "ui":
            results += _cutmix_derivatives(source, draw, x, y, functools.partial(ours, ours_draw), mode)
        return results


def _layout(data_format: str) -> tuple[int, ...]:
    return (0, 1, 2, 3) if data_format == "NCHW" else (0, 2, 3, 1)


def _unambiguous(lams: Array, size: tuple[int, int], kind: str) -> Array:
    """The first λ; for timm's per-row mode, which rounds sides in float32, those where float32 and float64 agree."""
    if kind != "timm per row":
        return lams[0]
    sides = np.asarray(size)[:, None, None]
    single = (sides * np.sqrt(np.float32(1) - lams)).astype(np.float32).astype(int)
    double = (sides * np.sqrt(1 - lams.astype(np.float64))).astype(int)
    alike = np.broadcast_to(lams, single.shape[1:])[(single == double).all(axis=0)]
    return alike[: lams.shape[1]]


def _cutmix_derivatives(
    source: str, draw: Injected, x: Array, y: Array, ours: Callable[..., ood_jax.Mixed], mode: str
) -> list[Result]:
    rng = np.random.default_rng(0)
    cotangent, tangent = (rng.standard_normal(x.shape).astype(x.dtype) for _ in range(2))

    def of_images(images: jax.Array) -> jax.Array:
        return ours(images, jnp.asarray(y)).x

    def derivatives(images: jax.Array, cotangent: jax.Array, tangent: jax.Array) -> Any:
        return jax.vjp(of_images, images)[1](cotangent)[0], jax.jvp(of_images, (images,), (tangent,))[1]

    gradient, along = call(mode, jax.jit(derivatives), *map(jnp.asarray, (x, cotangent, tangent)))

    def theirs(tensor: torch.Tensor) -> torch.Tensor:
        return cutmix(source, tensor, to_torch(y), draw).x

    leaf = to_torch(x).requires_grad_()
    theirs(leaf).backward(to_torch(cotangent))
    assert leaf.grad is not None
    their_along = torch_forward(theirs, to_torch(x), to_torch(tangent))
    size = float(np.abs(wide(cotangent)).max())
    return [
        # A pixel that is kept and lent gets a sum of two cotangents; the rest is copied.
        compared("d/d x", gradient, to_numpy(leaf.grad), x.dtype, ulps("mixup gradient"), scale=size),
        _exact("forward", along, their_along),
    ]


def compare_unmixed(name: str, source: str, function: str) -> list[Result]:
    """Alpha 0 leaves the batch as it is; the partners are the definition's too."""
    rng = random(name)
    x, y = images(rng, (6, 3, 5, 4), "float32"), rng.integers(0, 10, 6)
    draw: Any
    if function == "mixup":
        draw = ood_jax.draw_mixup(jax.random.key(0), 6, alpha=0)
        mixed = ood_jax.apply_mixup(draw, jnp.asarray(x), jnp.asarray(y))
        theirs = mixup(source, to_torch(x), to_torch(y), Injected(1.0, np.asarray(draw.partner), alpha=0))
    else:
        draw = ood_jax.draw_cutmix(jax.random.key(0), 6, (5, 4), alpha=0)
        mixed = ood_jax.apply_cutmix(draw, jnp.asarray(x), jnp.asarray(y), data_format="NCHW")
        injected = Injected(1.0, np.asarray(draw.partner), (2, 1), 0)
        theirs = cutmix(source, to_torch(x), to_torch(y), injected)
    return [
        _exact("x", mixed.x, to_numpy(theirs.x)),
        _exact("x unchanged", mixed.x, x),
        *labels_and_lam(mixed, theirs, source),
    ]


def labels_and_lam(mixed: ood_jax.Mixed, theirs: Theirs, source: str) -> list[Result]:
    """Both labels and λ, or the soft targets of sources that return these."""
    if theirs.soft is not None:
        ours = ood_jax.soft_targets(mixed, theirs.soft.shape[1])
        # A source in half precision has targets in it, or λ; ours are float32, so the ulp is the source's.
        half = to_numpy(theirs.x).dtype.itemsize < 4
        kind = theirs.x.dtype if half and mixed.lam.ndim else None
        dtype = jnp.dtype(str(kind).removeprefix("torch.")) if kind else np.float32
        return [compared("soft targets", ours, to_numpy(theirs.soft), dtype, ulps("soft targets"), scale=1)]
    return [
        _exact("y_a", mixed.y_a, to_numpy(theirs.y_a)),
        _exact("y_b", mixed.y_b, to_numpy(theirs.y_b)),
        compared(
            "lam",
            mixed.lam,
            np.asarray(theirs.lam, np.float32),
            np.float32,
            ulps("lam"),
            scale=1 if source == "kornia" else 0,
        ),
    ]


def _exact(name: str, ours: Any, theirs: Any) -> Result:
    return compared(name, ours, theirs, jnp.float32, ulps("exact"))
