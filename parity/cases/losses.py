"""Losses: values, gradients with respect to every float input, and forward-mode derivatives, held to the truth."""

import functools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional

import ood_jax

from .. import truth
from ..agreement import Result, compared, wide
from ..convert import to_numpy, to_torch
from ..published import load
from ..tolerances import loss_ulps
from ._case import MODES, Array, Case, call, case, random, torch_forward
from .loss_pairs import Inputs, LossPair, loss_pairs


def loss_cases() -> Iterator[Case]:
    """Both kinds of losses."""
    for title, pair in loss_pairs().items():
        # pytorch-ood's outlier exposure adds float32 to its logits' dtype, so float64 raises.
        single = title == "outlier_exposure pytorch-ood pooled"
        for dtype in ("float32", "bfloat16", "float16", *(() if single else ("float64",))):
            for classes in (2, 10, 1000) if dtype == "float32" else (10,):
                for scale in (1e-3, 1.0, 10.0):
                    yield _loss_case(title, pair, dtype, (16, classes), scale)
        yield _loss_case(title, pair, "float32", (4, 21841), 1.0)
        for scale in (1e2, 1e4):
            yield _loss_case(title, pair, "float32", (16, 10), scale)
        yield _loss_case(title, pair, "float32", (1, 10), 1.0)
        for mode in MODES[1:]:
            yield _loss_case(title, pair, "float32", (16, 10), 3.0, mode)
        if pair.source != "pytorch-ood":  # which has no class probabilities
            yield _loss_case(title, pair, "float32", (16, 10), 2.0, "jit", True)
    for source in ("definition", "incerto"):
        for function in ("mixup_criterion", "mixup_cross_entropy"):
            for kind in ("classes", "probabilities"):
                for dtype in ("float32", "bfloat16", "float64"):
                    yield _criterion_case(source, function, kind, dtype)
            for mode in MODES[1:]:
                yield _criterion_case(source, function, "classes", "float32", mode)
    for dtype in ("float32", "bfloat16", "float64"):
        for temperature in (1.0, 0.5, 10.0):
            name = f"free_energy pytorch-ood {dtype} T={temperature:g}"
            yield case(name, "pytorch-ood", compare_energy, dtype, temperature)


def _loss_case(
    title: str, pair: LossPair, dtype: str, shape: tuple[int, int], scale: float, mode: str = "jit", soft: bool = False
) -> Case:
    rows = "" if shape[0] in (4, 16) else f" N={shape[0]}"
    name = f"{title} {dtype}{rows} K={shape[1]} scale={scale:g}{' probabilities' if soft else ''}"
    name += "" if mode == "jit" else f" {mode}"
    return case(name, pair.source, compare_loss, pair, dtype, shape, scale, mode, soft)


def compare_loss(
    name: str, source: str, pair: LossPair, dtype: str, shape: tuple[int, int], scale: float, mode: str, soft: bool
) -> list[Result]:
    """A loss on random logits, of classes or of class probabilities."""
    rng = random(name)
    logits_in, logits_out = ((rng.standard_normal(shape) * scale).astype(jnp.dtype(dtype)) for _ in range(2))
    if soft:
        targets = rng.dirichlet(np.ones(shape[1]), shape[0]).astype(logits_in.dtype)
    else:
        targets = rng.integers(0, shape[1], shape[0])
    return compare_loss_on(pair, logits_in, targets, logits_out, mode)


def compare_loss_on(
    pair: LossPair, logits_in: Array, targets: Array, logits_out: Array, mode: str = "jit", *, forward: bool = True
) -> list[Result]:
    """A loss on given inputs; `forward` adds the derivative along a direction, and a fifth to the time."""
    with jax.enable_x64(logits_in.dtype == np.float64):
        # Numbers have the loss's dtype on both sides, so no rounding of theirs comes between.
        dtype = np.float64 if logits_in.dtype == np.float64 else np.float32
        inputs: Inputs = {"logits_in": logits_in, "logits_out": logits_out}
        inputs |= {name: np.asarray(value, dtype) for name, value in pair.numbers.items()}
        if targets.ndim == 2:
            inputs["targets_in"], targets = targets, np.zeros(len(targets), np.int64)
        exact = pair.truth({name: np.asarray(value) for name, value in inputs.items()}, targets)
        slopes = {"logits_in": exact.grad_in, "logits_out": exact.grad_out, **exact.others}
        size = float(np.abs(wide(logits_in)).max() + np.abs(wide(logits_out)).max()) + np.log(logits_in.shape[-1])
        size = (1 + size + sum(abs(value) for value in pair.numbers.values())) ** (pair.degree - 1) * (1 + size)
        scales = {name: size / len(logits_in) if np.ndim(value) else size for name, value in inputs.items()}
        tolerance = loss_ulps(wide(logits_out))
        return _compare(
            pair.ours, pair.theirs, inputs, targets, exact.value, slopes, scales, size, tolerance, mode, forward=forward
        )


def _compare(
    ours: Callable[..., jax.Array],
    theirs: Callable[..., torch.Tensor],
    inputs: Inputs,
    targets: Any,
    value: Any,
    slopes: Mapping[str, Any],
    scales: Mapping[str, float],
    size: float,
    tolerance: float,
    mode: str,
    *,
    forward: bool = True,
) -> list[Result]:
    """The value, the gradient by each input, and the derivative along a direction."""
    direction = _direction(inputs) if forward else None
    arrays, tangents = (jax.tree.map(jnp.asarray, tree) for tree in (inputs, direction))
    loss, gradients, along = call(mode, _derivatives(ours), arrays, tangents, jax.tree.map(jnp.asarray, targets))
    dtype = loss.dtype
    their_loss, their_gradients = _torch_gradients(theirs, inputs, targets)
    results = [compared("loss", loss, their_loss, dtype, tolerance, truth=value, scale=size)]
    for name, slope in slopes.items():
        # A half-precision input's gradient comes in its dtype: the same numbers, rounded once more on both sides.
        kind = gradients[name].dtype
        theirs_rounded = np.asarray(their_gradients[name]).astype(kind)
        scale = scales[name]
        error_scale = size if name == "lam" else 0  # the difference of two losses, which may be alike
        results.append(
            compared(
                f"d/d {name}", gradients[name], theirs_rounded, kind, tolerance,
                truth=slope, scale=scale, error_scale=error_scale,
            )
        )  # fmt: skip
    if direction is None:
        return results
    their_along = _torch_forward(theirs, inputs, direction, targets)
    terms = [wide(slopes[name]) * wide(direction[name]) for name in inputs]
    truth_along = sum(term.sum() for term in terms)
    reach = max(float(sum(np.abs(term).sum() for term in terms)), size)
    results.append(
        compared("forward", along, their_along, dtype, tolerance, truth=truth_along, scale=reach, error_scale=reach)
    )
    return results


def _direction(inputs: Inputs) -> Inputs:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(np.shape(array)).astype(array.dtype) for name, array in inputs.items()}


@functools.cache
def _derivatives(function: Callable[..., jax.Array]) -> Callable[..., Any]:
    def derivatives(inputs: Inputs, direction: Inputs | None, targets: Any) -> Any:
        of_inputs = partial(_of_inputs, function, targets)
        value, gradients = jax.value_and_grad(of_inputs)(inputs)
        along = None if direction is None else jax.jvp(of_inputs, (inputs,), (direction,))[1]
        return value, gradients, along

    return jax.jit(derivatives)


def _of_inputs(function: Callable[..., jax.Array], targets: Any, inputs: Inputs) -> jax.Array:
    return function(inputs, targets)


# The source gets half-precision logits in float32, in which it is more accurate than in its own: it is held to its
# best.


def _torch_gradients(
    function: Callable[..., torch.Tensor], inputs: Inputs, targets: Any
) -> tuple[Array, dict[str, Array]]:
    leaves = {name: _widened(array).requires_grad_() for name, array in inputs.items()}
    loss = function(leaves, jax.tree.map(to_torch, targets))
    loss.backward()
    # Only the inputs that a source takes have a gradient.
    gradients = {
        name: np.zeros(leaf.shape) if leaf.grad is None else to_numpy(leaf.grad) for name, leaf in leaves.items()
    }
    return to_numpy(loss), gradients


def _torch_forward(function: Callable[..., torch.Tensor], inputs: Inputs, direction: Inputs, targets: Any) -> Array:
    labels = jax.tree.map(to_torch, targets)
    tensors, tangents = ({name: _widened(array) for name, array in tree.items()} for tree in (inputs, direction))
    return torch_forward(lambda tree: function(tree, labels), tensors, tangents)


def _widened(array: Array) -> torch.Tensor:
    return to_torch(np.asarray(array, np.float64 if array.dtype == np.float64 else np.float32))


# The criterion of a mixed batch.


def _criterion_case(source: str, function: str, kind: str, dtype: str, mode: str = "jit") -> Case:
    name = f"{function} {source} {kind} {dtype}" + ("" if mode == "jit" else f" {mode}")
    return case(name, source, compare_criterion, function, kind, dtype, mode)


def compare_criterion(name: str, source: str, function: str, kind: str, dtype: str, mode: str) -> list[Result]:
    """The mixed loss with mean cross entropy as the criterion."""
    rng = random(name)
    with jax.enable_x64(dtype == "float64"):
        logits = (3 * rng.standard_normal((16, 10))).astype(jnp.dtype(dtype))
        inputs: Inputs = {"logits": logits}
        targets: Any = tuple(rng.integers(0, 10, (2, 16)))
        number = np.float64 if dtype == "float64" else np.float32
        inputs["lam"] = np.asarray(rng.beta(1, 1), number)
        if kind == "probabilities":
            soft = rng.dirichlet(np.ones(10), (2, 16)).astype(number)
            inputs |= {"y_a": soft[0], "y_b": soft[1]}
        labels = (inputs.get("y_a", targets[0]), inputs.get("y_b", targets[1]))
        exact = truth.mixup_cross_entropy(logits, *labels, inputs["lam"])
        slopes = {"logits": exact.grad_in, **exact.others}
        size = float(np.abs(wide(logits)).max()) + np.log(10)
        scales = {"logits": (1 + size) / 16, "lam": size, "y_a": size / 16, "y_b": size / 16}
        ours = _criterion_of_ours(function)
        theirs = partial(_criterion_of_theirs, source)
        return _compare(ours, theirs, inputs, targets, exact.value, slopes, scales, size, loss_ulps(wide(logits)), mode)


@functools.cache
def _criterion_of_ours(function: str) -> Callable[..., jax.Array]:
    def loss(inputs: Inputs, targets: Any) -> jax.Array:
        y_a, y_b = inputs.get("y_a", targets[0]), inputs.get("y_b", targets[1])
        if function == "mixup_criterion":
            return ood_jax.mixup_criterion(ood_jax.outlier_exposure_loss, inputs["logits"], y_a, y_b, inputs["lam"])
        return ood_jax.mixup_cross_entropy(inputs["logits"], y_a, y_b, inputs["lam"])

    return loss


def _criterion_of_theirs(source: str, inputs: Inputs, targets: Any) -> torch.Tensor:
    y_a, y_b = inputs.get("y_a", targets[0]), inputs.get("y_b", targets[1])
    return load(source).mixup_criterion(functional.cross_entropy, inputs["logits"], y_a, y_b, inputs["lam"])


def compare_energy(name: str, source: str, dtype: str, temperature: float) -> list[Result]:
    """The free energy, whose sign and temperature libraries disagree on; pytorch-ood's is ours."""
    load(source)  # makes the next import possible beside any PyTorch
    from pytorch_ood.detector import EnergyBased

    rng = random(name)
    with jax.enable_x64(dtype == "float64"):
        logits = (5 * rng.standard_normal((16, 10))).astype(jnp.dtype(dtype))
        ours = ood_jax.free_energy(jnp.asarray(logits), temperature=temperature)
        theirs = EnergyBased.score(_widened(logits), t=temperature)
        exact = temperature * truth.energy(wide(logits) / temperature)[0]
        size = float(np.abs(wide(logits)).max()) + temperature * np.log(10)
        return [
            compared("energy", ours, to_numpy(theirs), ours.dtype, loss_ulps(wide(logits)), truth=exact, scale=size)
        ]
