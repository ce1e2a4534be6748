"""The push chain under a clock: what each attempt makes of a push, and when the next one comes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from conch_pipe.errors import Code, PipeError
from conch_pipe.events import Event, Events
from conch_pipe.model import FileResult, Outcome, Pin, PushState, Role, Status, utc
from conch_pipe.processing import attempts
from conch_pipe.processing.lanes import Lanes
from conch_pipe.processing.push import PushChain
from conch_pipe.processing.runner import Runner
from tests.processing.push_fakes import (
    START,
    HeapClock,
    MemoryPushes,
    ScriptedPusher,
    arrived,
    no_files,
    report,
)

REFUSED = report(Status.SFTP_CONNECTION_TIMEOUT, "refused", detail="nobody listens")
WRONG = report(Status.SFTP_LOGIN_FAILED, "password", connected=True)
CUT = report(Status.UPLOAD_FAILED, "connection_lost", connected=True)
OTHER_KEY = report(Status.HOST_KEY_MISMATCH, "host_key", refused_key=b"new key", host_key="SHA256:new", connected=True)
ALL = (Role.MAIN, Role.RAW, Role.SNAPSHOT, Role.FILMSTRIP)


class Nothing:
    """What becomes of the files is another story."""

    async def run(self, job):
        return Outcome(done=True)

    def settled(self, job, outcome):
        pass


class Bench:
    """A runner with the push chain over a catalog in memory; ``ends`` are how pushes end, in turn or by remote."""

    def __init__(self, connections: int = 64) -> None:
        self.clock = HeapClock(START)
        self.catalog = MemoryPushes(self.clock)
        self.heard: list[Event] = []
        self.events = Events((self.heard.append,))
        self.ends: list = []
        self.always: dict[str, object] = {}
        self.seconds = 0.0
        self.connections = connections
        self.begin()

    def begin(self) -> None:
        """A fresh process."""
        self.pusher = ScriptedPusher(self.clock, self.plan)
        lanes = Lanes(self.clock, self.connections)
        self.chain = PushChain(
            self.catalog, self.catalog, self.pusher, lanes, self.events, self.clock, attempt_s=21_600.0
        )
        self.runner = Runner(
            self.catalog,
            {"push": self.chain, "retention": Nothing()},
            self.clock,
            capacity=self.connections + 16,
            poll_s=600,
            lanes=lanes,
        )

    def plan(self, remote, recording, wanted):
        return self.seconds, self.ends.pop(0) if self.ends else self.always.get(remote.name)

    def save(self, *remotes: str, roles=ALL, **fields):
        for name in remotes:
            if name not in self.catalog.remotes:
                self.catalog.remote(name)
        return self.catalog.save(no_files(*roles), list(remotes), **fields)

    def run(self, seconds: float) -> None:
        if not self.runner.running:
            self.runner.startService()
        self.catalog.pass_time(seconds, self.runner.nudge)

    def names(self) -> list[str]:
        return [event.kind.name for event in self.heard if event.kind.name != "push.progress"]


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    if bench.runner.running:
        stopped = bench.runner.stopService()
        bench.clock.advance(60)
        assert stopped.called
    assert bench.clock.getDelayedCalls() == []


def test_a_recording_goes_out_at_once_and_its_arrival_is_told(bench):
    recording = bench.save("dock")

    bench.run(1)

    push = bench.catalog.state(recording, "dock")
    assert (push.state, push.attempts, push.arrived) == (PushState.DELIVERED, 1, frozenset(ALL))
    assert bench.names() == ["push.attempted", "push.delivered"]
    (attempt,) = bench.catalog.log
    assert (attempt.number, attempt.host, attempt.port, attempt.username) == (1, "dock.example", 22, "pipe")
    assert (attempt.late, attempt.shared) == (False, False)


def test_failed_attempts_are_made_again_at_the_seconds_of_the_schedule_and_then_given_up(bench):
    recording = bench.save("dock")
    bench.always["dock"] = CUT

    bench.run(80 * 3600)

    log = bench.catalog.attempts(recording, "dock")
    expected = [attempts.due(number, START, recording.uid, "dock") for number in range(1, 14)]
    assert [attempt.number for attempt in log] == list(range(1, 14))
    assert [attempt.began_at for attempt in log] == expected
    push = bench.catalog.state(recording, "dock")
    assert (push.state, push.attempts, push.final_at) == (PushState.GIVEN_UP, 13, expected[-1])
    assert set(push.problems.values()) == {"connection_lost"}
    assert bench.names() == ["push.attempted"] * 13 + ["push.given_up"]


def test_an_attempt_that_takes_long_moves_the_next_one(bench):
    recording = bench.save("dock")
    bench.always["dock"] = CUT
    bench.seconds = 3600

    bench.run(4 * 3600)

    began = [attempt.began_at - START for attempt in bench.catalog.attempts(recording, "dock")][:3]
    assert began == [timedelta(0), timedelta(hours=1, minutes=1), timedelta(hours=2, minutes=3, seconds=30)]


def test_a_side_file_that_fails_is_noted_and_tried_again_alone(bench):
    """Pipe's rule: an attempt is good when the main file has arrived."""
    recording = bench.save("dock")
    bench.ends = [arrived(recording, frozenset(ALL), raw="no_space")]

    bench.run(1)
    push = bench.catalog.state(recording, "dock")
    assert (push.state, push.problems) == (PushState.PARTIAL, {Role.RAW: "no_space"})
    assert bench.catalog.log[0].report.status is Status.OK
    bench.run(200)

    push = bench.catalog.state(recording, "dock")
    assert (push.state, push.attempts) == (PushState.DELIVERED, 2)
    assert [call[0] for call in bench.pusher.calls] == [frozenset(ALL), {Role.RAW}]


def test_a_side_file_that_never_arrives_ends_in_given_up_and_says_what_did(bench):
    recording = bench.save("dock", roles=(Role.MAIN, Role.RAW))
    bench.ends = [arrived(recording, frozenset({Role.MAIN, Role.RAW}), raw="quota")]
    bench.always["dock"] = report(files=(FileResult(Role.RAW, "raw", 0, "quota"),))

    bench.run(80 * 3600)

    push = bench.catalog.state(recording, "dock")
    assert (push.state, push.arrived, push.problems) == (PushState.GIVEN_UP, {Role.MAIN}, {Role.RAW: "quota"})


def test_a_dead_host_is_asked_once_for_all_and_each_logs_its_attempt(bench):
    recordings = [bench.save("dock") for _ in range(100)]
    bench.always["dock"] = REFUSED

    bench.run(1)

    assert len(bench.pusher.began) == 1
    logs = [bench.catalog.attempts(recording, "dock") for recording in recordings]
    assert [[one.number for one in log] for log in logs] == [[1]] * 100
    assert sum(log[0].shared for log in logs) == 99
    assert {log[0].report.reason for log in logs} == {"refused"}
    assert {file.reason for log in logs[1:] for file in log[0].report.files} == {"refused"}


def test_500_recordings_and_a_wrong_password_are_one_login_a_minute(bench):
    for _ in range(500):
        bench.save("dock", roles=(Role.MAIN,))
    bench.always["dock"] = WRONG
    bench.seconds = 2

    bench.run(5 * 3600)

    moments = [moment for moment, _, _ in bench.pusher.began]
    assert min(later - sooner for sooner, later in zip(moments, moments[1:], strict=False)) >= timedelta(seconds=60)
    assert bench.pusher.most["dock"] == 1
    assert {push.attempts for push in bench.catalog.all_pushes.values()} == {8}


def test_a_dead_host_is_probed_at_most_once_in_30_seconds(bench):
    """Recordings come in all the time, one a second, and a connection takes its ten seconds to fail."""
    bench.always["dock"] = REFUSED
    bench.seconds = 10
    bench.save("dock")
    bench.run(0)
    for _ in range(600):
        bench.save("dock", roles=(Role.MAIN,))
        bench.run(1)

    moments = [moment for moment, _, _ in bench.pusher.began]
    assert min(later - sooner for sooner, later in zip(moments, moments[1:], strict=False)) >= timedelta(seconds=30)
    assert len(moments) >= 14


def test_the_limit_of_a_remote_is_reached_and_never_passed(bench):
    bench.catalog.remote("dock", max_connections=7)
    for _ in range(100):
        bench.save("dock")
    bench.seconds = 30

    bench.run(3600)

    assert bench.pusher.most["dock"] == 7
    assert {push.state for push in bench.catalog.all_pushes.values()} == {PushState.DELIVERED}


def test_100_recordings_to_a_slow_remote_do_not_delay_another(bench):
    for _ in range(100):
        bench.save("slow")
    bench.seconds = 600
    bench.run(3000)
    assert bench.pusher.now["slow"] > 4
    bench.seconds = 1

    recording = bench.save("quick")
    bench.run(3)

    assert bench.catalog.state(recording, "quick").state is PushState.DELIVERED
    assert bench.catalog.log[-1].began_at - recording.saved_at < timedelta(seconds=2)


def test_another_host_key_disables_the_remote_and_nothing_connects_any_more(bench):
    bench.catalog.remote("dock", pins=(Pin(b"old key", START, "given"),))
    first, second = bench.save("dock"), bench.save("dock")
    bench.always["dock"] = OTHER_KEY

    bench.run(200)

    assert not bench.catalog.remotes["dock"].enabled
    assert len(bench.pusher.began) == 1
    assert [one.report.status for one in bench.catalog.log] == [Status.HOST_KEY_MISMATCH] * 4
    (told,) = [event for event in bench.heard if event.kind.name == "remote.disabled"]
    assert told.fields["old"].startswith("SHA256:") and told.fields["new"].startswith("SHA256:")
    assert told.fields["old"] != told.fields["new"]
    assert bench.catalog.state(first, "dock").attempts == bench.catalog.state(second, "dock").attempts == 2


def test_connections_that_meet_another_host_key_at_the_same_time_tell_it_once(bench):
    """And once more when the remote shows a third one after an operator has changed it."""
    bench.catalog.remote("dock", pins=(Pin(b"old key", START, "given"),))
    bench.save("dock")
    bench.run(1)
    for other in (OTHER_KEY, replace(OTHER_KEY, refused_key=b"third key")):
        bench.pusher.began.clear()
        bench.heard.clear()
        bench.always["dock"], bench.seconds = other, 2.0
        bench.save("dock"), bench.save("dock")

        bench.run(5)

        assert len(bench.pusher.began) == 2
        assert bench.names().count("remote.disabled") == 1
        bench.always["dock"], bench.seconds = None, 0.0
        bench.catalog.change("dock", enabled=True, disabled_reason="", pins=(Pin(b"new key", START, "trusted"),))
        bench.save("dock")
        bench.run(5)


def test_a_remote_disabled_by_the_operator_uses_attempts_and_no_connection(bench):
    bench.catalog.remote("dock", enabled=False, disabled_reason="operator")
    recording = bench.save("dock")

    bench.run(200)

    assert bench.pusher.began == []
    log = bench.catalog.attempts(recording, "dock")
    assert [(one.number, one.report.status, one.report.reason) for one in log] == [
        (1, Status.UPLOAD_FAILED, "disabled"),
        (2, Status.UPLOAD_FAILED, "disabled"),
    ]


def test_a_remote_whose_credentials_were_taken_away_is_no_connection_but_a_failed_login(bench):
    bench.catalog.remote("dock", enabled=False, disabled_reason="credentials")
    recording = bench.save("dock")

    bench.run(10)

    assert bench.pusher.began == []
    (logged,) = bench.catalog.attempts(recording, "dock")
    assert (logged.report.status, logged.report.reason) == (Status.SFTP_LOGIN_FAILED, "credentials")


def test_a_change_releases_what_waits_at_once_with_an_attempt_that_does_not_count(bench):
    recordings = [bench.save("dock") for _ in range(20)]
    bench.ends = [WRONG]
    bench.run(10)
    assert {bench.catalog.state(one, "dock").state for one in recordings} == {PushState.WAITING}

    bench.catalog.change("dock", has_password=True)
    bench.run(10)

    assert {bench.catalog.state(one, "dock").state for one in recordings} == {PushState.DELIVERED}
    assert {bench.catalog.state(one, "dock").attempts for one in recordings} == {1}
    assert [one.number for one in bench.catalog.log] == [1] * 20 + [0] * 20


def test_a_manual_attempt_that_fails_leaves_the_schedule_as_it_was(bench):
    recording = bench.save("dock")
    bench.always["dock"] = CUT
    bench.run(200)
    made = bench.catalog.state(recording, "dock").attempts

    bench.catalog.retry(bench.catalog.state(recording, "dock").id)
    bench.run(80 * 3600)

    log = bench.catalog.attempts(recording, "dock")
    counted = [one for one in log if one.number]
    assert made == 2
    assert [one.number for one in log][:4] == [1, 2, 0, 3]
    assert [one.began_at for one in counted] == [
        attempts.due(number, START, recording.uid, "dock") for number in range(1, 14)
    ]


def test_a_push_that_was_given_up_may_be_tried_by_hand_and_stays_given_up_or_arrives(bench):
    recording = bench.save("dock")
    bench.always["dock"] = CUT
    bench.run(80 * 3600)
    before = bench.catalog.state(recording, "dock")

    bench.catalog.retry(before.id)
    bench.run(10)
    assert bench.catalog.state(recording, "dock") == before
    bench.always.clear()
    bench.catalog.retry(before.id)
    bench.run(10)

    push = bench.catalog.state(recording, "dock")
    assert (push.state, push.attempts, push.final_at) == (
        PushState.DELIVERED,
        13,
        utc(bench.clock) - timedelta(10 / 86400),
    )
    assert bench.names().count("push.given_up") == 1
    assert bench.names()[-1] == "push.delivered"


def test_what_was_missed_while_the_service_was_down_is_made_late_and_none_is_lost(bench):
    recording = bench.save("dock")
    bench.always["dock"] = CUT
    bench.run(300)
    stopped = bench.runner.stopService()
    bench.clock.advance(60)
    assert stopped.called

    bench.clock.advance(30 * 3600)
    up = utc(bench.clock)
    bench.begin()
    bench.run(100 * 3600)

    log = bench.catalog.attempts(recording, "dock")
    assert [one.number for one in log] == list(range(1, 14))
    assert [one.late for one in log] == [False] * 2 + [True] * 9 + [False] * 2
    assert up <= log[2].began_at <= up + timedelta(minutes=10)
    assert log[-1].began_at == attempts.due(13, START, recording.uid, "dock")


def test_after_a_week_away_all_thirteen_are_still_made(bench):
    recording = bench.save("dock")
    bench.always["dock"] = CUT
    bench.clock.advance(7 * 86_400)
    bench.begin()

    bench.run(10 * 3600)

    log = bench.catalog.attempts(recording, "dock")
    assert [one.number for one in log] == list(range(1, 14))
    assert all(one.late for one in log)


def test_a_clock_that_was_wrong_at_the_start_delays_nothing_once_it_is_right(bench):
    """A machine that boots in the future and is put right by NTP."""
    bench.clock.rightNow += 30 * 3600
    bench.begin()
    bench.clock.rightNow -= 30 * 3600

    recording = bench.save("dock")
    bench.run(1)

    assert bench.catalog.state(recording, "dock").state is PushState.DELIVERED
    assert not bench.catalog.log[0].late


def test_a_stop_lets_a_push_finish_for_a_while_and_then_releases_it_uncounted(bench):
    recording = bench.save("dock")
    bench.seconds = 100
    bench.run(10)

    stopped = bench.runner.stopService()
    bench.clock.advance(29)
    assert not stopped.called
    bench.clock.advance(1)

    assert stopped.called
    assert bench.pusher.cancelled == 1
    assert (bench.catalog.log, bench.catalog.leases) == ([], {})
    bench.begin()
    bench.seconds = 1
    bench.run(60)
    assert bench.catalog.state(recording, "dock").state is PushState.DELIVERED
    assert [one.number for one in bench.catalog.log] == [1]


def test_an_attempt_has_an_end_however_slow_it_is(bench):
    recording = bench.save("dock")
    bench.seconds = 30_000
    bench.chain.attempt_s = 600.0

    bench.run(601)

    (attempt,) = bench.catalog.attempts(recording, "dock")
    assert (attempt.report.status, attempt.report.reason) == (Status.UPLOAD_FAILED, "too_slow")
    assert bench.pusher.cancelled == 1


def test_a_fault_of_ours_costs_one_attempt_and_the_schedule_goes_on(bench, logged_errors):
    recording = bench.save("dock")
    bench.ends = [ZeroDivisionError("a bug")] * 5

    bench.run(600)

    log = bench.catalog.attempts(recording, "dock")
    assert [(one.number, one.report.status, one.report.reason) for one in log] == [
        (1, Status.UPLOAD_FAILED, "internal"),
        (2, Status.OK, ""),
    ]
    assert bench.chain.lanes.used == 0
    assert len(logged_errors.flush(ZeroDivisionError)) == 5


def test_a_push_that_kills_the_service_each_time_costs_one_attempt_too(bench):
    recording = bench.save("dock")
    job = bench.catalog.jobs[1]
    bench.catalog.jobs[1] = replace(job, claims=10)

    bench.run(1)

    assert bench.pusher.began == []
    assert bench.catalog.state(recording, "dock").attempts == 1
    assert bench.catalog.jobs[1].claims == 0


def test_a_catalog_that_is_busy_costs_no_attempt(bench):
    recording = bench.save("dock")
    bench.runner.startService()
    bench.catalog.down = PipeError(Code.BUSY, "locked")
    bench.run(300)

    bench.catalog.down = None
    bench.run(60)

    assert [one.number for one in bench.catalog.attempts(recording, "dock")] == [1]


def test_a_remote_that_was_removed_ends_its_pushes(bench):
    recording = bench.save("dock")
    del bench.catalog.remotes["dock"]

    bench.run(1)

    push = bench.catalog.state(recording, "dock")
    assert (push.state, push.attempts, push.final_at) == (PushState.GIVEN_UP, 0, START)
    assert bench.names() == ["push.given_up"]
    assert bench.heard[-1].fields["recording_id"] == recording.id


def test_a_name_that_another_organisation_has_now_gets_nothing(bench):
    recording = bench.save("dock")
    bench.catalog.remotes["dock"] = replace(bench.catalog.remotes["dock"], organisation="other")

    bench.run(1)

    assert bench.pusher.began == []
    assert bench.catalog.state(recording, "dock").state is PushState.GIVEN_UP


def test_an_attempt_is_made_again_under_its_number_when_its_end_was_not_recorded(bench):
    """kill -9 between the last byte and the settle."""
    recording = bench.save("dock")
    bench.seconds = 5
    bench.run(1)
    bench.catalog.kill()

    bench.run(30)  # the zombie settles with its old fence, and is refused

    assert [one.number for one in bench.catalog.attempts(recording, "dock")] == [1]
    assert bench.catalog.state(recording, "dock").state is PushState.DELIVERED


def test_an_outcome_settled_twice_counts_once(bench):
    recording = bench.save("dock")
    bench.always["dock"] = CUT
    bench.run(1)
    job, outcome = bench.catalog.outcomes[-1]

    assert not bench.catalog._settle(job, outcome)

    assert bench.catalog.state(recording, "dock").attempts == 1


def test_a_job_that_comes_before_its_moment_waits_for_it(bench):
    recording = bench.save("dock")
    bench.always["dock"] = CUT
    bench.run(1)
    bench.catalog._move(replace(bench.catalog.jobs[1], due_at=utc(bench.clock)))

    bench.run(1)

    assert len(bench.catalog.log) == 1
    assert bench.catalog.jobs[1].due_at == attempts.due(2, START, recording.uid, "dock")


def test_a_moving_push_is_told_of_once_a_second(bench):
    recording = bench.save("dock", roles=(Role.MAIN, Role.RAW))
    bench.seconds = 10
    bench.run(0)
    ((_, progress),) = bench.pusher.calls

    for step in range(20):
        progress(Role.MAIN, step)
        bench.clock.advance(0.25)
    progress(Role.RAW, 7)
    bench.clock.advance(6)

    told = [event.fields for event in bench.heard if event.kind.name == "push.progress"]
    assert [(one["file"], one["sent"], one["seconds"]) for one in told] == [
        ("talk.main", 0, 0),
        ("talk.main", 4, 1),
        ("talk.main", 8, 2),
        ("talk.main", 12, 3),
        ("talk.main", 16, 4),
        ("talk.raw", 7, 0),
    ]
    assert {one["recording_id"] for one in told} == {recording.id}


def test_the_first_byte_that_arrives_lets_others_come_not_only_the_last(bench):
    for _ in range(8):
        bench.save("dock")
    bench.seconds = 1000
    bench.run(0)

    for _ in range(3):
        for _, progress in list(bench.pusher.calls):
            progress(Role.MAIN, 1)
        bench.run(1)

    assert bench.pusher.now["dock"] == 8


def test_no_line_of_a_failed_push_shows_a_traceback(bench):
    """Expected failures are facts, not errors."""
    bench.save("dock")
    bench.always["dock"] = REFUSED

    with capturedLogs() as lines:
        bench.run(600)

    assert not [line for line in lines if isinstance(line.get("log_failure"), Failure)]
