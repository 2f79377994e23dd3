"""The README's code runs, and its table is the one that the demo wrote."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import ood_jax

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_training_step_runs_and_trains():
    code = CODE[0]
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


def test_the_flax_step_trains_and_keeps_batch_statistics():
    class Net(nnx.Module):
        def __init__(self):
            self.norm, self.head = nnx.BatchNorm(48, rngs=nnx.Rngs(0)), nnx.Linear(48, 10, rngs=nnx.Rngs(1))

        def __call__(self, x):
            return self.head(self.norm(x.reshape(len(x), -1)))

    scope = {"jnp": jnp, "ood_jax": ood_jax}
    exec(compile(CODE[1], "README.md", "exec"), scope)
    net = Net()
    optimizer = nnx.Optimizer(net, optax.adam(1e-2), wrt=nnx.Param)
    labels = jnp.arange(30) % 10
    images = jax.nn.one_hot(labels, 48).reshape(30, 4, 4, 3)
    outliers = jnp.full((30, 4, 4, 3), 0.1)
    losses = [
        scope["nnx_step"](net, optimizer, jax.random.fold_in(jax.random.key(0), number), images, labels, outliers)
        for number in range(60)
    ]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert float(jnp.abs(net.norm.mean[...]).max()) > 0.01


def test_scores_and_metrics_run():
    train, test, ood = (jax.random.normal(jax.random.key(seed), (100, 4)) for seed in range(3))
    labels = jnp.arange(100) % 10
    scope = {"train_features": train, "train_labels": labels, "test_features": test, "ood_features": 9 + ood}
    with jax.numpy_dtype_promotion("standard"):
        exec(compile(CODE[2], "README.md", "exec"), scope)
        assert eval(CODE[2].splitlines()[-1], scope).auroc == 1


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

    for module in (ood_jax, ood_jax.scores, ood_jax.metrics):
        for name, value in vars(module).items():
            if callable(value) and name[0].islower() and not name.startswith("_"):
                assert f"`{name}" in README or f".{name}(" in README, name
