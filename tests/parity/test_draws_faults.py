"""The comparison of draws reports the faults that are planted, and nothing where there is none."""

from itertools import permutations

import jax
import numpy as np
import pytest
from scipy import stats

import ood_jax
from parity.draws.comparison import compare_draws
from parity.draws.drawn import HEIGHT, ROWS, WIDTH, Draws, boxes
from parity.draws.ours import OUR_BATCHES, our_draws
from parity.draws.sources import ALPHAS, FORMS, seeded
from parity.published import load

PERMUTATIONS = np.array(list(permutations(range(ROWS))))


class Parts:
    """What a draw is made of, before it is put together; a fault is planted in one of them or in putting together."""

    def __init__(self, alpha, rows=1):
        self.rng = np.random.default_rng(0)
        self.shape = (OUR_BATCHES, rows)
        self.alpha = alpha
        self.lam = self.beta(alpha, alpha)
        self.row = self.rng.integers(0, HEIGHT, self.shape)
        self.column = self.rng.integers(0, WIDTH, self.shape)
        self.partner = PERMUTATIONS[self.rng.integers(0, len(PERMUTATIONS), OUR_BATCHES)]

    def beta(self, a, b):
        return self.rng.beta(a, b, self.shape).astype(np.float32)

    def edges(self, geometry="cutmix_box", size=(HEIGHT, WIDTH)):
        return [np.array(edge) for edge in getattr(ood_jax, geometry)(self.lam, (self.row, self.column), size)]

    def mixup(self):
        return Draws(self.lam, None, None, self.partner)

    def cutmix(self, edges=None):
        box = boxes(*(edges if edges is not None else self.edges()))
        area = (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])
        kept = (1 - area / (HEIGHT * WIDTH)).astype(np.float32).reshape(self.shape)
        return Draws(None, box, kept, self.partner)


_sources = {}


def of_the_source(function, alpha, source="definition", label=""):
    """A source's draws, as its case has them."""
    if (function, alpha, source, label) not in _sources:
        [form] = [form for form in FORMS if (form.source, form.label) == (source, label)]
        with seeded(f"{source} {function} {alpha}"):
            _sources[function, alpha, source, label] = getattr(form, function)(load(source), alpha)
    return _sources[function, alpha, source, label]


def reported(ours, source, alpha):
    """The names of the tests that tell two sets of draws apart."""
    return {result.name for result in compare_draws(ours, source, alpha) if not result.agrees}


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_parts_without_a_fault_agree(alpha):
    parts = Parts(alpha)
    assert not reported(parts.mixup(), of_the_source("mixup", alpha), alpha)
    assert not reported(parts.cutmix(), of_the_source("cutmix", alpha), alpha)


LAM_FAULTS = {
    "one parameter doubled": lambda parts: parts.beta(parts.alpha, 2 * parts.alpha),
    "the parameters 10% larger": lambda parts: parts.beta(1.1 * parts.alpha, 1.1 * parts.alpha),
    "the parameters 10% smaller": lambda parts: parts.beta(0.9 * parts.alpha, 0.9 * parts.alpha),
    "the inverse of α": lambda parts: parts.beta(1 / parts.alpha, 1 / parts.alpha),
    "squared": lambda parts: parts.lam**2,
    "folded": lambda parts: np.maximum(parts.lam, 1 - parts.lam),
    "below 1 always": lambda parts: np.where(parts.lam > 0.999, np.float32(0.999), parts.lam),
    "one of 50 not mixed": lambda parts: np.where(parts.rng.random(parts.shape) < 0.02, np.float32(1), parts.lam),
}

UNNOTICED = {
    "the inverse of α": [1.0],  # no fault
    "below 1 always": [1.0, 2.0, 10.0],  # λ > 0.999 is one draw in a thousand or fewer
    "one of 50 not mixed": [0.05],  # a fifth of the draws do not mix anyway
}


@pytest.mark.parametrize(
    ("fault", "alpha"),
    [(fault, alpha) for fault in LAM_FAULTS for alpha in ALPHAS if alpha not in UNNOTICED.get(fault, ())],
)
def test_a_fault_in_lam_is_reported(fault, alpha):
    parts = Parts(alpha)
    parts.lam = LAM_FAULTS[fault](parts)
    assert "λ, ours" in reported(parts.mixup(), of_the_source("mixup", alpha), alpha)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 2.0])
def test_the_sources_lam_is_held_to_its_law_too(alpha):
    parts = Parts(alpha)
    source = of_the_source("mixup", alpha)._replace(lam=parts.beta(1.3 * alpha, 1.3 * alpha)[:5000])
    assert "λ, the source's" in reported(parts.mixup(), source, alpha)


@pytest.mark.parametrize("alpha", ALPHAS[1:])  # at 0.05 the small λ that float32's 1 - λ makes 0 give it away
def test_one_minus_lam_cannot_be_told_from_lam(alpha):
    # Beta(α, α) is symmetric; that the replayed draws are mixed alike is what catches it.
    parts = Parts(alpha)
    parts.lam = 1 - parts.lam
    assert not reported(parts.mixup(), of_the_source("mixup", alpha), alpha)
    assert not reported(parts.cutmix(), of_the_source("cutmix", alpha), alpha)


def one_minus_the_share(parts):
    ours = parts.cutmix()
    return ours._replace(kept=1 - ours.kept)


def the_lam_drawn_as_the_share(parts):
    return parts.cutmix()._replace(kept=parts.lam)


def moved(parts, *by):
    """The edges a number of pixels on, and back inside."""
    edges = [edge + step for edge, step in zip(parts.edges(), by, strict=True)]
    return parts.cutmix([np.clip(e, 0, size) for e, size in zip(edges, (HEIGHT, HEIGHT, WIDTH, WIDTH), strict=True)])


def swapped_sides(parts):
    parts.row, parts.column = parts.column, parts.row
    top, bottom, left, right = parts.edges(size=(WIDTH, HEIGHT))
    return parts.cutmix([np.minimum(top, HEIGHT), np.minimum(bottom, HEIGHT), left, right])


def swapped_extents(parts):
    """Sides computed of the other side's length."""
    half = [(np.floor(size * np.sqrt(1 - parts.lam.astype(np.float64))) // 2).astype(int) for size in (WIDTH, HEIGHT)]
    edges = []
    for centre, reach, size in zip((parts.row, parts.column), half, (HEIGHT, WIDTH), strict=True):
        edges += [np.clip(centre - reach, 0, size), np.clip(centre + reach, 0, size)]
    return parts.cutmix(edges)


def centre_without_the_last_row(parts):
    parts.row = parts.rng.integers(0, HEIGHT - 1, parts.shape)
    return parts.cutmix()


def centre_without_the_first_column(parts):
    parts.column = parts.rng.integers(1, WIDTH, parts.shape)
    return parts.cutmix()


def one_key_for_row_and_column(parts):
    uniform = parts.rng.random(parts.shape)
    parts.row, parts.column = (uniform * HEIGHT).astype(int), (uniform * WIDTH).astype(int)
    return parts.cutmix()


def one_key_for_lam_and_centre(parts):
    uniform = np.minimum(stats.beta(parts.alpha, parts.alpha).cdf(parts.lam.astype(np.float64)), 1 - 1e-9)
    parts.row = (uniform * HEIGHT).astype(int)
    return parts.cutmix()


def side_proportional_to_the_area(parts):
    parts.lam = 1 - (1 - parts.lam) ** 2
    return parts.cutmix()


def another_geometry(parts):
    return parts.cutmix(parts.edges("timm_box"))


def folded(parts):
    parts.lam = np.maximum(parts.lam, 1 - parts.lam)
    return parts.cutmix()


CUTMIX_FAULTS = {
    one_minus_the_share: "share kept",
    the_lam_drawn_as_the_share: "share kept",
    swapped_sides: "box",
    swapped_extents: "box",
    centre_without_the_last_row: "box",
    centre_without_the_first_column: "box",
    one_key_for_row_and_column: "box",
    one_key_for_lam_and_centre: "box",
    side_proportional_to_the_area: "box",
    another_geometry: "box",
    folded: "share kept",
}


@pytest.mark.parametrize(
    ("fault", "alpha"),
    [
        (fault, alpha)
        for fault in CUTMIX_FAULTS
        for alpha in ALPHAS
        # Nearly every λ is next to 0 or 1 there, where the square changes little.
        if (fault, alpha) != (side_proportional_to_the_area, 0.05)
    ],
)
def test_a_fault_in_the_box_is_reported(fault, alpha):
    assert CUTMIX_FAULTS[fault] in reported(fault(Parts(alpha)), of_the_source("cutmix", alpha), alpha)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("by", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, -1), (1, 1, 0, 0), (0, 0, -1, -1)])
def test_a_box_off_by_one_is_reported(by, alpha):
    assert "box" in reported(moved(Parts(alpha), *by), of_the_source("cutmix", alpha), alpha)


def without_fixed_points(parts):
    deranged = PERMUTATIONS[np.not_equal(PERMUTATIONS, np.arange(ROWS)).all(axis=1)]
    parts.partner = deranged[parts.rng.integers(0, len(deranged), OUR_BATCHES)]


def never_the_identity(parts):
    parts.partner = PERMUTATIONS[parts.rng.integers(1, len(PERMUTATIONS), OUR_BATCHES)]


def rows_drawn_with_replacement(parts):
    parts.partner = parts.rng.integers(0, ROWS, (OUR_BATCHES, ROWS))


def a_biased_shuffle(parts):
    # Each row swapped with any row, rather than with one of those after it.
    parts.partner = np.tile(np.arange(ROWS), (OUR_BATCHES, 1))
    batches = np.arange(OUR_BATCHES)
    for row in range(ROWS):
        other = parts.rng.integers(0, ROWS, OUR_BATCHES)
        swapped = parts.partner[batches, other]
        parts.partner[batches, other] = parts.partner[:, row]
        parts.partner[:, row] = swapped


@pytest.mark.parametrize(
    "fault", [without_fixed_points, never_the_identity, rows_drawn_with_replacement, a_biased_shuffle]
)
def test_a_fault_in_the_partner_is_reported(fault):
    parts = Parts(1.0)
    fault(parts)
    for function in ("mixup", "cutmix"):
        assert "partner, ours" in reported(getattr(parts, function)(), of_the_source(function, 1.0), 1.0)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_one_key_for_lam_and_partner_is_reported(alpha):
    parts = Parts(alpha)
    order = np.argsort(np.argsort(parts.lam[:, 0])) * len(PERMUTATIONS) // OUR_BATCHES
    # A dependence that leaves λ and the partner each as it should be.
    parts.partner = PERMUTATIONS[order]
    assert reported(parts.mixup(), of_the_source("mixup", alpha), alpha) == {"λ and partner, ours"}
    assert "share kept and partner" in reported(parts.cutmix(), of_the_source("cutmix", alpha), alpha)


@pytest.mark.parametrize("pairing", ["permute", "roll", "flip"])
def test_another_fixed_pairing_is_reported(pairing):
    roll, flip = np.roll(np.arange(ROWS), 1), np.arange(ROWS)[::-1]
    for fixed, name in ((roll, "roll"), (flip, "flip")):
        parts = Parts(1.0)
        source = parts.mixup()._replace(partner=np.tile(fixed, (50, 1)))
        ours = np.asarray(our_draws(None, (("pairing", pairing),), 1.0).partner)
        found = reported(parts.mixup()._replace(partner=ours), source, 1.0)
        assert ("partner" in found) == (name != pairing)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_one_box_for_all_rows_is_reported(alpha):
    source = of_the_source("cutmix", alpha, "kornia")
    start = jax.random.uniform(jax.random.key(0), (2, OUR_BATCHES, ROWS))
    lam = Parts(alpha, ROWS).lam
    shared = Parts(alpha, ROWS)
    for each, expected in ((slice(None), set()), (slice(1), {"share kept of two rows"})):
        parts = [np.broadcast_to(part[:, each], lam.shape) for part in (lam, *np.asarray(start))]
        edges = ood_jax.kornia_box(parts[0], (parts[1], parts[2]), (HEIGHT, WIDTH))
        found = reported(shared.cutmix([np.array(edge) for edge in edges]), source, alpha)
        assert expected <= found
        assert bool(found) == bool(expected)


def test_one_lam_for_all_rows_is_reported():
    parts = Parts(1.0, ROWS)
    source = of_the_source("mixup", 1.0, "kornia")
    assert not reported(parts.mixup(), source, 1.0)
    parts.lam = np.repeat(parts.lam[:, :1], ROWS, axis=1)
    assert "λ of two rows, ours" in reported(parts.mixup(), source, 1.0)
