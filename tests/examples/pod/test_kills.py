"""Runs that are killed end as the run that never was; on any number of processes.

`POD_KILLS=20 pytest tests/examples/pod/test_kills.py` kills that often. Which process and when follows from the
number in the test's name, and is printed.
"""

import os
import random
import signal
import time

import numpy as np
import pytest

from examples.pod.folder import CHECKPOINTS, METRICS, steps_in
from examples.pod.runtime import LOST

from .conftest import EVERY, PATIENCE, STEPS, Team, as_at_step, finish, losses, outcome, wait_for_steps

KILLS = int(os.environ.get("POD_KILLS", "2"))
# "All have ended" after the patience and ten seconds, says the example; that much again for a busy machine.
ENDED = PATIENCE + 20


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_a_random_moment_it_ends_as_if_never_killed(number, two, tmp_path):
    reference, seconds = two
    rng = random.Random(number)
    victim, training = (number + number // 2) % 2, number % 2 == 1
    # The steps are taken in the last fifth of the time; every other kill is among them.
    moment = rng.uniform(0, seconds / 5 if training else seconds)
    out = kill(victim, moment, training, tmp_path)
    finish(out, 2)
    assert outcome(out) == outcome(reference)


def kill(victim, moment, training, folder):
    """Kills a process at this moment of the run, or of its training, and sees the other end; the run's folder."""
    out = folder / f"after-{moment:.2f}"
    with Team(out, 2) as team:
        if training:
            wait_for_steps(team, out)
        time.sleep(moment)
        team.kill(victim)
        statuses = team.wait(ENDED)
        ended = f"checkpoints {steps_in(out)}, statuses {statuses}"
        print(f"process {victim} killed after {moment:.2f} s{' of training' * training}: {ended}")
        if statuses == {0: 0, 1: 0}:
            return kill(victim, moment / 2, training, folder)  # the run was faster
        assert statuses[victim] == -signal.SIGKILL
        if statuses[1 - victim] == 0:
            assert steps_in(out)[-1] == STEPS  # it had nothing left to do
        else:
            assert statuses[1 - victim] == LOST, team.log(1 - victim)
            assert "give the same command again" in team.last_line(1 - victim)
    return out


@pytest.mark.parametrize("victim", [0, 1])
def test_killed_while_it_writes_a_checkpoint_it_goes_on_from_the_one_before(victim, two, tmp_path):
    out = tmp_path / "run"
    with Team(out, 2) as team:
        half = stop_amid_a_checkpoint(team, out)
        before = steps_in(out)
        assert before
        assert max(before) < half
        team.kill(victim)
        team.kill(1 - victim, signal.SIGCONT)
        statuses = team.wait(ENDED)
        assert statuses == {victim: -signal.SIGKILL, 1 - victim: LOST}, team.log(1 - victim)
        last = steps_in(out)[-1]
        assert team.last_line(1 - victim).endswith(f"to resume from step {last}")
    # Once in many runs the survivor had all that it needed to finish the checkpoint, and did.
    completed = last == half
    assert steps_in(out) == before + [half] * completed
    assert (out / CHECKPOINTS / f"{half}.orbax-checkpoint-tmp").is_dir() != completed
    log = finish(out, 2)
    assert f"resuming from step {last}\n" in log
    assert outcome(out) == outcome(two[0])


def stop_amid_a_checkpoint(team, out):
    """Stops both processes when a checkpoint after the first is half written; which one."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for i in team.running:
            assert team.running[i].poll() is None, team.log(i)
        if half := writing(out):
            for i in team.running:
                team.kill(i, signal.SIGSTOP)
            time.sleep(0.05)
            # Still half written, now that nothing moves: it is what the kill leaves.
            if writing(out) == half and half not in steps_in(out):
                return half
            for i in team.running:
                team.kill(i, signal.SIGCONT)
        time.sleep(0.001)
    raise AssertionError("no checkpoint was seen being written")


def writing(out):
    steps = [int(path.name.partition(".")[0]) for path in (out / CHECKPOINTS).glob("*.orbax-checkpoint-tmp")]
    return max((step for step in steps if step > EVERY), default=None)


def test_two_processes_go_on_where_one_stopped(finished, two, tmp_path):
    out = as_at_step(STEPS - 2 * EVERY, finished, tmp_path / "run")
    assert f"resuming from step {STEPS - 2 * EVERY}\n" in finish(out, 2)
    np.testing.assert_allclose(losses(out), losses(two[0]), rtol=1e-6)


def test_one_process_goes_on_where_two_stopped(here, finished, two, tmp_path, capfd):
    out = as_at_step(STEPS - 2 * EVERY, two[0], tmp_path / "run")
    here(out)
    assert f"resuming from step {STEPS - 2 * EVERY}\n" in capfd.readouterr().err
    np.testing.assert_allclose(losses(out), losses(finished), rtol=1e-6)


def test_one_process_has_the_losses_of_two(finished, two):
    np.testing.assert_allclose(losses(finished), losses(two[0]), rtol=1e-6)


def test_the_metrics_have_every_step_once(two):
    assert len(losses(two[0])) == STEPS
    assert (two[0] / METRICS).read_bytes().count(b"\n") == STEPS
