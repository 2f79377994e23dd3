import subprocess
import sys
from pathlib import Path

import pytest

from examples.digits import __main__ as digits
from examples.digits import experiment
from examples.digits.cli import parse
from examples.digits.methods import METHODS
from examples.linen import __main__ as linen

ROOT = Path(__file__).parents[2]
BAD = [
    (["--splits", "0"], "--splits: must be at least 1, got 0"),
    (["--splits", "two"], "--splits: must be a whole number, got 'two'"),
    (["--steps", "-3"], "--steps: must be at least 1, got -3"),
    (["--seed", "-1"], "--seed: must be at least 0, got -1"),
    (["--seed", str(2**32)], "--seed: must be at most 4294967295"),
    (["--methods", "baseline", "odin"], "--methods: invalid choice: 'odin'"),
    (["--methods"], "--methods: expected at least one argument"),
    (["--epochs", "3"], "unrecognized arguments: --epochs 3"),
    (["--out", __file__], "--out: cannot make the folder"),
]


@pytest.mark.parametrize("main", [digits.main, linen.main], ids=["digits", "linen"])
@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments)[:20] for arguments, _ in BAD])
def test_a_bad_option_is_named_before_any_training(main, arguments, message, monkeypatch, capsys):
    def run(*_, **__):
        raise AssertionError("training started")

    monkeypatch.setattr(experiment, "run", run)
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("example", ["digits", "linen"])
def test_an_example_runs_as_a_module(example):
    command = [sys.executable, "-W", "error", "-m", f"examples.{example}", "--splits", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert f"examples.{example}: error: argument --splits" in done.stderr


def test_by_default_every_method_runs(tmp_path):
    options = parse([], prog="example", splits=5, out=tmp_path / "new")
    assert options.methods == list(METHODS)
    assert options.splits == 5
    assert (tmp_path / "new").is_dir()
