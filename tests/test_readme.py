"""The README's code runs, and its table is the one that the demo wrote."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_training_step_runs_and_trains():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15

    def model(params, x):
        return x.reshape(len(x), -1) @ params

    scope = {"model": model}
    exec(compile(code, "README.md", "exec"), scope)
    key = jax.random.key(0)
    labels = jnp.arange(30) % 3
    images = jax.nn.one_hot(labels, 48).reshape(30, 4, 4, 3)
    outliers = jnp.full((30, 4, 4, 3), 0.1)
    params = jnp.zeros((48, 3))
    opt_state = scope["optimizer"].init(params)
    losses = []
    for number in range(100):
        step_key = jax.random.fold_in(key, number)
        params, opt_state, loss = scope["step"](params, opt_state, step_key, images, labels, outliers)
        losses.append(float(loss))
    assert losses[-1] < losses[0]


def test_the_table_is_the_demos():
    table = (ROOT / "docs/demo/table.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 5 * 2
    for row in rows:
        assert row in README


def test_links_lead_somewhere():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
            assert "://" in target or (document.parent / target).exists(), (document.name, target)


def test_every_public_function_is_in_the_readme():
    import ood_jax

    for name in vars(ood_jax):
        if callable(getattr(ood_jax, name)) and name[0].islower() and not name.startswith("_"):
            assert name in README
