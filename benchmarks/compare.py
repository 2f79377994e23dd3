"""What has changed between two runs: ratios, for times of two machines or two days do not compare."""

import statistics
from collections.abc import Iterator
from typing import NamedTuple

from .record import LIMIT, Measured, Record
from .timing import Quartiles

# Two runs of one program differ by as much, beyond the spread of their rounds; and where no spread is known.
NOTABLE, NOTABLE_ALONE = 1.15, 1.5
EXPONENT = 0.2


class Change(NamedTuple):
    """A ratio that has changed.

    Attributes:
      name: of what was measured, with its theme and allocator.
      to: what ours is divided by.
    """

    name: str
    to: str
    before: Quartiles
    after: Quartiles

    @property
    def factor(self) -> float:
        """Above 1 where ours is slower now."""
        return self.after.median / self.before.median


class Comparison(NamedTuple):
    """Of two runs.

    Attributes:
      changes: the worst first.
      compared: how many ratios and exponents both runs have.
      missing: rows that only the stored run has, or that could be compared with nothing.
    """

    changes: list[Change]
    compared: int
    missing: list[str]


def compared(before: Record, after: Record) -> Comparison:
    """The ratios of rows that changed by more than their spread, compile times, and exponents."""
    of_rows, missing = _of_rows(before, after)
    of_functions, of_sweeps = list(_of_functions(before, after)), list(_of_sweeps(before, after))
    found = [change for change in of_rows if is_notable(change.before, change.after)]
    found += [change for change in of_functions if max(change.factor, 1 / change.factor) > NOTABLE_ALONE]
    found += [change for change in of_sweeps if abs(change.after.median - change.before.median) > EXPONENT]
    found.sort(key=lambda change: -change.factor)
    return Comparison(found, len(of_rows) + len(of_functions) + len(of_sweeps), missing)


def is_notable(before: Quartiles, after: Quartiles) -> bool:
    """Whether the middle halves of the rounds are apart, and the medians too."""
    apart = before.upper < after.lower or after.upper < before.lower
    factor = after.median / before.median
    return apart and max(factor, 1 / factor) > NOTABLE


def _of_rows(before: Record, after: Record) -> tuple[list[Change], list[str]]:
    rows = {_title(row): row for row in after.rows}
    changes: list[Change] = []
    missing = []
    for old in before.rows:
        title = _title(old)
        found = list(_of_row(old, rows[title])) if title in rows else []
        changes += found
        if not found:
            missing.append(title)
    return changes, missing


def _title(row: Measured) -> str:
    return f"{row.theme}: {row.name} ({row.allocator})"


def _of_row(old: Measured, new: Measured) -> Iterator[Change]:
    """To the limit and to the fastest peer of those that both runs have; without either, to what is beside."""
    both = [who for who in old.ratios if who in new.ratios]
    peers = [who for who in both if who in new.peers]
    if LIMIT in both:
        yield Change(_title(new), LIMIT, old.ratios[LIMIT], new.ratios[LIMIT])
    if peers:
        before, after = (min(peers, key=lambda who: row.seconds[who].median) for row in (old, new))
        to = after if before == after else f"{after}, before {before}"
        yield Change(_title(new), to, old.ratios[before], new.ratios[after])
    if not peers and LIMIT not in both:
        yield from (Change(_title(new), who, old.ratios[who], new.ratios[who]) for who in both)


def _of_functions(before: Record, after: Record) -> Iterator[Change]:
    """Compile times, over the median of those functions that both runs have."""
    old, new = ({item.name: item.compile for item in run.startup} for run in (before, after))
    both = [name for name in old if name in new]
    if both:
        middles = [statistics.median(run[name] for name in both) for run in (old, new)]
        for name in both:
            shares = [_alone(run[name] / middle) for run, middle in zip((old, new), middles, strict=True)]
            yield Change(name, "the median function", *shares)


def _of_sweeps(before: Record, after: Record) -> Iterator[Change]:
    old, new = ({item.title: item.exponents["ours"] for item in run.growth} for run in (before, after))
    for title in old:
        if title in new:
            yield Change(title, "exponent", _alone(old[title]), _alone(new[title]))


def _alone(value: float) -> Quartiles:
    return Quartiles(value, value, value)
