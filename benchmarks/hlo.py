"""What a compiled program sends between devices, read from its text."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_KINDS = "all-reduce|all-gather|(?:ragged-)?all-to-all|collective-permute|collective-broadcast|reduce-scatter|send"
_INSTRUCTION = re.compile(
    rf"^\s*(?:ROOT )?%?\S+ = (?P<result>\(.*?\)|\S+) (?P<kind>{_KINDS})(?P<start>-start)?\(", re.MULTILINE
)
_SHAPE = re.compile(r"\b(pred|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]")


class Collective(NamedTuple):
    """One instruction: its kind, and the bytes that a device gets by it."""

    kind: str
    size: int


def collectives(text: str) -> Iterator[Collective]:
    """Every collective of a program's HLO text."""
    for match in _INSTRUCTION.finditer(text):
        result = match["result"]
        if match["start"] and match["kind"] != "all-reduce":
            result = _elements(result)[1]  # the result of the start holds its operands too, first
        yield Collective(match["kind"], size_of(result))


def size_of(shape: str) -> int:
    """The bytes of an array, or of all arrays of a tuple."""
    return sum(_bytes(*array) for array in _SHAPE.findall(shape))


def _elements(result: str) -> list[str]:
    """The elements of a tuple, which may be tuples."""
    parts, depth = [""], 0
    for character in result[1:-1]:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _bytes(dtype: str, shape: str) -> int:
    bits = 8 if dtype == "pred" else int(re.findall(r"\d+", dtype)[0])
    return math.prod(int(side) for side in shape.split(",") if side) * bits // 8
