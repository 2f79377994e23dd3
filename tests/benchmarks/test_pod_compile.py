"""Compiled for 8 and for 256 chips, nothing travels but scalars, and the memory of a chip stays the same.

Mixing moves little more through memory than it must, on two kinds of chips.
"""

import importlib.util
import json
import subprocess
import sys

import pytest

MIXING = [
    f"{name}, {form}"
    for name in ("mixup", "cutmix")
    for form in ("grouped", "4 groups a chip, λ a row", "grouped, backward", "grouped, tokens")
]
LOSSES = [f"{name}, and gradients" for name in ("outlier exposure", "energy, pairwise", "energy, mean")]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """By program, the figures for 8 chips, for 256, and for 8 of another kind."""
    out = tmp_path_factory.mktemp("pods") / "figures.json"
    command = [sys.executable, "-m", "benchmarks.pod_compile", "--json", str(out)]
    command += ["--topology", "v5e:2x4", "v5e:16x16", "v5p:2x2x2"]
    command += ["--only", *MIXING, *LOSSES, "mixup, global"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    rows = json.loads(out.read_text())
    return {name: [row for row in rows if row["program"] == name] for name in {row["program"] for row in rows}}


@pytest.mark.parametrize("program", MIXING)
def test_mixing_sends_nothing(figures, program):
    assert [row["chips"] for row in figures[program]] == [8, 256, 8]
    assert [row["collectives"] for row in figures[program]] == [{}, {}, {}]


@pytest.mark.parametrize("program", LOSSES)
def test_losses_send_scalars(figures, program):
    for row in figures[program]:
        assert set(row["collectives"]) == {"all-reduce"}
        assert row["collective_bytes"] < 128
    assert len({row["collective_bytes"] for row in figures[program]}) == 1


@pytest.mark.parametrize("program", MIXING + LOSSES)
def test_temporaries_do_not_grow_with_the_pod(figures, program):
    small, large = (row["temporary_bytes"] for row in figures[program])
    assert large <= small * 1.001
    # Of 128 images, 38.5 MB, a copy at most; where a chip has several groups, which are cut out of the lanes, five.
    assert small < (2e8 if "4 groups" in program else 1e8)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_moves_little_more_than_it_must(figures, name):
    least = 3 * 128 * 224 * 224 * 3 * 2  # two reads and one write of bfloat16
    for row in figures[f"{name}, grouped"]:
        assert row["accessed_bytes"] < 1.5 * least


def test_a_global_permutation_is_seen_to_send_the_batch_and_to_outgrow_a_chip(figures):
    small, large, _ = figures["mixup, global"]
    assert small["collectives"]["all-gather"] >= 1
    assert small["collective_bytes"] > 3e8
    assert "out of memory" in large["error"]
