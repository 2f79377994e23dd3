"""The same in PyTorch: the network, the recipe, and the losses as libraries publish them.

incerto publishes mixup, CutMix and outlier exposure, pytorch-ood the energy loss with bounds. The energy loss on pairs
is not published any more; that one is the definition, as `parity` restates it.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import ood_jax
from parity import definitions, published
from parity.convert import to_jax

from .data import Task
from .evaluate import Outputs
from .model import WIDTHS, Weights
from .recipe import CUTMIX_ALPHA, MIXUP_ALPHA, MOMENTUM, WEIGHT_DECAY, Rows

# What publishes the losses; a missing one is told before any training.
INCERTO, PYTORCH_OOD = published.load("incerto"), published.load("pytorch-ood")

# Where JAX has a GPU, so should its twin.
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

Loss: TypeAlias = Callable[[nn.Module, Tensor, Tensor, Tensor, ood_jax.Margins], Tensor]


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.norm1(self.conv1(x)))
        inner = self.norm2(self.conv2(inner))
        return functional.relu(inner + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    def __init__(self, classes: int, stride: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTHS[0], 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(WIDTHS[0])
        pairs = zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False)
        self.blocks = nn.Sequential(*(Block(i, o, 1 if i == o else 2) for i, o in pairs))
        self.head = nn.Linear(WIDTHS[-1], classes)

    def features(self, x: Tensor) -> Tensor:
        return self.blocks(functional.relu(self.norm(self.stem(x)))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def cross_entropy(model: nn.Module, x: Tensor, y: Tensor, outliers: Tensor, margins: ood_jax.Margins) -> Tensor:
    return functional.cross_entropy(model(x), y)


def mixup(model: nn.Module, x: Tensor, y: Tensor, outliers: Tensor, margins: ood_jax.Margins) -> Tensor:
    mixed, y_a, y_b, lam = INCERTO.mixup_data(x, y, MIXUP_ALPHA)
    return INCERTO.mixup_criterion(functional.cross_entropy, model(mixed), y_a, y_b, lam)


def cutmix(model: nn.Module, x: Tensor, y: Tensor, outliers: Tensor, margins: ood_jax.Margins) -> Tensor:
    mixed, y_a, y_b, lam = INCERTO.CutMix(CUTMIX_ALPHA)(x, y)
    return INCERTO.mixup_criterion(functional.cross_entropy, model(mixed), y_a, y_b, lam)


def outlier_exposure(model: nn.Module, x: Tensor, y: Tensor, outliers: Tensor, margins: ood_jax.Margins) -> Tensor:
    logits = model(torch.cat([x, outliers]))
    return INCERTO.OutlierExposureLoss()(logits[: len(x)], y, logits[len(x) :])


def energy(model: nn.Module, x: Tensor, y: Tensor, outliers: Tensor, margins: ood_jax.Margins) -> Tensor:
    logits = model(torch.cat([x, outliers]))
    return definitions.EnergyRegularizedLoss()(logits[: len(x)], y, logits[len(x) :])


def energy_bounded(model: nn.Module, x: Tensor, y: Tensor, outliers: Tensor, margins: ood_jax.Margins) -> Tensor:
    loss = PYTORCH_OOD.EnergyRegularizedLoss(margin_in=float(margins.m_in), margin_out=float(margins.m_out))
    unknown = torch.full((len(outliers),), -1, device=y.device)
    return loss(model(torch.cat([x, outliers])), torch.cat([y, unknown]))


LOSSES: Mapping[str, Loss] = {
    "cross-entropy": cross_entropy,
    "mixup": mixup,
    "cutmix": cutmix,
    "outlier-exposure": outlier_exposure,
    "energy": energy,
    "energy-bounded": energy_bounded,
}


class Run:
    """One training run: its state between steps."""

    def __init__(
        self, task: Task, loss: Loss, stride: int, weights: Weights, seed: int, margins: ood_jax.Margins
    ) -> None:
        # The published functions draw from the global generators, and there is no other way to seed them.
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        self._model = _load(weights, task.classes, stride)
        self._loss, self._margins = loss, margins
        self._x, self._outliers = _channels_first(task.train.x), _channels_first(task.outliers)
        self._y = torch.from_numpy(task.train.y.astype(np.int64)).to(DEVICE)
        self._optimizer = torch.optim.SGD(
            self._model.parameters(), lr=1.0, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY
        )

    def step(self, rows: Rows, learning_rate: float) -> Tensor:
        for group in self._optimizer.param_groups:
            group["lr"] = float(learning_rate)
        inside, outside = (torch.from_numpy(part).to(DEVICE) for part in rows)
        loss = self._loss(self._model, self._x[inside], self._y[inside], self._outliers[outside], self._margins)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def weights(self) -> Weights:
        return {_flax_name(name): _to_flax(value) for name, value in _state(self._model).items()}


def predict(weights: Weights, x: np.ndarray, classes: int, stride: int) -> Outputs:
    model = _load(weights, classes, stride).eval()
    with torch.inference_mode():
        features = torch.cat([model.features(part) for part in _channels_first(x).split(500)])
        return Outputs(*map(to_jax, (features, model.head(features))))


def _channels_first(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).to(DEVICE)


def _load(weights: Weights, classes: int, stride: int) -> ResNet:
    model = ResNet(classes, stride).to(DEVICE)
    with torch.no_grad():
        for name, value in _state(model).items():
            value.copy_(_from_flax(weights[_flax_name(name)]))
    return model


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}


def _flax_name(name: str) -> str:
    """Flax calls a normalisation's factor its scale and any other weight a kernel; its running statistics mean, var."""
    owner, _, kind = name.rpartition(".")
    weight = "scale" if "norm" in owner else "kernel"
    kind = {"weight": weight, "running_mean": "mean", "running_var": "var"}.get(kind, kind)
    return f"{owner}.{kind}"


def _to_flax(value: Tensor) -> np.ndarray:
    """Convolutions from (out, in, height, width) to (height, width, in, out), matrices from (out, in) to (in, out)."""
    return np.array(value.detach().numpy(force=True).transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim]))


def _from_flax(array: np.ndarray) -> Tensor:
    return torch.tensor(array.transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim]))
