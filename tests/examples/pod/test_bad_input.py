"""Bad input ends with exit status 2 and a message that says what to do, and the folder is as it was."""

import json
import shutil
from pathlib import Path

import jax
import pytest

from examples.pod import data, folder, run
from examples.pod.cli import parse

from .conftest import STEPS, contents

BAD = [
    (["--steps", "0"], "--steps: must be at least 1, got 0"),
    (["--batch", "many"], "--batch: must be a whole number, got 'many'"),
    (["--data", "letters"], "--data: invalid choice: 'letters'"),
    (["--coordinator", "host:1"], "--coordinator, --processes and --process go together"),
    (["--processes", "2"], "--coordinator, --processes and --process go together"),
    (["--coordinator", "host:1", "--processes", "2", "--process", "2"], "--process: must be at most 1, got 2"),
    (["--coordinator", "host", "--processes", "2", "--process", "1"], "--coordinator: must be HOST:PORT, got 'host'"),
]
DEVICES = jax.device_count()
LAYOUTS = [
    (["--groups", DEVICES + 1], f"--groups {DEVICES + 1} is not a multiple of the {DEVICES} devices"),
    (["--batch", "36"], "--batch 36 is not a multiple of --groups 8"),
]
OTHERS = [("--seed", "1", "seed"), ("--batch", "16", "batch"), ("--groups", "16", "groups")]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_a_bad_option_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit_info:
        parse(arguments)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), LAYOUTS, ids=["groups", "batch"])
def test_devices_and_groups_must_divide_the_batch(arguments, message, here, tmp_path, capfd):
    refused(here, tmp_path / "new", arguments, message, capfd)
    assert not (tmp_path / "new").exists()


def test_processes_must_divide_the_batch(monkeypatch):
    monkeypatch.setattr(run.jax, "process_count", lambda: 3)
    with pytest.raises(run.Refused, match="--batch 32 is not a multiple of the 3 processes"):
        run.check_layout(parse(["--batch", "32"]))


@pytest.mark.parametrize(("option", "value", "name"), OTHERS, ids=[name for _, _, name in OTHERS])
def test_a_checkpoint_of_other_options_is_named(option, value, name, here, copy, capfd):
    refused(here, copy, [option, value], f"is of another run: its {name} is", capfd)


@pytest.mark.parametrize("name", ["model", "method", "data"])
def test_a_checkpoint_of_another_model_or_method_is_named(name, here, copy, capfd):
    described = copy / folder.CHECKPOINTS / str(STEPS) / "run" / "metadata"
    described.write_text(json.dumps({**json.loads(described.read_text()), name: "another"}))
    refused(here, copy, [], f"is of another run: its {name} is 'another', here it is", capfd)


def test_a_run_that_is_further_than_asked_is_left_alone(here, copy, capfd):
    refused(here, copy, ["--steps", "8"], f"is at step {STEPS} already", capfd)


def test_metrics_without_checkpoints_are_left_alone(here, copy, capfd):
    shutil.rmtree(copy / folder.CHECKPOINTS)
    refused(here, copy, [], "metrics.jsonl is there, but none of its checkpoints", capfd)


def test_a_folder_in_use_is_left_alone(here, copy, capfd):
    with folder.lock(copy) as free:
        assert free
        refused(here, copy, [], "another run is at work in this folder", capfd)
    with folder.lock(copy) as free:
        assert free


@pytest.mark.parametrize("out", [Path(__file__), Path("/proc"), Path("/proc/new")], ids=str)
def test_an_unwritable_folder_is_named(out, here, capfd):
    # Not by its permissions, which do not hold for root.
    with pytest.raises(SystemExit) as exit_info:
        here(out)
    assert exit_info.value.code == 2
    assert f"--out {out}: cannot write to this folder" in capfd.readouterr().err


def test_missing_data_is_named_with_where_to_get_it(here, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(data, "FASHION", tmp_path / "none")
    refused(here, tmp_path / "new", ["--data", "fashion"], "install Debian's package dataset-fashion-mnist", capfd)
    assert not (tmp_path / "new").exists()


@pytest.fixture
def copy(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def refused(here, out, options, message, capfd):
    before = contents(out)
    with pytest.raises(SystemExit) as exit_info:
        here(out, *options)
    assert exit_info.value.code == 2
    assert message in capfd.readouterr().err
    assert contents(out) == before
