"""The five definitions, restated in PyTorch.

They are kept as plain as their source, faults included: random calls inside, float64 λ on the host, sides cut off by
`int`, softmax followed by a logarithm, a hinge on pairs. What `ood_jax` does better is measured against them, not
repaired here.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


def mixup_data(x: Tensor, y: Tensor, alpha: float = 1.0) -> tuple[Tensor, Tensor, Tensor, float]:
    """Mixup of a batch x (N, ...), N-d with N >= 2, with one λ and one permutation."""
    lam = np.random.beta(alpha, alpha) if alpha > 0 else 1.0  # noqa: NPY002
    partner = torch.randperm(x.size(0)).to(x.device)
    return lam * x + (1 - lam) * x[partner, :], y, y[partner], lam


def mixup_criterion(
    criterion: Callable[[Tensor, Tensor], Tensor], pred: Tensor, y_a: Tensor, y_b: Tensor, lam: float
) -> Tensor:
    """The criterion against both targets, weighted by λ and 1 - λ."""
    return lam * criterion(pred, y_a) + (1 - lam) * criterion(pred, y_b)


class CutMix:
    """CutMix of a batch x (N, C, H, W), with one box and one permutation."""

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        """Mixes; λ is adjusted to the box as it was clipped."""
        lam = np.random.beta(self.alpha, self.alpha) if self.alpha > 0 else 1.0  # noqa: NPY002
        partner = torch.randperm(x.size(0)).to(x.device)
        _, _, height, width = x.size()
        ratio = np.sqrt(1.0 - lam)
        half_height, half_width = int(height * ratio) // 2, int(width * ratio) // 2
        column = np.random.randint(width)  # noqa: NPY002
        row = np.random.randint(height)  # noqa: NPY002
        left, right = np.clip([column - half_width, column + half_width], 0, width)
        top, bottom = np.clip([row - half_height, row + half_height], 0, height)
        mixed = x.clone()
        mixed[:, :, top:bottom, left:right] = x[partner, :, top:bottom, left:right]
        lam = 1 - (right - left) * (bottom - top) / (width * height)
        return mixed, y, y[partner], lam


class OutlierExposureLoss(nn.Module):
    """Cross entropy, plus λ_OE times KL(uniform ‖ softmax) of the outliers."""

    def __init__(self, lambda_oe: float = 0.5):
        super().__init__()
        self.lambda_oe = lambda_oe

    def forward(self, logits_in: Tensor, targets_in: Tensor, logits_out: Tensor | None = None) -> Tensor:
        """The loss of logits_in (N, K), targets_in (N,) and logits_out (M, K)."""
        loss = functional.cross_entropy(logits_in, targets_in)
        if logits_out is None:
            return loss
        probabilities = functional.softmax(logits_out, dim=-1)
        uniform = torch.ones_like(probabilities) / logits_out.size(-1)
        divergence = functional.kl_div(probabilities.log(), uniform, reduction="batchmean")
        return loss + self.lambda_oe * divergence


class EnergyRegularizedLoss(nn.Module):
    """Cross entropy, plus λ_E times a hinge on the energy gap of each pair."""

    def __init__(self, lambda_energy: float = 0.1, margin: float = 10.0):
        super().__init__()
        self.lambda_energy = lambda_energy
        self.margin = margin

    def forward(self, logits_in: Tensor, targets_in: Tensor, logits_out: Tensor | None = None) -> Tensor:
        """The loss of logits_in (N, K), targets_in (N,) and logits_out (N, K)."""
        loss = functional.cross_entropy(logits_in, targets_in)
        if logits_out is None:
            return loss
        energy_in = -torch.logsumexp(logits_in, dim=-1)
        energy_out = -torch.logsumexp(logits_out, dim=-1)
        hinge = functional.relu(energy_in - energy_out + self.margin).mean()
        return loss + self.lambda_energy * hinge
