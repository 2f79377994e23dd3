"""A batch over several processes mixes as on one device of one, and its losses are those of the whole batch."""

import pytest

from . import worker


@pytest.mark.parametrize("check", worker.CHECKS)
def test_as_on_one_device(check, reports):
    wrong = {index: report["wrong"][check] for index, report in enumerate(reports) if report["wrong"][check]}
    assert not wrong, "\n".join(f"process {index}: {trace}" for index, trace in wrong.items())


def test_each_process_has_rows_of_its_own(reports):
    assert [report["processes"] for report in reports] == [len(reports)] * len(reports)
    shards = [shard for report in reports for shard in report["rows"]]
    each = worker.N // len(shards)
    assert shards == [[first, first + each - 1] for first in range(0, worker.N, each)]


def test_processes_agree_on_the_whole_batch(reports):
    # What each compared its part with.
    assert len({report["digest"] for report in reports}) == 1
