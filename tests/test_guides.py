"""The code of the guides runs as it stands."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from benchmarks.hlo import collectives

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(autouse=True)
def default_promotion():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def run(name, blocks):
    code = re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    assert len(code) == blocks
    scope = {}
    for block in code:
        exec(compile(block, f"docs/{name}", "exec"), scope)
    return scope


def test_the_porting_guide_runs(capsys):
    run("porting.md", 10)
    assert "agrees" in capsys.readouterr().out


def test_the_guide_to_scores_runs():
    run("scores.md", 4)


def test_the_guide_to_metrics_runs():
    run("metrics.md", 2)


def test_the_guide_to_pods_runs():
    scope = run("pods.md", 6)
    arguments = jnp.zeros((32 * 32 * 3, 10)), 7, *(scope[name] for name in ("images", "labels", "outliers"))
    program = scope["loss_and_gradient"].lower(*arguments).compile().as_text()
    assert {collective.kind for collective in collectives(program)} == {"all-reduce"}


def test_the_guide_to_pods_runs_on_one_device(monkeypatch):
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    make_mesh = jax.make_mesh
    monkeypatch.setattr(jax, "make_mesh", lambda *args, **kwargs: make_mesh(*args, devices=one, **kwargs))
    run("pods.md", 6)
