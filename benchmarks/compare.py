"""What has changed between two runs: ratios, for times of two machines or two days do not compare."""

from collections.abc import Iterator
from typing import NamedTuple

from .record import LIMIT, Measured, Record
from .timing import Quartiles

# Two runs of one program differ by as much, beyond the spread of their rounds.
NOTABLE = 1.15


class Change(NamedTuple):
    """A ratio of ours to the limit or to the fastest peer that has changed."""

    theme: str
    name: str
    allocator: str
    to: str
    before: Quartiles
    after: Quartiles

    @property
    def factor(self) -> float:
        """Above 1 where ours is slower now."""
        return self.after.median / self.before.median


def changes(before: Record, after: Record) -> list[Change]:
    """The rows that both runs have and whose ratio changed by more than the spread, the worst first."""
    known = {(row.theme, row.name, row.allocator): row for row in before.rows}
    found = [
        change
        for row in after.rows
        if (old := known.get((row.theme, row.name, row.allocator)))
        for change in _changes_of(old, row)
        if is_notable(change.before, change.after)
    ]
    return sorted(found, key=lambda change: -change.factor)


def is_notable(before: Quartiles, after: Quartiles) -> bool:
    """Whether the middle halves of the rounds are apart, and the medians too."""
    apart = before.upper < after.lower or after.upper < before.lower
    factor = after.median / before.median
    return apart and max(factor, 1 / factor) > NOTABLE


def _changes_of(old: Measured, new: Measured) -> Iterator[Change]:
    def change(to: str, before: str, after: str) -> Change:
        return Change(new.theme, new.name, new.allocator, to, old.ratios[before], new.ratios[after])

    if LIMIT in old.ratios and LIMIT in new.ratios:
        yield change(LIMIT, LIMIT, LIMIT)
    if old.fastest and new.fastest:
        yield change("the fastest peer", old.fastest, new.fastest)
