"""The suite as a whole: nothing is left out, mistakes are told, and one row runs end to end."""

import inspect
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

import ood_jax
from benchmarks import mixing_forms, public_calls, record, row, themes, worker
from benchmarks.__main__ import choose, main, run_worker
from ood_jax import metrics
from parity import published

ITEMS = list(themes.items(quick=False))


def names(theme):
    return [item.name for item in ITEMS if item.theme == theme]


def test_names_are_unique():
    assert set(Counter((item.theme, item.name) for item in ITEMS).values()) == {1}


def test_every_theme_has_items():
    assert {item.theme for item in ITEMS} == set(themes.THEMES)


@pytest.mark.parametrize("n", [128, 32])
def test_mixing_has_every_form(n):
    size = f"{n}x3x224x224"
    for form in ("float32", "per example", "in 8 groups"):
        assert {f"mixup {form}, {size}", f"cutmix {form}, {size}"} <= set(names("mixing"))
    assert f"cutmix uint8, {size}" in names("mixing")
    assert {f"uint8 to {name} of bfloat16, {size}" for name in ("mixup", "cutmix")} <= set(names("pipeline"))


def test_losses_have_every_size_in_both_dtypes():
    losses = Counter(name.partition(",")[0] for name in names("losses"))
    assert set(losses.values()) == {5 * 2}
    assert len(losses) == 9
    assert sum("x262,144 bfloat16" in name for name in names("losses")) == 9


def test_large_arrays_run_under_both_allocators():
    twice = {item.name for item in ITEMS if item.pages}
    assert {*names("mixing"), *names("pipeline")} < twice
    assert {name for name in names("losses") if "x21,841 " in name} < twice
    assert not twice & {name for name in names("losses") if "x1,000 " in name}


def test_every_public_function_is_compiled():
    functions = [
        f"{module.__name__}.{name}"
        for module in (ood_jax, ood_jax.scores, metrics)
        for name, value in vars(module).items()
        if callable(value) and hasattr(value, "lower")
    ]
    assert len(functions) > 50
    assert set(functions) | {"import"} == set(names("startup"))


def test_a_public_function_without_a_call_is_told(monkeypatch):
    monkeypatch.setattr(metrics, "new_metric", lambda: None, raising=False)
    with pytest.raises(LookupError, match=r"it lacks \['ood_jax\.metrics\.new_metric'\]"):
        list(themes.items(quick=False))


def test_a_call_of_what_is_no_longer_public_is_told(monkeypatch):
    monkeypatch.delattr(metrics, "auroc")
    with pytest.raises(LookupError, match=r"has \['ood_jax\.metrics\.auroc'\], which are none"):
        list(themes.items(quick=False))


@pytest.mark.parametrize("name", public_calls.CALLS)
def test_calls_have_the_arguments_of_their_functions(name):
    call = public_calls.call(name)
    inspect.signature(call.function).bind(*call.arguments, **call.options)
    assert call.function is getattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2])


def test_a_missing_library_is_named_and_no_error(monkeypatch):
    source = SimpleNamespace(version="1.0", installed=None, extra="peers")
    monkeypatch.setattr(row, "SOURCES", {**published.SOURCES, "timm": source})
    assert row.published("timm", lambda module: pytest.fail("it is not there")) == "not installed"


def test_who_cannot_run_is_named_and_stops_nobody():
    def run():
        raise RuntimeError("dtypes do not match")

    assert row.compiled(run) == "does not compile: RuntimeError"
    assert row.published("definition", lambda module: run) == "fails: RuntimeError"
    assert row.published("definition", lambda module: module.OfAnotherVersion) == "fails: AttributeError"
    assert row.compiled(int) is int


def test_patterns_are_themes_or_names():
    assert {item.theme for item in choose(ITEMS, ["losses", "sampling"])} == {"losses", "sampling"}
    assert [item.name for item in choose(ITEMS, ["cutmix uint8*"])] == [
        "cutmix uint8, 128x3x224x224",
        "cutmix uint8, 32x3x224x224",
    ]
    assert choose(ITEMS, None) == ITEMS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "mixupp*"], "--only 'mixupp*' matches nothing; give a theme (mixing, "),
        (["--only", "losses", "nothing"], "--only 'nothing' matches nothing"),
        (["--against", "nowhere.json"], "nowhere.json does not hold a run"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_mistakes_are_told_before_anything_runs(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_row_that_fails_is_named_and_the_others_are_measured(monkeypatch, tmp_path):
    def broken():
        raise ValueError("no such row")

    items = [
        themes.Item("sampling", name, row.Row(name, build))
        for name, build in (("bad", broken), ("good", lambda: row.Contest(lambda: 0, {})))
    ]
    monkeypatch.setattr(themes, "items", lambda *, quick: items)
    worker.main("sampling", "default", ["bad", "good"], True, tmp_path / "record.json")
    found = record.read(tmp_path / "record.json")
    assert [each.name for each in found.rows] == ["good"]
    assert found.failed == [record.Failed("sampling", "bad", "default", "ValueError: no such row")]


def test_a_process_that_dies_leaves_what_it_had_measured(monkeypatch):
    left = record.Record({}, [], [record.Grown("growth", "mixup", "N", [1], {}, {})], [], [])

    def dies(command, **_):
        record.write(left, Path(json.loads(command[-1])["path"]))
        return SimpleNamespace(returncode=-9)

    monkeypatch.setattr(subprocess, "run", dies)
    found = run_worker("growth", "default", ["mixup by N", "cutmix by N"], quick=True)
    assert found.growth == left.growth
    assert found.failed == [record.Failed("growth", "cutmix by N", "default", "exit status -9")]


def test_partners_stay_in_their_groups():
    partner = mixing_forms.partners_in_groups(12, 3)
    assert sorted(partner.tolist()) == list(range(12))
    assert (partner // 4).tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_row_runs_end_to_end(tmp_path):
    stored, page = tmp_path / "run.json", tmp_path / "run.md"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "symmetric_beta*"]
    command += ["--json", str(stored), "--page", str(page)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(stored.read_text())
    (only,) = found["rows"]
    assert (only["theme"], only["name"], only["allocator"]) == ("sampling", "symmetric_beta, 100", "default")
    assert set(only["seconds"]) == {"ours", "jax.random.beta", "torch.distributions", "NumPy"}
    assert all(0 < lower <= median <= upper < 10 for lower, median, upper in only["seconds"].values())
    assert found["about"]["versions"]["jax"]
    assert found["about"]["arguments"] == {"only": ["symmetric_beta*"], "quick": True}
    assert "| symmetric_beta, 100 |" in page.read_text()
