"""Runs are stored, read, shown and compared."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare, page, record, timing
from benchmarks.record import Failed, Grown, Measured, Record, Started
from benchmarks.row import Contest
from benchmarks.themes import items
from benchmarks.timing import Plan, Quartiles

ABOUT = {
    "date": "2026-01-01", "cores": 2, "load": 0.5, "machine": "x", "system": "y", "libc": "z", "jax_backend": "cpu",
    "torch_threads": 2, "versions": {"jax": "0.10", "timm": None},
}  # fmt: skip
ROUNDS = 15
KEPT = Path(__file__).parents[2] / "docs/performance"


def run(seed=0, slower=None, noise=0.05):
    """A stored run of twelve rows: ours takes 1, a peer 2, another 3, the limit 0.8, all with noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(12):
        times = {"ours": 1.0, "definition": 2.0, "incerto": 3.0, "limit": 0.8}
        times["ours"] *= 1.5 if number == slower else 1
        samples = {who: (time * rng.lognormal(0, noise, ROUNDS)).tolist() for who, time in times.items()}
        rows.append(
            Measured(
                "mixing",
                f"row {number}",
                "default",
                ROUNDS,
                {who: timing.quartiles(values) for who, values in samples.items()},
                {who: timing.ratio(samples["ours"], values) for who, values in samples.items() if who != "ours"},
                ["definition", "incerto"],
                {"timm": "not installed"},
                "bytes, JAX",
            )
        )
    growth = [Grown("growth", "mixup", "N", [8, 16], {"ours": [0.1, 0.2]}, {"ours": 1.0})]
    return Record(ABOUT, rows, growth, [Started("startup", "ood_jax.mixup", 0.1, 0.6, 0.8)], [])


def test_a_planted_regression_is_found_and_nothing_else():
    found, compared, missing = compare.compared(run(), run(seed=1, slower=7))
    assert (compared, missing) == (12 * 2 + 2, [])
    row = "mixing: row 7 (default)"
    assert {(change.name, change.to) for change in found} == {(row, "limit"), (row, "definition")}
    assert all(change.factor == pytest.approx(1.5, rel=0.1) for change in found)


def test_an_improvement_is_found_and_comes_last():
    before, after = run(slower=3), run(seed=1, slower=7)
    found = compare.compared(before, after).changes
    assert [change.name for change in found] == [f"mixing: row {number} (default)" for number in (7, 7, 3, 3)]
    assert found[-1].factor < 1


@pytest.mark.parametrize("noise", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("seed", range(1, 6))
def test_noise_is_no_change(seed, noise):
    assert compare.compared(run(noise=noise), run(seed=seed, noise=noise)).changes == []


def test_a_change_within_the_spread_is_none():
    assert not compare.is_notable(Quartiles(0.5, 1.0, 1.5), Quartiles(1.4, 1.8, 2.0))
    assert not compare.is_notable(Quartiles(0.99, 1.0, 1.01), Quartiles(1.04, 1.05, 1.06))
    assert compare.is_notable(Quartiles(0.99, 1.0, 1.01), Quartiles(1.2, 1.3, 1.4))
    assert compare.is_notable(Quartiles(1.2, 1.3, 1.4), Quartiles(0.99, 1.0, 1.01))


def test_another_fastest_peer_is_compared_as_the_fastest():
    """A peer that became twice as fast: ours has fallen behind, though it takes the same time."""
    before = run()
    rows = [
        row._replace(
            seconds={**row.seconds, "incerto": Quartiles(0.99, 1.0, 1.01)},
            ratios={**row.ratios, "incerto": Quartiles(0.99, 1.0, 1.01)},
        )
        for row in before.rows
    ]
    found = compare.compared(before, before._replace(rows=rows)).changes
    assert {change.to for change in found} == {"incerto, before definition"}
    assert len(found) == len(rows)


def test_rows_that_one_run_lacks_are_left_out():
    before = run()
    other = [row._replace(allocator="raised") for row in run(seed=1, slower=7).rows]
    found, compared, missing = compare.compared(before, before._replace(rows=other))
    assert (found, compared) == ([], 2)  # the function and the sweep
    assert missing == [f"mixing: row {number} (default)" for number in range(12)]


def without(who, found):
    """The run as it would be if a peer were not installed."""
    rows = [
        row._replace(
            ratios={name: ratio for name, ratio in row.ratios.items() if name != who},
            peers=[name for name in row.peers if name != who],
        )
        for row in found.rows
    ]
    return found._replace(rows=rows)


def test_a_peer_that_one_run_lacks_is_left_out():
    # The fastest of the stored run is not there: ours did not become faster than the next.
    for before, after in ((run(), without("definition", run())), (without("definition", run()), run())):
        found, compared, missing = compare.compared(before, after)
        assert (found, compared, missing) == ([], 12 * 2 + 2, [])


def test_rows_without_limit_and_peers_are_compared_with_what_is_beside():
    before = without("limit", run())
    before = before._replace(rows=[row._replace(peers=[]) for row in before.rows])
    after = without("limit", run(seed=1, slower=7))
    after = after._replace(rows=[row._replace(peers=[]) for row in after.rows])
    assert {change.to for change in compare.compared(before, after).changes} == {"definition", "incerto"}


def test_compile_times_and_exponents_are_compared():
    names = ("a", "b", "c")
    before = run()._replace(startup=[Started("startup", name, 0.1, 0.2, 0.3) for name in names])
    late = [item._replace(compile=2 * item.compile) for item in before.startup]  # on a slower machine
    steep = [item._replace(exponents={"ours": 1.3}) for item in before.growth]
    found = compare.compared(before, before._replace(startup=late, growth=steep)).changes
    assert [(change.name, change.to) for change in found] == [("mixup by N", "exponent")]
    late[1] = late[1]._replace(compile=60.0)
    found = compare.compared(before, before._replace(startup=late)).changes
    assert [(change.name, change.to) for change in found] == [("b", "the median function")]


def test_a_run_survives_being_stored(tmp_path):
    path = tmp_path / "folder" / "run.json"
    stored = run()._replace(failed=[Failed("mixing", "row 12", "default", "ValueError: no")])
    record.write(stored, path)
    assert record.read(path) == stored
    assert record.join([stored, run()], ABOUT).failed == stored.failed


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"about": {}, "rows": [{"name": 1}], "growth": [], "startup": [], "failed": []}']
)
def test_another_file_is_told(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json does not hold a run"):
        record.read(path)


def test_the_run_that_is_kept_has_every_row_and_its_page():
    kept = record.read(KEPT / "run.json")
    found = [(row.theme, row.name) for row in (*kept.rows, *kept.startup)]
    found += [(sweep.theme, sweep.title) for sweep in kept.growth]
    assert set(found) == {(item.theme, item.name) for item in items(quick=False)}
    assert not kept.failed
    assert page.page(kept) == (KEPT / "run.md").read_text()


def test_the_page_has_everything():
    text = page.page(run())
    for number in range(12):
        assert len([line for line in text.splitlines() if line.startswith(f"| row {number} |")]) == 2
    lines = text.splitlines()
    ratios = next(line for line in lines if line.startswith("| row 0 |"))
    row = run().rows[0]
    assert f"| {row.ratios['limit'].median:.2f} (" in ratios
    assert f"| {row.ratios['definition'].median:.2f} (definition) |" in ratios
    assert ratios.endswith("| not installed |")
    assert "timm not installed" in text
    assert "| mixup by N | ours | 1.00 | 1.00 | 8: 100, 16: 200 |" in text
    assert "1 of 1 take more than 0.5 s to compile" in text
    assert "| `ood_jax.mixup` | 0.60 | 0.10 | 0.80 |" in text


def test_the_page_tells_the_allocators_apart():
    both = run()
    both = both._replace(rows=[*both.rows, *(row._replace(allocator="raised") for row in both.rows)])
    titles = [line for line in page.page(both).splitlines() if line.startswith("## Mixing")]
    assert titles == ["## Mixing, default allocator", "## Mixing, raised allocator"]


def test_a_comparison_says_what_changed():
    text = page.comparison(compare.compared(run(), run(seed=1, slower=7)))
    assert "26 ratios and exponents compared; 2 changed" in text
    assert "| mixing: row 7 (default) | definition |" in text
    assert "row 6" not in text
    assert "without anything" not in text
    text = page.comparison(compare.compared(run(), run()._replace(rows=[])))
    assert "2 ratios and exponents compared; 0 changed" in text
    assert "mixing: row 11 (default)." in text


def test_what_failed_is_named_on_the_page():
    failed = [Failed("mixing", "row 12", "default", "ValueError: no\nmore")]
    assert "| row 12 | mixing | default | ValueError: no |" in page.page(run()._replace(failed=failed))
    assert "Not measured" not in page.page(run())


def test_the_import_adds_what_it_takes_longer_in_the_same_round():
    samples = {"ours": [1.1, 2.4, 3.3], "jax": [1.0, 2.0, 3.0]}  # a tenth in most; the medians differ by 0.4
    row = (
        run()
        .rows[0]
        ._replace(
            theme="startup",
            name="import",
            peers=[],
            seconds={who: timing.quartiles(times) for who, times in samples.items()},
            ratios={"jax": timing.ratio(samples["ours"], samples["jax"])},
        )
    )
    assert "adds 200 ms" in page.page(run()._replace(rows=[row]))


def test_a_contest_is_measured():
    """Those who are absent are named, the others timed; what is beside is no peer."""
    calls = dict.fromkeys(("ours", "peer", "beside"), 0)

    def runs(name):
        def call():
            calls[name] += 1

        return call

    contest = Contest(runs("ours"), {"peer": runs("peer"), "timm": "not installed"}, {"beside": runs("beside")})
    plan = Plan(budget=0, fewest=3, most=3, untimed=0, timed=0)
    row = record.measured("mixing", "row", "default", contest, plan)
    assert set(row.seconds) == {"ours", "peer", "beside"}
    assert set(row.ratios) == {"peer", "beside"}
    assert (row.peers, row.fastest, row.absent, row.rounds) == (["peer"], "peer", {"timm": "not installed"}, 3)
    assert set(calls.values()) == {1 + 2 + 2 * 3}
