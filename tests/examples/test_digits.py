"""The digits example from its command line, at a small size.

The trends are those of the full run that already stand clear of chance after a tenth of its training.
"""

import contextlib
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from examples.digits import experiment
from examples.digits.__main__ import main
from examples.digits.evaluate import METRICS, SCORES, UNKNOWNS
from examples.digits.methods import METHODS

STEPS = 80
SPLITS = 2


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One run of the whole example: its folder, what it printed, and what `experiment.run` was given and gave."""
    out = tmp_path_factory.mktemp("digits") / "made" / "on the way"
    result = SimpleNamespace(out=out)

    def run(trainers, **settings):
        result.settings = settings
        result.outcomes = run_experiment(trainers, **settings)
        return result.outcomes

    run_experiment = experiment.run
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setattr(experiment, "run", run)
        main(["--splits", str(SPLITS), "--steps", str(STEPS), "--seed", "5", "--out", str(out)])
    result.printed = printed.getvalue()
    result.json = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return result


@pytest.mark.parametrize("method", METHODS)
def test_the_network_learns_the_known_digits(ran, method):
    cells = ran.json["methods"][method]
    assert cells["accuracy"]["mean"] > 0.85  # chance is 1/6
    for outcome in ran.outcomes[method]:
        assert len(outcome.losses) == STEPS
        assert outcome.losses[-20:].mean() < 0.75 * outcome.losses[:5].mean()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unknown", UNKNOWNS)
@pytest.mark.parametrize("score", SCORES)
def test_unknown_images_score_higher_than_known_ones(ran, method, unknown, score):
    assert ran.json["methods"][method][unknown][score]["auroc"]["mean"] > 0.7


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_mixing_makes_the_network_less_sure_of_the_known(ran, method):
    # The label of a mixed image is uncertain, so the loss cannot go to 0 nor the probabilities to 1.
    mixed, baseline = ran.outcomes[method], ran.outcomes["baseline"]
    assert final_loss(mixed) > final_loss(baseline) + 0.3
    assert mean_score(mixed, "softmax", "known") > mean_score(baseline, "softmax", "known") + 0.04


def test_outlier_exposure_makes_predictions_on_outliers_uniform(ran):
    exposed, baseline = ran.outcomes["outlier-exposure"], ran.outcomes["baseline"]
    assert 1 - mean_score(exposed, "softmax", "far") < 0.35  # 1/6 is uniform
    assert 1 - mean_score(baseline, "softmax", "far") > 0.4
    assert 1 - mean_score(exposed, "softmax", "known") > 0.8


def test_energy_loss_separates_the_energies_by_at_least_its_margin(ran):
    def gap(outcomes):
        return mean_score(outcomes, "energy", "far") - mean_score(outcomes, "energy", "known")

    assert gap(ran.outcomes["energy"]) > 10
    assert gap(ran.outcomes["energy"]) > gap(ran.outcomes["baseline"]) + 5


@pytest.mark.parametrize(("method", "score"), [("outlier-exposure", "softmax"), ("energy", "energy")])
def test_training_on_outliers_detects_those_of_another_photograph(ran, method, score):
    trained, baseline = (ran.json["methods"][name]["far"][score] for name in (method, "baseline"))
    assert trained["auroc"]["mean"] > 0.99
    assert trained["auroc"]["mean"] >= baseline["auroc"]["mean"]
    assert trained["fpr95"]["mean"] <= min(baseline["fpr95"]["mean"], 0.08)


def test_results_hold_every_cell_and_its_splits(ran):
    methods = ran.json["methods"]
    assert list(methods) == list(METHODS)
    for cells in methods.values():
        assert set(cells) == {"accuracy", *UNKNOWNS}
        detection = [cells[unknown][score][metric] for unknown in UNKNOWNS for score in SCORES for metric in METRICS]
        for cell in (cells["accuracy"], *detection):
            assert len(cell["splits"]) == SPLITS
            assert all(0 <= value <= 1 for value in cell["splits"])
            assert cell["mean"] == pytest.approx(np.mean(cell["splits"]))
            assert cell["standard_error"] == pytest.approx(np.abs(np.diff(cell["splits"]))[0] / 2)
    assert len({tuple(cells["near"]["energy"]["auroc"]["splits"]) for cells in methods.values()}) == len(METHODS)


def test_results_say_how_they_were_made(ran):
    assert ran.json["settings"] == {"splits": SPLITS, "steps": STEPS, "seed": 5, "methods": list(METHODS)}
    assert {name: ran.settings[name] for name in ("splits", "steps", "seed")} == {
        "splits": SPLITS,
        "steps": STEPS,
        "seed": 5,
    }
    assert ran.json["seconds"] > 0
    assert {"ood-jax", "jax", "flax"} <= set(ran.json["versions"])


def test_the_tables_show_the_results(ran):
    def shown(cell):
        return f"{100 * cell['mean']:.1f} ± {100 * cell['standard_error']:.1f}"

    markdown = (ran.out / "table.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if "±" in line and "|" in line
    ]
    expected = []
    for method, cells in ran.json["methods"].items():
        detection = {
            score: [
                shown(cells[unknown][score][metric]) for unknown in ("near", "far") for metric in ("auroc", "fpr95")
            ]
            for score in ("softmax", "energy")
        }
        expected.append([method, "softmax", shown(cells["accuracy"]), *detection["softmax"]])
        expected.append(["", "energy", "", *detection["energy"]])
    assert rows == expected
    assert f"standard error of {SPLITS} splits" in markdown
    printed = [line.split() for line in ran.printed.splitlines()]
    assert [" ".join(row).split() for row in expected] == [
        line for line in printed if line[1:2] and "±" in line and line[0] != "Per"
    ]


def test_the_table_fits_100_columns(ran):
    assert max(len(line) for line in ran.printed.splitlines()) <= 100


@pytest.mark.parametrize("name", ["roc", "scores", "mixed"])
def test_pictures_are_saved(ran, name):
    from matplotlib.image import imread

    picture = imread(ran.out / f"{name}.png")
    assert min(picture.shape[:2]) > 500
    assert picture[..., :3].std() > 0.05  # not blank


def test_a_folder_with_a_single_split_has_no_standard_error(tmp_path, capsys):
    main(["--splits", "1", "--steps", "1", "--methods", "baseline", "baseline", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(results["methods"]) == ["baseline"]
    assert results["methods"]["baseline"]["accuracy"]["standard_error"] is None
    assert "±" not in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "one split" in capsys.readouterr().out


def final_loss(outcomes):
    return np.mean([outcome.losses[-20:] for outcome in outcomes])


def mean_score(outcomes, score, source):
    return np.mean([getattr(outcome.scores[score], source).mean() for outcome in outcomes])
