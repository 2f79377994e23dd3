"""A method's run in both frameworks, and how much its training magnifies roundings."""

import functools

import numpy as np

from .ours import train_ours
from .setting import STEPS
from .source import train_source
from .trajectory import Curve, Trajectory

# A probe's change of the weights is far above the roundings of float64, yet so small that its effect is in proportion.
PROBE, PROBES = 2.0**-38, 3


def run(method: str, dtype: str = "float32", *, steps: int = STEPS) -> Trajectory:
    """Trains with both frameworks, and measures what roundings would do."""
    ours, source = train_ours(method, dtype, steps=steps), train_source(method, dtype, steps=steps)
    return Trajectory(method, dtype, ours, source, growth(method, steps=steps))


@functools.cache
def growth(method: str, *, steps: int = STEPS) -> Curve:
    """The growth of roundings, from perturbed float64 runs: the largest so far, and at least that of the loss's own."""
    plain = train_ours(method, "float64", steps=steps)
    probes = [train_ours(method, "float64", steps=steps, perturbation=PROBE, seed=seed) for seed in range(PROBES)]
    changes = np.abs(np.stack(probes) - plain).max(axis=0) / PROBE
    grown: Curve = np.maximum.accumulate(np.maximum(changes, np.abs(plain)))
    grown.setflags(write=False)  # the cache hands out the array itself
    return grown
