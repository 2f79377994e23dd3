"""Processes that run once for all the tests of them."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from .together import Failed, run_together

WORKER = Path(__file__).with_name("worker.py")
# They take some ten seconds, more beside other tests.
LIMIT = 120
LAYOUTS = {"2 processes": (2, 1), "4 processes": (4, 1)}


@pytest.fixture(scope="session", params=LAYOUTS)
def reports(request, tmp_path_factory):
    """What each process of the worker reports. When pytest itself runs in several processes, one of them starts it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / "processes" / request.param.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    # One lock for every layout: side by side they would only slow each other down.
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = folder / "reports.json"
        if not known.exists():
            known.write_text(json.dumps(_run(folder, *LAYOUTS[request.param])))
    found = json.loads(known.read_text())
    if "failure" in found:
        pytest.fail(found["failure"], pytrace=False)
    return found["reports"]


def _run(folder, count, devices):
    try:
        return {"reports": run_together(WORKER, count, folder, seconds=LIMIT, devices=devices)}
    except Failed as error:
        return {"failure": str(error)}
