"""The runner over a catalog in memory, driven by hand."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from conch_pipe.errors import Code, PipeError, WorkerDied
from conch_pipe.model import Job, Outcome, State, utc
from conch_pipe.processing.runner import Runner
from tests.processing.fakes import MemoryCatalog, clock_at_start, upload_of

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
BUSY = PipeError(Code.BUSY, "in use elsewhere")


class Script:
    """A chain whose attempts end as it is told: an exception, "done", "wait" (until ``release``)."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.plans: dict[str, list] = {}
        self.running: dict[str, Deferred] = {}
        self.most = 0  # at a time
        self.attempts: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.undecided: list[Exception] = []
        self.given_up_upload: dict | None = None

    async def run(self, job: Job) -> Outcome:
        self.attempts.append(job.subject)
        plan = self.plans.get(job.subject) or ["done"]
        now = plan.pop(0) if len(plan) > 1 else plan[0]
        if isinstance(now, Exception):
            raise now
        if now == "wait":
            mine = self.running[job.subject] = Deferred()
            self.most = max(self.most, len(self.running))
            try:
                await mine
            finally:
                if self.running.get(job.subject) is mine:
                    del self.running[job.subject]
        return Outcome(done=True)

    async def given_up(self, job: Job, problem: str, *, ours: bool) -> Outcome:
        if self.undecided:
            raise self.undecided.pop(0)
        return Outcome(done=not ours, reason=problem, upload=self.given_up_upload)

    def delayed(self, job: Job, reason: str) -> None:
        self.told.append((job.subject, f"delayed: {reason}"))

    def settled(self, job: Job, outcome: Outcome) -> None:
        if outcome.retry_at is None:
            self.told.append((job.subject, f"ended: {outcome.reason}"))


class Bench:
    """A runner, its catalog, its script and its clock."""

    def __init__(self, capacity: int = 3) -> None:
        self.clock = clock_at_start()
        self.catalog = MemoryCatalog(self.clock)
        self.script = Script(self.clock)
        self.runner = self.another(capacity)

    def another(self, capacity: int = 3, pace_s: float = 0.0) -> Runner:
        return Runner(self.catalog, {"script": self.script}, self.clock, capacity=capacity, pace_s=pace_s)

    def add(self, name: str, *plan, **fields) -> Job:
        self.script.plans[name] = list(plan)
        return self.catalog.add(kind="script", subject=name, **fields)

    def advance(self, seconds: float, step: float = 1.0) -> None:
        for _ in range(int(seconds / step)):
            self.clock.advance(step)

    def stop(self) -> None:
        """Nothing may be left on the clock but what the test advanced past."""
        stopped = self.runner.stopService()
        self.advance(60)
        assert stopped.called
        assert self.clock.getDelayedCalls() == []


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    if bench.runner.running:
        bench.stop()


def test_a_job_that_is_there_at_the_start_is_run_at_once(bench):
    bench.add("a")

    bench.runner.startService()

    assert bench.catalog.ended == {1: "done"}


def test_a_nudge_saves_the_wait_for_the_next_look(bench):
    bench.runner.startService()
    bench.add("a")

    bench.runner.nudge()

    assert bench.catalog.ended == {1: "done"}


def test_in_a_storm_jobs_are_claimed_together_and_the_first_of_them_at_once(bench):
    bench.runner = bench.another(capacity=9, pace_s=0.25)
    bench.runner.startService()
    bench.clock.advance(0.5)

    for name in "abcd":
        bench.add(name, "wait")
        bench.runner.nudge()
        assert bench.script.attempts == ["a"]
        bench.clock.advance(0.0625)
    assert bench.script.attempts == ["a", "b", "c", "d"]

    bench.advance(0.5, step=0.25)  # with a look at the queue in between
    bench.add("e", "wait")
    bench.runner.nudge()
    assert bench.script.attempts[4:] == ["e"], "after a rest at once"
    for running in list(bench.script.running.values()):
        running.callback(None)


def test_a_stop_in_the_rest_between_claims_leaves_no_timer(bench):
    bench.runner = bench.another(pace_s=0.25)
    bench.runner.startService()
    bench.add("a")

    bench.runner.nudge()
    bench.stop()

    assert bench.script.attempts == []


def test_without_any_nudge_jobs_are_found_within_a_second(bench):
    bench.runner.startService()
    bench.add("a")

    bench.clock.advance(1)

    assert bench.catalog.ended == {1: "done"}


def test_a_long_queue_is_emptied_without_waiting_for_looks(bench):
    for number in range(100):
        bench.add(f"j{number}")

    bench.runner.startService()

    assert len(bench.catalog.ended) == 100
    assert bench.script.attempts == [f"j{number}" for number in range(100)]


def test_no_more_jobs_are_leased_than_the_capacity(bench):
    for number in range(10):
        bench.add(f"j{number}", "wait")
    bench.runner.startService()
    bench.advance(5)
    assert len(bench.catalog.leases) == 3

    while bench.script.running:
        next(iter(bench.script.running.values())).callback(None)

    assert bench.script.most == 3
    assert len(bench.catalog.ended) == 10


def test_the_lease_of_a_long_job_is_renewed(bench):
    bench.add("long", "wait")
    bench.runner.startService()

    bench.advance(600)

    assert bench.script.attempts == ["long"]
    assert bench.catalog.renews == 30
    bench.script.running["long"].callback(None)
    assert bench.catalog.ended == {1: "done"}


def test_work_stops_when_the_lease_is_lost(bench):
    """Another process took the job: what this one does is worth nothing."""
    job = bench.add("zombie", "wait", "done")
    bench.runner.startService()
    bench.catalog.leases[job.id] = utc(bench.clock)
    (taken,) = bench.catalog._claim(("script",), 1, 600)

    bench.advance(20)

    assert bench.script.running == {}
    assert bench.catalog.outcomes == []
    assert bench.catalog._settle(taken, Outcome(done=True))


def test_a_stale_fence_settles_nothing(bench):
    job = bench.add("zombie", "wait")
    bench.runner.startService()
    bench.catalog.leases[job.id] = utc(bench.clock)
    bench.catalog._claim(("script",), 1, 600)

    bench.script.running["zombie"].callback(None)

    assert bench.catalog.ended == {}
    assert bench.script.told == []


def test_a_lease_that_cannot_be_renewed_in_time_is_given_up(bench):
    bench.add("cut off", "wait")
    bench.runner.startService()
    bench.advance(45)
    bench.catalog.down = BUSY  # the last renewal was at 40 s

    bench.advance(54)
    assert "cut off" in bench.script.running
    bench.advance(1)

    assert bench.script.running == {}
    bench.catalog.down = None


def test_a_job_taken_again_after_an_outage_is_run_once_at_a_time(bench):
    """The lease ran out unseen while the catalog was away; the newer fence of our own is the one that counts."""
    job = bench.add("a", "wait")
    bench.runner.startService()
    bench.catalog.leases[job.id] = utc(bench.clock)

    bench.advance(5)
    assert bench.runner.active == 1
    bench.script.running["a"].callback(None)

    assert bench.script.attempts == ["a", "a"]
    assert bench.catalog.ended == {1: "done"}


def test_a_busy_job_is_tried_again_later_and_later_and_never_fails(bench):
    bench.add("busy", BUSY)
    bench.runner.startService()

    bench.advance(300)

    assert 10 <= len(bench.script.attempts) <= 16
    assert bench.catalog.jobs[1].failures == 0
    assert bench.catalog.ended == {}
    bench.script.plans["busy"] = ["done"]
    bench.advance(31)
    assert bench.catalog.ended == {1: "done"}
    assert bench.script.told == [("busy", "delayed: in use elsewhere"), ("busy", "ended: ")]


def test_a_job_whose_worker_dies_three_times_is_given_up_and_harms_nobody_else(bench):
    bench.add("poison", WorkerDied("killed by SIGABRT"))
    for number in range(20):
        bench.add(f"j{number}")

    bench.runner.startService()

    assert bench.script.attempts.count("poison") == 3
    assert bench.catalog.ended == {1: "dead"} | {number: "done" for number in range(2, 22)}


def test_an_unexpected_exception_is_logged_and_tried_five_times(bench, logged_errors):
    bench.add("bug", ZeroDivisionError("secret of the machine"))
    bench.runner.startService()

    bench.advance(300)

    assert bench.script.attempts == ["bug"] * 5
    assert len(logged_errors.flush(ZeroDivisionError)) == 5
    assert bench.script.told == [("bug", "ended: internal error")]


def test_a_cancellation_nobody_asked_for_is_an_unexpected_exception(bench, logged_errors):
    bench.add("odd", CancelledError(), "done")
    bench.runner.startService()

    bench.advance(5)

    assert bench.catalog.ended == {1: "done"}
    assert len(logged_errors.flush(CancelledError)) == 1


def test_a_job_that_cannot_be_given_up_yet_is_tried_again_after_the_longest_delay(bench, logged_errors):
    """What it loaded before is not known: it is neither FAILED nor forgotten."""
    bench.add("a", PipeError(Code.BAD_FILE, "no header"))
    bench.script.undecided = [BUSY, WorkerDied("killed by SIGKILL"), ZeroDivisionError("a fault of ours")]
    bench.runner.startService()
    bench.advance(359)
    assert bench.catalog.ended == {}

    bench.advance(2)

    assert bench.catalog.ended == {1: "done"}
    assert bench.script.attempts == ["a"] * 4
    assert (bench.catalog.jobs[1].failures, len(logged_errors.flush(ZeroDivisionError))) == (0, 1)


def test_a_bad_file_is_told_at_once(bench):
    bench.add("bad", PipeError(Code.BAD_FILE, "no header"))

    bench.runner.startService()

    assert bench.script.told == [("bad", "ended: no header")]
    assert bench.script.attempts == ["bad"]


def test_a_job_that_kills_the_service_each_time_is_given_up(bench):
    """Claimed ten times, ended never: the eleventh claim does not run it."""
    bench.add("deadly", claims=10)
    bench.add("last chance", claims=9)

    bench.runner.startService()

    assert bench.script.attempts == ["last chance"]
    assert bench.catalog.ended == {1: "dead", 2: "done"}


def test_stopping_lets_running_jobs_finish_and_takes_no_new_ones(bench):
    bench.add("running", "wait")
    bench.runner.startService()

    stopped = bench.runner.stopService()
    bench.add("new")
    bench.runner.nudge()
    bench.advance(10)
    assert not stopped.called
    bench.script.running["running"].callback(None)

    assert stopped.called
    assert bench.catalog.ended == {1: "done"}
    assert bench.clock.getDelayedCalls() == []


def test_stopping_releases_what_takes_too_long_so_that_the_next_start_takes_it_at_once(bench):
    bench.add("slow", "wait", "done")
    bench.runner.startService()

    stopped = bench.runner.stopService()
    bench.advance(30)

    assert stopped.called
    assert bench.catalog.jobs[1].failures == 0
    assert bench.catalog.leases == {}
    bench.runner = bench.another()
    bench.runner.startService()
    assert bench.catalog.ended == {1: "done"}


def test_jobs_whose_claim_comes_back_after_the_stop_are_released(bench):
    bench.add("late")
    claimed = Deferred()
    bench.catalog.claim = lambda *arguments: claimed
    bench.runner.startService()

    stopped = bench.runner.stopService()
    claimed.callback(bench.catalog._claim(("script",), 1, 60))

    assert stopped.called
    assert bench.script.attempts == []
    assert bench.catalog.leases == {}


def test_an_outcome_is_written_down_once_the_catalog_is_back(bench):
    bench.add("a", "wait")
    bench.runner.startService()
    bench.catalog.down = BUSY
    bench.script.running["a"].callback(None)

    bench.advance(4)
    bench.catalog.down = None
    bench.advance(8)

    assert bench.catalog.ended == {1: "done"}
    assert bench.script.attempts == ["a"]


def test_an_outcome_that_cannot_be_written_down_is_worked_out_again(bench):
    bench.add("a", "wait", "done")
    bench.runner.startService()
    bench.catalog.down = BUSY
    bench.script.running["a"].callback(None)

    bench.advance(120)
    assert bench.runner.active == 0
    bench.catalog.down = None
    bench.advance(62)

    assert bench.catalog.ended == {1: "done"}
    assert bench.script.attempts == ["a", "a"]


def test_a_job_whose_upload_has_moved_on_is_ended(bench):
    """An operator's hand in the catalog must not make the runner go round for ever."""
    upload = upload_of(bench.clock, state=State.COMPLETED)
    bench.script.given_up_upload = {"state": State.FAILED}
    bench.catalog.add(kind="script", upload=upload, claims=10)
    bench.runner.startService()

    bench.advance(5)

    assert bench.catalog.ended == {1: "done"}
    assert bench.catalog.uploads[upload.id].state is State.COMPLETED


def test_a_catalog_that_is_down_is_asked_again(bench):
    bench.catalog.down = BUSY
    bench.add("a")
    bench.runner.startService()
    bench.advance(5)

    bench.catalog.down = None
    bench.advance(1)

    assert bench.catalog.ended == {1: "done"}


def test_an_outage_of_the_catalog_is_told_when_it_begins_changes_and_ends(bench):
    """A line for each look would fill the disk that the catalog waits for."""
    with capturedLogs() as logged:
        bench.runner.startService()
        for down in (BUSY, PipeError(Code.NO_SPACE, "disk full"), None):
            bench.catalog.down = down
            bench.advance(100)

    told = [formatEvent(event) for event in logged if "queue" in formatEvent(event)]
    assert [line.rpartition(": ")[2] for line in told] == [
        "in use elsewhere",
        "disk full",
        "the queue can be read again",
    ]


def test_a_bug_in_the_catalog_is_logged_and_does_not_stop_the_looks(bench, logged_errors):
    bench.catalog.down = ZeroDivisionError()
    bench.add("a")
    bench.runner.startService()

    bench.catalog.down = None
    bench.advance(1)

    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    assert bench.catalog.ended == {1: "done"}


ENDS = st.sampled_from(
    [
        "done",
        "wait",
        BUSY,
        WorkerDied("killed by SIGKILL"),
        PipeError(Code.FAILED, "internal error"),
        PipeError(Code.UNKNOWN_OUTCOME, "lost"),
        PipeError(Code.BAD_FILE, "no header"),
        PipeError(Code.NO_SPACE, "disk full"),
    ]
)


@settings(max_examples=60 * DOSE, deadline=None)
@given(
    plans=st.lists(st.lists(ENDS, min_size=1, max_size=6), min_size=1, max_size=6),
    faults=st.lists(st.tuples(st.sampled_from(["down", "steal", "restart"]), st.integers(1, 40)), max_size=4),
)
def test_every_job_comes_to_an_end_whatever_its_attempts_and_the_catalog_do(plans, faults):
    """Liveness (I6): after the last fault every job is done or dead, none twice, none is left leased."""
    bench = Bench(capacity=2)
    for number, plan in enumerate(plans):
        bench.add(f"j{number}", *plan, "done")
    bench.runner.startService()

    def finish() -> None:
        for waiting in list(bench.script.running.values()):
            waiting.callback(None)

    for fault, seconds in faults:
        if fault == "down":
            bench.catalog.down = PipeError(Code.BUSY, "locked")
        elif fault == "steal":  # the leases run out at once and a process that dies takes the jobs
            for job_id in bench.catalog.leases:
                bench.catalog.leases[job_id] = utc(bench.clock)
            bench.catalog._claim(("script",), 1, 5)
        else:
            stopped = bench.runner.stopService()
            bench.advance(31)
            assert stopped.called
            bench.runner = bench.another(2)
            bench.runner.startService()
        bench.advance(seconds)
        bench.catalog.down = None
        finish()
    for _ in range(600):
        bench.clock.advance(1)
        finish()

    assert set(bench.catalog.ended) == set(bench.catalog.jobs)
    assert bench.catalog.leases == {}
    assert bench.runner.active == 0
    ends = [job_id for job_id, outcome in bench.catalog.outcomes if outcome.retry_at is None]
    assert sorted(ends) == sorted(bench.catalog.jobs)
    bench.stop()


def test_retries_are_due_when_the_schedule_says(bench):
    bench.add("bug", PipeError(Code.FAILED, "internal error"))

    bench.runner.startService()

    assert bench.catalog.jobs[1].due_at == utc(bench.clock) + timedelta(seconds=2)
