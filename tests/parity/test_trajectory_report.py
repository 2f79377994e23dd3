"""The verdict on two curves, and the page and the picture that show it."""

from pathlib import Path

import numpy as np
import pytest

from parity.trajectories import METHODS, Trajectory, plot
from parity.trajectories import __main__ as command
from parity.trajectories.page import page
from parity.trajectories.trajectory import ROUNDINGS

DTYPES = ("float32", "float64")


# The verdict.


def a_trajectory(share, dtype="float32", method="mixup", steps=8):
    """One whose largest difference is a share of what is allowed, at its last step."""
    curve, rise = np.linspace(2, 1, steps), np.arange(steps) / (steps - 1)
    same = Trajectory(method, dtype, curve, curve, np.full(steps, 1e3))
    return same._replace(ours=curve + share * rise * same.allowed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_differences_up_to_the_allowed_agree(dtype):
    unit = {"float32": 2.0**-24, "float64": 2.0**-53}[dtype]
    assert a_trajectory(0, dtype).allowed[0] == ROUNDINGS * unit * 1e3
    assert a_trajectory(0.99, dtype).agrees
    assert a_trajectory(0.5, dtype).share == pytest.approx(0.5, rel=1e-3)
    assert not a_trajectory(1.01, dtype).agrees


@pytest.mark.parametrize("sign", [-1, 1])
def test_one_step_is_enough_to_disagree(sign):
    trajectory = a_trajectory(0)
    spike = np.where(np.arange(8) == 3, sign * 1.5 * trajectory.allowed, 0)
    assert not trajectory._replace(ours=trajectory.ours + spike).agrees


def test_curves_that_cannot_be_compared_never_agree():
    trajectory = a_trajectory(0)
    empty = np.zeros(0)
    for broken in (
        trajectory._replace(ours=trajectory.ours[:-1]),
        trajectory._replace(growth=trajectory.growth[:1]),
        trajectory._replace(ours=empty, source=empty, growth=empty),
        trajectory._replace(ours=trajectory.ours * np.nan, source=trajectory.source * np.nan),
        trajectory._replace(ours=trajectory.ours + np.inf, source=trajectory.source + np.inf),
        trajectory._replace(growth=trajectory.growth + np.inf),
    ):
        assert not broken.agrees
        assert "DISAGREES" in str(broken)


def test_chaos_begins_at_the_first_step_apart():
    trajectory = a_trajectory(0)
    apart = np.array([0, 0, 9e-6, 3e-5, 0, 1, 0, 0])
    assert trajectory.chaos_step() is None
    assert trajectory._replace(ours=trajectory.source + apart).chaos_step() == 3
    assert trajectory._replace(ours=trajectory.source + apart).chaos_step(relative=1e-2) == 5
    # A loss that is nearly nothing is not chaos for being known to few digits.
    one, other = np.array([2, 2, 1e-9]), np.array([2, 2, 2e-9])
    assert trajectory._replace(ours=one, source=other).chaos_step() is None


# The report.


def all_trajectories(single=0.4, double=0.6):
    shares = {"float32": single, "float64": double}
    return [a_trajectory(shares[dtype], dtype, method) for method in METHODS for dtype in DTYPES]


def test_the_picture_shows_both_losses_and_every_difference():
    apart = a_trajectory(5.0, "float32", METHODS[0])
    shown = [apart, *all_trajectories()[1:]]
    axes = plot(shown).axes
    assert len(axes) == 2 * len(METHODS)
    for row, method in enumerate(METHODS):
        losses, differences = axes[2 * row : 2 * row + 2]
        single, double = shown[2 * row : 2 * row + 2]
        assert losses.get_ylabel() == method
        drawn = [line.get_ydata() for line in losses.lines]
        np.testing.assert_array_equal(drawn, [single.ours, single.source])
        assert differences.get_yscale() == "log"
        for line, trajectory in zip(differences.lines, (single, double), strict=False):
            # The first losses are equal, which a logarithm cannot show.
            np.testing.assert_array_equal(line.get_ydata(), [np.nan, *trajectory.differences[1:]])
        bands = [band.get_paths()[0].vertices[:, 1] for band in differences.collections]
        assert [band.max() for band in bands] == [single.allowed.max(), double.allowed.max()]
        texts = [text.get_text() for text in differences.texts]
        chaos = [f"chaos in float32 from step {single.chaos_step()}"] if single.chaos_step() is not None else []
        assert texts == ["float32", "float64", *chaos]
    assert apart.chaos_step() is not None
    low, high = axes[1].get_ylim()
    assert low < min(t.differences[1] for t in shown)
    assert high > apart.allowed.max()


def rows(text):
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in cells if len(row) == 10}


def test_the_page_has_every_figure():
    shown = all_trajectories()
    text = page(shown)
    table = rows(text)
    assert list(table)[2:] == list(METHODS)
    for single, double in zip(shown[::2], shown[1::2], strict=True):
        assert table[single.method] == [
            "2.00", "1.50", f"{single.largest_difference:.1e}", "0.40", f"{double.largest_difference:.1e}", "0.60",
            str(single.chaos_step()), f"{double.differences[: single.chaos_step() + 1].max():.1e}", "agrees",
        ]  # fmt: skip
    assert f"**{len(METHODS)} of {len(METHODS)} methods agree" in text


def test_the_page_says_what_disagrees():
    text = page([*all_trajectories()[:-1], a_trajectory(2, "float64", METHODS[-1])])
    assert rows(text)[METHODS[-1]][-1] == "disagrees in float64"
    assert f"**{len(METHODS) - 1} of {len(METHODS)} methods agree" in text


def test_the_committed_page_is_the_one_that_is_written():
    docs = Path(__file__).parents[2] / "docs"
    committed, written = (docs / "trajectories.md").read_text(encoding="utf-8"), page(all_trajectories())

    def without_results(text):
        return [line for line in text.splitlines() if line[:2] != "**" and len(line.split("|")) != 12]

    assert without_results(committed) == without_results(written)
    table = rows(committed)
    assert list(table) == list(rows(written))
    assert all(table[method][-1] == "agrees" for method in METHODS)
    assert (docs / "trajectories" / "curves.png").is_file()


@pytest.mark.parametrize(("share", "status"), [(0.5, 0), (2.0, 1)])
def test_the_command_writes_both_files_and_says_what_it_found(monkeypatch, tmp_path, capsys, share, status):
    def run(method, dtype):
        return a_trajectory(share if method == METHODS[-1] else 0.5, dtype, method)

    monkeypatch.setattr(command, "run", run)
    assert command.main([str(tmp_path / "new")]) == status
    assert (tmp_path / "new" / "trajectories.md").read_text(encoding="utf-8").startswith("# Training trajectories")
    assert (tmp_path / "new" / "trajectories" / "curves.png").stat().st_size > 10_000
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(METHODS)


def test_labels_in_the_picture_have_the_colours_of_their_lines():
    figure = plot(all_trajectories())
    colors = [line.get_color() for line in figure.axes[1].lines[:2]]
    assert len(set(colors)) == 2
    assert [text.get_color() for text in figure.axes[1].texts[:2]] == colors
