"""A run goes on from the newest checkpoint that is whole, and says so; a damaged one is kept."""

import json
import shutil

import jax
import numpy as np
import pytest

from examples.pod import checkpoints, folder
from examples.pod.data import load_digits
from examples.pod.runtime import Refused
from examples.pod.train import digest, flatten

from .conftest import EVERY, STEPS, as_at_step, compiled_once, contents, outcome

NEWEST, BEFORE = STEPS, STEPS - EVERY


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fill_with_garbage(path):
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove(path):
    path.unlink()


DAMAGES = [truncate, fill_with_garbage, remove, flip_a_bit]
FILES = {"data": "state/*/d/*", "index": "state/d/*", "manifest": "state/manifest.ocdbt", "run": "run/metadata"}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_damage_of_any_file_is_noticed(file, damage, finished, like, tmp_path):
    out = shutil.copytree(finished, tmp_path / "run")
    # Of many files the largest.
    files = (out / folder.CHECKPOINTS / str(NEWEST)).glob(FILES[file])
    damage(max(files, key=lambda path: path.stat().st_size))
    before = contents(out)
    found = checkpoints.read_newest(out, {}, like)
    assert found.step == BEFORE
    assert list(found.damage) == [NEWEST]
    assert digest(found.flat) == written(out, BEFORE)
    assert contents(out) == before


def test_a_damaged_checkpoint_is_kept_and_the_run_ends_the_same(here, finished, tmp_path, capfd):
    out = shutil.copytree(finished, tmp_path / "run")
    for step in (NEWEST, BEFORE):
        truncate(out / folder.CHECKPOINTS / str(step) / "state" / "_METADATA")
    was = contents(out / folder.CHECKPOINTS / str(NEWEST))
    here(out)
    said = capfd.readouterr().err
    for step in (NEWEST, BEFORE):
        assert f"checkpoint {step} is damaged" in said
        assert f"moved to {out / folder.DAMAGED / str(step)}, going back to step {BEFORE - EVERY}" in said
    assert list(contents(out / folder.DAMAGED / str(NEWEST)).values()) == list(was.values())
    assert outcome(out) == outcome(finished)
    # Once more, with another of the same number.
    truncate(out / folder.CHECKPOINTS / str(NEWEST) / "state" / "_METADATA")
    here(out)
    assert sorted(path.name for path in (out / folder.DAMAGED).iterdir()) == [str(BEFORE), str(NEWEST), f"{NEWEST}-2"]
    assert outcome(out) == outcome(finished)


def test_when_none_can_be_read_nothing_is_touched(finished, like, tmp_path):
    out = shutil.copytree(finished, tmp_path / "run")
    for path in out.glob("checkpoints/*/run/metadata"):
        remove(path)
    before = contents(out)
    with pytest.raises(Refused, match=r"no checkpoint in .* can be read"):
        checkpoints.read_newest(out, {}, like)
    assert contents(out) == before


def test_of_a_half_written_checkpoint_there_is_no_word(here, finished, tmp_path, capfd):
    out = as_at_step(BEFORE, finished, tmp_path / "run")
    half = out / folder.CHECKPOINTS / f"{NEWEST}.orbax-checkpoint-tmp"
    shutil.copytree(finished / folder.CHECKPOINTS / str(NEWEST) / "run", half / "run")
    here(out)
    assert "damaged" not in capfd.readouterr().err
    assert not half.exists()
    assert outcome(out) == outcome(finished)


@pytest.mark.parametrize("step", [0, EVERY, BEFORE])
def test_resumed_it_ends_the_same(step, here, finished, tmp_path):
    out = tmp_path / "run"
    if step in (0, EVERY):
        here(out, "--steps", max(step, 1))
    if step == 0:
        shutil.rmtree(out / folder.CHECKPOINTS / "1")
    if step == BEFORE:
        as_at_step(step, finished, out)
    here(out)
    assert outcome(out) == outcome(finished)


def test_a_finished_run_stays_as_it_is(here, finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "run")
    (out / folder.RESULT).unlink()
    here(out)
    assert outcome(out) == outcome(finished)


def test_the_digest_tells_every_bit():
    flat = {"a": np.zeros(3, np.float32), "b": np.ones(2, np.int32)}
    others = [
        {**flat, "a": np.array([0, -0.0, 0], np.float32)},
        {**flat, "a": np.zeros((3, 1), np.float32)},
        {**flat, "b": np.ones(2, np.uint32)},
        {"a": flat["a"], "c": flat["b"]},
    ]
    assert digest(dict(reversed(flat.items()))) == digest(flat)
    assert len({digest(other) for other in (flat, *others)}) == 5


def written(out, step):
    return json.loads((out / folder.CHECKPOINTS / str(step) / "run" / "metadata").read_text())["digest"]


@pytest.fixture(scope="module")
def like():
    return flatten(jax.device_get(compiled_once(load_digits(0), seed=0, groups=8).init()))
