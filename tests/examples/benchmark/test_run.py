"""The command, as its user runs it, with networks that are trained for a few steps."""

import csv
import json

import jax.numpy as jnp
import numpy as np
import pytest

from examples import fashion
from examples.benchmark import cells, cli, data, evaluate, experiment
from examples.benchmark.cells import Cell
from examples.benchmark.evaluate import Head, Outputs
from examples.benchmark.experiment import Settings
from examples.benchmark.recipe import METHODS, RECIPES
from examples.fashion import Labelled
from ood_jax import scores

SHORT = RECIPES["digits"]._replace(epochs=1, tuning_epochs=1, batch=256)
METHOD = "outlier-exposure-tuned"


@pytest.fixture
def few_scores(monkeypatch):
    """Two that need no fit; all have a test of their own."""
    two = {
        "msp": lambda outputs: scores.msp_score(outputs.logits),
        "energy": lambda outputs: scores.energy_score(outputs.logits),
    }
    monkeypatch.setattr(experiment, "fit_scores", lambda *_: two)


@pytest.fixture
def short(monkeypatch):
    """Few steps and few test images, as many of each set and for each seed, so that little is compiled."""

    def load_task(*args, **options):
        task = data.load_task(*args, **options)
        test, unknown = Labelled(*(part[:100] for part in task.test)), task.unknown
        return task._replace(test=test, unknown={name: images[:100] for name, images in unknown.items()})

    monkeypatch.setattr(experiment, "load_task", load_task)
    experiment._load_task.cache_clear()
    monkeypatch.setitem(RECIPES, "digits", SHORT)
    yield
    experiment._load_task.cache_clear()


def command(out, *more):
    cli.main(["--datasets", "digits", "--methods", METHOD, "--seeds", "0", "3", "--out", str(out), *more])


def test_runs_resumes_and_writes_its_page(tmp_path, short, few_scores, monkeypatch):
    trained, measured = [], []
    train, measure = experiment.train, experiment.measure
    monkeypatch.setattr(
        cli, "train", lambda settings, cell, report: (trained.append(cell), train(settings, cell, report))
    )
    monkeypatch.setattr(cli, "measure", lambda settings, cell: (measured.append(cell), measure(settings, cell))[1])

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(cells, "save_rows", killed)  # the first network is trained, and that is all
        with pytest.raises(Killed):
            command(tmp_path, "--framework", "both")
    assert trained == [Cell("digits", "baseline", "jax", 0)]

    command(tmp_path, "--framework", "both")
    every = [
        Cell("digits", method, framework, seed)
        for seed in (0, 3)
        for method in ("baseline", METHOD)
        for framework in ("jax", "torch")
    ]
    assert trained == every
    assert measured == [every[0], *every]

    command(tmp_path, "--framework", "both")
    assert len(trained) == len(every)

    page = (tmp_path / "results.md").read_text()
    assert f"| {METHOD} |" in page
    assert "Trained in PyTorch" in page
    assert "figures agree within two standard errors" in page
    for picture in ("detection.png", "calibration.png", "scores.png"):
        assert picture in page
        assert (tmp_path / picture).stat().st_size > 5000
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    # For each network two scores, four sets and three metrics, and three of its own.
    assert len(rows) == len(every) * (2 * 4 * 3 + 3)
    assert all(0 <= float(row["value"]) <= 2 for row in rows)
    values = json.loads((tmp_path / "results.json").read_text())["values"]
    accuracy = next(value for value in values if value["metric"] == "accuracy" and value["method"] == METHOD)
    assert accuracy["mean"] == pytest.approx(np.mean(list(accuracy["seeds"].values())))


def test_results_of_another_recipe_are_refused(tmp_path, short, few_scores, monkeypatch, capsys):
    options = ["--datasets", "digits", "--methods", "baseline", "--seeds", "0", "--out", str(tmp_path)]
    cli.main(options)
    monkeypatch.setitem(RECIPES, "digits", SHORT._replace(learning_rate=0.3))
    with pytest.raises(SystemExit):
        cli.main([*options, "--seeds", "1"])  # another seed, which would share a mean with the first
    assert "is of another recipe; choose another --out" in capsys.readouterr().err


def test_a_network_trained_anew_is_measured_anew(tmp_path):
    cell, training = Cell("digits", "baseline", "jax", 0), cells.Training("one", [1.0])
    cells.save_trained(tmp_path, cell, {"w": np.zeros(2)}, training)
    cells.save_rows(tmp_path, cell, "one", [evaluate.Row("accuracy", 0.5)])
    assert cells.is_measured(tmp_path, cell, "one")
    assert not cells.is_measured(tmp_path, cell, "with another score")
    cells.save_trained(tmp_path, cell, {"w": np.ones(2)}, training)
    assert not cells.is_measured(tmp_path, cell, "one")


def test_what_changes_a_result_changes_its_fingerprint(tmp_path, monkeypatch):
    settings, cell = Settings(tmp_path), Cell("digits", "mixup", "jax", 0)
    trained, measured = [settings.fingerprint(cell)], [settings.measured_fingerprint(cell)]
    for where, name in ((experiment, "MIXUP_ALPHA"), (data, "AUXILIARY"), (evaluate, "NEIGHBOURS"), (data, "TEXTURES")):
        monkeypatch.setattr(where, name, (9,))
        trained.append(settings.fingerprint(cell))
        measured.append(settings.measured_fingerprint(cell))
    assert len(set(trained)) == 3
    assert len(set(measured)) == 5
    assert trained[-1] != settings.fingerprint(cell._replace(method="cutmix"))
    assert trained[-1] == settings.fingerprint(cell._replace(seed=1))


def test_one_network_that_fails_costs_no_other(tmp_path, short, few_scores, monkeypatch):
    real = experiment.measure

    def measure(settings, cell):
        if cell.seed == 0:
            raise ValueError("`scores_in` must not hold NaN")
        return real(settings, cell)

    monkeypatch.setattr(cli, "measure", measure)
    options = ["--datasets", "digits", "--methods", "baseline", "--seeds", "0", "1", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match="digits-baseline-jax-0: `scores_in` must not hold NaN"):
        cli.main(options)
    assert "Seeds 1." in (tmp_path / "results.md").read_text()


def test_a_missing_library_is_told_before_any_training(tmp_path, monkeypatch, capsys):
    def import_module(name, package):
        raise ModuleNotFoundError("no", name="torch")

    monkeypatch.setattr(experiment.importlib, "import_module", import_module)
    with pytest.raises(SystemExit):
        cli.main(["--datasets", "digits", "--framework", "torch", "--out", str(tmp_path)])
    assert "--framework torch needs torch; pip install '.[parity,peers]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "dropout"], "argument --methods: invalid choice: 'dropout'"),
        (["--seeds", "-1"], "argument --seeds: must be at least 0, got -1"),
        (["--datasets", "fashion", "--fashion", "/nowhere"], "/nowhere lacks train-images-idx3-ubyte.gz"),
        (["--datasets", "digits", "--out", "/proc/no"], "argument --out: cannot make the folder /proc/no"),
    ],
)
def test_a_bad_option_ends_the_run_before_it_starts(options, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        cli.main(options)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_every_score_tells_outliers_that_are_plain_to_see():
    """Each class has eight units of its own; outliers excite all alike, and little."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    centres = 3 * np.repeat(np.eye(3, 4), 8, axis=1)
    known = np.abs(rng.normal(0, 0.3, (300, 32)) + centres[labels]).astype(np.float32)
    strange = np.abs(rng.normal(0, 0.6, (200, 32))).astype(np.float32)
    head = Head(jnp.asarray(centres.T, jnp.float32), jnp.zeros(3))

    def outputs(features):
        return Outputs(jnp.asarray(features), head(jnp.asarray(features)))

    score_of = evaluate.fit_scores(outputs(known[:200]), labels[:200], head)
    rows = evaluate.evaluate(score_of, outputs(known[200:]), labels[200:], {"near": outputs(strange)})
    aurocs = {row.score: row.value for row in rows if row.metric == "auroc"}
    assert len(aurocs) == 12
    # ASH keeps three units of 32, and few of these tell; a score turned round would be below a half.
    assert min(aurocs.values()) > 0.75, aurocs
    assert next(row.value for row in rows if row.metric == "accuracy") == 1


def test_bounds_of_energies_that_are_the_wrong_way_round_are_refused():
    """As a network that has hardly been trained has them; the loss would be NaN."""
    task = experiment.load_task("digits", 0)
    logits = {id(task.train.x): jnp.zeros((5, 6)), id(task.outliers): jnp.ones((5, 6))}

    def predict(weights, x):
        return Outputs(jnp.zeros(0), logits[id(x.base)])

    with pytest.raises(fashion.Refused, match="the baseline gives outliers the lower mean energy"):
        experiment.calibrate(predict, {}, task)


def test_every_cell_comes_after_its_baseline_and_whole_seeds_come_first():
    order = list(cells.cells(["digits", "fashion"], [*METHODS][::-1], ["jax"], [4, 2]))
    assert [cell.seed for cell in order] == [4] * 18 + [2] * 18
    for cell in order:
        assert order.index(cell.baseline) <= order.index(cell)
    assert len(set(order)) == len(order)
