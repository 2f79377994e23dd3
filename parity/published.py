"""The libraries that publish these functions in PyTorch, each pinned.

incerto's mixing is the definitions'; two of its losses have changed since (our forms "cross_entropy" and "mean").
kornia, torchvision and timm mix in ways of their own, and pytorch-ood reduces its losses another way. scikit-learn and
torchmetrics have metrics alone.
"""

import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import NamedTuple

import torch


class Source(NamedTuple):
    """Where a function was published.

    Attributes:
      name: the source's, as in the report; a package's name on the index, or "definition".
      version: the one compared with; None for the definitions, which are restated here.
      module: what to import; "" for the definitions.
      extra: the extra that installs it.
    """

    name: str
    version: str | None
    module: str
    extra: str = ""

    @property
    def installed(self) -> str | None:
        """The version that is installed, None if none is."""
        if self.version is None:
            return "restated"
        try:
            return version(self.name)
        except PackageNotFoundError:
            return None


SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        Source("definition", None, ""),
        Source("incerto", "0.1.1", "incerto.ood.training", "parity"),
        Source("kornia", "0.9.0", "kornia.augmentation", "parity"),
        Source("torchvision", "0.28.0", "torchvision.transforms.v2", "peers"),
        Source("timm", "1.0.31", "timm.data.mixup", "peers"),
        Source("pytorch-ood", "0.4.0", "pytorch_ood.loss", "peers"),
        Source("scikit-learn", "1.9.1", "sklearn.metrics", "peers"),
        Source("torchmetrics", "1.9.0", "torchmetrics.functional.classification", "peers"),
    )
}


def load(name: str) -> ModuleType:
    """The module of a source that has what is compared.

    Raises:
      ModuleNotFoundError: it is not installed; the message names the extra that brings it.
    """
    source = SOURCES[name]
    if source.version is None:
        return importlib.import_module("parity.definitions")
    if source.installed is None:
        raise ModuleNotFoundError(
            f"parity compares with {name}, which is not installed; install it with "
            f"`pip install 'ood-jax[{source.extra}]'`."
        )
    _make_torchvision_importable()
    return importlib.import_module(source.module)


def _make_torchvision_importable() -> None:
    # torchvision's wheels hold compiled operators for one build of PyTorch. Beside another, such as one for the CPU
    # alone, these do not load, and neither does torchvision, which describes two of them on import, nor what imports
    # it. Nothing here calls them: mixing is plain Python. So where they are missing, their names are enough. Where they
    # load, a name declared before would be one too many.
    if SOURCES["torchvision"].installed is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        importlib.import_module("torchvision")
