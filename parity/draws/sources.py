"""How each source draws: the options that make ours draw alike, and its draws as read from what it returned."""

import contextlib
import functools
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .drawn import HEIGHT, ROWS, WIDTH, Cells, Draws, boxes

ALPHAS = (0.05, 0.2, 0.4, 1.0, 2.0, 10.0)


class Form(NamedTuple):
    """How a source draws.

    Attributes:
      source: its name.
      label: what tells this form from the source's other one.
      options: of `draw_mixup` and `draw_cutmix`, that make ours draw in the same way.
      geometry: the same, of `draw_cutmix` alone.
      mixup: (module, α) -> its mixup's draws.
      cutmix: (module, α) -> its CutMix's draws.
      mixup_alphas: the α at which its mixup is compared.
      cutmix_alphas: the same for CutMix.
    """

    source: str
    label: str
    options: tuple[tuple[str, Any], ...]
    geometry: str
    mixup: Callable[[ModuleType, float], Draws]
    cutmix: Callable[[ModuleType, float], Draws]
    mixup_alphas: tuple[float, ...] = ALPHAS
    cutmix_alphas: tuple[float, ...] = ALPHAS


@contextlib.contextmanager
def seeded(name: str) -> Iterator[None]:
    """Both global generators follow from a name inside, and are afterwards as they were."""
    seed = zlib.crc32(name.encode())
    state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


def _definition_mixup(module: ModuleType, alpha: float, batches: int = 5000) -> Draws:
    rows = torch.arange(ROWS)
    x = torch.zeros(ROWS, 1)
    calls = [module.mixup_data(x, rows, alpha) for _ in range(batches)]
    return Draws(_column([lam for *_, lam in calls]), None, None, torch.stack([y_b for _, _, y_b, _ in calls]).numpy())


def _definition_cutmix(module: ModuleType, alpha: float, batches: int = 5000) -> Draws:
    x, rows = _batch()
    cutmix = module.CutMix(alpha)
    calls = [cutmix(x, rows) for _ in range(batches)]
    partner = torch.stack([y_b for _, _, y_b, _ in calls]).numpy()
    changed = torch.stack([mixed for mixed, *_ in calls]).ne(x).any(dim=1).numpy()  # (batches, 1, H, W)
    shows = np.flatnonzero((partner != rows.numpy()).any(axis=1))  # nothing changes where every row is its own partner
    box = _seen_boxes(changed[shows, 0])
    return Draws(None, box, _column([lam for *_, lam in calls]), partner)


def _kornia_mixup(module: ModuleType, alpha: float, batches: int = 3000) -> Draws:
    generator = module.random_generator.MixupGenerator()
    calls = [generator((ROWS, 1, HEIGHT, WIDTH)) for _ in range(batches)]
    lam = 1 - torch.stack([call["mixup_lambdas"] for call in calls]).numpy()  # kornia's is the partner's weight
    return Draws(lam, None, None, torch.stack([call["mixup_pairs"] for call in calls]).numpy())


def _kornia_cutmix(module: ModuleType, alpha: float, batches: int = 1500) -> Draws:
    generator = module.random_generator.CutmixGenerator(beta=alpha)
    calls = [generator((ROWS, 1, HEIGHT, WIDTH)) for _ in range(batches)]
    corners = torch.cat([call["crop_src"] for call in calls]).long().numpy()  # (batches, ROWS, 4, 2), x before y
    (left, top), (last_column, last_row) = np.moveaxis(corners[:, :, [0, 2]], (2, 3), (0, 1))
    pasted = (last_row + 1 - top) * (last_column + 1 - left)
    kept = (1 - pasted / (HEIGHT * WIDTH)).astype(np.float32)
    box = boxes(top, last_row + 1, left, last_column + 1)
    return Draws(None, box, kept, torch.cat([call["mix_pairs"] for call in calls]).numpy())


def _torchvision_mixup(module: ModuleType, alpha: float, batches: int = 3000) -> Draws:
    mixup = module.MixUp(alpha=alpha, num_classes=ROWS)
    x, _ = _batch()
    lam = _column([mixup.make_params([x])["lam"] for _ in range(batches)])
    return Draws(lam, None, None, _torchvision_partner(mixup))


def _torchvision_cutmix(module: ModuleType, alpha: float, batches: int = 3000) -> Draws:
    cutmix = module.CutMix(alpha=alpha, num_classes=ROWS)
    x, _ = _batch()
    calls = [cutmix.make_params([x]) for _ in range(batches)]
    left, top, right, bottom = np.array([call["box"] for call in calls]).T
    kept = _column([call["lam_adjusted"] for call in calls])
    return Draws(None, boxes(top, bottom, left, right), kept, _torchvision_partner(cutmix))


def _torchvision_partner(transform: Callable[..., Any]) -> Cells:
    return _seen_partner(torch.stack([transform(*_batch())[1] for _ in range(50)]).numpy())


def _timm_mixup(module: ModuleType, alpha: float, mode: str, batches: int) -> Draws:
    mixup = module.Mixup(alpha, 0.0, mode=mode, label_smoothing=0.0, num_classes=ROWS)
    rows = torch.arange(ROWS)
    targets = torch.stack([mixup(torch.zeros(ROWS, 1), rows)[1] for _ in range(batches)]).numpy()
    return Draws(_own_weight(targets, mode), None, None, _seen_partner(targets))


def _timm_cutmix(module: ModuleType, alpha: float, mode: str, batches: int) -> Draws:
    cutmix = module.Mixup(0.0, alpha, mode=mode, label_smoothing=0.0, num_classes=ROWS)
    x, rows = _batch()
    calls = [cutmix(x.clone(), rows) for _ in range(batches)]  # timm mixes in place
    targets = torch.stack([target for _, target in calls]).numpy()
    changed = torch.stack([mixed for mixed, _ in calls]).ne(x).numpy()[:, :, 0]
    changed = changed[:, :1] if mode == "batch" else changed
    box = _seen_boxes(changed.reshape(-1, HEIGHT, WIDTH))
    return Draws(None, box, _own_weight(targets, mode), _seen_partner(targets))


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Images that hold their row's number in every pixel, and the numbers."""
    rows = torch.arange(ROWS)
    return rows.reshape(ROWS, 1, 1, 1).repeat(1, 1, HEIGHT, WIDTH).float(), rows


def _column(values: list[float]) -> NDArray[np.float32]:
    return np.array(values, np.float64).astype(np.float32)[:, None]


def _own_weight(targets: NDArray[np.float32], mode: str) -> NDArray[np.float32]:
    """λ (batches, r) of mixed one-hot targets (batches, ROWS, ROWS), none of whose rows is its own partner."""
    own = np.diagonal(targets, axis1=1, axis2=2)
    return own[:, :1] if mode == "batch" else own


def _seen_boxes(changed: NDArray[np.bool_]) -> Cells:
    """The boxes of masks (n, H, W)."""
    rows, columns = (np.asarray(changed.any(axis=axis), np.bool_) for axis in (2, 1))
    edges = []
    for line, size in ((rows, HEIGHT), (columns, WIDTH)):
        # Where nothing is set both searches stop at once, which would make the whole side of it.
        edges += [line.argmax(axis=1), np.where(line.any(axis=1), size - line[:, ::-1].argmax(axis=1), 0)]
    return boxes(*edges)


def _seen_partner(targets: NDArray[np.float32]) -> Cells:
    """The partners of mixed one-hot targets (batches, ROWS, ROWS), of batches where every partner has a weight."""
    others = targets * (1 - np.eye(ROWS, dtype=np.float32))
    return np.asarray(others.argmax(axis=2)[(others.max(axis=2) > 0).all(axis=1)], np.intp)


FORMS = (
    Form("definition", "", (), "paper", _definition_mixup, _definition_cutmix),
    Form("incerto", "", (), "paper", _definition_mixup, _definition_cutmix),
    # kornia's mixup has no α: its λ is uniform, which is Beta(1, 1).
    Form("kornia", "", (("per_example", True),), "kornia", _kornia_mixup, _kornia_cutmix, (1.0,)),
    Form("torchvision", "", (("pairing", "roll"),), "paper", _torchvision_mixup, _torchvision_cutmix),
    Form(
        "timm",
        "",
        (("pairing", "flip"),),
        "timm",
        functools.partial(_timm_mixup, mode="batch", batches=2500),
        functools.partial(_timm_cutmix, mode="batch", batches=2500),
    ),
    # For rows timm computes the side in float32, where 1 - λ is 1 below λ = 3e-8 and the side whole; for batches, and
    # ours for both, in float64, where it is a pixel less. At α = 0.05 that is one draw in eight, from 0.2 on too few
    # to notice.
    Form(
        "timm",
        " per_example",
        (("pairing", "flip"), ("per_example", True)),
        "timm",
        functools.partial(_timm_mixup, mode="elem", batches=1000),
        functools.partial(_timm_cutmix, mode="elem", batches=1000),
        cutmix_alphas=ALPHAS[1:],
    ),
)
