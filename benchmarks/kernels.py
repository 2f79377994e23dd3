"""What the kernels of a GPU's program read and write, from its text."""

import re
from collections.abc import Iterator
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
# These change a part of their first operand where it lies; the place of what they write there among their operands.
_UPDATES = {"scatter": 2, "dynamic-update-slice": 1}
# Their kernels are in other computations, and may run many times.
_CALLS = {"while", "conditional", "call"}


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


_Computation = dict[str, _Instruction]


def kernels(text: str) -> Iterator[Kernel]:
    """Every kernel of a program's HLO text.

    An operand counts once however often a kernel reads it as it lies, and besides for each gather or slice what that
    returns: the second reading of a row may come from a cache, or may not. A scatter reads and writes what it updates.

    Raises:
      ValueError: the program has loops, conditions or calls.
    """
    computations = {}
    for match in _COMPUTATION.finditer(text):
        computations["ENTRY" if match["entry"] else match["name"]] = dict(_instructions(match["body"]))
    entry: _Computation = computations["ENTRY"]
    for name, instruction in entry.items():
        if instruction.kind in _CALLS:
            raise ValueError(
                f"a program without loops, conditions and calls is needed, got {instruction.kind} {name!r}"
            )
        if instruction.kind not in _NAMES:
            called = re.search(r"\bcalls=%?([^\s,]+)", instruction.rest)
            fused = computations.get(called[1]) if called else None
            sizes = [size_of(entry[operand].shape) for operand in instruction.operands]
            read = sum(_read(fused, at, size) if fused else size for at, size in enumerate(sizes))
            written = _updated(fused, _root(fused)) if fused else 0
            yield Kernel(name, read, written or size_of(instruction.shape))


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
        whole = whole or name == _root(fused)
        for user, instruction in fused.items():
            if name not in instruction.operands:
                continue
            if instruction.kind in _PASSES:
                seen.append(user)
            elif instruction.kind in _PICKS and instruction.operands[0] == name:
                picked += min(size_of(instruction.shape), size)
            elif instruction.kind in _UPDATES and instruction.operands[0] == name:
                picked += _updated(fused, user)
            else:
                whole = True
    return whole * size + picked


def _root(fused: _Computation) -> str:
    """The last instruction."""
    return next(reversed(fused))


def _updated(fused: _Computation, name: str) -> int:
    """The bytes that an instruction changes where they lie, 0 if it is none that does."""
    instruction = fused[name]
    place = _UPDATES.get(instruction.kind)
    return 0 if place is None else size_of(fused[instruction.operands[place]].shape)
