"""Each source's mixing, run unmodified on draws that we choose."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .published import load
from .replay import Call, cutmix_calls, mixup_calls, replaying

Tensor = torch.Tensor


class Injected(NamedTuple):
    """A draw, as every source can be made to use it.

    Attributes:
      lam: λ, one a batch or one a row.
      partner: each row's partner.
      position: where the box goes, vertically and horizontally: a centre's pixels, or for kornia fractions of the way.
      alpha: what the source should be drawing λ with.
    """

    lam: Any
    partner: NDArray[np.int64]
    position: tuple[Any, Any] = (0, 0)
    alpha: float = 1.0


class Theirs(NamedTuple):
    """What a source returned: two labels and λ, or soft targets in their place."""

    x: Tensor
    y_a: Any = None
    y_b: Any = None
    lam: Any = None
    soft: Tensor | None = None


def partners(source: str, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Partners such as the source chooses."""
    rows = np.arange(n)
    return {"torchvision": np.roll(rows, 1), "timm": rows[::-1].copy()}.get(source, rng.permutation(n))


def mixup(source: str, x: Tensor, y: Tensor, draw: Injected, *, classes: int = 10, smoothing: float = 0.0) -> Theirs:
    """A source's mixup of images (N, C, H, W), or any batch where the source takes it."""
    if source in ("definition", "incerto"):
        with replaying(mixup_calls(draw.lam, draw.partner, alpha=draw.alpha)):
            return Theirs(*load(source).mixup_data(x, y, draw.alpha))
    if source == "kornia":
        module = load(source).RandomMixUpV2(data_keys=["input", "class"])
        module._param_generator.lambda_sampler = _Answers(1 - torch.from_numpy(draw.lam))  # its λ weighs the partner
        with replaying([_kornia_partners(draw.partner)]):
            theirs = _from_kornia(*module(x, y))
            return theirs._replace(lam=1 - theirs.lam)
    if source == "torchvision":
        module = load(source).MixUp(alpha=draw.alpha, num_classes=classes)
        module._dist = _Answers(torch.tensor([draw.lam]))
        return _with_soft(*module(x, y))
    mode = "elem" if np.ndim(draw.lam) else "batch"
    with replaying(_timm_lam(draw)):
        mixed = load(source).Mixup(mixup_alpha=draw.alpha, mode=mode, label_smoothing=smoothing, num_classes=classes)
        return _with_soft(*mixed(x.clone(), y))


def cutmix(source: str, x: Tensor, y: Tensor, draw: Injected, *, classes: int = 10, smoothing: float = 0.0) -> Theirs:
    """A source's CutMix of images (N, C, H, W)."""
    height, width = x.shape[-2:]
    row, column = draw.position
    if source in ("definition", "incerto"):
        with replaying(cutmix_calls(draw.lam, draw.partner, (row, column), (height, width), alpha=draw.alpha)):
            return Theirs(*load(source).CutMix(draw.alpha)(x, y))
    if source == "kornia":
        module = load(source).RandomCutMixV2(data_keys=["input", "class"], use_correct_lambda=True)
        generator = module._param_generator
        generator.beta_sampler = _Answers(torch.from_numpy(draw.lam))
        generator.rand_sampler = _Answers(torch.from_numpy(column), torch.from_numpy(row))
        generator.pair_sampler = _Answers(torch.from_numpy(np.argsort(draw.partner).astype(np.float32))[None])
        mixed, labels = module(x, y)
        return _from_kornia(mixed, labels[0])
    if source == "torchvision":
        module = load(source).CutMix(alpha=draw.alpha, num_classes=classes)
        module._dist = _Answers(torch.tensor([draw.lam]))
        calls = [
            Call("torch.randint", (size,), torch.tensor([int(at)]), {"size": (1,)})
            for size, at in ((width, column), (height, row))
        ]
        with replaying(calls):
            return _with_soft(*module(x, y))
    mode = "elem" if np.ndim(draw.lam) else "batch"
    places = [
        Call("randint", (0, size), int(at), {"size": None})
        for weight, *pair in np.broadcast(draw.lam, row, column)
        for size, at in zip((height, width), pair, strict=True)
        if weight != 1  # then nothing is cut, and no place drawn
    ]
    with replaying(_timm_lam(draw) + places):
        mixing = load(source).Mixup(
            mixup_alpha=0.0, cutmix_alpha=draw.alpha, mode=mode, label_smoothing=smoothing, num_classes=classes
        )
        return _with_soft(*mixing(x.clone(), y))


class _Answers:
    """In place of a distribution: returns what it was given, one after the other."""

    def __init__(self, *answers: Tensor):
        self.answers = list(answers)

    def rsample(self, shape: Any) -> Tensor:
        answer = self.answers.pop(0)
        assert answer.shape == torch.Size(shape), "the source drew another shape"
        return answer

    def sample(self, shape: Any = ()) -> Tensor:
        answer = self.answers.pop(0)
        assert shape == () or answer.shape == torch.Size(shape), "the source drew another shape"
        return answer


def _kornia_partners(partner: NDArray[np.int64]) -> Call:
    options = {"device": torch.device("cpu"), "dtype": torch.long}
    return Call("randperm", (len(partner),), torch.from_numpy(partner), options)


def _from_kornia(mixed: Tensor, labels: Tensor) -> Theirs:
    y_a, y_b, lam = labels.unbind(-1)
    return Theirs(mixed, y_a.long(), y_b.long(), lam)


def _timm_lam(draw: Injected) -> list[Call]:
    if np.ndim(draw.lam):
        n = len(draw.lam)
        return [
            Call("beta", (draw.alpha, draw.alpha), draw.lam, {"size": n}),
            Call("rand", (n,), np.zeros(n)),
        ]
    return [Call("rand", (), 0.0), Call("beta", (draw.alpha, draw.alpha), float(draw.lam))]


def _with_soft(mixed: Tensor, soft: Tensor) -> Theirs:
    return Theirs(mixed, soft=soft)
