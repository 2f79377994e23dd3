"""Both draws: shapes, ranges, and the distribution beside what the PyTorch definition draws itself."""

import math
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import stats

import ood_jax
from parity import definitions

N = 12
SHAPES = {  # (groups, per_example) -> shape of what is drawn, shape of partner
    (None, False): ((), (N,)),
    (None, True): ((N,), (N,)),
    (3, False): ((3,), (3, 4)),
    (3, True): ((N,), (3, 4)),
    (1, False): ((1,), (1, N)),
    (N, False): ((N,), (N, 1)),
}
MODES = pytest.mark.parametrize(("groups", "per_example"), SHAPES)


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


@MODES
def test_shapes_and_dtypes(groups, per_example):
    drawn, partner = SHAPES[groups, per_example]
    mixup = ood_jax.draw_mixup(jax.random.key(0), N, groups=groups, per_example=per_example)
    cutmix = ood_jax.draw_cutmix(jax.random.key(0), N, (9, 5), groups=groups, per_example=per_example)
    assert mixup.lam.shape == drawn
    assert mixup.lam.dtype == jnp.float32
    assert all(edge.shape == drawn and edge.dtype == jnp.int32 for edge in cutmix.box)
    for draw in (mixup, cutmix):
        assert draw.partner.shape == partner
        assert draw.partner.dtype == jnp.int32


@MODES
def test_partners_are_a_permutation_of_each_group(groups, per_example):
    draw = ood_jax.draw_mixup(jax.random.key(1), N, groups=groups, per_example=per_example)
    rows = np.sort(np.atleast_2d(draw.partner), axis=-1)
    np.testing.assert_array_equal(rows, np.broadcast_to(np.arange(rows.shape[-1]), rows.shape))


def test_groups_and_rows_draw_apart():
    lam = ood_jax.draw_mixup(jax.random.key(0), 64, groups=16).lam
    assert len(set(lam.tolist())) == 16
    draw = ood_jax.draw_mixup(jax.random.key(0), 64, groups=2)
    assert draw.partner[0].tolist() != draw.partner[1].tolist()
    box = ood_jax.draw_cutmix(jax.random.key(0), 64, (64, 64), per_example=True).box
    assert len(set(box.left.tolist())) > 8


@pytest.mark.parametrize("alpha", [0.0, -2.0, float("nan")])
@MODES
def test_without_a_positive_alpha_nothing_mixes(alpha, groups, per_example):
    mixup = ood_jax.draw_mixup(jax.random.key(0), N, alpha=alpha, groups=groups, per_example=per_example)
    assert bool(jnp.all(mixup.lam == 1))
    box = ood_jax.draw_cutmix(jax.random.key(0), N, (9, 5), alpha=alpha, groups=groups, per_example=per_example).box
    assert bool(jnp.all((box.top == box.bottom) & (box.left == box.right)))


def test_same_key_same_draw_and_another_key_another():
    first, again, other = (ood_jax.draw_cutmix(jax.random.key(seed), 64, (32, 32)) for seed in (1, 1, 2))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), first, again))
    assert first.partner.tolist() != other.partner.tolist()


def test_lam_partner_and_centre_are_independent_draws():
    # One key used twice would tie them together.
    draws = jax.vmap(lambda key: ood_jax.draw_cutmix(key, 2, (101, 103)))(keys(20_000))
    height = draws.box.bottom - draws.box.top
    middle_row, middle_column = draws.box.top + draws.box.bottom, draws.box.left + draws.box.right
    features = np.stack([height, middle_row, middle_column, draws.partner[:, 0]]).astype(np.float64)
    correlation = np.corrcoef(features)[np.triu_indices(4, 1)]
    assert np.max(np.abs(correlation)) < 5 / np.sqrt(20_000)


def test_lam_and_partner_are_independent_draws():
    draws = jax.vmap(lambda key: ood_jax.draw_mixup(key, 2))(keys(20_000))
    assert abs(np.corrcoef(draws.lam, draws.partner[:, 0])[0, 1]) < 5 / np.sqrt(20_000)


def test_partners_are_int32_also_under_x64():
    with jax.enable_x64(True):
        for groups in (None, 2):
            assert ood_jax.draw_mixup(jax.random.key(0), 4, groups=groups).partner.dtype == jnp.int32
            assert ood_jax.draw_cutmix(jax.random.key(0), 4, (3, 3), groups=groups).partner.dtype == jnp.int32


@pytest.mark.parametrize("groups", [None, 2])
def test_every_permutation_is_equally_likely(groups):
    draws = jax.vmap(lambda key: ood_jax.draw_mixup(key, 4 * (groups or 1), groups=groups).partner)(keys(24_000))
    index = {permutation: i for i, permutation in enumerate(permutations(range(4)))}
    rows = np.asarray(draws).reshape(-1, 4)
    counts = np.bincount([index[tuple(row)] for row in rows.tolist()], minlength=24)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 3.0])
@pytest.mark.parametrize(("groups", "per_example"), [(None, False), (4, False), (None, True)])
def test_lam_follows_the_beta_distribution(alpha, groups, per_example):
    lam = jax.vmap(lambda key: ood_jax.draw_mixup(key, 4, alpha=alpha, groups=groups, per_example=per_example).lam)
    draws = np.asarray(lam(keys(20_000)), np.float64).ravel()
    # Below the resolution of float32 the draws are lumps at 0 and 1; jitter inside the lump restores a continuum.
    low, high = stats.beta(alpha, alpha).cdf([1e-7, 1 - 1e-7])
    inside = (draws > 1e-7) & (draws < 1 - 1e-7)
    uniform = (stats.beta(alpha, alpha).cdf(draws[inside]) - low) / (high - low)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3


HEIGHT, WIDTH = 6, 40


def definition_boxes(alpha, count, seed, height=HEIGHT, width=WIDTH):
    """Boxes and λ of the definition's own random run, read off what it pasted."""
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    cutmix = definitions.CutMix(alpha)
    x = torch.stack([torch.zeros(1, height, width), torch.ones(1, height, width)])
    results = []
    while len(results) < count:
        mixed, _, y_b, lam = cutmix(x, torch.tensor([0, 1]))
        if y_b[0] == 1:  # the pair was swapped, so the paste shows
            rows, columns = np.nonzero(mixed[0, 0].numpy())
            edges = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) if len(rows) else (0, 0, 0, 0)
            results.append((*edges, lam))
    return np.array(results)


def our_boxes(alpha, count, seed, height=HEIGHT, width=WIDTH):
    draws = jax.vmap(lambda key: ood_jax.draw_cutmix(key, 2, (height, width), alpha=alpha))(keys(count, seed))
    top, bottom, left, right = (np.asarray(edge) for edge in draws.box)
    area = (bottom - top) * (right - left)
    edges = np.where(area > 0, np.stack([top, bottom, left, right]), 0)  # an empty box shows nowhere
    return np.column_stack([*edges, 1 - area / (height * width)])


def same_distribution(first, second, bins):
    """Chi-square of two samples over bins of one figure; the probability that they are alike."""
    counts = np.stack([np.histogram(sample, bins)[0] for sample in (first, second)])
    return stats.chi2_contingency(counts[:, counts.sum(axis=0) >= 10]).pvalue


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_boxes_are_distributed_as_the_definitions(alpha):
    ours, theirs = our_boxes(alpha, 8000, 3), definition_boxes(alpha, 8000, 3)
    figures = {
        "top": (0, np.arange(HEIGHT + 2)),
        "bottom": (1, np.arange(HEIGHT + 2)),
        "left": (2, np.arange(WIDTH + 2)),
        "right": (3, np.arange(WIDTH + 2)),
        "lam": (4, np.linspace(0, 1.001, 21)),
    }
    for name, (column, bins) in figures.items():
        assert same_distribution(ours[:, column], theirs[:, column], bins) > 1e-3, name


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_the_comparison_would_notice_swapped_height_and_width_or_another_alpha(alpha):
    theirs = definition_boxes(alpha, 8000, 3)
    swapped = our_boxes(alpha, 8000, 3, WIDTH, HEIGHT)
    assert same_distribution(swapped[:, 2], theirs[:, 2], np.arange(WIDTH + 2)) < 1e-6
    other = our_boxes(1.5 * alpha, 8000, 3)
    assert same_distribution(other[:, 4], theirs[:, 4], np.linspace(0, 1.001, 21)) < 1e-6


def test_centres_are_uniform_over_the_image():
    # At large alpha λ is close to a half and the box 10 x 14, half sides 5 and 7. Where it is not clipped its centre is
    # its middle.
    draws = jax.vmap(lambda key: ood_jax.draw_cutmix(key, 1, (15, 20), alpha=1e6))(keys(30_000))
    assert set(np.asarray(draws.box.bottom - draws.box.top).tolist()) == {5, 6, 7, 8, 9, 10}
    centre_row = np.where(draws.box.top > 0, draws.box.top + 5, draws.box.bottom - 5)
    centre_column = np.where(draws.box.left > 0, draws.box.left + 7, draws.box.right - 7)
    counts = np.histogram2d(centre_row, centre_column, [np.arange(16), np.arange(21)])[0]
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3
    assert counts.size == math.prod((15, 20))


def test_empty_batches_draw():
    assert ood_jax.draw_mixup(jax.random.key(0), 0).partner.shape == (0,)
    assert ood_jax.draw_cutmix(jax.random.key(0), 0, (4, 4), groups=2).partner.shape == (2, 0)
