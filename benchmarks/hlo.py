"""What a compiled program sends between devices, read from its text."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_KINDS = "all-reduce|all-gather|(?:ragged-)?all-to-all|collective-permute|collective-broadcast|reduce-scatter|send"
_INSTRUCTION = re.compile(rf"= (?P<result>\(.*?\)|\S+) (?P<kind>{_KINDS})(?P<start>-start)?\(")
_SHAPE = re.compile(r"\b(pred|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]")


class Collective(NamedTuple):
    """One instruction: its kind, and the bytes that a device gets by it."""

    kind: str
    size: int


def collectives(text: str) -> Iterator[Collective]:
    """Every collective of a program's HLO text."""
    for match in _INSTRUCTION.finditer(text):
        sizes = [_bytes(*shape) for shape in _SHAPE.findall(match["result"])]
        if match["start"] and match["kind"] in ("all-gather", "collective-permute"):
            sizes = sizes[1:2]  # the result of the start holds its operand too
        yield Collective(match["kind"], sum(sizes))


def _bytes(dtype: str, shape: str) -> int:
    bits = 8 if dtype == "pred" else int(re.findall(r"\d+", dtype)[0])
    return math.prod(int(side) for side in shape.split(",") if side) * bits // 8
