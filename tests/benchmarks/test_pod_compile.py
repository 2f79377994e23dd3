"""Compiled for 8 and for 256 chips, nothing travels but scalars, and the memory of a chip stays the same.

Mixing moves little more through memory than it must, on two kinds of chips, and losses read three times and write once.
"""

import importlib.util
import json
import subprocess
import sys

import pytest

MIXING = [
    f"{name}, {form}"
    for name in ("mixup", "cutmix")
    for form in ("grouped", "4 groups a chip, λ a row", "grouped, backward")
]
KINDS = ("outlier exposure", "energy, pairwise", "energy, mean", "mixup cross entropy")
LOSSES = [f"{name}, and gradients" for name in KINDS]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")


def compiled(out, topologies, programs):
    """By program, the figures for each topology."""
    command = [sys.executable, "-m", "benchmarks.pod_compile", "--json", str(out)]
    command += ["--topology", *topologies, "--only", *programs]
    run = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    rows = json.loads(out.read_text())
    return {name: [row for row in rows if row["program"] == name] for name in {row["program"] for row in rows}}


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """For 8 chips and for 256."""
    out = tmp_path_factory.mktemp("pods") / "figures.json"
    return compiled(out, ["v5e:2x4", "v5e:16x16"], [*MIXING, *LOSSES, "mixup, global"])


@pytest.mark.parametrize("program", MIXING)
def test_mixing_sends_nothing(figures, program):
    assert [row["chips"] for row in figures[program]] == [8, 256]
    assert [row["collectives"] for row in figures[program]] == [{}, {}]


@pytest.mark.parametrize("program", LOSSES)
def test_losses_send_scalars(figures, program):
    small, large = figures[program]
    for row in (small, large):
        assert set(row["collectives"]) == {"all-reduce"}
        # Counts, and two sums in two parts each: the compiler has not added the parts up before they travel.
        assert 20 <= row["collective_bytes"] < 128
    assert small["collective_bytes"] == large["collective_bytes"]


@pytest.mark.parametrize("program", MIXING + LOSSES)
def test_temporaries_do_not_grow_with_the_pod(figures, program):
    small, large = (row["temporary_bytes"] for row in figures[program])
    assert large <= small * 1.001
    assert small < 1e8  # of 128 images, 38.5 MB, two copies at most


def test_mixing_moves_little_more_than_it_must(tmp_path):
    forms = [f"{name}, grouped{shape}" for name in ("mixup", "cutmix") for shape in ("", ", tokens")]
    forms += [f"{name}, 4 groups a chip, λ a row" for name in ("mixup", "cutmix")]
    figures = compiled(tmp_path / "figures.json", ["v5e:2x4", "v5p:2x2x2"], forms)
    least = 3 * 128 * 224 * 224 * 3 * 2  # two reads and one write of bfloat16; tokens are as many
    moved = {(name, row["topology"]): row["accessed_bytes"] / least for name in forms for row in figures[name]}
    assert len(moved) == 12
    assert max(moved.values()) < 1.5, moved


SOFT = "outlier exposure, class probabilities"


@pytest.fixture(scope="module")
def losses_of_many_rows(tmp_path_factory):
    out = tmp_path_factory.mktemp("losses") / "figures.json"
    return compiled(out, ["v5e:2x4"], [*(f"{name}, many rows, and gradients" for name in KINDS), f"{SOFT}, *"])


@pytest.mark.parametrize("kind", KINDS)
def test_losses_do_not_fetch_their_labels(losses_of_many_rows, kind):
    # A logit fetched by itself costs a tile of 4 kB, as much as a row: another reading for each label.
    (row,) = losses_of_many_rows[f"{kind}, many rows, and gradients"]
    sides = 1 if kind.startswith("mixup") else 2
    # Three readings and a writing of each side, and for KL one more of the outliers, to seek their mean.
    most = 4.6 if kind.startswith("outlier") else 4.1
    assert row["accessed_bytes"] / (sides * 65_536 * 1_000 * 4) < most


def test_losses_of_class_probabilities_read_no_more_than_log_softmax(losses_of_many_rows):
    ours, plain = (losses_of_many_rows[f"{SOFT}, {form}"][0] for form in ("and gradients", "with log_softmax"))
    # A writing of each side and nine readings, three of them of the outliers for KL.
    assert ours["accessed_bytes"] / (4_096 * 21_841 * 4) < 11.1
    assert ours["accessed_bytes"] < 1.01 * plain["accessed_bytes"]


def test_a_global_permutation_is_seen_to_send_the_batch_and_to_outgrow_a_chip(figures):
    small, large = figures["mixup, global"]
    assert small["collectives"]["all-gather"] >= 1
    assert small["collective_bytes"] > 3e8
    assert "out of memory" in large["error"]
