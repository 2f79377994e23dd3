"""Runs are stored, read, shown and compared."""

import numpy as np
import pytest

from benchmarks import compare, page, record, timing
from benchmarks.record import Grown, Measured, Record, Started
from benchmarks.row import Contest
from benchmarks.timing import Plan, Quartiles

ABOUT = {
    "date": "2026-01-01", "cores": 2, "machine": "x", "system": "y", "libc": "z", "jax_backend": "cpu",
    "torch_threads": 2, "versions": {"jax": "0.10", "timm": None},
}  # fmt: skip
ROUNDS = 15


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
    return Record(ABOUT, rows, growth, [Started("startup", "ood_jax.mixup", 0.1, 0.6, 0.8)])


def test_a_planted_regression_is_found_and_nothing_else():
    found = compare.changes(run(), run(seed=1, slower=7))
    assert {(change.name, change.to) for change in found} == {("row 7", "limit"), ("row 7", "the fastest peer")}
    assert all(change.factor == pytest.approx(1.5, rel=0.1) for change in found)


def test_an_improvement_is_found_and_comes_last():
    before, after = run(slower=3), run(seed=1, slower=7)
    found = compare.changes(before, after)
    assert [change.name for change in found] == ["row 7"] * 2 + ["row 3"] * 2
    assert found[-1].factor < 1


@pytest.mark.parametrize("noise", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("seed", range(1, 6))
def test_noise_is_no_change(seed, noise):
    assert compare.changes(run(noise=noise), run(seed=seed, noise=noise)) == []


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
    found = compare.changes(before, before._replace(rows=rows))
    assert {change.to for change in found} == {"the fastest peer"}
    assert len(found) == len(rows)


def test_rows_that_one_run_lacks_are_left_out():
    before = run()
    other = [row._replace(allocator="raised") for row in run(seed=1, slower=7).rows]
    assert compare.changes(before, before._replace(rows=other)) == []


def test_a_run_survives_being_stored(tmp_path):
    path = tmp_path / "folder" / "run.json"
    record.write(run(), path)
    assert record.read(path) == run()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"about": {}, "rows": [{"name": 1}], "growth": [], "startup": []}'])
def test_another_file_is_told(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json does not hold a run"):
        record.read(path)


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
    assert "| mixup by N | ours | 1.00 | 8: 100, 16: 200 |" in text
    assert "1 of 1 take more than 0.5 s to compile" in text
    assert "| `ood_jax.mixup` | 0.60 | 0.10 | 0.80 |" in text


def test_the_page_tells_the_allocators_apart():
    both = run()
    both = both._replace(rows=[*both.rows, *(row._replace(allocator="raised") for row in both.rows)])
    titles = [line for line in page.page(both).splitlines() if line.startswith("## Mixing")]
    assert titles == ["## Mixing, default allocator", "## Mixing, raised allocator"]


def test_a_comparison_says_what_changed():
    text = page.comparison(compare.changes(run(), run(seed=1, slower=7)))
    assert "mixing: row 7 (default)" in text
    assert "row 6" not in text
    assert "no ratio changed" in page.comparison([])


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
