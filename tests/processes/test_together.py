"""Processes started together leave none behind, and say what was wrong."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from . import together

HERE = Path(__file__).parent
# Has a child of its own, and tells of both by their numbers.
SLEEPS = """
    import os, subprocess, sys, time
    from pathlib import Path
    child = subprocess.Popen([sys.executable, "-ISc", "import time; time.sleep(600)"])
    Path(sys.argv[1]).with_suffix(".started").write_text(str(os.getsid(0)))
    time.sleep(600)
"""


@pytest.fixture
def script(tmp_path):
    def write(content):
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(content))
        return path

    return write


def alive_in(session):
    """Which processes of a session run; the dead that nobody has waited for do not."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, sid = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(sid) == session and state not in "ZX":
            found.append(int(stat.parent.name))
    return found


def sessions(folder, count, patience=10):
    """Of the processes, once all have started."""
    until = time.monotonic() + patience
    paths = [folder / f"{index}.started" for index in range(count)]
    while time.monotonic() < until:
        if all(path.exists() and path.read_text() for path in paths):
            return [int(path.read_text()) for path in paths]
        time.sleep(0.02)
    raise AssertionError("did not start")


def assert_none_is_left(found, patience=5):
    until = time.monotonic() + patience
    while any(map(alive_in, found)) and time.monotonic() < until:
        time.sleep(0.02)
    assert [alive_in(session) for session in found] == [[]] * len(found)


def test_at_the_deadline_all_are_killed_with_their_children(script, tmp_path):
    start = time.monotonic()
    with pytest.raises(together.Failed, match="still running after 2 s, and killed: process 0, 1 of 2"):
        together.run_together(script(SLEEPS), 2, tmp_path, seconds=2)
    assert time.monotonic() - start < 10
    assert_none_is_left(sessions(tmp_path, 2, patience=0.1))


def test_one_that_fails_ends_the_others_and_is_quoted(script, tmp_path):
    fails = "    import sys\n    if sys.argv[4] == '1': raise LookupError('for a reason')\n"
    start = time.monotonic()
    with pytest.raises(together.Failed) as failure:
        together.run_together(script(fails + SLEEPS), 2, tmp_path, seconds=60)
    assert time.monotonic() - start < 20
    assert "process 1 of 2 ended with status 1" in str(failure.value)
    assert "Traceback (most recent call last)" in str(failure.value)
    assert "LookupError: for a reason" in str(failure.value)
    assert_none_is_left(sessions(tmp_path, 1))


def test_a_child_that_outlives_its_process_is_killed(script, tmp_path):
    ends = SLEEPS.replace("    time.sleep(600)\n", "    Path(sys.argv[1]).write_text('[]')\n")
    assert together.run_together(script(ends), 1, tmp_path, seconds=60) == [[]]
    assert_none_is_left(sessions(tmp_path, 1))


def test_an_interrupted_test_leaves_none(script, tmp_path):
    def interrupted():
        with together.started(script(SLEEPS), 2, tmp_path):
            found.extend(sessions(tmp_path, 2))
            assert all(len(alive_in(session)) == 2 for session in found)
            raise KeyboardInterrupt

    found = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert_none_is_left(found)


def test_killed_tests_take_their_processes_along(script, tmp_path):
    lonely = script("\n".join(line for line in SLEEPS.splitlines() if "child" not in line))
    starter = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(HERE)!r})
import together
with together.started(Path({str(lonely)!r}), 1, Path({str(tmp_path)!r})) as jobs:
    print(jobs[0].process.pid, flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-ISc", starter], stdout=subprocess.PIPE, text=True) as tests:
        session = int(tests.stdout.readline())
        try:
            assert sessions(tmp_path, 1) == [session]
            assert alive_in(session)
            tests.send_signal(signal.SIGKILL)
            tests.wait()
            assert_none_is_left([session])
        finally:
            tests.kill()
            if alive_in(session):
                os.killpg(session, signal.SIGKILL)


def test_a_taken_port_is_tried_again_with_another(script, tmp_path, monkeypatch):
    meets = """
        import sys
        import jax
        out, port, count, index = sys.argv[1:]
        address = f"127.0.0.1:{port}"
        jax.distributed.initialize(address, int(count), int(index), coordinator_bind_address=address)
        open(out, "w").write(port)
        jax.distributed.shutdown()
    """
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken, free = holder.getsockname()[1], together.free_port()
        ports = iter([taken, free])
        monkeypatch.setattr(together, "free_port", lambda: next(ports))
        assert together.run_together(script(meets), 1, tmp_path, seconds=60) == [free]
        monkeypatch.setattr(together, "free_port", lambda: taken)
        with pytest.raises(together.Failed, match=together.PORT_TAKEN):
            together.run_together(script(meets), 1, tmp_path, seconds=60)
