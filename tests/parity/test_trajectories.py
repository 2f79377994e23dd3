import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch.nn import functional

from parity import definitions, trajectories
from parity.trajectories import (
    LEARNING_RATE,
    METHODS,
    MOMENTUM,
    Losses,
    SourceNetwork,
    Trajectory,
    train_source,
)

DTYPES = ("float32", "float64")
SHORT = 30


@functools.cache
def short(method, dtype):
    return trajectories.run(method, dtype, steps=SHORT)


def with_source(method, dtype):
    """The short run, its source trained again, as a test has it by now."""
    return short(method, dtype)._replace(source=train_source(method, dtype, steps=SHORT))


# The five methods.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_both_frameworks_train_alike(method, dtype):
    trajectory = short(method, dtype)
    assert trajectory.agrees, trajectory
    # A network that stood still would agree with any other.
    assert trajectory.ours[-5:].mean() < 0.9 * trajectory.ours[0]


def test_float32_chaos_of_a_whole_run_is_not_in_float64():
    single, double = (trajectories.run("cutmix", dtype) for dtype in DTYPES)
    assert single.agrees, single
    assert double.agrees, double
    step = single.chaos_step()
    assert step is not None
    assert 10 < step < trajectories.STEPS
    assert double.chaos_step() is None
    assert double.differences[step] < 1e-6 * single.differences[step]
    assert single.growth[-1] > 100 * single.growth[0]


def test_no_pair_of_the_energy_loss_is_within_roundings_of_the_hinge():
    # There a larger rounding would have an effect out of proportion, and float32 might take the other side.
    growth, plain = trajectories.growth("energy"), trajectories.train_ours("energy", "float64")
    size = trajectories.ROUNDINGS * 2.0**-24
    for seed in (10, 11):
        for signed in (size, -size):
            changed = trajectories.train_ours("energy", "float64", perturbation=signed, seed=seed)
            assert (np.abs(changed - plain) <= 4 * size * growth).all()


# Planted faults. Those of the optimizer and the weights do not depend on the method.

MARKED = 100  # how many times what is allowed a fault is apart


@pytest.mark.parametrize(
    "optimizer",
    [
        functools.partial(torch.optim.SGD, lr=1.01 * LEARNING_RATE, momentum=MOMENTUM),
        functools.partial(torch.optim.SGD, lr=LEARNING_RATE, momentum=0.99 * MOMENTUM),
        functools.partial(torch.optim.SGD, lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True),
        functools.partial(torch.optim.SGD, lr=LEARNING_RATE, momentum=MOMENTUM, dampening=0.1),
        functools.partial(torch.optim.SGD, lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=1e-4),
    ],
    ids=["learning rate off by 1%", "momentum off by 1%", "Nesterov", "dampening", "weight decay"],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_another_optimizer_is_reported(monkeypatch, optimizer, dtype):
    monkeypatch.setattr(trajectories, "source_optimizer", lambda network: optimizer(network.parameters()))
    assert MARKED < with_source("outlier exposure", dtype).share < np.inf


def sides_swapped(params):
    weights = trajectories.source_weights(params)
    return {name: weight.mT if weight.ndim == 4 else weight for name, weight in weights.items()}


def flattened_in_flax_order(params):
    kernel = torch.from_numpy(params["output"]["kernel"].T.copy())
    return trajectories.source_weights(params) | {"output.weight": kernel}


@pytest.mark.parametrize("convert", [sides_swapped, flattened_in_flax_order])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_in_another_layout_are_reported(monkeypatch, convert, dtype):
    wrong = convert(trajectories.initial_weights())
    monkeypatch.setattr(trajectories, "source_weights", lambda params: wrong)
    assert MARKED < with_source("outlier exposure", dtype).share < np.inf


def mixed_loss(mix, weigh):
    def loss(logits_of, batch):
        x, y_a, y_b, lam = mix(batch)
        return definitions.mixup_criterion(functional.cross_entropy, logits_of(x), *weigh(batch, y_a, y_b, lam))

    return loss


def outlier_loss(criterion):
    return lambda logits_of, batch: criterion(logits_of(batch.images), batch.labels, logits_of(batch.outliers))


def cross_entropy_form(logits_in, targets, logits_out):
    return definitions.OutlierExposureLoss(0.5)(logits_in, targets, logits_out) + 0.5 * np.log(logits_out.shape[-1])


def mean_form(logits_in, targets, logits_out):
    gap = torch.logsumexp(logits_out, -1).mean() - torch.logsumexp(logits_in, -1).mean()
    return functional.cross_entropy(logits_in, targets) + 0.1 * functional.relu(gap + 3.0)


def swapped_lam(batch, y_a, y_b, lam):
    return y_a, y_b, 1 - lam


def own_labels(batch, y_a, y_b, lam):
    return y_a, y_a, lam


def drawn_lam(batch, y_a, y_b, lam):
    return y_a, y_b, batch.lam


MIXUP, CUTMIX = trajectories.source_mixup, trajectories.source_cutmix
WRONG_LOSSES = {
    "mixup, λ swapped": ("mixup", mixed_loss(MIXUP, swapped_lam)),
    "mixup, labels not mixed": ("mixup", mixed_loss(MIXUP, own_labels)),
    "mixup criterion, λ swapped": ("mixup criterion", mixed_loss(MIXUP, swapped_lam)),
    "mixup criterion, labels not mixed": ("mixup criterion", mixed_loss(MIXUP, own_labels)),
    "CutMix, λ swapped": ("cutmix", mixed_loss(CUTMIX, swapped_lam)),
    "CutMix, labels not mixed": ("cutmix", mixed_loss(CUTMIX, own_labels)),
    "CutMix, λ not adjusted": ("cutmix", mixed_loss(CUTMIX, drawn_lam)),
    "CutMix, images mixed as by mixup": ("cutmix", mixed_loss(MIXUP, drawn_lam)),
    "outlier exposure, weight": ("outlier exposure", outlier_loss(definitions.OutlierExposureLoss(0.505))),
    "outlier exposure, form": ("outlier exposure", outlier_loss(cross_entropy_form)),
    "energy, weight": ("energy", outlier_loss(definitions.EnergyRegularizedLoss(0.101, 3.0))),
    "energy, margin": ("energy", outlier_loss(definitions.EnergyRegularizedLoss(0.1, 3.03))),
    "energy, form": ("energy", outlier_loss(mean_form)),
}


@pytest.mark.parametrize("fault", WRONG_LOSSES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_another_loss_is_reported(monkeypatch, fault, dtype):
    method, wrong = WRONG_LOSSES[fault]
    monkeypatch.setitem(trajectories.LOSSES, method, trajectories.LOSSES[method]._replace(source=wrong))
    assert MARKED < with_source(method, dtype).share < np.inf


# Faults that float32 cannot see.


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_a_lam_off_by_less_than_float32_is_reported_in_float64_alone(monkeypatch, method):
    def off(batch, y_a, y_b, lam):
        return y_a, y_b, lam * (1 + 2.0**-26)

    wrong = mixed_loss({"mixup": MIXUP, "cutmix": CUTMIX}[method], off)
    monkeypatch.setitem(trajectories.LOSSES, method, trajectories.LOSSES[method]._replace(source=wrong))
    assert with_source(method, "float32").agrees
    assert not with_source(method, "float64").agrees


def test_float32_inside_our_float64_run_is_reported(monkeypatch):
    # The run that is wrong here is also the one that growth is measured on.
    right = trajectories.LOSSES["outlier exposure"]

    def narrow(logits_of, batch):
        return right.ours(lambda x: logits_of(x).astype(jnp.float32), batch).astype(jnp.float64)

    monkeypatch.setitem(trajectories.LOSSES, "narrow", Losses(narrow, right.source))
    assert not trajectories.run("narrow", "float64", steps=SHORT).agrees


# What is alike by construction.


def test_both_optimizers_are_one_recurrence():
    gradients = np.random.default_rng(0).standard_normal((20, 7))
    weight = torch.nn.Parameter(torch.ones(7, dtype=torch.float64))
    source = trajectories.source_optimizer(torch.nn.ParameterList([weight]))
    with jax.enable_x64(True):
        ours = jnp.ones(7)
        optimizer = optax.sgd(LEARNING_RATE, MOMENTUM)
        state = optimizer.init(ours)
        for gradient in gradients:
            updates, state = optimizer.update(jnp.asarray(gradient), state)
            ours = optax.apply_updates(ours, updates)
            weight.grad = torch.from_numpy(gradient)
            source.step()
        np.testing.assert_allclose(ours, weight.detach().numpy(), rtol=1e-13)


def test_both_networks_are_one_function_of_all_weights():
    rng = np.random.default_rng(1)
    # Flax starts biases at zero, where a wrong one would not show.
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), trajectories.initial_weights())
    images = rng.standard_normal((3, trajectories.HEIGHT, trajectories.WIDTH, trajectories.CHANNELS))
    source = SourceNetwork().double()
    source.load_state_dict(trajectories.source_weights(params))
    with jax.enable_x64(True), torch.no_grad():
        ours = trajectories.Network().apply({"params": params}, images)
        theirs = source(torch.from_numpy(images.transpose(0, 3, 1, 2)))
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


def test_batches_do_not_depend_on_the_length_of_the_run_or_the_dtype():
    with jax.enable_x64(True):
        longer = trajectories.batches.__wrapped__(4)
    for one, other in zip(trajectories.batches(3), longer[:3], strict=True):
        assert jax.tree.map(lambda a: a.dtype, one) == jax.tree.map(lambda a: a.dtype, other)
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_every_step_draws_anew():
    drawn = trajectories.batches(SHORT)
    assert len({float(batch.lam) for batch in drawn}) == SHORT
    assert len({tuple(batch.partner) for batch in drawn}) == SHORT
    assert {int(batch.center[0]) for batch in drawn} <= set(range(trajectories.HEIGHT))
    assert max(int(batch.center[1]) for batch in drawn) >= trajectories.HEIGHT


def test_the_number_of_threads_is_restored():
    threads = torch.get_num_threads()
    train_source("mixup", "float32", steps=1)
    assert torch.get_num_threads() == threads


# The verdict.


def test_growth_is_what_perturbations_do():
    growth = trajectories.growth("energy", steps=SHORT)
    plain = trajectories.train_ours("energy", "float64", steps=SHORT)
    assert (np.diff(growth) >= 0).all()
    assert (growth >= np.abs(plain)).all()
    # Another size and another seed: the effect is in proportion, and its size no accident.
    change = np.abs(trajectories.train_ours("energy", "float64", steps=SHORT, perturbation=2.0**-30, seed=9) - plain)
    assert (change <= trajectories.ROUNDINGS * 2.0**-30 * growth).all()
    assert change.max() >= 2.0**-30 * growth[-1] / trajectories.ROUNDINGS


def a_trajectory(share, dtype="float32", method="mixup", steps=8):
    """One whose largest difference is a share of what is allowed, at its last step."""
    curve, rise = np.linspace(2, 1, steps), np.arange(steps) / (steps - 1)
    same = Trajectory(method, dtype, curve, curve, np.full(steps, 1e3))
    return same._replace(ours=curve + share * rise * same.allowed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_differences_up_to_the_allowed_agree(dtype):
    unit = {"float32": 2.0**-24, "float64": 2.0**-53}[dtype]
    assert a_trajectory(0, dtype).allowed[0] == trajectories.ROUNDINGS * unit * 1e3
    assert a_trajectory(0.99, dtype).agrees
    assert a_trajectory(0.5, dtype).share == pytest.approx(0.5, rel=1e-3)
    assert not a_trajectory(1.01, dtype).agrees


@pytest.mark.parametrize("sign", [-1, 1])
def test_one_step_is_enough_to_disagree(sign):
    trajectory = a_trajectory(0)
    spike = np.where(np.arange(8) == 3, sign * 1.5 * trajectory.allowed, 0)
    assert not trajectory._replace(ours=trajectory.ours + spike).agrees


def test_curves_that_cannot_be_compared_never_agree():
    trajectory = a_trajectory(0)
    empty = np.zeros(0)
    for broken in (
        trajectory._replace(ours=trajectory.ours[:-1]),
        trajectory._replace(growth=trajectory.growth[:1]),
        trajectory._replace(ours=empty, source=empty, growth=empty),
        trajectory._replace(ours=trajectory.ours * np.nan, source=trajectory.source * np.nan),
        trajectory._replace(ours=trajectory.ours + np.inf, source=trajectory.source + np.inf),
        trajectory._replace(growth=trajectory.growth + np.inf),
    ):
        assert not broken.agrees
        assert "DISAGREES" in str(broken)


def test_chaos_begins_at_the_first_step_apart():
    trajectory = a_trajectory(0)
    apart = np.array([0, 0, 9e-6, 3e-5, 0, 1, 0, 0])
    assert trajectory.chaos_step() is None
    assert trajectory._replace(ours=trajectory.source + apart).chaos_step() == 3
    assert trajectory._replace(ours=trajectory.source + apart).chaos_step(relative=1e-2) == 5
    # A loss that is nearly nothing is not chaos for being known to few digits.
    one, other = np.array([2, 2, 1e-9]), np.array([2, 2, 2e-9])
    assert trajectory._replace(ours=one, source=other).chaos_step() is None


# The report.


def all_trajectories(single=0.4, double=0.6):
    shares = {"float32": single, "float64": double}
    return [a_trajectory(shares[dtype], dtype, method) for method in METHODS for dtype in DTYPES]


def test_the_picture_shows_both_losses_and_every_difference():
    apart = a_trajectory(5.0, "float32", METHODS[0])
    shown = [apart, *all_trajectories()[1:]]
    axes = trajectories.plot(shown).axes
    assert len(axes) == 2 * len(METHODS)
    for row, method in enumerate(METHODS):
        losses, differences = axes[2 * row : 2 * row + 2]
        single, double = shown[2 * row : 2 * row + 2]
        assert losses.get_ylabel() == method
        drawn = [line.get_ydata() for line in losses.lines]
        np.testing.assert_array_equal(drawn, [single.ours, single.source])
        assert differences.get_yscale() == "log"
        for line, trajectory in zip(differences.lines, (single, double), strict=False):
            # The first losses are equal, which a logarithm cannot show.
            np.testing.assert_array_equal(line.get_ydata(), [np.nan, *trajectory.differences[1:]])
        bands = [band.get_paths()[0].vertices[:, 1] for band in differences.collections]
        assert [band.max() for band in bands] == [single.allowed.max(), double.allowed.max()]
        texts = [text.get_text() for text in differences.texts]
        chaos = [f"chaos in float32 from step {single.chaos_step()}"] if single.chaos_step() is not None else []
        assert texts == ["float32", "float64", *chaos]
    assert apart.chaos_step() is not None
    low, high = axes[1].get_ylim()
    assert low < min(t.differences[1] for t in shown)
    assert high > apart.allowed.max()


def rows(page):
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in cells if len(row) == 10}


def test_the_page_has_every_figure():
    shown = all_trajectories()
    page = trajectories.page(shown)
    table = rows(page)
    assert list(table)[2:] == list(METHODS)
    for single, double in zip(shown[::2], shown[1::2], strict=True):
        assert table[single.method] == [
            "2.00", "1.50", f"{single.largest_difference:.1e}", "0.40", f"{double.largest_difference:.1e}", "0.60",
            str(single.chaos_step()), f"{double.differences[: single.chaos_step() + 1].max():.1e}", "agrees",
        ]  # fmt: skip
    assert f"**{len(METHODS)} of {len(METHODS)} methods agree" in page


def test_the_page_says_what_disagrees():
    page = trajectories.page([*all_trajectories()[:-1], a_trajectory(2, "float64", METHODS[-1])])
    assert rows(page)[METHODS[-1]][-1] == "disagrees in float64"
    assert f"**{len(METHODS) - 1} of {len(METHODS)} methods agree" in page


def test_the_committed_page_is_the_one_that_is_written():
    docs = Path(__file__).parents[2] / "docs"
    committed, written = (docs / "trajectories.md").read_text(encoding="utf-8"), trajectories.page(all_trajectories())

    def without_results(page):
        return [line for line in page.splitlines() if line[:2] != "**" and len(line.split("|")) != 12]

    assert without_results(committed) == without_results(written)
    table = rows(committed)
    assert list(table) == list(rows(written))
    assert all(table[method][-1] == "agrees" for method in METHODS)
    assert (docs / "trajectories" / "curves.png").is_file()


@pytest.mark.parametrize(("share", "status"), [(0.5, 0), (2.0, 1)])
def test_the_command_writes_both_files_and_says_what_it_found(monkeypatch, tmp_path, capsys, share, status):
    def run(method, dtype):
        return a_trajectory(share if method == METHODS[-1] else 0.5, dtype, method)

    monkeypatch.setattr(trajectories, "run", run)
    assert trajectories.main([str(tmp_path / "new")]) == status
    assert (tmp_path / "new" / "trajectories.md").read_text(encoding="utf-8").startswith("# Training trajectories")
    assert (tmp_path / "new" / "trajectories" / "curves.png").stat().st_size > 10_000
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(METHODS)


def test_labels_in_the_picture_have_the_colours_of_their_lines():
    figure = trajectories.plot(all_trajectories())
    colors = [line.get_color() for line in figure.axes[1].lines[:2]]
    assert len(set(colors)) == 2
    assert [text.get_color() for text in figure.axes[1].texts[:2]] == colors
