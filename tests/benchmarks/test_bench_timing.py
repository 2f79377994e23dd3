"""Turns, and the arithmetic of what they give, on a clock that we move."""

from itertools import pairwise

import pytest

from benchmarks import timing
from benchmarks.timing import Plan, Quartiles


class Clock:
    """Stands still but for what runs."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def __call__(self):
        return self.now

    def runs(self, name, seconds):
        """A run that takes these seconds, one after the other, the last of them for good."""
        left = list(seconds)

        def run():
            self.log.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


PLAN = Plan(budget=0, fewest=4, most=4, untimed=0, timed=0)


def test_what_comes_before_the_timed_calls_counts_for_nothing():
    clock = Clock()
    # Compiling, both calls of the warm round, the untimed call; then the timed one of each round.
    run = clock.runs("a", [100.0, 50.0, 40.0, 30.0, 2.0, 30.0, 4.0, 30.0, 6.0, 30.0, 8.0])
    assert timing.take_turns({"a": run}, PLAN, clock) == {"a": [2, 4, 6, 8]}


def test_everybody_has_as_many_rounds_and_an_own_time():
    clock = Clock()
    runs = {name: clock.runs(name, [seconds]) for name, seconds in (("a", 1.0), ("b", 2.0), ("c", 3.0))}
    assert timing.take_turns(runs, PLAN, clock) == {"a": [1] * 4, "b": [2] * 4, "c": [3] * 4}


def test_a_turn_lasts_as_long_as_the_plan_says():
    clock = Clock()
    run = clock.runs("a", [0.25])
    assert timing.turn(run, Plan(untimed=1.0, timed=2.0), clock) == 0.25
    assert len(clock.log) == 4 + 8


@pytest.mark.parametrize(("round_seconds", "rounds"), [(0.1, 24), (1.0, 10), (2.4, 4), (60.0, 4), (0.0, 24)])
def test_rounds_fill_the_budget_within_bounds(round_seconds, rounds):
    assert timing.round_count(Plan(budget=10, fewest=4, most=24), round_seconds) == rounds


def test_nobody_always_begins_or_follows_the_same():
    names = list("abcdefgh")
    orders = [timing.order(names, index) for index in range(24)]
    assert all(sorted(order) == names for order in orders)
    assert all(one == other[::-1] for one, other in zip(orders[::2], orders[1::2], strict=True))
    assert {order[0] for order in orders} == set(names)
    followers = {(one, other) for order in orders for one, other in pairwise(order)}
    assert len(followers) > 50  # of 56, where a rotation of one order has 16


def test_quartiles():
    assert timing.quartiles([4, 1, 3, 2, 5]) == Quartiles(2, 3, 4)


def test_a_ratio_is_that_of_each_round():
    # A load doubles both in some rounds: the ratio does not see it, while that of medians would be 3 / 4.
    assert timing.ratio([1, 2, 3], [2, 4, 6]) == Quartiles(0.5, 0.5, 0.5)
    assert timing.ratio([1, 10, 3], [4, 5, 6]).median == 0.5


@pytest.mark.parametrize("power", [0, 1, 1.5, -0.5])
def test_the_exponent_of_a_power_is_found(power):
    sizes = [8, 16, 64, 1000]
    assert timing.exponent(sizes, [3e-4 * size**power for size in sizes]) == pytest.approx(power, abs=1e-9)


def test_noise_of_both_signs_leaves_the_exponent():
    assert timing.exponent([1, 2, 4, 8], [1.1, 1.8, 3.6, 8.8]) == pytest.approx(1, abs=0.1)
