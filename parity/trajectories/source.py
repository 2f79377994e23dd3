"""The source's side: the same network in PyTorch, trained with its optimizer on the losses of the definitions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch.nn import functional

from ..convert import to_torch
from .data import Array, Batch, batches
from .methods import LOSSES
from .ours import initial_weights
from .setting import CHANNELS, CLASSES, HEIGHT, LEARNING_RATE, MOMENTUM, STEPS, WIDTH, WIDTHS
from .trajectory import Curve


class SourceNetwork(torch.nn.Module):
    """The same network, from images (N, C, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(CHANNELS, WIDTHS[0], 3, padding=1)
        self.conv2 = torch.nn.Conv2d(WIDTHS[0], WIDTHS[1], 3, padding=1)
        self.output = torch.nn.Linear(WIDTHS[1] * HEIGHT // 4 * WIDTH // 4, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits."""
        for conv in (self.conv1, self.conv2):
            x = functional.avg_pool2d(torch.tanh(conv(x)), 2)
        return cast(torch.Tensor, self.output(x.flatten(1)))


def source_weights(params: dict[str, dict[str, Array]]) -> dict[str, torch.Tensor]:
    """Flax's parameters in PyTorch's layout."""
    state: dict[str, torch.Tensor] = {}
    for name, layer in params.items():
        kernel = layer["kernel"]
        if kernel.ndim == 2:
            # The features that a dense layer sees are a map (h, w, c) flattened, in PyTorch (c, h, w). It is a
            # convolution as large as the map, and so are its weights.
            weight = _as_oihw(kernel.reshape(HEIGHT // 4, WIDTH // 4, WIDTHS[-1], CLASSES)).reshape(CLASSES, -1)
        else:
            weight = _as_oihw(kernel)
        state |= {f"{name}.weight": to_torch(weight), f"{name}.bias": to_torch(layer["bias"])}
    return state


def _as_oihw(kernel: Array) -> Array:
    return kernel.transpose(3, 2, 0, 1)


def source_optimizer(network: torch.nn.Module) -> torch.optim.Optimizer:
    """PyTorch's SGD, as ours."""
    return torch.optim.SGD(network.parameters(), LEARNING_RATE, MOMENTUM)


def train_source(method: str, dtype: str, *, steps: int = STEPS) -> Curve:
    """The definitions' losses."""
    network = SourceNetwork()
    network.load_state_dict(source_weights(initial_weights()))
    network.to(getattr(torch, dtype))
    optimizer, losses = source_optimizer(network), []
    with _one_thread():
        for batch in batches(steps):
            optimizer.zero_grad()
            loss = LOSSES[method].source(network, _source_batch(batch, dtype))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return np.array(losses, np.float64)


def _source_batch(batch: Batch, dtype: str) -> Batch:
    images, outliers = (
        to_torch(images.transpose(0, 3, 1, 2).astype(dtype)) for images in (batch.images, batch.outliers)
    )
    row, column = batch.center
    center = (int(row), int(column))
    return Batch(images, to_torch(batch.labels).long(), outliers, float(batch.lam), batch.partner, center)


@contextmanager
def _one_thread() -> Iterator[None]:
    # So small a network loses more by sharing than it gains, and how sums are split would change their roundings.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
