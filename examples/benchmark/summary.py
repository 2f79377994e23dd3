"""From values by seed to means, standard errors, ranks, and differences that the seeds cannot tell from none.

Seeds are pairs: two methods, or two frameworks, share a seed's split, initial weights and order of rows, so their
difference is taken seed by seed. It is within the noise if 0 lies in the 95% interval of Student's t.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from .cells import Cell
from .evaluate import Row

# By whether larger is better.
METRICS = {"accuracy": True, "ece": False, "brier": False, "auroc": True, "aupr_out": True, "fpr95": False}


class Key(NamedTuple):
    """What a value is of, but for the seed. `ood` is "near", "far" (the mean of all far sets), a far set, or ""."""

    dataset: str
    method: str
    framework: str
    metric: str
    score: str = ""
    ood: str = ""


Values = Mapping[Key, Mapping[int, float]]
"""Values by seed."""


class Estimate(NamedTuple):
    """A mean and its standard error, which a single seed does not have."""

    mean: float
    error: float | None

    def __format__(self, digits: str) -> str:
        """In per cent."""
        mean = f"{100 * self.mean:{digits or '.1f'}}"
        return mean if self.error is None else f"{mean} ± {100 * self.error:{digits or '.1f'}}"


class Difference(NamedTuple):
    """The mean difference of pairs, its standard error, and whether 0 is in its 95% interval."""

    mean: float
    error: float | None
    within_noise: bool

    @property
    def in_errors(self) -> float:
        """The size of the difference in standard errors."""
        return abs(self.mean) / self.error if self.error else (0.0 if self.mean == 0 else float("inf"))


def collect(measured: Mapping[Cell, Iterable[Row]]) -> dict[Key, dict[int, float]]:
    """All values, and "far" as the mean of the far sets."""
    values: dict[Key, dict[int, float]] = {}
    far: dict[tuple[Key, int], list[float]] = {}
    for cell, rows in measured.items():
        for row in rows:
            key = Key(cell.dataset, cell.method, cell.framework, row.metric, row.score, row.ood)
            values.setdefault(key, {})[cell.seed] = row.value
            if row.ood not in ("", "near"):
                far.setdefault((key._replace(ood="far"), cell.seed), []).append(row.value)
    for (key, seed), of_sets in far.items():
        values.setdefault(key, {})[seed] = float(np.mean(of_sets))
    return values


def estimate(values: Iterable[float]) -> Estimate:
    found = np.fromiter(values, float)
    error = None if len(found) < 2 else float(found.std(ddof=1) / np.sqrt(len(found)))
    return Estimate(float(found.mean()), error)


def difference(one: Mapping[int, float], other: Mapping[int, float]) -> Difference:
    """One minus other, over the seeds that both have."""
    pairs = [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]
    mean, error = estimate(pairs)
    if error is None:
        return Difference(mean, None, True)
    return Difference(mean, error, abs(mean) <= stats.t.ppf(0.975, len(pairs) - 1) * error)


def ranked_framework(values: Values, dataset: str) -> str:
    """Whose networks are ranked: those trained in JAX, if there are any."""
    return min(key.framework for key in values if key.dataset == dataset)


class Ranked(NamedTuple):
    key: Key
    estimate: Estimate
    difference: Difference


def rank(values: Values, keys: Sequence[Key]) -> list[Ranked]:
    """The keys, best mean first, with the difference of each from the best."""
    larger_is_better = METRICS[keys[0].metric]
    estimates = {key: estimate(values[key].values()) for key in keys}
    ordered = sorted(keys, key=lambda key: estimates[key].mean, reverse=larger_is_better)
    return [Ranked(key, estimates[key], difference(values[key], values[ordered[0]])) for key in ordered]


class Twin(NamedTuple):
    """A key of JAX, both estimates and JAX minus PyTorch, over the seeds that both have."""

    key: Key
    pairs: int
    jax: Estimate
    torch: Estimate
    difference: Difference


def twins(values: Values) -> list[Twin]:
    """Every value that both frameworks have for at least two seeds."""
    found = []
    for key, of_jax in values.items():
        of_torch = values.get(key._replace(framework="torch"), {})
        common = sorted(of_jax.keys() & of_torch.keys())
        if key.framework == "jax" and len(common) > 1:
            ours, theirs = (estimate(by_seed[seed] for seed in common) for by_seed in (of_jax, of_torch))
            found.append(Twin(key, len(common), ours, theirs, difference(of_jax, of_torch)))
    return found
