"""The report: each option, each exit status, and that what it writes is whole."""

import itertools
import json
import os
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from parity import __main__ as command
from parity import page, report, trajectories
from parity.agreement import Agreement, Result, Worst
from parity.cases import Case
from parity.published import Source
from parity.tolerances import Tolerance

GOOD = Result("x", 0.5, 2, 0.75, 1.5, Worst((1, 2), 0.1, 0.2))
OVERFLOWS = Result("loss", np.inf, 8, 1.25, np.inf, Worst((), 3.0, np.inf))
WRONG = Result("grad <in>", 40, 8, 41, 1, Worst((3,), 1.5, -1.5))
UNLIKE = Result("shape", np.inf, 8, problem="unlike shapes, ours (2,) and the source's (3,)")
LABELS = Result("y_a", 0, 0)


def case(name, *results, source="definition"):
    return Case(name, source, lambda: Agreement(name, results))


def raising(error):
    def run():
        raise error

    return run


AGREEING = [case("mixup definition float32", GOOD, LABELS), case("loss incerto K=10", OVERFLOWS, source="incerto")]
WITHOUT_OPINION = case("cutmix definition uint8", LABELS)
MISSING = Case("mixup timm float32", "timm", raising(AssertionError("it must not run")))
WRONG_CASE = case("loss definition <b>K=3</b> [red]x[/red]", GOOD, WRONG, UNLIKE)
FAILING = Case("loss definition fails", "definition", raising(ValueError("no <such> shape & size")))
EVERY = [*AGREEING, WITHOUT_OPINION, MISSING, WRONG_CASE, FAILING]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """Sources, tolerances and trajectories as this file has them."""
    sources = Source("definition", None, ""), Source("incerto", "0.1.1", "x"), Source("timm", "1.0", "x")
    monkeypatch.setattr(report, "SOURCES", {source.name: source for source in sources})
    found = {"definition": "restated", "incerto": "0.1.2", "timm": None}
    monkeypatch.setattr(Source, "installed", property(lambda self: found[self.name]))
    monkeypatch.setattr(
        command, "TOLERANCES", {"mixup": Tolerance(2, "two <products>"), "never": Tolerance(np.inf, "")}
    )
    monkeypatch.setattr(trajectories, "run", trajectory)


def trajectory(method, dtype, share=0.5):
    curve = np.ones(4)
    allowed = trajectories.Trajectory(method, dtype, curve, curve, curve).allowed
    return trajectories.Trajectory(method, dtype, curve + share * allowed, curve, curve)


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command over some cases; its exit status, stdout and stderr."""

    def run_command(cases, *arguments):
        monkeypatch.setattr(command, "cases", lambda: iter(cases))
        try:
            status = command.main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = ended.code
        return status, *capsys.readouterr()

    return run_command


def test_the_table_has_a_row_a_case_and_its_figures(run):
    status, out, err = run([*AGREEING, WITHOUT_OPINION])
    assert (status, err) == (0, "")
    assert re.search(r"^cutmix definition uint8 +definition +1 +0 +- +- +agrees *$", out, re.MULTILINE)
    assert re.search(r"^mixup definition float32 +definition +2 +0\.5 +0\.75 +1\.5 +agrees *$", out, re.MULTILINE)
    assert re.search(r"^loss incerto K=10 +incerto +1 +inf +1\.25 +inf +agrees *$", out, re.MULTILINE)
    assert out.endswith("\n3 of 3 cases agree\n")
    assert "\x1b" not in out


def test_the_header_names_versions_and_settings(run):
    out = run(AGREEING)[1]
    sources = "definition restated, incerto 0.1.2 (pinned 0.1.1), timm not installed (pinned 1.0)"
    for text in (sources, "jaxlib ", "torch ", "flax ", "ood_jax ", "Python", "jax cpu", "CUDA", "allow_tf32=", "x64"):
        assert text in out
    assert "jax_default_matmul_precision=" in out
    assert "get_float32_matmul_precision=" in out


def test_what_disagrees_is_told_below_the_table(run):
    status, out, _ = run(EVERY)
    assert status == 1
    below = out.split("not installed")[-2]
    assert f"{WRONG_CASE.name}: disagrees\n    {WRONG}\n    {UNLIKE}\n" in below
    assert f"{FAILING.name}: failed\n    ValueError: no <such> shape & size\n" in below
    assert str(GOOD) not in out
    assert out.endswith("\n3 of 6 cases agree, 1 disagree, 1 failed, 1 not installed\n")
    assert re.search(r"^loss definition <b>K=3</b> \[red\]x\[/red\] .* DISAGREES *$", out, re.MULTILINE)


def test_a_source_that_is_not_installed_is_counted_apart(run):
    status, out, _ = run([*AGREEING, MISSING])
    assert status == 0
    assert re.search(r"^mixup timm float32 +timm +0 +- +- +- +not installed *$", out, re.MULTILINE)
    assert out.endswith("\n2 of 3 cases agree, 1 not installed\n")


@pytest.mark.parametrize("cases", [[MISSING], [case("empty")], [FAILING], []])
def test_nothing_compared_is_no_success(run, cases):
    assert run(cases)[0] == 1


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_a_terminal_shows_every_name_and_figure_whole(run, monkeypatch, columns):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    name = "energy_regularized pytorch-ood bounded K=21841 scale=1e4 float32 probabilities"
    tall = Result("x", 1.234e-05, 2, 1.234e-05, 1.234e105)
    out = re.sub(r"\x1b\[[0-9;]*m", "", run([case(name, tall, source="incerto"), MISSING])[1])
    table = out[out.index("──") :].split("\n\n")[0].splitlines()
    assert all(len(line) <= columns for line in table)
    first, *rest = itertools.takewhile(lambda line: "timm" not in line, table[1:])
    assert all(text in first for text in ("incerto", "1.23e-05", "1.23e+105", "agrees"))
    assert " ".join([first.split(" incerto ")[0].strip(), *map(str.strip, rest)]).strip() == name


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("MIXUP", ["mixup definition float32", "mixup timm float32"]),
        ("mix*float??", ["mixup definition float32", "mixup timm float32"]),
        ("k=[13]", ["loss incerto K=10", WRONG_CASE.name]),
        ("*", [each.name for each in EVERY]),
    ],
)
def test_only_takes_the_cases_that_match_and_list_runs_none(run, pattern, names):
    status, out, _ = run(
        [Case(each.name, each.source, raising(AssertionError)) for each in EVERY], "--only", pattern, "--list"
    )
    assert (status, out.splitlines()) == (0, names)


def test_only_runs_no_other_case(run):
    assert run(EVERY, "--only", "incerto")[1].endswith("\n1 of 1 cases agree\n")


def test_a_pattern_that_matches_nothing_names_what_is_near(run):
    status, out, err = run(EVERY, "--only", "mixpu")
    assert (status, out) == (2, "")
    assert "no case matches 'mixpu'" in err
    assert "mixup definition float32" in err


def test_json_is_strict_and_has_everything(run, tmp_path):
    status, out, _ = run(EVERY, "--json", tmp_path / "report.json")
    assert status == 1

    def refuse(name):
        raise AssertionError(name)

    contents = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    assert set(contents["environment"]) >= {"versions", "sources", "devices", "matmul_precision", "jax_enable_x64"}
    assert contents["summary"] == {
        "text": out.splitlines()[-1], "succeeded": False, "cases": 6, "agrees": 3, "disagrees": 1, "failed": 1,
        "not_installed": 1,
    }  # fmt: skip
    rows = {row["name"]: row for row in contents["cases"]}
    assert list(rows) == [each.name for each in EVERY]
    assert [row["verdict"] for row in rows.values()] == ["agrees"] * 3 + ["not installed", "disagrees", "failed"]
    (overflow,) = rows["loss incerto K=10"]["results"]
    assert (overflow["difference"], overflow["source_error"], overflow["agrees"]) == ("inf", "inf", True)
    assert overflow["worst"] == {"at": [], "ours": 3.0, "source": "inf"}
    good, wrong, unlike = rows[WRONG_CASE.name]["results"]
    assert good == {**GOOD._asdict(), "worst": {"at": [1, 2], "ours": 0.1, "source": 0.2}, "notes": [], "agrees": True}
    assert (wrong["name"], wrong["error"], wrong["worst"]["at"], wrong["agrees"]) == ("grad <in>", 41, [3], False)
    assert (unlike["problem"], unlike["worst"]) == (UNLIKE.problem, None)
    assert rows[FAILING.name]["failure"] == "ValueError: no <such> shape & size"
    assert os.listdir(tmp_path) == ["report.json"]


class Reader(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def html(run, cases, folder):
    status, *_ = run(cases, "--html", folder / "report.html")
    return status, (folder / "report.html").read_text()


def test_html_needs_nothing_else_and_escapes(run, tmp_path):
    status, text = html(run, EVERY, tmp_path)
    assert status == 1
    tags = Reader(text).tags
    assert {tag for tag, _ in tags}.isdisjoint({"link", "iframe", "object", "b", "such", "in", "products"})
    for _, attributes in tags:
        for name in {"src", "href", "xlink:href", "srcset"} & set(attributes):
            assert attributes[name].startswith("data:")
    assert "http" not in re.sub(r"http-equiv|data:[^\"]*", "", text)
    assert "url(" not in text
    read = Reader(text).text
    for line in (WRONG_CASE.name, str(WRONG), UNLIKE.problem, "no <such> shape & size", "two <products>", str(GOOD)):
        assert line in read
    assert os.listdir(tmp_path) == ["report.html"]


def test_html_has_disagreements_first_and_every_training(run, tmp_path):
    _, text = html(run, [*AGREEING, MISSING, WRONG_CASE], tmp_path)
    rows = text[text.index('<table id="cases">') :]
    places = [rows.index(escape(each.name)) for each in (WRONG_CASE, *AGREEING, MISSING)]
    assert places == sorted(places)
    assert "img" in {tag for tag, _ in Reader(text).tags}
    for training in itertools.product(trajectories.METHODS, page.DTYPES):
        assert f"{' '.join(training)}: agrees" in text


def test_the_histograms_count_every_case_with_a_figure(run, tmp_path):
    _, text = html(run, EVERY, tmp_path)

    def total(name, bar):
        svg = text[text.index(f'<svg id="{name}"') :].split("</svg>")[0]
        return sum(int(a["data-count"]) for _, a in Reader(svg).tags if "data-count" in a and a["class"] == bar)

    assert (total("errors", "bar0"), total("errors", "bar1"), total("distances", "bar0")) == (3, 3, 4)


def test_a_value_falls_into_the_bin_that_ends_at_or_above_it():
    counts = page.bin_counts([0, 0.25, 0.26, 1, 64, 65, 2**20 + 1, np.inf, np.nan, None])
    expected = {"0": 1, "≤ ¼": 1, "≤ ½": 1, "≤ 1": 1, "≤ 64": 1, "≤ 2¹⁰": 1, "more": 1, "not finite": 2}
    assert {name: count for name, count in zip(page.BINS, counts, strict=True) if count} == expected


@pytest.mark.parametrize("fault", ["disagrees", "failed"])
def test_a_training_that_disagrees_counts(run, tmp_path, monkeypatch, fault):
    def faulty(method, dtype):
        if fault == "failed" and dtype == "float32":
            raise ValueError("diverged")
        return trajectory(method, dtype, share=2 if method == "mixup" else 0)

    monkeypatch.setattr(trajectories, "run", faulty)
    status, out, _ = run(AGREEING, "--html", tmp_path / "report.html")
    assert status == 1
    assert f"mixup float32: {fault}".lower() in out.lower()
    assert f"mixup float32: {fault}".lower() in (tmp_path / "report.html").read_text().lower()


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_file_that_cannot_be_written_is_found_before_anything_runs(run, tmp_path, option):
    (tmp_path / "file").touch()
    for file in (tmp_path / "no" / "f", tmp_path, tmp_path / "file" / "f", Path("/dev/null"), tmp_path / ("n" * 300)):
        status, out, err = run([Case("x", "definition", raising(SystemExit("ran")))], option, file)
        assert (status, out) == (2, "")
        assert f"argument {option}: cannot write {file}: " in err
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("arguments", [["--list", "--json", "f"], ["--json", "f", "--html", "f"], ["--nonsense"]])
def test_options_that_do_not_go_together_are_refused(run, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert run(AGREEING, *arguments)[0] == 2
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(run, tmp_path, monkeypatch):
    (tmp_path / "report.json").write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: raising(OSError("disk full"))())
    status, out, err = run(AGREEING, "--json", tmp_path / "report.json")
    assert (status, err) == (2, "cannot write the report: disk full\n")
    assert "2 of 2 cases agree" in out
    assert ((tmp_path / "report.json").read_text(), os.listdir(tmp_path)) == ("old", ["report.json"])


def test_an_interrupt_ends_it_shortly(run, tmp_path):
    interrupted = Case("x", "definition", raising(KeyboardInterrupt()))
    status, out, err = run([*AGREEING, interrupted], "--json", tmp_path / "report.json")
    assert (status, out, len(err.splitlines())) == (130, "", 1)
    assert os.listdir(tmp_path) == []
