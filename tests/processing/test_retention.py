"""What becomes of a recording's files: decided by its pushes, told in time, and nothing else is ever deleted."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import maybeDeferred

from conch_pipe.errors import Code, PipeError
from conch_pipe.events import Event, Events
from conch_pipe.model import Environment, Push, PushState, Role, utc
from conch_pipe.processing import attempts, retention
from conch_pipe.processing.retention import Retention, delete, fate
from conch_pipe.processing.runner import Runner
from tests.processing.push_fakes import START, HeapClock, MemoryPushes, files_in

DAY = 86_400
CLEAR = Environment("acme", "prod", START, (), True)
KEEP = Environment("acme", "prod", START, (), False)


def push(state: PushState, final_at: datetime | None = START, **fields) -> Push:
    return Push(UUID(int=1), UUID(int=2), "dock", state, final_at=final_at, **fields)


def test_files_go_when_all_have_arrived_and_the_environment_says_so():
    arrived = [push(PushState.DELIVERED), push(PushState.DELIVERED)]

    assert fate(arrived, CLEAR, START).delete
    assert not fate(arrived, KEEP, START).delete
    assert not fate(arrived, None, START).delete
    assert fate([], CLEAR, START).delete


@given(st.lists(st.sampled_from(PushState), min_size=1, max_size=4), st.integers(0, 40 * DAY), st.booleans())
def test_files_never_go_early(states, later_s, clears):
    """Until every remote has them, or 28 days after the last attempt that failed."""
    now = START + timedelta(seconds=later_s)

    found = fate([push(state) for state in states], CLEAR if clears else KEEP, now)

    if found.delete:
        assert set(states) <= {PushState.DELIVERED, PushState.GIVEN_UP}
        if PushState.GIVEN_UP in states:
            assert now - START >= timedelta(hours=672)
        else:
            assert clears
    if {PushState.WAITING, PushState.PARTIAL} & set(states):
        assert found.wait


def test_the_28_days_are_counted_from_the_last_that_was_given_up():
    pushes = [push(PushState.GIVEN_UP, START), push(PushState.GIVEN_UP, START + timedelta(days=2))]

    found = fate(pushes, CLEAR, START + timedelta(days=29))

    assert (found.delete, found.purge_at) == (False, attempts.purge_at(START + timedelta(days=2)))


def test_an_attempt_by_hand_holds_files_that_are_due_to_go():
    late = START + timedelta(days=60)

    assert fate([push(PushState.GIVEN_UP, manual=True)], CLEAR, late).wait
    assert fate([push(PushState.GIVEN_UP)], CLEAR, late).delete


class Bench:
    """A runner with the retention chain alone; pushes end as a test says."""

    def __init__(self, folder) -> None:
        self.root = folder / "media"
        self.root.mkdir()
        self.clock = HeapClock(START)
        self.catalog = MemoryPushes(self.clock)
        self.heard: list[Event] = []
        self.begin()

    def begin(self) -> None:
        chain = Retention(self.catalog, Events((self.heard.append,)), self.clock, [self.root], in_thread=maybeDeferred)
        self.runner = Runner(self.catalog, {"retention": chain}, self.clock, capacity=4, poll_s=60)

    def save(self, *states: PushState, delete: bool = True, at: datetime = START):
        files = files_in(self.root, f"r{len(self.catalog.recordings)}", *Role)
        recording = self.catalog.save(files, [f"dock{number}" for number in range(len(states))], delete=delete)
        for push_id, state in zip(self.catalog.of[recording.uid], states, strict=True):
            self.catalog.all_pushes[push_id] = replace(self.catalog.all_pushes[push_id], state=state, final_at=at)
        for job_id in list(self.catalog.jobs):
            if self.catalog.jobs[job_id].kind == "push":
                self.catalog.ended[job_id] = "done"
        if states:
            self.catalog._add("retention", str(recording.uid), utc(self.clock), "")
        return recording

    def run(self, seconds: float) -> None:
        if not self.runner.running:
            self.runner.startService()
        self.catalog.pass_time(seconds, self.runner.nudge)

    def there(self, recording) -> int:
        return sum(file.path.exists() for file in recording.files)

    def told(self) -> list[tuple[str, str]]:
        return [(event.kind.name, event.fields.get("until", "")) for event in self.heard]


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    if bench.runner.running:
        assert bench.runner.stopService().called
    assert bench.clock.getDelayedCalls() == []


def test_what_has_arrived_everywhere_is_deleted_at_once(bench):
    recording = bench.save(PushState.DELIVERED, PushState.DELIVERED)

    bench.run(1)

    assert bench.there(recording) == 0
    assert bench.catalog.recordings[recording.uid].deleted_at == START
    assert bench.told() == [("recording.cleared", "")]
    assert bench.heard[0].fields["files"] == 4


def test_files_of_a_recording_without_remotes_go_by_the_same_rule(bench):
    gone, kept = bench.save(), bench.save(delete=False)

    bench.run(1)

    assert (bench.there(gone), bench.there(kept)) == (0, 4)


def test_what_shall_be_kept_is_kept_for_good(bench):
    recording = bench.save(PushState.DELIVERED, delete=False)

    bench.run(100 * DAY)

    assert bench.there(recording) == 4
    assert bench.told() == [("recording.kept", "for good")]


@pytest.mark.parametrize("given_up", ["2026-01-10 12:00", "2026-03-15 10:00", "2026-10-10 09:00"])
def test_what_never_arrived_is_purged_after_28_days_with_notices_a_week_and_a_day_before(tmp_path, given_up):
    """Also across both changes of the clock."""
    moment = datetime.fromisoformat(given_up).replace(tzinfo=UTC)
    bench = Bench(tmp_path)
    bench.clock.rightNow = moment.timestamp()
    recording = bench.save(PushState.GIVEN_UP, PushState.DELIVERED, at=moment)
    purge = attempts.purge_at(moment)
    seen = []

    for seconds in (1, 21 * DAY - 2, 3600, 6 * DAY, (purge - moment).total_seconds() - 27 * DAY - 3600):
        bench.run(seconds)
        seen.append((len(bench.heard), bench.there(recording)))
    bench.run(2)

    until = f"{purge:%Y-%m-%d %H:%M} UTC"
    assert bench.told() == [
        ("recording.kept", f"until {until}"),
        ("recording.purge_soon", until),
        ("recording.purge_soon", until),
        ("recording.purged", ""),
    ]
    assert {there for _, there in seen} == {4}
    assert bench.there(recording) == 0
    assert purge <= bench.catalog.recordings[recording.uid].deleted_at <= purge + timedelta(seconds=2)
    assert bench.catalog.recordings[recording.uid].purge_at == purge
    assert bench.runner.stopService().called


def test_a_service_that_slept_through_the_notices_tells_the_last_one(bench):
    recording = bench.save(PushState.GIVEN_UP)
    bench.run(10)
    assert bench.runner.stopService().called
    bench.clock.advance(27.5 * DAY)
    bench.begin()

    bench.run(60)

    assert [name for name, _ in bench.told()] == ["recording.kept", "recording.purge_soon"]
    assert bench.there(recording) == 4


def test_a_push_by_hand_that_arrives_at_last_clears_the_files(bench):
    recording = bench.save(PushState.GIVEN_UP)
    bench.run(10)
    (push_id,) = bench.catalog.of[recording.uid]
    bench.catalog.all_pushes[push_id] = replace(bench.catalog.all_pushes[push_id], state=PushState.DELIVERED)
    bench.catalog._add("retention", str(recording.uid), utc(bench.clock), "")

    bench.run(40 * DAY)

    assert bench.told()[1:] == [("recording.cleared", "")]


def test_files_are_not_deleted_while_an_attempt_by_hand_needs_them(bench):
    recording = bench.save(PushState.GIVEN_UP)
    bench.run(27 * DAY)
    (push_id,) = bench.catalog.of[recording.uid]
    bench.catalog.all_pushes[push_id] = replace(bench.catalog.all_pushes[push_id], manual=True)

    bench.run(5 * DAY)
    assert bench.there(recording) == 4
    bench.catalog.all_pushes[push_id] = replace(bench.catalog.all_pushes[push_id], manual=False)
    bench.run(601)

    assert bench.there(recording) == 0


def test_files_that_cannot_be_deleted_now_are_deleted_later(bench, monkeypatch):
    recording = bench.save(PushState.DELIVERED)
    unlink = os.unlink

    def refuse(*arguments, **keywords):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(retention.os, "unlink", refuse)
    bench.run(1)
    assert (bench.there(recording), bench.told()) == (4, [])
    assert bench.catalog.recordings[recording.uid].deleted_at is None
    monkeypatch.setattr(retention.os, "unlink", unlink)

    bench.run(3601)

    assert bench.there(recording) == 0
    assert bench.told() == [("recording.cleared", "")]


def test_a_catalog_that_fails_between_the_files_and_the_record_costs_nothing(bench):
    """Also kill -9 there: what is gone already counts as deleted."""
    recording = bench.save(PushState.DELIVERED)
    files_deleted = bench.catalog.files_deleted
    failures = [PipeError(Code.FAILED, "internal error")] * 30

    def fail_first(*arguments):
        if failures:
            raise failures.pop()
        return files_deleted(*arguments)

    bench.catalog.files_deleted = fail_first
    bench.run(60)
    assert bench.there(recording) == 0
    assert bench.catalog.recordings[recording.uid].deleted_at is None

    bench.run(2 * DAY)

    assert bench.catalog.recordings[recording.uid].deleted_at is not None
    assert bench.heard[-1].fields["files"] == 4


def test_retention_is_never_given_up(bench, logged_errors):
    recording = bench.save(PushState.DELIVERED)
    bench.catalog.environment = lambda *arguments: 1 / 0
    bench.run(DAY)
    assert bench.catalog.ended.keys() == {1}  # the push; the job about the files lives on

    del bench.catalog.environment
    bench.run(3601)

    assert bench.there(recording) == 0
    assert len(logged_errors.flush(ZeroDivisionError)) >= 5


def test_files_that_another_recording_still_has_to_deliver_stay_until_it_has(bench):
    """The same files handed in twice, say for two environments."""
    first = bench.save(PushState.DELIVERED)
    second = bench.catalog.save(first.files, ["far"])
    bench.run(1)
    assert bench.there(first) == 4
    assert [name for name, _ in bench.told()] == ["recording.left"] * 4 + ["recording.cleared"]

    (push_id,) = bench.catalog.of[second.uid]
    bench.catalog.all_pushes[push_id] = replace(bench.catalog.all_pushes[push_id], state=PushState.DELIVERED)
    bench.catalog._add("retention", str(second.uid), utc(bench.clock), "")
    bench.run(1)

    assert bench.there(first) == 0


# What may be deleted.


def test_only_what_was_recorded_goes(tmp_path):
    files = files_in(tmp_path, "r", *Role)
    (tmp_path / "other").write_text("mine")

    done = delete(files, [tmp_path])

    assert (done.files, done.left, done.trouble) == (4, [], "")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_again_it_is_no_error_even_without_the_folder(tmp_path):
    folder = tmp_path / "deep"
    folder.mkdir()
    files = files_in(folder, "r", *Role)
    delete(files[:2], [tmp_path])

    assert delete(files, [tmp_path]).files == 4
    folder.rmdir()
    assert delete(files, [tmp_path]).files == 4


def test_a_file_outside_the_allowed_folders_is_left(tmp_path):
    (tmp_path / "in").mkdir()
    files = files_in(tmp_path, "r")

    done = delete(files, [tmp_path / "in"])

    assert done.left == [(files[0].path, "outside the allowed folders")]
    assert files[0].path.exists()


def test_a_link_in_the_place_of_a_file_is_left_and_so_is_what_it_shows(tmp_path):
    (file,) = files_in(tmp_path, "r")
    secret = tmp_path / "secret"
    file.path.rename(secret)
    file.path.symlink_to(secret)

    done = delete([file], [tmp_path])

    assert done.left == [(file.path, "not a regular file")]
    assert secret.exists()


def test_a_folder_that_has_become_a_link_to_elsewhere_is_not_followed(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "day").mkdir(parents=True)
    (file,) = files_in(root / "day", "r")
    (root / "day").rename(elsewhere)
    (root / "day").symlink_to(elsewhere)

    done = delete([file], [root])

    assert done.left == [(file.path, "outside the allowed folders")]
    assert (elsewhere / file.path.name).exists()


@pytest.mark.parametrize(("content", "later_ns"), list(product([b"main", b"longer"], [0, 1_000_000]))[1:])
def test_another_file_of_the_same_name_is_left(tmp_path, content, later_ns):
    """A transcoder that uses names again."""
    (file,) = files_in(tmp_path, "r")
    file.path.write_bytes(content)
    os.utime(file.path, ns=(0, file.mtime_ns + later_ns))

    done = delete([file], [tmp_path])

    assert done.left == [(file.path, "another file than was accepted")]
    assert file.path.exists()


def test_files_that_were_left_are_told(bench):
    recording = bench.save(PushState.DELIVERED)
    recording.files[0].path.write_bytes(b"something else")

    bench.run(1)

    assert [name for name, _ in bench.told()] == ["recording.left", "recording.cleared"]
    assert (bench.there(recording), bench.heard[1].fields["files"]) == (1, 3)
