"""A row of the suite: who competes in it."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import NamedTuple, TypeAlias

import torch

from parity.published import SOURCES, load

from . import timing
from .limit import Work
from .timing import Run

# A contender, or why there is none.
Entry: TypeAlias = Run | str

DEFINITION = "definition"
COMPILED = "PyTorch compiled"
PLAIN = "plain JAX"


class Contest(NamedTuple):
    """Who takes turns.

    Attributes:
      ours: this library's.
      peers: what ours is to beat.
      beside: what is there to compare with, such as a step without any method.
      work: what cannot be avoided, where that can be told.
    """

    ours: Run
    peers: Mapping[str, Entry]
    beside: Mapping[str, Entry] = {}
    work: Work | None = None


class Row(NamedTuple):
    """A contest that is built when its turn comes, for its arrays may be large.

    Attributes:
      name: unique within the theme.
      build: makes the arrays and the contenders.
      pages: whether its arrays are so large that the allocator decides; then it runs under both.
      budget: seconds for all rounds, more than usual where times vary much.
    """

    name: str
    build: Callable[[], Contest]
    pages: bool = False
    budget: float = timing.Plan().budget


def published(source: str, make: Callable[[ModuleType], Run]) -> Entry:
    """A contender from an installed library, whose version may be another than the one this was written for."""
    if SOURCES[source].installed is None:
        return "not installed"
    try:
        run = make(load(source))
    except Exception as error:
        return f"fails: {type(error).__name__}"
    return attempted(run, "fails")


def compiled(run: Run) -> Entry:
    """A contender that torch.compile has made: it compiles here."""
    return attempted(run, "does not compile")


def attempted(run: Run, failure: str) -> Entry:
    """A contender if it runs. Whatever it raises, the others are to take their turns: not all take every dtype."""
    try:
        run()
    except Exception as error:
        return f"{failure}: {type(error).__name__}"
    return run


def compile_torch(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """One program for the shapes that it is called with, and no part of it left to Python."""
    return torch.compile(function, dynamic=False, fullgraph=True)
