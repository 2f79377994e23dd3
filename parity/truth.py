"""The losses and their gradients in the widest float that NumPy has, on the same inputs: what both sides are held to.

Written from the formulas alone, row by row, for accuracy and plainness rather than speed: gradients are analytic, and
nothing is subtracted where it could be summed.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .agreement import wide

Array = NDArray[Any]


class Loss(NamedTuple):
    """A loss and its gradients: by the data's logits, the outliers' (None if absent), and its other inputs, by name."""

    value: Any
    grad_in: Array
    grad_out: Array | None = None
    others: Mapping[str, Any] = {}


def cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Per row: -Σ_k t_k log softmax_k(z), and its gradient."""
    if not np.issubdtype(targets.dtype, np.integer):
        targets = targets.astype(np.longdouble)
        log_p = logits - _log_sum_exp(logits)[:, None]
        return -(targets * log_p).sum(-1), np.exp(log_p) * targets.sum(-1, keepdims=True) - targets
    rows = np.arange(len(logits))
    gaps = logits - logits[rows, targets][:, None]
    gaps[rows, targets] = -np.inf  # the label's own term is the 0 of log(exp(0) + Σ exp(gaps))
    value = np.logaddexp(np.longdouble(0), _log_sum_exp(gaps))
    gradient = np.exp(logits - _log_sum_exp(logits)[:, None])
    gradient[rows, targets] = 0
    gradient[rows, targets] = -gradient.sum(-1)
    return value, gradient


def uniform_divergence(logits: Array) -> tuple[Array, Array]:
    """Per row: KL(u ‖ softmax(z)), and its gradient."""
    centered = logits - logits.max(-1, keepdims=True)
    centered = centered - centered.mean(-1, keepdims=True)
    value = _log_sum_exp(centered) - np.log(np.longdouble(logits.shape[1]))
    return value, np.expm1(centered - value[:, None]) / logits.shape[1]


def energy(logits: Array) -> tuple[Array, Array]:
    """Per row: -log Σ_k exp(z_k), and its gradient."""
    value = _log_sum_exp(logits)
    return -value, -np.exp(logits - value[:, None])


def outlier_exposure(
    logits_in: Array,
    targets: Array,
    logits_out: Array,
    *,
    lambda_oe: float = 0.5,
    form: str = "kl",
    reduction: str = "separate",
    where_in: Array | None = None,
    where_out: Array | None = None,
) -> Loss:
    """`ood_jax.outlier_exposure_loss` of logits (N, K) and (M, K)."""
    counted_in, counted_out = _counted(logits_in, where_in), _counted(logits_out, where_out)
    loss, grad_in = _mean(*cross_entropy(wide(logits_in), targets), counted_in)
    term, slope = uniform_divergence(wide(logits_out))
    if form == "cross_entropy":
        term = term + np.log(np.longdouble(logits_out.shape[1]))
    term, slope = _mean(term, slope, counted_out)
    share_in, share_out = _shares(counted_in, counted_out, reduction)
    others = {"lambda_oe": share_out * term, **_if_soft(targets, logits_in)}
    return Loss(
        share_in * loss + lambda_oe * share_out * term, share_in * grad_in, lambda_oe * share_out * slope, others
    )


def energy_regularized(
    logits_in: Array,
    targets: Array,
    logits_out: Array,
    *,
    lambda_energy: float = 0.1,
    margin: float = 10.0,
    form: str = "pairwise",
    where_in: Array | None = None,
    where_out: Array | None = None,
) -> Loss:
    """`ood_jax.energy_regularized_loss` of logits (N, K) and (M, K)."""
    counted_in, counted_out = _counted(logits_in, where_in), _counted(logits_out, where_out)
    loss, grad_in = _mean(*cross_entropy(wide(logits_in), targets), counted_in)
    side_in = (*energy(wide(logits_in)), counted_in)
    side_out = (*energy(wide(logits_out)), counted_out)
    hinge = _pairwise_hinge if form == "pairwise" else _mean_hinge
    term, slope_in, slope_out = hinge(side_in, side_out, margin)
    # A hinge is linear in the margin but at its corner, so a difference quotient is exact.
    step: Any = np.longdouble(1e-6)
    by_margin = (hinge(side_in, side_out, margin + step)[0] - hinge(side_in, side_out, margin - step)[0]) / (2 * step)
    return Loss(
        loss + lambda_energy * term,
        grad_in + lambda_energy * slope_in,
        lambda_energy * slope_out,
        {"lambda_energy": term, "margin": lambda_energy * by_margin, **_if_soft(targets, logits_in)},
    )


def energy_bounded(
    logits_in: Array,
    targets: Array,
    logits_out: Array,
    *,
    lambda_energy: float = 0.1,
    m_in: float = -23.0,
    m_out: float = -5.0,
    reduction: str = "separate",
) -> Loss:
    """`ood_jax.energy_bounded_loss` of logits (N, K) and (M, K)."""
    counted_in, counted_out = _counted(logits_in, None), _counted(logits_out, None)
    loss, grad_in = _mean(*cross_entropy(wide(logits_in), targets), counted_in)
    energy_in, slope_in = energy(wide(logits_in))
    energy_out, slope_out = energy(wide(logits_out))
    over, under = np.maximum(energy_in - m_in, 0), np.maximum(m_out - energy_out, 0)
    term_in, bound_in = _mean(over**2, 2 * over[:, None] * slope_in, counted_in)
    term_out, bound_out = _mean(under**2, -2 * under[:, None] * slope_out, counted_out)
    share_in, share_out = _shares(counted_in, counted_out, reduction)
    term = share_in * term_in + share_out * term_out
    return Loss(
        share_in * loss + lambda_energy * term,
        share_in * (grad_in + lambda_energy * bound_in),
        share_out * lambda_energy * bound_out,
        {
            "lambda_energy": term,
            "m_in": -2 * lambda_energy * share_in * over.mean(),
            "m_out": 2 * lambda_energy * share_out * under.mean(),
        },
    )


Side = tuple[Array, Array, Array]  # energies, their gradients, which rows count


def _pairwise_hinge(side_in: Side, side_out: Side, margin: float) -> tuple[Any, Array, Array]:
    (energy_in, slope_in, counted_in), (energy_out, slope_out, counted_out) = side_in, side_out
    gap = energy_in - energy_out + margin
    pairs = counted_in & counted_out
    count = max(pairs.sum(), 1)
    active = np.where(pairs & (gap > 0), np.longdouble(1), 0) / count
    term = (active * gap).sum()
    # A single row is in every pair, so its slope counts once for each active one.
    weight_in, weight_out = (
        active.sum(keepdims=True) if len(slope) == 1 else active for slope in (slope_in, slope_out)
    )
    return term, weight_in[:, None] * slope_in, -weight_out[:, None] * slope_out


def _mean_hinge(side_in: Side, side_out: Side, margin: float) -> tuple[Any, Array, Array]:
    (mean_in, slope_in), (mean_out, slope_out) = _mean(*side_in), _mean(*side_out)
    gap = mean_in - mean_out + margin
    active = gap > 0 and side_in[2].any() and side_out[2].any()
    return (gap, slope_in, -slope_out) if active else (0, 0 * slope_in, 0 * slope_out)


def mixup_cross_entropy(logits: Array, y_a: Array, y_b: Array, lam: float | Array) -> Loss:
    """`ood_jax.mixup_cross_entropy` of logits (N, K) and λ () or (N,)."""
    value_a, slope_a = cross_entropy(wide(logits), y_a)
    value_b, slope_b = cross_entropy(wide(logits), y_b)
    weight = np.broadcast_to(wide(lam), value_a.shape)
    value = weight * value_a + (1 - weight) * value_b
    slope = weight[:, None] * slope_a + (1 - weight)[:, None] * slope_b
    by_lam = (value_a - value_b) / len(value_a)
    others = {"lam": by_lam if np.ndim(lam) else by_lam.sum()}
    if y_a.ndim == 2:
        surprise = _by_targets(wide(logits)) / len(value_a)
        others |= {"y_a": weight[:, None] * surprise, "y_b": (1 - weight)[:, None] * surprise}
    return Loss(*_mean(value, slope, _counted(logits, None)), others=others)


def _if_soft(targets: Array, logits: Array) -> dict[str, Array]:
    """The gradient by targets that are probabilities, where each side has its own mean."""
    return {"targets_in": _by_targets(wide(logits)) / len(targets)} if targets.ndim == 2 else {}


def _by_targets(logits: Array) -> Array:
    return _log_sum_exp(logits)[:, None] - logits


def _shares(counted_in: Array, counted_out: Array, reduction: str) -> tuple[Any, Any]:
    """What each side's mean is weighted by: 1, or its share of all the rows."""
    if reduction == "separate":
        return 1, 1
    rows_in, rows_out = np.longdouble(counted_in.sum()), np.longdouble(counted_out.sum())
    return rows_in / (rows_in + rows_out), rows_out / (rows_in + rows_out)


def _counted(logits: Array, where: Array | None) -> Array:
    return np.ones(len(logits), bool) if where is None else where


def _mean(values: Array, slopes: Array, counted: Array) -> tuple[Any, Array]:
    count = max(counted.sum(), 1)
    return np.where(counted, values, 0).sum() / count, np.where(counted[:, None], slopes, 0) / np.longdouble(count)


def _log_sum_exp(logits: Array) -> Array:
    largest = np.maximum(logits.max(-1), np.finfo(np.longdouble).min)  # a row of -inf sums to 0
    with np.errstate(divide="ignore"):
        return largest + np.log(np.exp(logits - largest[:, None]).sum(-1))
