"""Contenders take turns, and what their times say.

Two frameworks in one process disturb each other: PyTorch's threads spin for milliseconds after a call, and take the
core that XLA's next call needs. To sleep in between makes it worse, for the cores then wake slowly. So each turn begins
with calls that nobody times.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

Run: TypeAlias = Callable[[], Any]
Clock: TypeAlias = Callable[[], float]


class Plan(NamedTuple):
    """How long to measure, in seconds.

    Attributes:
      budget: for all rounds of a row, from which follows how many there are,
      fewest, most: between these, both even, for rounds come in pairs.
      untimed: the calls that begin a turn: at least this long, and at least one.
      timed: the calls that are timed, likewise; a turn's time is their mean.
    """

    budget: float = 1.0
    fewest: int = 6
    most: int = 24
    untimed: float = 0.008
    timed: float = 0.008


QUICK = Plan(budget=0, fewest=2, most=2, untimed=0, timed=0)


class Quartiles(NamedTuple):
    lower: float
    median: float
    upper: float


def take_turns(runs: Mapping[str, Run], plan: Plan, clock: Clock = time.perf_counter) -> dict[str, list[float]]:
    """Seconds a call, by contender and round."""
    names = list(runs)
    for run in runs.values():
        jax.block_until_ready(run())  # compiles
    start = clock()
    for run in runs.values():
        turn(run, plan, clock)
    rounds = round_count(plan, clock() - start)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds):
        for name in order(names, index):
            samples[name].append(turn(runs[name], plan, clock))
    return samples


def round_count(plan: Plan, seconds_a_round: float) -> int:
    pairs = int(plan.budget / max(2 * seconds_a_round, 1e-9))
    return min(plan.most, max(plan.fewest, 2 * pairs))


def order(names: Sequence[str], index: int) -> list[str]:
    """Each pair of rounds has an order of its own, the second of them backwards: all follow on all, sooner or later."""
    shuffled = random.Random(index // 2).sample(names, len(names))
    return shuffled[::-1] if index % 2 else shuffled


def turn(run: Run, plan: Plan, clock: Clock) -> float:
    """Seconds a call: what a result costs to be freed is part of it."""
    repeat(run, plan.untimed, clock)
    return repeat(run, plan.timed, clock)


def repeat(run: Run, least: float, clock: Clock) -> float:
    start, calls, spent = clock(), 0, 0.0
    while calls == 0 or spent < least:
        jax.block_until_ready(run())
        calls += 1
        spent = clock() - start
    return spent / calls


def quartiles(values: Sequence[float]) -> Quartiles:
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Quartiles:
    """Ours over theirs of the same round, so that what the machine does in the meantime meets both.

    Not alike, though: PyTorch's threads wait for each other at every step, so beside other programs it slows down more.
    """
    return quartiles([a / b for a, b in zip(ours, theirs, strict=True)])


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The b of seconds = a·size^b that fits best, by least squares of the logarithms."""
    return float(np.polyfit([math.log(size) for size in sizes], [math.log(time) for time in seconds], 1)[0])
