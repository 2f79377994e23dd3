"""The report as one HTML page that needs nothing else: no network, and no script but to filter the rows."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .report import Row, counts, described, figure, succeeded, summary
from .tolerances import Tolerance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EDGES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 2.0**10, 2.0**20)
"""The upper ends of the histograms' bins, in ulps; the same on every page, so that two pages compare."""
BINS = ("0", "≤ ¼", "≤ ½", *(f"≤ {edge:.0f}" for edge in EDGES[3:-2]), "≤ 2¹⁰", "≤ 2²⁰", "more", "not finite")


DTYPES = ("float32", "float64")


class Trained(NamedTuple):
    """What came of training with one method in both frameworks; no trajectory if it failed."""

    text: str
    agrees: bool
    trajectory: Any | None = None


def check_trainable() -> None:
    """Raises ModuleNotFoundError, naming the remedy, if what the trajectories need is not installed."""
    # Imported where they are needed: the page alone needs Flax and matplotlib.
    from . import trajectories  # noqa: F401


def trainings() -> list[tuple[str, str]]:
    """The methods and dtypes to train with."""
    from .trajectories import METHODS

    return [(method, dtype) for method in METHODS for dtype in DTYPES]


def train(training: tuple[str, str]) -> Trained:
    """Trains; as for a case, an error is a verdict."""
    from . import trajectories

    try:
        trajectory = trajectories.run(*training)
    except Exception as error:
        return Trained(f"{' '.join(training)}: failed, {type(error).__name__}: {error}", False)
    return Trained(str(trajectory), trajectory.agrees, trajectory)


def as_html(
    environment: Mapping[str, Any], rows: Sequence[Row], tolerances: Mapping[str, Tolerance], trained: Sequence[Trained]
) -> str:
    """The page."""
    good = succeeded(rows) and all(run.agrees for run in trained)
    verdict = "ood_jax and PyTorch agree" if good else "ood_jax and PyTorch do not agree in all"
    title = "Parity of ood_jax with PyTorch"
    errors = {"ours": [row.error for row in rows], "the source’s": [row.source_error for row in rows]}
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            # The page promises to load nothing; this has the browser hold it to that.
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>",
            f'<p class="verdict {"good" if good else "bad"}">{verdict}: {escape(summary(rows))}.</p>',
            _counts(rows),
            "<h2>Where it was computed</h2>",
            _table("environment", None, [[name, _text(text)] for name, text in described(environment).items()]),
            "<h2>Errors</h2>\n<p>How many cases have their largest error from the truth in each range, in ulps; a "
            "range begins where the one before it ends. Cases without a third opinion are not counted.</p>",
            histogram("errors", errors),
            "<h2>Distances</h2>\n<p>The same for the largest distance of ours from the source’s. It is not finite "
            "where the source overflows.</p>",
            histogram("distances", {"apart": [row.difference for row in rows]}),
            "<h2>Training trajectories</h2>",
            _trained(trained),
            "<h2>Tolerances</h2>",
            _table("tolerances", ("name", "ulps", "why"), [_tolerance(*item) for item in tolerances.items()]),
            "<h2>Cases</h2>\n<p>Disagreements come first. The figures are the largest over a case’s results, in ulps; "
            "open a case to see each.</p>",
            f'<p hidden id="filter"><label>Filter <input type="search"></label> <output>{len(rows)} cases</output></p>',
            _cases(rows),
            f"<script>{SCRIPT}</script>\n</body>\n</html>\n",
        ]
    )


def _text(value: object) -> str:
    return escape(str(value))


def _table(
    identifier: str, header: Iterable[str] | None, rows: Iterable[Iterable[str]], kinds: Iterable[str] = ()
) -> str:
    """A table of cells that are HTML already; `kinds` are the classes of its rows."""
    kinds = iter(kinds)
    lines = [f'<table id="{identifier}">']
    if header is not None:
        lines += [f"<thead><tr>{''.join(f'<th>{name}</th>' for name in header)}</tr></thead>"]
    lines += ["<tbody>"]
    for row in rows:
        lines += [f'<tr class="{next(kinds, "")}">{"".join(f"<td>{cell}</td>" for cell in row)}</tr>']
    return "\n".join([*lines, "</tbody>\n</table>"])


def _counts(rows: Sequence[Row]) -> str:
    tally = counts(rows)
    return _table("summary", tally, [[str(count) for count in tally.values()]])


def _tolerance(name: str, tolerance: Tolerance) -> list[str]:
    return [_text(name), figure(tolerance.ulps), _text(tolerance.why)]


def _cases(rows: Sequence[Row]) -> str:
    ordered = sorted(rows, key=lambda row: not row.verdict.bad)
    header = ("case", "source", "results", "apart", "our error", "source’s error", "verdict")
    kinds = ["bad" if row.verdict.bad else "good" if row.results else "absent" for row in ordered]
    return _table("cases", header, [_case(row) for row in ordered], kinds)


def _case(row: Row) -> list[str]:
    figures = [figure(value) for value in (row.difference, row.error, row.source_error)]
    return [_name(row), _text(row.source), str(len(row.results)), *figures, _text(row.verdict)]


def _name(row: Row) -> str:
    lines = [("" if result.agrees else "disagrees: ") + str(result) for result in row.results] or row.reasons
    if not lines:
        return _text(row.name)
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return (
        f"<details{' open' if row.verdict.bad else ''}><summary>{_text(row.name)}</summary><ul>{items}</ul></details>"
    )


# The pictures.


def bin_counts(values: Iterable[float | None]) -> list[int]:
    """How many of the values, of those there are, fall into each of `BINS`."""
    known = np.array([value for value in values if value is not None], np.float64)
    finite = known[np.isfinite(known)]
    within = np.bincount(np.searchsorted(EDGES, finite), minlength=len(EDGES) + 1)
    return [*within.tolist(), known.size - finite.size]


def histogram(name: str, series: Mapping[str, Iterable[float | None]]) -> str:
    """Bars side by side, with their counts on them, as SVG in the colours of the page."""
    heights = {label: bin_counts(values) for label, values in series.items()}
    most = max(1, *(max(counts) for counts in heights.values()))
    step, tall = 64, 160
    width = (step - 12) / len(heights)
    parts = []
    for place, (label, tally) in enumerate(heights.items()):
        parts.append(f'<rect class="bar{place}" x="{140 * place}" y="0" width="12" height="12"/>')
        parts.append(f'<text class="legend" x="{140 * place + 18}" y="11">{_text(label)}</text>')
        for number, count in enumerate(tally):
            x, height = step * number + 6 + width * place, tall * count / most
            where = f'x="{x:.1f}" y="{40 + tall - height:.1f}" width="{width - 2:.1f}" height="{height:.1f}"'
            tip = f"{_text(label)}, {BINS[number]} ulps: {count}"
            parts.append(f'<rect class="bar{place}" {where} data-count="{count}"><title>{tip}</title></rect>')
            if count:
                parts.append(f'<text x="{x + width / 2 - 1:.1f}" y="{36 + tall - height:.1f}">{count}</text>')
    parts += [f'<text x="{step * n + step / 2}" y="{tall + 58}">{label}</text>' for n, label in enumerate(BINS)]
    size = f"0 0 {step * len(BINS)} {tall + 68}"
    return (
        f'<svg id="{name}" role="img" aria-label="Histogram of {name} in ulps" viewBox="{size}">{"".join(parts)}</svg>'
    )


def _trained(trained: Sequence[Trained]) -> str:
    from .trajectories import plot

    items = "".join(f'<li class="{"good" if run.agrees else "bad"}">{_text(run.text)}</li>' for run in trained)
    finished = [run.trajectory for run in trained if run.trajectory is not None]
    methods = [trajectory.method for trajectory in finished]
    # The picture shows a method in every dtype, so not one of which a training failed.
    trajectories = [trajectory for trajectory in finished if methods.count(trajectory.method) == len(DTYPES)]
    if not trajectories:
        return f"<ul>{items}</ul>"
    alternative = "Losses of ours and of the source, step by step, and how far they are apart"
    return f'<ul>{items}</ul>\n<p><img alt="{alternative}" src="{_inline(plot(trajectories))}"></p>'


def _inline(picture: "Figure") -> str:
    """A picture as an address that holds it. As an image of its own, its identifiers cannot clash with the page's."""
    file = io.BytesIO()
    picture.savefig(file, format="svg", metadata={"Date": None}, facecolor="white")
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1b1b; --faint: #666; --line: #ccc; --stripe: #f4f4f4;
  --good: #1a7f37; --bad: #c01c28; --absent: #8a6100; --ours: #0072b2; --source: #e69f00; }
@media (prefers-color-scheme: dark) { :root { --back: #16181b; --text: #e6e6e6; --faint: #a0a0a0; --line: #444;
  --stripe: #1f2226; --good: #57c878; --bad: #ff7b72; --absent: #e3b341; --ours: #56b4e9; --source: #e69f00; } }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 76rem; padding: 0 1rem; }
h2 { margin-top: 2.5rem; }
.verdict { font-size: 1.2rem; font-weight: 600; }
.verdict.good, tr.good td:last-child { color: var(--good); }
.verdict.bad, tr.bad td:last-child, li.bad { color: var(--bad); font-weight: 600; }
tr.absent td:last-child { color: var(--absent); }
table { border-collapse: collapse; }
#cases { width: 100%; }
th, td { border-bottom: 1px solid var(--line); overflow-wrap: break-word; padding: .25rem .75rem; text-align: left;
  vertical-align: top; }
th { overflow-wrap: normal; }
#cases th { background: var(--back); box-shadow: 0 1px var(--line); position: sticky; top: 0; z-index: 1; }
#cases :is(th, td):is(:nth-child(3), :nth-child(4), :nth-child(5), :nth-child(6)),
#tolerances :is(th, td):nth-child(2) { font-variant-numeric: tabular-nums; overflow-wrap: normal; text-align: right; }
#cases td:first-child { overflow-wrap: anywhere; }
#cases td:last-child, #tolerances td:first-child { white-space: nowrap; }
#cases tbody tr:nth-child(even) { background: var(--stripe); }
#environment td:first-child { color: var(--faint); }
details ul { color: var(--faint); font-size: .9em; margin: .25rem 0; padding-left: 1.25rem; white-space: pre-wrap; }
svg { display: block; max-width: 60rem; width: 100%; }
svg text { fill: var(--text); font: 13px system-ui, sans-serif; text-anchor: middle; }
svg text.legend { text-anchor: start; }
svg .bar0 { fill: var(--ours); }
svg .bar1 { fill: var(--source); }
img { background: #fff; max-width: 100%; }
input { font: inherit; min-width: 18rem; }
"""
SCRIPT = """
const filter = document.getElementById("filter"), rows = [...document.querySelectorAll("#cases tbody tr")];
const texts = rows.map(row => row.innerText.toLowerCase());
filter.hidden = false;
filter.querySelector("input").addEventListener("input", event => {
  const words = event.target.value.toLowerCase().split(/\\s+/);
  let shown = 0;
  rows.forEach((row, i) => { row.hidden = !words.every(word => texts[i].includes(word)); shown += !row.hidden; });
  filter.querySelector("output").textContent = `${shown} of ${rows.length} cases`;
});
"""
