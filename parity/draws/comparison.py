"""Every comparison, source by source and α by α, and the tests that two sets of draws allow."""

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..agreement import Agreement, Result
from ..published import load
from .cells import box_cells, joined, lam_cells, permutation_cells, permutation_law, two_rows
from .chi_square import FALSE_ALARM, law_surprise, sample_surprise
from .drawn import HEIGHT, ROWS, WIDTH, Draws
from .ours import our_draws
from .sources import FORMS, Form, seeded

_FINE, _COARSE = 64, 5  # bins of λ, alone and beside something else


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
    with seeded(f"{form.source} {name}"):
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
        cells, law = lam_cells(draws.lam, alpha, _FINE)
        yield _result(f"λ, {side}", law_surprise(cells.ravel(), law))
        cells, law = lam_cells(draws.lam, alpha, _COARSE)
        if _by_row(draws.lam):
            yield _result(f"λ of two rows, {side}", law_surprise(*two_rows(cells, law)))
        if _random_pairing(draws):
            # The law of the pair is the product of the laws, which is to say that λ and the partner are independent.
            both = joined(cells[:, 0], permutation_cells(draws.partner), ROWS**ROWS)
            yield _result(f"λ and partner, {side}", law_surprise(both, np.outer(law, permutation_law()).ravel()))


def _box_results(ours: Draws, source: Draws) -> Iterator[Result]:
    if ours.box is None or source.box is None or ours.kept is None or source.kept is None:
        return
    yield _result("box", sample_surprise(box_cells(ours.box), box_cells(source.box)))
    pixels = [np.rint(kept * np.float32(HEIGHT * WIDTH)).astype(np.intp) for kept in (ours.kept, source.kept)]
    yield _result("share kept", sample_surprise(pixels[0].ravel(), pixels[1].ravel()))
    if _by_row(ours.kept):
        rows = [joined(kept[:, 0], kept[:, 1], HEIGHT * WIDTH + 1) for kept in pixels]
        yield _result("share kept of two rows", sample_surprise(*rows))
    if _random_pairing(source):
        both = [
            joined(kept[:, 0], draws.partner[:, 0], ROWS) for kept, draws in zip(pixels, (ours, source), strict=True)
        ]
        yield _result("share kept and partner", sample_surprise(*both))


def _partner_results(ours: Draws, source: Draws) -> Iterator[Result]:
    if _random_pairing(source):
        for side, draws in (("ours", ours), ("the source's", source)):
            surprise = law_surprise(permutation_cells(draws.partner), permutation_law())
            yield _result(f"partner, {side}", surprise)
    else:
        unlike = sum(int((draws.partner != source.partner[0]).any(axis=1).sum()) for draws in (ours, source))
        yield Result("partner", float(unlike), 0.0, unit="batches")


def _result(name: str, surprise: float) -> Result:
    return Result(name, surprise, -math.log10(FALSE_ALARM), unit="-log10 p")


def _by_row(values: NDArray[np.float32]) -> bool:
    return bool(values.shape[1] > 1)


def _random_pairing(draws: Draws) -> bool:
    return bool((draws.partner != draws.partner[0]).any())
