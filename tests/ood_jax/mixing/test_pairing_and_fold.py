"""The pairings and the folded λ that libraries use instead of a permutation and the λ drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import ood_jax

N = 12
PAIRINGS = pytest.mark.parametrize("pairing", ["permute", "roll", "flip"])
FIXED = {
    "roll": lambda n: [(i - 1) % n for i in range(n)],
    "flip": lambda n: [n - 1 - i for i in range(n)],
}
ALL_MODES = [{}, {"per_example": True}, {"groups": 3}, {"groups": 3, "per_example": True}, {"groups": 1}, {"groups": N}]
MODES = pytest.mark.parametrize("mode", ALL_MODES, ids=str)


def squares(name, values):
    """Every mode with every pairing and with every value, but not all three with one another: each compiles."""
    pairings = ["permute", "roll", "flip"]
    return pytest.mark.parametrize(
        ("mode", "pairing", name),
        [
            (mode, pairing, values[(i + i // 3 + j) % len(values)])
            for i, mode in enumerate(ALL_MODES)
            for j, pairing in enumerate(pairings)
        ],
        ids=str,
    )


DRAWS = {
    "mixup": ood_jax.draw_mixup,
    "cutmix": lambda key, n, **options: ood_jax.draw_cutmix(key, n, (7, 5), **options),
}
DRAW = pytest.mark.parametrize("draw", DRAWS)


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


# Partners.


@DRAW
@pytest.mark.parametrize("pairing", FIXED)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8])
def test_fixed_partners(draw, pairing, n):
    partner = DRAWS[draw](jax.random.key(0), n, pairing=pairing).partner
    assert partner.shape == (n,)
    assert partner.dtype == jnp.int32
    assert partner.tolist() == FIXED[pairing](n)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_fixed_partners_are_torchs_roll_and_flip(n):
    rows = torch.arange(n)
    for pairing, expected in (("roll", rows.roll(1, 0)), ("flip", rows.flip(0))):
        assert ood_jax.draw_mixup(jax.random.key(0), n, pairing=pairing).partner.tolist() == expected.tolist()


@DRAW
@pytest.mark.parametrize("pairing", FIXED)
@pytest.mark.parametrize("groups", [1, 2, 5, 10])
def test_fixed_partners_stay_inside_their_group(draw, pairing, groups):
    partner = DRAWS[draw](jax.random.key(0), 10, pairing=pairing, groups=groups).partner
    assert partner.dtype == jnp.int32
    assert partner.tolist() == [FIXED[pairing](10 // groups)] * groups


@pytest.mark.parametrize("pairing", FIXED)
def test_fixed_partners_are_int32_also_under_x64(pairing):
    with jax.enable_x64(True):
        for groups in (None, 2):
            draw = ood_jax.draw_mixup(jax.random.key(0), 4, pairing=pairing, groups=groups)
            assert draw.partner.dtype == jnp.int32


@DRAW
@pytest.mark.parametrize("pairing", FIXED)
def test_fixed_partners_do_not_depend_on_the_key(draw, pairing):
    partners = jax.vmap(lambda key: DRAWS[draw](key, N, pairing=pairing).partner)(keys(20))
    assert len({tuple(row) for row in partners.tolist()}) == 1


def test_permute_is_the_default_and_depends_on_the_key_alone():
    default = [ood_jax.draw_mixup(key, N).partner.tolist() for key in keys(20)]
    assert default == [ood_jax.draw_mixup(key, N, pairing="permute").partner.tolist() for key in keys(20)]
    assert len({tuple(row) for row in default}) > 10


@PAIRINGS
@MODES
def test_what_else_is_drawn_does_not_depend_on_the_pairing(pairing, mode):
    def drawn(key, **pairing):
        lam = ood_jax.draw_mixup(key, N, **pairing, **mode).lam
        return lam, ood_jax.draw_cutmix(key, N, (31, 37), **pairing, **mode).box

    by_default, chosen = jax.jit(lambda key: (drawn(key), drawn(key, pairing=pairing)))(jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, chosen, by_default)


def rows_of(partner, n):
    """Partners as row numbers of the whole batch."""
    partner = np.asarray(partner)
    return (partner + partner.shape[1] * np.arange(len(partner))[:, None]).reshape(n) if partner.ndim > 1 else partner


@squares("fold", [False, True])
def test_mixup_is_bit_exact(pairing, mode, fold):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((N, 3, 5)).astype(np.float32), rng.integers(0, 9, N)
    key, options = jax.random.key(5), mode | {"pairing": pairing, "fold": fold, "alpha": 0.7}
    draw, mixed = ood_jax.draw_mixup(key, N, **options), ood_jax.mixup(key, x, y, **options)
    if pairing == "permute":
        rows = rows_of(draw.partner, N)
    else:
        groups = mode.get("groups", 1)
        rows = rows_of(np.array([FIXED[pairing](N // groups)] * groups), N)
    lam = np.asarray(draw.lam)
    lam = np.repeat(lam, N // max(lam.size, 1)) if lam.ndim else np.full(N, lam)
    lam = lam[:, None, None]
    np.testing.assert_array_equal(mixed.x, lam * x + (np.float32(1) - lam) * x[rows])
    np.testing.assert_array_equal(mixed.y_a, y)
    np.testing.assert_array_equal(mixed.y_b, y[rows])


@squares("geometry", ["paper", "timm", "kornia"])
def test_cutmix_is_bit_exact(pairing, mode, geometry):
    rng = np.random.default_rng(0)
    height, width = 7, 5
    x, y = rng.standard_normal((N, height, width, 2)).astype(np.float32), rng.integers(0, 9, N)
    key, options = jax.random.key(6), mode | {"pairing": pairing, "geometry": geometry}
    draw = ood_jax.draw_cutmix(key, N, (height, width), **options)
    mixed = ood_jax.cutmix(key, x, y, **options)
    rows = rows_of(draw.partner, N)
    box = [np.broadcast_to(np.repeat(edge, N // edge.size) if edge.ndim else edge, N) for edge in draw.box]
    for i in range(N):
        expected = x[i].copy()
        top, bottom, left, right = (edge[i] for edge in box)
        expected[top:bottom, left:right] = x[rows[i], top:bottom, left:right]
        np.testing.assert_array_equal(mixed.x[i], expected)
        kept = height * width - (bottom - top) * (right - left)
        lam = mixed.lam[i] if mixed.lam.ndim else mixed.lam
        assert np.asarray(lam) == np.float32(kept) / np.float32(height * width)
    np.testing.assert_array_equal(mixed.y_b, y[rows])


# Folding.


@MODES
@pytest.mark.parametrize("alpha", [0.1, 1.0, 5.0])
def test_a_folded_lam_is_the_larger_of_lam_and_its_complement(mode, alpha):
    for seed in range(5):
        key = jax.random.key(seed)
        drawn = np.asarray(ood_jax.draw_mixup(key, N, alpha=alpha, **mode).lam)
        folded = ood_jax.draw_mixup(key, N, alpha=alpha, fold=True, **mode).lam
        assert folded.dtype == jnp.float32
        assert bool(jnp.all(folded >= 0.5))
        np.testing.assert_array_equal(folded, np.maximum(drawn, np.float32(1) - drawn))


def test_folding_is_off_unless_asked_for_and_changes_something():
    drawn, off, on = (
        jax.vmap(lambda key, options=options: ood_jax.draw_mixup(key, 2, **options).lam)(keys(100))
        for options in ({}, {"fold": False}, {"fold": True})
    )
    np.testing.assert_array_equal(drawn, off)
    assert 20 < int(jnp.sum(drawn < 0.5)) < 80
    assert int(jnp.sum(drawn != on)) == int(jnp.sum(drawn < 0.5))


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
@MODES
def test_without_a_positive_alpha_lam_stays_1(alpha, mode):
    assert bool(jnp.all(ood_jax.draw_mixup(jax.random.key(0), N, alpha=alpha, fold=True, **mode).lam == 1))
    box = ood_jax.draw_cutmix(jax.random.key(0), N, (9, 5), alpha=alpha, fold=True, **mode).box
    assert bool(jnp.all((box.top == box.bottom) & (box.left == box.right)))


@PAIRINGS
def test_folding_leaves_the_partners(pairing):
    plain, folded = (ood_jax.draw_mixup(jax.random.key(2), N, pairing=pairing, fold=fold) for fold in (False, True))
    np.testing.assert_array_equal(plain.partner, folded.partner)


@pytest.mark.parametrize("geometry", ["paper", "timm", "kornia"])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (7, 5), (32, 32), (31, 64)])
def test_a_folded_box_never_covers_more_than_half(geometry, size):
    # A side is rounded down, so the box covers no more than a share 1 - λ <= 1/2.
    height, width = size

    def area(key, fold):
        box = ood_jax.draw_cutmix(key, 1, size, geometry=geometry, fold=fold).box
        return (box.bottom - box.top) * (box.right - box.left)

    folded, plain = jax.jit(jax.vmap(lambda key: (area(key, True), area(key, False))))(keys(2000))
    assert int(jnp.max(folded)) * 2 <= height * width
    if min(size) > 2:  # a side of 2 is whole only at λ = 0
        assert int(jnp.max(plain)) * 2 > height * width


def test_cutmix_folds_too():
    x = np.arange(N, dtype=np.float32)[:, None, None, None] * np.ones((N, 16, 16, 1), np.float32)
    for key in keys(10):
        mixed = ood_jax.cutmix(key, x, np.arange(N), fold=True, per_example=True, geometry="kornia")
        assert bool(jnp.all(mixed.lam >= 0.5))
