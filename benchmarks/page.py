"""The page: tables of a record, ratios first."""

from collections.abc import Iterable, Iterator, Sequence

from .compare import Comparison
from .record import LIMIT, Grown, Measured, Record, Started
from .startup import IMPORT
from .themes import ALLOCATORS, THEMES
from .timing import Quartiles, exponent

COMPILE_LIMIT = 0.5  # seconds, for any public function

_RAISED = ", ".join("=".join(pair) for pair in ALLOCATORS["raised"].items())

_ALLOCATOR_NOTES = {
    "default": "glibc's default allocator, which maps fresh pages for each array above 32 MiB",
    "raised": f"{_RAISED}, so freed pages are used again, and are huge",
}


def page(record: Record) -> str:
    return "\n\n".join(["# Speed", _about(record), *_sections(record), *_failures(record)]) + "\n"


def comparison(found: Comparison) -> str:
    """What `--against` found."""
    told = f"{found.compared} ratios and exponents compared; {len(found.changes)} changed by more than their spread."
    parts = ["## Against the stored run", told]
    if found.changes:
        cells = [
            [change.name, change.to, _ratio(change.before), _ratio(change.after), f"{change.factor:.2f}"]
            for change in found.changes
        ]
        parts += ["Above 1 is slower.", table(["Row", "Ours / ", "before", "now", "now / before"], cells)]
    if found.missing:
        parts.append("Of the stored run without anything to compare with: " + "; ".join(found.missing) + ".")
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Text in the first column, figures in the others."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _about(record: Record) -> str:
    about = record.about
    versions = ", ".join(f"{name} {number or 'not installed'}" for name, number in about["versions"].items())
    return (
        f"{about['date']}, {about['cores']} cores ({about['machine']}, {about['system']}, {about['libc']}; load at the "
        f"start {about['load']}), "
        f"jax on {about['jax_backend']}, torch on {about['torch_threads']} threads. {versions}.\n\n"
        "All contenders of a row take turns in one process. Ratios are ours / theirs of the same round, below 1 where "
        "ours is faster: median, and quartiles in brackets. The limit is the larger of passes over the bytes that must "
        "move and, for losses, a pass of one exponential a logit, both measured in the same rounds."
    )


def _sections(record: Record) -> Iterator[str]:
    for key, theme in THEMES.items():
        for allocator in ALLOCATORS:
            rows = [row for row in record.rows if (row.theme, row.allocator) == (key, allocator)]
            if rows:
                twice = any((row.theme, row.allocator) == (key, "raised") for row in record.rows)
                title = f"## {theme.title}" + (f", {allocator} allocator" if twice else "")
                note = f"\n\nWith {_ALLOCATOR_NOTES[allocator]}." if twice else ""
                yield "\n\n".join([title + note, _ratios(rows), _times(rows), *map(_import_adds, rows)]).strip()
        grown = [item for item in record.growth if item.theme == key]
        if grown:
            yield f"## {theme.title}\n\n{_growth(grown)}"
        started = [item for item in record.startup if item.theme == key]
        if started:
            yield f"## Compilation and first calls\n\n{_startup(started)}"


def _failures(record: Record) -> Iterator[str]:
    if record.failed:
        cells = [[item.name, item.theme, item.allocator, item.error.splitlines()[0]] for item in record.failed]
        yield "## Not measured\n\n" + table(["What", "theme", "allocator", "why"], cells)


def _ratios(rows: Sequence[Measured]) -> str:
    limited = [LIMIT] if any(row.limited_by for row in rows) else []
    names = _contenders(rows)
    cells = [
        [row.name, *(_cell(row, who) for who in limited), _fastest(row), *(_cell(row, who) for who in names)]
        for row in rows
    ]
    return table(["Ours /", *limited, "fastest peer", *names], cells)


def _times(rows: Sequence[Measured]) -> str:
    limited = [LIMIT] if any(row.limited_by for row in rows) else []
    names = ["ours", *limited, *_contenders(rows)]
    cells = [
        [row.name, *(_milliseconds(row.seconds[who]) if who in row.seconds else "" for who in names), str(row.rounds)]
        for row in rows
    ]
    return table(["Milliseconds", *names, "rounds"], cells)


def _contenders(rows: Sequence[Measured]) -> list[str]:
    """Everybody in any row, in the order in which they first come, present or not."""
    return list(dict.fromkeys(who for row in rows for who in (*row.ratios, *row.absent) if who != LIMIT))


def _cell(row: Measured, who: str) -> str:
    return _ratio(row.ratios[who]) if who in row.ratios else row.absent.get(who, "")


def _fastest(row: Measured) -> str:
    return f"{row.ratios[row.fastest].median:.2f} ({row.fastest})" if row.fastest else ""


def _ratio(ratio: Quartiles) -> str:
    return f"{ratio.median:.2f} ({ratio.lower:.2f}–{ratio.upper:.2f})"


def _milliseconds(seconds: Quartiles) -> str:
    lower, median, upper = (_figure(1e3 * value) for value in seconds)
    return f"{median} ({lower}–{upper})"


def _figure(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def _growth(grown: Sequence[Grown]) -> str:
    cells = [
        [
            item.title,
            who,
            f"{item.exponents[who]:.2f}",
            f"{exponent(item.sizes[-2:], times[-2:]):.2f}",
            ", ".join(f"{size:,}: {_figure(1e3 * time)}" for size, time in zip(item.sizes, times, strict=True)),
        ]
        for item in grown
        for who, times in item.seconds.items()
    ]
    # Of small sizes a call costs the same whatever its size, so the last two tell more.
    return table(["Time of", "whose", "exponent", "of the last two", "size: milliseconds"], cells)


def _import_adds(row: Measured) -> str:
    if row.name != IMPORT:
        return ""
    added = (row.ratios["jax"].median - 1) * row.seconds["jax"].median  # of the same round, which scatters less
    return f"`import ood_jax` adds {1e3 * added:.0f} ms to `import jax, jax.numpy`."


def _startup(started: Sequence[Started]) -> str:
    slowest = max(started, key=lambda item: item.compile)
    late = sum(item.compile > COMPILE_LIMIT for item in started)
    cells = [
        [f"`{item.name}`", f"{item.compile:.2f}", f"{item.lower:.2f}", f"{item.first_call:.2f}"]
        for item in sorted(started, key=lambda item: -item.compile)
    ]
    return (
        f"{late} of {len(started)} take more than {COMPILE_LIMIT} s to compile; the slowest is `{slowest.name}`, "
        f"{slowest.compile:.2f} s.\n\n" + table(["Seconds to", "compile", "lower", "call first"], cells)
    )
