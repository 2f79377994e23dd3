"""The random draws: those of `ood_jax` follow the same distribution as those of each source.

Two generators share no stream, so what is compared is distributions: λ, the partners, the box, the share of pixels
kept, and how they go together. Every source is called as it is, with its own global generator, and what it drew is
read from what it returned. λ and the partners are held to their exact law, Beta(α, α) and all permutations alike; the
boxes are held to the source's.

All tests are chi-square tests over cells, which ties do no harm: below α of about 0.1 many λ are exactly 1 in float32.
A result's difference is -log10 of its p-value, and it agrees up to -log10 of `FALSE_ALARM`. That is the probability
with which one test reports equal distributions as different; for all of them together, fewer than 300, it stays below
3e-4. Keys and seeds are fixed, so the outcome is decided once and does not vary from run to run.

No test of distributions can see 1 - λ drawn for λ, be it to mix or to cut by, for Beta(α, α) is symmetric. The
comparison of replayed draws sees it.
"""

import contextlib
import functools
import math
import zlib
from collections.abc import Callable, Iterator
from itertools import permutations
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import stats

import ood_jax

from .agreement import Agreement, Result
from .published import load

ALPHAS = (0.05, 0.2, 0.4, 1.0, 2.0, 10.0)

FALSE_ALARM = 1e-6
"""The probability with which a test of equal distributions says that they differ."""

ROWS = 4
"""Rows of a batch; few, so that each of the 24 permutations is frequent."""

HEIGHT, WIDTH = 5, 7
"""The image's size: unlike, so that swapped sides show, and small, so that each box is frequent."""

OUR_BATCHES = 1 << 15
"""Batches drawn by ours; many more than by a source, so the source's number decides what is noticed."""

_LEAST = 20  # draws expected in a cell; fewer, and the chi-square law is wrong about tails as far out as FALSE_ALARM
_FINE, _COARSE = 64, 5  # bins of λ, alone and beside something else
_SMALLEST = 2.0**-100  # λ below is one bin, because not every generator reaches as far down
_LARGEST = 1 - 2.0**-23  # λ above is one bin, because PyTorch's Beta gives the float32 below 1 for 1

Cells = NDArray[np.intp]


class Draws(NamedTuple):
    """What a number of batches drew.

    Attributes:
      lam: (batches, r), float32, r = 1 where the batch shares one, `ROWS` where each row draws; None unless mixup.
      box: (boxes, 4), top, bottom, left, right; zeros if empty. Boxes that could not be seen are left out. None unless
        CutMix.
      kept: (batches, r), the share of pixels kept, as λ is returned by CutMix; None unless CutMix.
      partner: (batches, ROWS). Batches whose partners could not be seen are left out.
    """

    lam: NDArray[np.float32] | None
    box: Cells | None
    kept: NDArray[np.float32] | None
    partner: Cells


class Form(NamedTuple):
    """How a source draws.

    Attributes:
      source: its name.
      label: what tells this form from the source's other one.
      options: of `draw_mixup` and `draw_cutmix`, that make ours draw in the same way.
      geometry: the same, of `draw_cutmix` alone.
      mixup: (module, α) -> its mixup's draws.
      cutmix: (module, α) -> its CutMix's draws.
      mixup_alphas: the α at which its mixup is compared.
      cutmix_alphas: the same for CutMix.
    """

    source: str
    label: str
    options: tuple[tuple[str, Any], ...]
    geometry: str
    mixup: Callable[[ModuleType, float], Draws]
    cutmix: Callable[[ModuleType, float], Draws]
    mixup_alphas: tuple[float, ...] = ALPHAS
    cutmix_alphas: tuple[float, ...] = ALPHAS


def draw_cases() -> Iterator[tuple[str, str, Callable[[], Agreement]]]:
    """Every comparison of draws, as (name, source, run).

    `run()` raises ModuleNotFoundError where the source is not installed.
    """
    for form in FORMS:
        for function, alphas in (("mixup", form.mixup_alphas), ("cutmix", form.cutmix_alphas)):
            for alpha in alphas:
                name = f"draw_{function} {form.source} alpha={alpha:g}{form.label}"
                yield name, form.source, functools.partial(_run, name, form, function, alpha)


def _run(name: str, form: Form, function: str, alpha: float) -> Agreement:
    module = load(form.source)
    with _seeded(f"{form.source} {name}"):
        source = getattr(form, function)(module, alpha)
    geometry = form.geometry if function == "cutmix" else None
    return Agreement(name, compare_draws(our_draws(geometry, form.options, alpha), source, alpha))


def compare_draws(ours: Draws, source: Draws, alpha: float) -> tuple[Result, ...]:
    """Every test that two sets of draws at one α allow."""
    return (*_lam_results(ours, source, alpha), *_box_results(ours, source), *_partner_results(ours, source))


def _lam_results(ours: Draws, source: Draws, alpha: float) -> Iterator[Result]:
    for side, draws in (("ours", ours), ("the source's", source)):
        if draws.lam is None:
            continue
        cells, law = _lam_cells(draws.lam, alpha, _FINE)
        yield _result(f"λ, {side}", law_surprise(cells.ravel(), law))
        cells, law = _lam_cells(draws.lam, alpha, _COARSE)
        if _by_row(draws.lam):
            yield _result(f"λ of two rows, {side}", law_surprise(*_two_rows(cells, law)))
        if _random_pairing(draws):
            # The law of the pair is the product of the laws, which is to say that λ and the partner are independent.
            both = _joined(cells[:, 0], _permutation_cells(draws.partner), ROWS**ROWS)
            yield _result(f"λ and partner, {side}", law_surprise(both, np.outer(law, _permutation_law()).ravel()))


def _box_results(ours: Draws, source: Draws) -> Iterator[Result]:
    if ours.box is None or source.box is None or ours.kept is None or source.kept is None:
        return
    yield _result("box", sample_surprise(_box_cells(ours.box), _box_cells(source.box)))
    pixels = [np.rint(kept * np.float32(HEIGHT * WIDTH)).astype(np.intp) for kept in (ours.kept, source.kept)]
    yield _result("share kept", sample_surprise(pixels[0].ravel(), pixels[1].ravel()))
    if _by_row(ours.kept):
        rows = [_joined(kept[:, 0], kept[:, 1], HEIGHT * WIDTH + 1) for kept in pixels]
        yield _result("share kept of two rows", sample_surprise(*rows))
    if _random_pairing(source):
        both = [
            _joined(kept[:, 0], draws.partner[:, 0], ROWS) for kept, draws in zip(pixels, (ours, source), strict=True)
        ]
        yield _result("share kept and partner", sample_surprise(*both))


def _partner_results(ours: Draws, source: Draws) -> Iterator[Result]:
    if _random_pairing(source):
        for side, draws in (("ours", ours), ("the source's", source)):
            surprise = law_surprise(_permutation_cells(draws.partner), _permutation_law())
            yield _result(f"partner, {side}", surprise)
    else:
        unlike = sum(int((draws.partner != source.partner[0]).any(axis=1).sum()) for draws in (ours, source))
        yield Result("partner", float(unlike), 0.0, unit="batches")


def _result(name: str, surprise: float) -> Result:
    return Result(name, surprise, -math.log10(FALSE_ALARM), unit="-log10 p")


def law_surprise(cells: Cells, law: NDArray[np.float64]) -> float:
    """How surprising draws are of a law, the probability of each cell: -log10 of the p-value of a chi-square test."""
    counts = np.bincount(cells, minlength=law.size)
    if counts.size > law.size or counts[law == 0].any():
        return math.inf  # impossible draws
    return _surprise(counts[None], law[None] * cells.size)


def sample_surprise(first: Cells, second: Cells) -> float:
    """How surprising two samples are of one law: -log10 of the p-value of a chi-square test."""
    size = int(max(first.max(), second.max())) + 1
    counts = np.stack([np.bincount(sample, minlength=size) for sample in (first, second)])
    totals = counts.sum(axis=1, keepdims=True)
    return _surprise(counts, counts.sum(axis=0) / totals.sum() * totals)


def _surprise(counts: NDArray[np.intp], expected: NDArray[np.float64]) -> float:
    """-log10 of the chi-square test's p-value, for counts and expected counts (samples, cells)."""
    pools = _pools(expected.min(axis=0))
    observed, expected = _pooled(counts, pools), _pooled(expected, pools)
    statistic = ((observed - expected) ** 2 / expected).sum()
    return float(-stats.chi2.logsf(statistic, observed.shape[1] - 1) / math.log(10)) + 0.0  # no -0


def _pools(expected: NDArray[np.float64]) -> Cells:
    """Which cells are counted together: frequent ones alone, rare ones all as one, so that no draw is left out."""
    frequent = expected >= _LEAST
    rest = int(frequent.sum())
    if expected[~frequent].sum() < _LEAST:
        rest -= 1  # with the last of the frequent ones, being too rare even together
    if rest < 1:
        raise ValueError(f"draws in one cell alone tell no distributions apart; {_LEAST} must be expected in two")
    return np.where(frequent, np.cumsum(frequent) - 1, rest)


def _pooled(numbers: NDArray[Any], pools: Cells) -> NDArray[np.float64]:
    return np.stack([np.bincount(pools, row) for row in numbers])


def _lam_cells(lam: NDArray[np.float32], alpha: float, bins: int) -> tuple[Cells, NDArray[np.float64]]:
    edges, law = _lam_bins(alpha, bins)
    return np.searchsorted(edges, lam.astype(np.float64)), law


@functools.cache
def _lam_bins(alpha: float, bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges between bins of λ that are about equally likely, and the bins' exact probabilities under Beta(α, α)."""
    beta = stats.beta(alpha, alpha)
    last = np.clip(beta.ppf(np.arange(1, bins) / bins), _SMALLEST, _LARGEST).astype(np.float32)
    # Halfway to the next float32, an edge parts what rounds down from what rounds up. So rounding moves nothing over
    # it, and the bin above the last edge has the lump at 1.
    edges = np.unique((last.astype(np.float64) + np.nextafter(last, np.float32(2)).astype(np.float64)) / 2)
    return edges, np.diff(beta.cdf(edges), prepend=0.0, append=1.0)


def _two_rows(cells: Cells, law: NDArray[np.float64]) -> tuple[Cells, NDArray[np.float64]]:
    return _joined(cells[:, 0], cells[:, 1], law.size), np.outer(law, law).ravel()


def _by_row(values: NDArray[np.float32]) -> bool:
    return bool(values.shape[1] > 1)


def _random_pairing(draws: Draws) -> bool:
    return bool((draws.partner != draws.partner[0]).any())


def _joined(first: Cells, second: Cells, size: int) -> Cells:
    """The cells of a pair, whose second entry is below `size`."""
    return first * size + second


def _box_cells(box: Cells) -> Cells:
    return np.asarray(np.ravel_multi_index(tuple(box.T), (HEIGHT + 1, HEIGHT + 1, WIDTH + 1, WIDTH + 1)), np.intp)


def _permutation_cells(partner: Cells) -> Cells:
    return np.asarray(np.ravel_multi_index(tuple(partner.T), (ROWS,) * ROWS), np.intp)


@functools.cache
def _permutation_law() -> NDArray[np.float64]:
    law = np.zeros(ROWS**ROWS)
    law[_permutation_cells(np.array(list(permutations(range(ROWS)))))] = 1 / math.factorial(ROWS)
    return law


@functools.cache
def our_draws(geometry: str | None, options: tuple[tuple[str, Any], ...], alpha: float) -> Draws:
    """The draws of `draw_cutmix` in this geometry, or of `draw_mixup` for None, at α."""
    keys = jax.random.split(jax.random.key(zlib.crc32(f"{geometry} {options}".encode())), OUR_BATCHES)
    if geometry is None:
        lam, partner = jax.tree.map(np.asarray, _our_mixup(options)(keys, alpha))
        return Draws(lam.reshape(OUR_BATCHES, -1), None, None, partner)
    box, kept, partner = jax.tree.map(np.asarray, _our_cutmix(geometry, options)(keys, alpha))
    return Draws(None, boxes(*box), kept.reshape(OUR_BATCHES, -1), partner)


@functools.cache
def _our_mixup(options: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    def draw(key: jax.Array, alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawn = ood_jax.draw_mixup(key, ROWS, alpha=alpha, **dict(options))
        return drawn.lam, drawn.partner

    return jax.jit(jax.vmap(draw, (0, None)))


@functools.cache
def _our_cutmix(geometry: str, options: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    images, labels = jnp.zeros((ROWS, HEIGHT, WIDTH, 1)), jnp.zeros(ROWS)

    def draw(key: jax.Array, alpha: jax.Array) -> tuple[ood_jax.Box, jax.Array, jax.Array]:
        drawn = ood_jax.draw_cutmix(key, ROWS, (HEIGHT, WIDTH), alpha=alpha, geometry=geometry, **dict(options))
        return drawn.box, ood_jax.apply_cutmix(drawn, images, labels).lam, drawn.partner

    return jax.jit(jax.vmap(draw, (0, None)))


def boxes(top: ArrayLike, bottom: ArrayLike, left: ArrayLike, right: ArrayLike) -> Cells:
    """Edges of one shape as boxes (n, 4); zeros for the empty ones, which show nowhere and so are all the same."""
    edges = np.stack([np.ravel(edge) for edge in (top, bottom, left, right)], axis=1).astype(np.intp)
    empty = (edges[:, 0] >= edges[:, 1]) | (edges[:, 2] >= edges[:, 3])
    edges[empty] = 0
    return edges


def _seen_boxes(changed: NDArray[np.bool_]) -> Cells:
    """The boxes of masks (n, H, W)."""
    rows, columns = (np.asarray(changed.any(axis=axis), np.bool_) for axis in (2, 1))
    edges = []
    for line, size in ((rows, HEIGHT), (columns, WIDTH)):
        # Where nothing is set both searches stop at once, which would make the whole side of it.
        edges += [line.argmax(axis=1), np.where(line.any(axis=1), size - line[:, ::-1].argmax(axis=1), 0)]
    return boxes(*edges)


@contextlib.contextmanager
def _seeded(name: str) -> Iterator[None]:
    """Both global generators follow from a name inside, and are afterwards as they were."""
    seed = zlib.crc32(name.encode())
    state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Images that hold their row's number in every pixel, and the numbers."""
    rows = torch.arange(ROWS)
    return rows.reshape(ROWS, 1, 1, 1).repeat(1, 1, HEIGHT, WIDTH).float(), rows


def _column(values: list[float]) -> NDArray[np.float32]:
    return np.array(values, np.float64).astype(np.float32)[:, None]


def _definition_mixup(module: ModuleType, alpha: float, batches: int = 5000) -> Draws:
    rows = torch.arange(ROWS)
    x = torch.zeros(ROWS, 1)
    calls = [module.mixup_data(x, rows, alpha) for _ in range(batches)]
    return Draws(_column([lam for *_, lam in calls]), None, None, torch.stack([y_b for _, _, y_b, _ in calls]).numpy())


def _definition_cutmix(module: ModuleType, alpha: float, batches: int = 5000) -> Draws:
    x, rows = _batch()
    cutmix = module.CutMix(alpha)
    calls = [cutmix(x, rows) for _ in range(batches)]
    partner = torch.stack([y_b for _, _, y_b, _ in calls]).numpy()
    changed = torch.stack([mixed for mixed, *_ in calls]).ne(x).any(dim=1).numpy()  # (batches, 1, H, W)
    shows = np.flatnonzero((partner != rows.numpy()).any(axis=1))  # nothing changes where every row is its own partner
    box = _seen_boxes(changed[shows, 0])
    return Draws(None, box, _column([lam for *_, lam in calls]), partner)


def _kornia_mixup(module: ModuleType, alpha: float, batches: int = 3000) -> Draws:
    generator = module.random_generator.MixupGenerator()
    calls = [generator((ROWS, 1, HEIGHT, WIDTH)) for _ in range(batches)]
    lam = 1 - torch.stack([call["mixup_lambdas"] for call in calls]).numpy()  # kornia's is the partner's weight
    return Draws(lam, None, None, torch.stack([call["mixup_pairs"] for call in calls]).numpy())


def _kornia_cutmix(module: ModuleType, alpha: float, batches: int = 1500) -> Draws:
    generator = module.random_generator.CutmixGenerator(beta=alpha)
    calls = [generator((ROWS, 1, HEIGHT, WIDTH)) for _ in range(batches)]
    corners = torch.cat([call["crop_src"] for call in calls]).long().numpy()  # (batches, ROWS, 4, 2), x before y
    (left, top), (last_column, last_row) = np.moveaxis(corners[:, :, [0, 2]], (2, 3), (0, 1))
    pasted = (last_row + 1 - top) * (last_column + 1 - left)
    kept = (1 - pasted / (HEIGHT * WIDTH)).astype(np.float32)
    box = boxes(top, last_row + 1, left, last_column + 1)
    return Draws(None, box, kept, torch.cat([call["mix_pairs"] for call in calls]).numpy())


def _torchvision_mixup(module: ModuleType, alpha: float, batches: int = 3000) -> Draws:
    mixup = module.MixUp(alpha=alpha, num_classes=ROWS)
    x, _ = _batch()
    lam = _column([mixup.make_params([x])["lam"] for _ in range(batches)])
    return Draws(lam, None, None, _torchvision_partner(mixup))


def _torchvision_cutmix(module: ModuleType, alpha: float, batches: int = 3000) -> Draws:
    cutmix = module.CutMix(alpha=alpha, num_classes=ROWS)
    x, _ = _batch()
    calls = [cutmix.make_params([x]) for _ in range(batches)]
    left, top, right, bottom = np.array([call["box"] for call in calls]).T
    kept = _column([call["lam_adjusted"] for call in calls])
    return Draws(None, boxes(top, bottom, left, right), kept, _torchvision_partner(cutmix))


def _torchvision_partner(transform: Callable[..., Any], batches: int = 50) -> Cells:
    return _seen_partner(torch.stack([transform(*_batch())[1] for _ in range(batches)]).numpy())


def _timm_mixup(module: ModuleType, alpha: float, mode: str, batches: int) -> Draws:
    mixup = module.Mixup(alpha, 0.0, mode=mode, label_smoothing=0.0, num_classes=ROWS)
    rows = torch.arange(ROWS)
    targets = torch.stack([mixup(torch.zeros(ROWS, 1), rows)[1] for _ in range(batches)]).numpy()
    return Draws(_own_weight(targets, mode), None, None, _seen_partner(targets))


def _timm_cutmix(module: ModuleType, alpha: float, mode: str, batches: int) -> Draws:
    cutmix = module.Mixup(0.0, alpha, mode=mode, label_smoothing=0.0, num_classes=ROWS)
    x, rows = _batch()
    calls = [cutmix(x.clone(), rows) for _ in range(batches)]  # timm mixes in place
    targets = torch.stack([target for _, target in calls]).numpy()
    changed = torch.stack([mixed for mixed, _ in calls]).ne(x).numpy()[:, :, 0]
    changed = changed[:, :1] if mode == "batch" else changed
    box = _seen_boxes(changed.reshape(-1, HEIGHT, WIDTH))
    return Draws(None, box, _own_weight(targets, mode), _seen_partner(targets))


def _own_weight(targets: NDArray[np.float32], mode: str) -> NDArray[np.float32]:
    """λ (batches, r) of mixed one-hot targets (batches, ROWS, ROWS), none of whose rows is its own partner."""
    own = np.diagonal(targets, axis1=1, axis2=2)
    return own[:, :1] if mode == "batch" else own


def _seen_partner(targets: NDArray[np.float32]) -> Cells:
    """The partners of mixed one-hot targets (batches, ROWS, ROWS), of batches where every partner has a weight."""
    others = targets * (1 - np.eye(ROWS, dtype=np.float32))
    return np.asarray(others.argmax(axis=2)[(others.max(axis=2) > 0).all(axis=1)], np.intp)


FORMS = (
    Form("definition", "", (), "paper", _definition_mixup, _definition_cutmix),
    Form("incerto", "", (), "paper", _definition_mixup, _definition_cutmix),
    # kornia's mixup has no α: its λ is uniform, which is Beta(1, 1).
    Form("kornia", "", (("per_example", True),), "kornia", _kornia_mixup, _kornia_cutmix, (1.0,)),
    Form("torchvision", "", (("pairing", "roll"),), "paper", _torchvision_mixup, _torchvision_cutmix),
    Form(
        "timm",
        "",
        (("pairing", "flip"),),
        "timm",
        functools.partial(_timm_mixup, mode="batch", batches=2500),
        functools.partial(_timm_cutmix, mode="batch", batches=2500),
    ),
    # For rows timm computes the side in float32, where 1 - λ is 1 below λ = 3e-8 and the side whole; for batches, and
    # ours for both, in float64, where it is a pixel less. At α = 0.05 that is one draw in eight, from 0.2 on too few
    # to notice.
    Form(
        "timm",
        " per_example",
        (("pairing", "flip"), ("per_example", True)),
        "timm",
        functools.partial(_timm_mixup, mode="elem", batches=1000),
        functools.partial(_timm_cutmix, mode="elem", batches=1000),
        cutmix_alphas=ALPHAS[1:],
    ),
)
