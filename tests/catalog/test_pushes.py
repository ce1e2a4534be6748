"""Pushes: what an attempt changes, all of it or nothing, and the log of the attempts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from conch_pipe.catalog import AttemptFilter
from conch_pipe.catalog.queries import jobs
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import (
    Attempt,
    FileResult,
    Job,
    Outcome,
    PushResult,
    PushState,
    Report,
    Role,
    Status,
    new_id,
)

DELIVERED, GIVEN_UP, WAITING, PARTIAL = (
    PushState.DELIVERED,
    PushState.GIVEN_UP,
    PushState.WAITING,
    PushState.PARTIAL,
)
SHOWN = b"\0\0\0\x0bssh-ed25519 another"
MISMATCH = Report(Status.HOST_KEY_MISMATCH, "host_key", refused_key=SHOWN, connected=True)
MINUTE = timedelta(minutes=1)


def code(bench, deferred) -> Code:
    with pytest.raises(PipeError) as caught:
        bench.result(deferred)
    return caught.value.code


def log(bench, **wanted) -> tuple[Attempt, ...]:
    return bench.result(bench.pushes.log(AttemptFilter(**wanted)))


def one_push(bench, *remotes: str):
    bench.environment(*(remotes or ("north",)))
    recording, pushes = bench.recorded()
    return recording, pushes[0]


def test_an_attempt_is_logged_and_its_push_written_with_the_end_of_its_job(bench):
    recording, push = one_push(bench)
    [job] = bench.claim_pushes()
    began_at = bench.now()
    bench.clock.advance(3)
    report = Report(
        Status.OK,
        "no_space",
        "no room for call.jpg",
        (
            FileResult(Role.MAIN, "call.mp4", 7),
            FileResult(Role.SNAPSHOT, "call.jpg", 0, "no_space", "the disk of the remote is full"),
        ),
        "SHA256:abc",
        "curve25519-sha256 ssh-ed25519 aes128-gcm@openssh.com",
        2.5,
        connected=True,
    )
    attempt = Attempt(push.id, 1, began_at, "north.example", 22, "pipe", "in", report, late=True)
    after = replace(
        push,
        state=PARTIAL,
        attempts=1,
        ended_at=bench.now(),
        arrived=frozenset({Role.MAIN}),
        problems={Role.SNAPSHOT: "no_space"},
        due_at=None,
    )
    retry_at = bench.now() + 2 * MINUTE

    assert bench.settle(job, Outcome(retry_at=retry_at, failed=False, push=PushResult(attempt, after)))

    assert bench.push(push) == replace(after, due_at=retry_at)
    assert log(bench) == (replace(attempt, remote="north", recording="r1", organisation="acme"),)
    assert bench.result(bench.recordings.get(recording.uid)) == recording
    assert bench.retentions() == []


def test_a_stale_fence_changes_nothing(bench):
    _, push = one_push(bench)
    [stale] = bench.claim_pushes(lease_s=1)
    bench.clock.advance(1)
    [fresh] = bench.claim_pushes()
    before = bench.push(push)

    assert not bench.attempt(stale, GIVEN_UP, report=MISMATCH, disable="host_key")

    assert bench.push(push) == before
    assert log(bench) == ()
    assert bench.result(bench.remotes.get("north")).enabled
    assert bench.retentions() == []
    assert bench.attempt(fresh, DELIVERED)
    assert not bench.attempt(fresh, GIVEN_UP)
    assert (bench.push(push).state, len(log(bench))) == (DELIVERED, 1)


def test_the_fate_of_the_files_is_decided_when_all_pushes_are_final(bench):
    recording, _ = one_push(bench, "east", "north", "south")
    east, north, south = bench.claim_pushes()

    bench.attempt(east, DELIVERED)
    bench.attempt(north, WAITING)
    bench.attempt(south, GIVEN_UP)
    assert bench.retentions() == []
    bench.clock.advance(60)
    [north] = bench.claim_pushes()
    bench.attempt(north, DELIVERED)

    assert bench.retentions() == [str(recording.uid)]
    _, pushes = bench.result(bench.recordings.show(recording.uid))
    at = bench.now() - MINUTE
    assert [(push.state, push.final_at, push.due_at) for push in pushes] == [
        (DELIVERED, at, None),
        (DELIVERED, bench.now(), None),
        (GIVEN_UP, at, None),
    ]


def test_a_job_that_is_given_up_without_a_result_ends_its_push(bench):
    """Else it would wait for ever."""
    recording, push = one_push(bench)
    [job] = bench.claim_pushes()

    assert bench.settle(job, Outcome(reason="the service died three times"))

    ended = bench.push(push)
    assert (ended.state, ended.final_at) == (GIVEN_UP, bench.now())
    assert ended.problems == {Role.MAIN: "internal", Role.SNAPSHOT: "internal"}
    assert bench.retentions() == [str(recording.uid)]


def test_a_job_that_waits_without_a_result_leaves_its_push_alone(bench):
    _, push = one_push(bench)
    [job] = bench.claim_pushes()

    bench.settle(job, Outcome(retry_at=bench.now() + MINUTE, failed=False))

    assert bench.push(push) == replace(push, due_at=bench.now() + MINUTE)
    assert log(bench) == ()


def test_a_result_without_an_attempt_is_not_logged(in_memory):
    _, push = one_push(in_memory)
    [job] = in_memory.claim_pushes()

    in_memory.settle(job, Outcome(done=True, push=PushResult(None, replace(push, state=GIVEN_UP))))

    assert log(in_memory) == ()
    assert in_memory.push(push).final_at == in_memory.now()


def test_the_job_of_a_push_that_is_gone_ends(in_memory):
    one_push(in_memory)
    lost = Job("push", str(new_id(in_memory.now())), in_memory.now(), lane="north")
    in_memory.result(in_memory.database.write(jobs.add, lost, in_memory.now()))
    job = next(job for job in in_memory.claim_pushes() if job.subject == lost.subject)

    assert in_memory.settle(job, Outcome(reason="gone"))


def test_a_changed_host_key_disables_the_remote(bench):
    _, push = one_push(bench)
    before = bench.result(bench.remotes.get("north"))
    [job] = bench.claim_pushes()
    bench.clock.advance(2)

    bench.attempt(job, WAITING, report=MISMATCH, disable="host_key")

    assert bench.result(bench.remotes.get("north")) == replace(
        before, enabled=False, disabled_reason="host_key", disabled_at=bench.now(), refused_key=SHOWN
    )
    assert log(bench)[0].report == MISMATCH
    bench.clock.advance(1)
    trusted = bench.result(bench.remotes.trust("north", SHOWN))
    assert (trusted.enabled, trusted.disabled_reason, trusted.disabled_at, trusted.refused_key) == (
        True,
        "",
        None,
        None,
    )
    assert bench.push(push).manual


def test_an_attempt_from_before_a_change_cannot_speak_of_the_remote_after_it(bench):
    """The key was trusted while the attempt was under way: the remote stays enabled, and is tried again at once."""
    _, push = one_push(bench)
    [job] = bench.claim_pushes()
    began_at = bench.now()
    bench.clock.advance(1)
    bench.result(bench.remotes.trust("north", SHOWN))
    bench.clock.advance(1)

    bench.attempt(job, WAITING, report=MISMATCH, disable="host_key", began_at=began_at, known=push)

    assert bench.result(bench.remotes.get("north")).enabled
    after = bench.push(push)
    assert (after.attempts, after.manual, after.due_at) == (1, True, bench.now())
    assert len(bench.claim_pushes()) == 1


def test_what_an_operator_disabled_stays_his(in_memory):
    one_push(in_memory, "north", "south")
    first, _ = in_memory.claim_pushes()
    in_memory.result(in_memory.remotes.disable("north", "moving house"))

    in_memory.attempt(first, WAITING, report=MISMATCH, disable="host_key")

    remote = in_memory.result(in_memory.remotes.get("north"))
    assert (remote.disabled_reason, remote.refused_key) == ("moving house", SHOWN)


@pytest.mark.parametrize("state", [WAITING, GIVEN_UP])
def test_a_change_during_an_attempt_is_tried_after_it_even_the_last(bench, state):
    _, push = one_push(bench)
    [job] = bench.claim_pushes()
    began_at = bench.now()
    bench.clock.advance(1)
    bench.result(bench.remotes.edit("north", {"folder": "in"}))
    bench.clock.advance(1)

    bench.attempt(job, state, began_at=began_at, known=push)

    after = bench.push(push)
    assert (after.state, after.manual, after.due_at) == (state, True, bench.now())
    bench.clock.advance(1)
    [again] = bench.claim_pushes()
    bench.attempt(again, state)
    assert not bench.push(push).manual
    assert [attempt.number for attempt in log(bench)] == [0, 1]
    assert bench.claim_pushes() == []


def test_a_change_during_an_attempt_that_delivers_is_nothing_to_it(in_memory):
    _, push = one_push(in_memory)
    [job] = in_memory.claim_pushes()
    began_at = in_memory.now()
    in_memory.clock.advance(1)
    in_memory.result(in_memory.remotes.edit("north", {"folder": "in"}))

    in_memory.attempt(job, DELIVERED, began_at=began_at, known=push)

    after = in_memory.push(push)
    assert (after.state, after.manual, after.due_at) == (DELIVERED, False, None)


def test_a_push_that_was_given_up_is_tried_again_when_asked_for(bench):
    recording, push = one_push(bench)
    bench.attempt(bench.claim_pushes()[0], GIVEN_UP)
    final_at = bench.now()
    [decided] = bench.result(bench.jobs.claim(["retention"], 1, 60))
    purge_at = final_at + timedelta(days=28)
    bench.settle(decided, Outcome(retry_at=purge_at, failed=False))
    bench.clock.advance(60)

    [asked] = bench.result(bench.pushes.retry(recording.uid))

    assert (asked.state, asked.manual, asked.due_at) == (GIVEN_UP, True, bench.now())
    [job] = bench.claim_pushes()
    assert (job.lane, job.payload["remote"]) == ("north", "north")
    bench.attempt(job, GIVEN_UP)
    back = bench.push(push)
    assert (back.state, back.attempts, back.manual, back.final_at, back.due_at) == (GIVEN_UP, 1, False, final_at, None)
    assert bench.retentions() == []  # what was decided stays as it was

    bench.result(bench.pushes.retry(recording.uid, "north"))
    bench.attempt(bench.claim_pushes()[0], DELIVERED)
    assert bench.retentions() == [str(recording.uid)]  # decided anew, by the job there is
    assert bench.result(bench.jobs.waiting()) == {"retention": 1}


def test_a_waiting_push_keeps_its_one_job_when_asked_for(bench):
    recording, push = one_push(bench, "north", "south")
    first, second = bench.claim_pushes()
    bench.attempt(first, WAITING)
    bench.attempt(second, DELIVERED)
    bench.clock.advance(1)

    [asked] = bench.result(bench.pushes.retry(recording.uid))

    assert (asked.id, asked.due_at) == (push.id, bench.now())
    assert bench.result(bench.jobs.waiting())["push"] == 1


def test_what_cannot_be_tried_again_is_told(bench):
    recording, _ = one_push(bench, "north", "south")
    retry = bench.pushes.retry
    for job in bench.claim_pushes():
        bench.attempt(job, DELIVERED if job.lane == "north" else GIVEN_UP)

    assert code(bench, retry(new_id(bench.now()))) is Code.NOT_FOUND
    assert code(bench, retry(recording.uid, "west")) is Code.NOT_FOUND
    assert code(bench, retry(recording.uid, "north")) is Code.CONFLICT
    bench.result(bench.remotes.remove("south"))
    assert code(bench, retry(recording.uid, "south")) is Code.NOT_FOUND
    bench.remote("south", organisation="other")
    assert code(bench, retry(recording.uid)) is Code.NOT_FOUND  # it is another's by now
    bench.result(bench.remotes.remove("south"))
    bench.remote("south")
    assert [push.remote for push in bench.result(retry(recording.uid))] == ["south"]
    bench.result(bench.recordings.files_deleted(recording.uid, bench.now()))
    assert code(bench, retry(recording.uid)) is Code.CONFLICT


def test_a_recording_that_has_arrived_everywhere_cannot_be_tried_again(in_memory):
    recording, _ = one_push(in_memory)
    in_memory.attempt(in_memory.claim_pushes()[0], DELIVERED)

    assert code(in_memory, in_memory.pushes.retry(recording.uid)) is Code.CONFLICT
    assert in_memory.claim_pushes() == []


def test_pages_of_the_log_have_each_attempt_once(in_memory):
    """Also of those that began in the same moment."""
    one_push(in_memory, "east", "north", "south")
    for job in in_memory.claim_pushes():
        in_memory.attempt(job, WAITING)
    in_memory.clock.advance(60)
    later = in_memory.now()
    for job in in_memory.claim_pushes(2):
        in_memory.attempt(job, WAITING)

    pages = [log(in_memory, limit=2)]
    while pages[-1]:
        last = pages[-1][-1]
        pages.append(log(in_memory, limit=2, before=(last.began_at, last.id)))

    assert [len(one) for one in pages] == [2, 2, 1, 0]
    assert [one for page in pages for one in page] == list(log(in_memory))
    assert len({one.id for page in pages for one in page}) == 5
    assert len(log(in_memory, until=later)) == 3


def test_the_log_tells_newest_first_what_one_looks_for(in_memory):
    recording, _ = one_push(in_memory, "north", "south")
    in_memory.recorded("r2")
    start = in_memory.now()
    for job in in_memory.claim_pushes():
        status = Status.OK if job.lane == "north" else Status.SFTP_LOGIN_FAILED
        in_memory.attempt(job, DELIVERED if job.lane == "north" else WAITING, status)
        in_memory.clock.advance(10)

    def told(**wanted):
        return [(one.recording, one.remote) for one in log(in_memory, **wanted)]

    assert sorted(told()) == [("r1", "north"), ("r1", "south"), ("r2", "north"), ("r2", "south")]
    assert told(limit=1) == told()[:1]
    assert told(recording=recording.uid) == [one for one in told() if one[0] == "r1"]
    assert told(remote="south") == [one for one in told() if one[1] == "south"]
    assert told(status=Status.OK, remote="north") == told(remote="north")
    assert told(status=Status.OK, remote="south") == []
    assert len(told(since=start + timedelta(seconds=20))) == 2
    assert told(organisation="acme") == told()
    assert told(organisation="other") == []
    began = [one.began_at for one in log(in_memory)]
    assert began == sorted(began, reverse=True)


def test_the_log_outlives_the_remote(in_memory):
    one_push(in_memory)
    in_memory.attempt(in_memory.claim_pushes()[0], WAITING)

    in_memory.result(in_memory.remotes.remove("north"))

    assert [(one.remote, one.host) for one in log(in_memory)] == [("north", "north.example")]


def test_pushes_are_counted_by_state(in_memory):
    one_push(in_memory, "north", "south")
    in_memory.attempt(in_memory.claim_pushes(1)[0], DELIVERED)

    counts = in_memory.result(in_memory.pushes.counts())

    assert counts == {WAITING: 1, PARTIAL: 0, DELIVERED: 1, GIVEN_UP: 0}
    assert in_memory.result(in_memory.pushes.counts("acme")) == counts
    assert set(in_memory.result(in_memory.pushes.counts("other")).values()) == {0}
