"""Retry delays and decisions, as numbers."""

from __future__ import annotations

import pytest

from conch_pipe.errors import Code, PipeError, WorkerDied
from conch_pipe.processing import schedule


def test_a_busy_resource_is_asked_again_after_one_second_and_at_most_thirty():
    assert [schedule.busy_delay(times) for times in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert schedule.busy_delay(10**6) == 30


def test_a_failing_job_is_tried_again_ever_later():
    assert [schedule.failure_delay(failures) for failures in range(1, 6)] == [2, 8, 32, 120, 120]


def test_the_first_dead_worker_is_replaced_at_once_and_a_row_of_them_ever_later():
    assert [schedule.restart_delay(deaths) for deaths in (0, 1, 2, 3, 4)] == [0, 0, 0.2, 0.4, 0.8]
    assert schedule.restart_delay(10**6) == 5


def test_a_dead_worker_is_forgiven_twice():
    steps = [schedule.after(WorkerDied("killed by SIGABRT"), failures, 0) for failures in range(3)]

    assert [step.wait_s for step in steps] == [0, 0, None]
    assert steps[2].problem == "the file could not be processed: its worker died 3 times (killed by SIGABRT)"
    assert steps[2].ours


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), PipeError(Code.FAILED, "internal error", "traceback")])
def test_a_fault_of_ours_is_forgiven_four_times_and_never_shown(error):
    steps = [schedule.after(error, failures, 0) for failures in range(5)]

    assert [step.wait_s for step in steps] == [2, 8, 32, 120, None]
    assert {step.problem for step in steps} == {"internal error"}
    assert all(step.counts for step in steps)


@pytest.mark.parametrize("code", [Code.BUSY, Code.NO_SPACE])
def test_waiting_never_counts_as_a_failure_and_never_ends(code):
    step = schedule.after(PipeError(code, "in use"), 100, 1000)

    assert (step.wait_s, step.counts) == (30, False)


@pytest.mark.parametrize("code", [Code.BAD_FILE, Code.INVALID, Code.TOO_LARGE, Code.INCOMPLETE, Code.NOT_FOUND])
def test_what_is_wrong_with_the_file_itself_is_told_at_once(code):
    step = schedule.after(PipeError(code, "the header has no column id", "for the log"), 0, 0)

    assert step == schedule.Step(None, True, "the header has no column id", ours=False)
