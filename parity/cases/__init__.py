"""The table of cases: each function of `ood_jax` beside its sources, over forms, dtypes, shapes and extremes."""

from collections.abc import Iterator

from ..draws import draw_cases
from ._case import Case as Case
from .detectors import detector_cases
from .losses import loss_cases
from .metrics import metric_cases
from .mixing import mixing_cases
from .scores import score_cases
from .targets import target_cases


def cases() -> Iterator[Case]:
    """Every case, in the order of the report."""
    yield from mixing_cases()
    yield from target_cases()
    yield from loss_cases()
    yield from score_cases()
    yield from detector_cases()
    yield from metric_cases()
    yield from (Case(*draws) for draws in draw_cases())
