"""A process that is lost, silent, missing or at fault ends the others: soon, and with a message."""

import contextlib
import signal
import socket
import time

from examples.pod.runtime import LOST, REFUSED

from .conftest import PATIENCE, Team, wait_for_steps
from .fashion import write_small

# What the example states, and as much again for a busy machine.
ENDED = 2 * (PATIENCE + 10)
LONG = ["--steps", 100_000]


def test_a_silent_process_is_given_up(tmp_path):
    with Team(tmp_path / "run", 2, *LONG) as team:
        wait_for_steps(team, tmp_path / "run")
        team.kill(1, signal.SIGSTOP)
        assert team.wait(ENDED, of=[0]) == {0: LOST}
        assert f"lost, or silent for {PATIENCE} s (--patience)" in team.last_line(0)
        assert "give the same command again, to every process, to resume from step" in team.last_line(0)


def test_a_process_asked_to_end_does_and_the_others_too(tmp_path):
    with Team(tmp_path / "run", 2, *LONG) as team:
        wait_for_steps(team, tmp_path / "run")
        team.kill(1, signal.SIGTERM)
        assert team.wait(ENDED) == {0: LOST, 1: -signal.SIGTERM}
        assert "give the same command again, to every process, to resume from step" in team.last_line(0)


def test_a_process_that_never_comes_is_given_up(tmp_path):
    with contextlib.ExitStack() as stack:
        # Two runs: of one only process 0 comes, of the other only process 1.
        teams = [stack.enter_context(Team(tmp_path / f"{i}", 2, patience=1, present=[i])) for i in (0, 1)]
        for i, team in enumerate(teams):
            assert team.wait(ENDED) == {i: LOST}
            assert "not all processes came within 1 s (--patience)" in team.last_line(i)
            assert not (tmp_path / f"{i}").exists()


def test_bad_input_of_one_process_ends_all(tmp_path):
    own = {
        1: ((), {"FASHION_MNIST": str(tmp_path / "none")}),
        0: ((), {"FASHION_MNIST": str(write_small(tmp_path / "whole"))}),
    }
    with Team(tmp_path / "run", 2, "--data", "fashion", own=own) as team:
        assert team.wait(ENDED) == {0: REFUSED, 1: REFUSED}
        assert "process 0 of 2: stopped with process 1, whose message says why" in team.last_line(0)
        assert "process 1 of 2: --data fashion: cannot read Fashion-MNIST" in team.last_line(1)
    assert not (tmp_path / "run").exists()


def test_other_options_on_one_process_end_all(tmp_path):
    with Team(tmp_path / "run", 2, own={1: (["--seed", 7], {})}) as team:
        assert team.wait(ENDED) == {0: REFUSED, 1: REFUSED}
        assert "was started with other options than process 0" in team.last_line(1)
    assert not (tmp_path / "run").exists()


def test_an_error_of_one_process_ends_all(tmp_path):
    whole = write_small(tmp_path / "whole")
    broken = write_small(tmp_path / "broken")
    cut = broken / "train-images-idx3-ubyte.gz"
    cut.write_bytes(cut.read_bytes()[:-20])
    own = {0: ((), {"FASHION_MNIST": str(whole)}), 1: ((), {"FASHION_MNIST": str(broken)})}
    with Team(tmp_path / "run", 2, "--data", "fashion", own=own) as team:
        assert team.wait(ENDED) == {0: LOST, 1: 1}
        assert "another process was lost" in team.last_line(0)
        assert "process 1 of 2: stopped by an error (EOFError" in team.last_line(1)


def test_a_port_in_use_is_named(tmp_path):
    with Team(tmp_path / "first", 2, patience=20, present=[0]) as team:
        port = next(word for word in team.running[0].args if word.startswith("127.0.0.1:"))
        own = {0: (["--coordinator", port], {})}
        wait_until_listening(port)
        with Team(tmp_path / "second", 2, present=[0], own=own) as late:
            assert late.wait(ENDED) == {0: REFUSED}
            assert f"--coordinator {port}: cannot listen on this port" in late.last_line(0)


def wait_until_listening(address):
    host, _, port = address.partition(":")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(f"nobody listens at {address}")
