"""Runs a PyTorch function on draws that we choose.

Two frameworks never share a random stream, so a function that draws inside can only be compared by answering its
random calls. The function itself runs unmodified, start to end.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch


class ReplayError(AssertionError):
    """The function drew something else than the replay was told to expect."""


class Call(NamedTuple):
    """One expected random call and its answer; arguments that differ are an error, so swapped ones do not pass."""

    name: str
    arguments: tuple[Any, ...]
    answer: Any
    options: Mapping[str, Any] = {}


def mixup_calls(lam: Any, partner: np.ndarray, *, alpha: float) -> list[Call]:
    """What a mixup of the definitions draws; nothing but the partners unless alpha > 0."""
    beta = [Call("beta", (alpha, alpha), lam)] if alpha > 0 else []
    return [*beta, Call("randperm", (len(partner),), torch.from_numpy(np.asarray(partner, np.int64)))]


def cutmix_calls(
    lam: float, partner: np.ndarray, center: tuple[int, int], image_size: tuple[int, int], *, alpha: float
) -> list[Call]:
    """What a CutMix of the definitions draws, the centre's column before its row."""
    (row, column), (height, width) = center, image_size
    return [
        *mixup_calls(lam, partner, alpha=alpha),
        Call("randint", (width,), int(column)),
        Call("randint", (height,), int(row)),
    ]


_GENERATORS = {
    "beta": (np.random, "beta"),
    "rand": (np.random, "rand"),
    "randint": (np.random, "randint"),
    "randperm": (torch, "randperm"),
    "torch.randint": (torch, "randint"),
}


@contextmanager
def replaying(calls: list[Call]) -> Iterator[None]:
    """Answers NumPy's and PyTorch's global random functions from `calls`, in order, all of them."""
    waiting = list(calls)

    def stand_in(name: str) -> Callable[..., Any]:
        def draw(*arguments: Any, **options: Any) -> Any:
            if not waiting:
                raise ReplayError(f"{name}{arguments} was drawn, but no more draws were expected")
            call = waiting.pop(0)
            if (name, arguments, options) != (call.name, call.arguments, dict(call.options)):
                raise ReplayError(
                    f"{name}{arguments}{options or ''} was drawn, but {call.name}{call.arguments}"
                    f"{dict(call.options) or ''} was expected"
                )
            return call.answer

        return draw

    with ExitStack() as stack:
        for name, (module, attribute) in _GENERATORS.items():
            stack.enter_context(mock.patch.object(module, attribute, stand_in(name)))
        yield
    if waiting:
        raise ReplayError(f"{waiting[0].name}{waiting[0].arguments} was expected, but never drawn")
