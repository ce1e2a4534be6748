"""Recordings: accepted once with all that follows, found again, and what becomes of their files."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from conch_pipe.catalog import RecordingFilter
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import PushState, RecordedFile, Role, new_id


def code(bench, deferred) -> Code:
    with pytest.raises(PipeError) as caught:
        bench.result(deferred)
    return caught.value.code


def test_an_accepted_recording_has_a_push_and_a_job_for_each_remote(bench):
    bench.environment("north", "south")
    bench.result(bench.remotes.disable("south"))
    given = bench.recording()

    recorded, pushes = bench.result(bench.recordings.accept(given))

    assert recorded == given
    assert [(push.remote, push.recording, push.state, push.due_at) for push in pushes] == [
        (remote, given.uid, PushState.WAITING, given.saved_at) for remote in ("north", "south")
    ]
    jobs = bench.claim_pushes()
    assert [(job.lane, job.subject, job.due_at) for job in jobs] == [
        (push.remote, str(push.id), given.saved_at) for push in pushes
    ]
    assert jobs[0].payload == {"organisation": "acme", "recording_id": "r1", "name": "call", "remote": "north"}
    assert bench.retentions() == []


def test_without_remotes_the_fate_of_the_files_is_decided_at_once(bench):
    bench.environment()

    recorded, pushes = bench.recorded()

    assert pushes == ()
    [job] = bench.result(bench.jobs.claim(["retention"], 10, 60))
    assert (job.subject, job.lane, job.due_at) == (str(recorded.uid), "", recorded.saved_at)
    assert job.payload == {"organisation": "acme", "recording_id": "r1", "name": "call"}


def test_the_same_recording_again_is_the_earlier_one(bench):
    """Whoever was not told, or tells twice, gets what was recorded; paths and times do not matter."""
    bench.environment("north")
    first = bench.recorded()
    bench.clock.advance(60)
    again = bench.recording()
    moved = tuple(replace(file, path=Path("/elsewhere") / file.name, mtime_ns=2) for file in again.files)

    assert bench.result(bench.recordings.accept(replace(again, files=moved))) == first
    assert len(bench.claim_pushes()) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda one: replace(one, name="other"),
        lambda one: replace(one, files=one.files[:1]),
        lambda one: replace(one, files=(replace(one.files[0], sha256="c" * 64), one.files[1])),
        lambda one: replace(one, files=(replace(one.files[0], name="other.mp4"), one.files[1])),
        lambda one: replace(one, files=(replace(one.files[0], role=Role.RAW), one.files[1])),
        lambda one: replace(one, environment="second"),
    ],
    ids=["name", "fewer files", "sha256", "file name", "role", "environment"],
)
def test_an_id_stands_for_one_group_of_files(in_memory, change):
    in_memory.environment("north")
    in_memory.environment(name="second")
    first = in_memory.recorded()

    assert code(in_memory, in_memory.recordings.accept(change(in_memory.recording()))) is Code.CONFLICT
    assert in_memory.result(in_memory.recordings.find("acme", "r1")) == first[0]


def test_an_unknown_environment_is_told_and_nothing_is_recorded(bench):
    bench.environment("north")

    assert code(bench, bench.recordings.accept(bench.recording(environment="none"))) is Code.NOT_FOUND
    assert bench.result(bench.recordings.find("acme", "r1")) is None
    assert bench.result(bench.jobs.waiting()) == {}


def test_what_is_known_is_answered_also_when_its_environment_is_gone(in_memory):
    in_memory.environment()
    recorded, _ = in_memory.recorded()
    in_memory.result(in_memory.environments.remove("acme", "live"))

    assert in_memory.recorded() == (recorded, ())


def test_a_recording_is_found_by_either_id_with_its_files_in_order(bench):
    bench.environment("north")
    files = tuple(
        RecordedFile(role, Path(f"/srv/{role.value}"), f"x.{role.value}", 2**40, 1_800_000_000_123_456_789, "d" * 64)
        for role in Role
    )
    recorded, (push,) = bench.recorded(files=files)

    assert recorded.files == files
    assert bench.result(bench.recordings.get(recorded.uid)) == recorded
    assert bench.result(bench.recordings.find("acme", "r1")) == recorded
    assert bench.result(bench.recordings.find("other", "r1")) is None
    assert bench.result(bench.recordings.push(push.id)) == (push, recorded)
    assert bench.result(bench.recordings.pushes(recorded.uid)) == (push,)
    unknown = new_id(bench.now())
    assert bench.result(bench.recordings.get(unknown)) is None
    assert bench.result(bench.recordings.push(unknown)) is None
    assert bench.result(bench.recordings.pushes(unknown)) == ()
    assert code(bench, bench.recordings.show(unknown)) is Code.NOT_FOUND


def test_what_becomes_of_its_files_is_remembered(bench):
    bench.environment("north")
    recorded, _ = bench.recorded()
    later = bench.now() + timedelta(days=28)

    bench.result(bench.recordings.purge_at(recorded.uid, later))
    bench.result(bench.recordings.files_deleted(recorded.uid, later + timedelta(days=1)))
    bench.result(bench.recordings.files_deleted(recorded.uid, later + timedelta(days=2)))

    assert bench.result(bench.recordings.get(recorded.uid)) == replace(
        recorded, purge_at=later, deleted_at=later + timedelta(days=1)
    )


def test_recordings_are_listed_newest_first_by_what_one_looks_for(in_memory):
    in_memory.environment("north", "south")
    in_memory.environment("north", name="second")
    start = in_memory.now()
    for number, environment in enumerate(("live", "second", "live")):
        in_memory.recorded(f"r{number}", environment=environment)
        in_memory.clock.advance(60)
    for job in in_memory.claim_pushes(2):
        in_memory.attempt(job, PushState.DELIVERED if job.lane == "north" else PushState.GIVEN_UP)

    def listed(**wanted):
        found = in_memory.result(in_memory.recordings.list(RecordingFilter(**wanted)))
        return [(recording.id, len(pushes)) for recording, pushes in found]

    assert listed() == [("r2", 2), ("r1", 1), ("r0", 2)]
    assert listed(limit=1) == [("r2", 2)]
    assert listed(organisation="acme", environment="second") == [("r1", 1)]
    assert listed(organisation="other") == []
    assert listed(id="r0") == [("r0", 2)]
    assert listed(since=start + timedelta(seconds=60)) == [("r2", 2), ("r1", 1)]
    assert listed(state=PushState.GIVEN_UP) == [("r0", 2)]
    assert listed(remote="south") == [("r2", 2), ("r0", 2)]
    assert listed(state=PushState.WAITING, remote="south") == [("r2", 2)]
    assert listed(state=PushState.GIVEN_UP, remote="north") == []
    [(recording, pushes)] = in_memory.result(in_memory.recordings.list(RecordingFilter(id="r0")))
    assert in_memory.result(in_memory.recordings.show(recording.uid)) == (recording, pushes)
    assert [(push.remote, push.state) for push in pushes] == [
        ("north", PushState.DELIVERED),
        ("south", PushState.GIVEN_UP),
    ]


def test_pages_of_recordings_have_each_one_once(in_memory):
    """Also of those that were accepted in the same moment."""
    in_memory.environment("north")
    for number in range(5):
        in_memory.recorded(f"r{number}")
        in_memory.clock.advance(60 if number == 1 else 0)

    def page(before):
        found = in_memory.result(in_memory.recordings.list(RecordingFilter(limit=2, before=before)))
        return [recording for recording, _ in found]

    pages = [page(None)]
    while pages[-1]:
        last = pages[-1][-1]
        pages.append(page((last.saved_at, last.uid)))

    assert [len(one) for one in pages] == [2, 2, 1, 0]
    assert {one.id for page in pages for one in page} == {f"r{number}" for number in range(5)}
    until = in_memory.result(in_memory.recordings.list(RecordingFilter(until=in_memory.now())))
    assert {recording.id for recording, _ in until} == {"r0", "r1"}


def test_many_recordings_are_listed_with_their_files(in_memory):
    """More than fit into one statement."""
    in_memory.environment("north")
    for number in range(1100):
        in_memory.recorded(f"r{number}")

    found = in_memory.result(in_memory.recordings.list(RecordingFilter(limit=2000)))

    assert len(found) == 1100
    assert {(len(recording.files), len(pushes)) for recording, pushes in found} == {(2, 1)}
