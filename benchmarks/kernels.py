"""What the kernels of a GPU's program read and write, from its text."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .hlo import size_of

_COMPUTATION = re.compile(
    r"^(?P<entry>ENTRY )?%?(?P<name>\S+) \(.*?\) -> .*? \{\n(?P<body>.*?)^\}", re.MULTILINE | re.DOTALL
)
_INSTRUCTION = re.compile(
    r"^\s*(?:ROOT )?%?(?P<name>\S+) = (?P<shape>\(.*?\)|\S+) (?P<kind>[\w-]+)\((?P<operands>.*?)\)(?P<rest>,.*|)$"
)
# These name what is there, and start nothing.
_NAMES = {"parameter", "bitcast", "tuple", "get-tuple-element", "constant"}
# Of their operand these read what they return, wherever these pass it on.
_PICKS = {"gather", "slice", "dynamic-slice"}
_PASSES = {"bitcast", "convert", "reshape"}


class Kernel(NamedTuple):
    """One kernel, and the bytes that it reads and writes."""

    name: str
    read: int
    written: int


class _Instruction(NamedTuple):
    shape: str
    kind: str
    operands: tuple[str, ...]
    rest: str


_Computation = Mapping[str, _Instruction]


def kernels(text: str) -> Iterator[Kernel]:
    """Every kernel of a program's HLO text.

    An operand counts once however often a kernel reads it as it lies, and besides for each gather or slice what that
    returns: the second reading of a row may come from a cache, or may not.
    """
    computations = {}
    for match in _COMPUTATION.finditer(text):
        computations["ENTRY" if match["entry"] else match["name"]] = dict(_instructions(match["body"]))
    entry: _Computation = computations["ENTRY"]
    for name, instruction in entry.items():
        if instruction.kind not in _NAMES:
            called = re.search(r"\bcalls=%?([^\s,]+)", instruction.rest)
            fused = computations.get(called[1]) if called else None
            sizes = [size_of(entry[operand].shape) for operand in instruction.operands]
            read = sum(_read(fused, at, size) if fused else size for at, size in enumerate(sizes))
            yield Kernel(name, read, size_of(instruction.shape))


def _instructions(body: str) -> Iterator[tuple[str, _Instruction]]:
    for line in body.splitlines():
        match = _INSTRUCTION.match(line)
        if match:
            operands = tuple(re.findall(r"%([\w.\-]+)", match["operands"]))
            at = match["operands"] if match["kind"] == "parameter" else match["rest"]
            yield match["name"], _Instruction(match["shape"], match["kind"], operands, at)


def _read(fused: _Computation, at: int, size: int) -> int:
    """What a fusion reads of its operand at a place, which has a size."""
    (parameter,) = (name for name, i in fused.items() if i.kind == "parameter" and i.rest == str(at))
    whole, picked, seen = False, 0, [parameter]
    for name in seen:
        for user, instruction in fused.items():
            if name not in instruction.operands:
                continue
            if instruction.kind in _PASSES:
                seen.append(user)
            elif instruction.kind in _PICKS and instruction.operands[0] == name:
                picked += min(size_of(instruction.shape), size)
            else:
                whole = True
    return whole * size + picked
