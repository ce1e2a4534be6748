"""Files that come with their recording: in place as a whole or not at all, whatever ends it, and whenever."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from twisted.internet.defer import Deferred

from conch_pipe.errors import Code, PipeError
from conch_pipe.intake.arrivals import RECEIVED, RECEIVING, Arrival, Arrivals
from conch_pipe.model import Role
from tests.intake.fakes import error, result
from tests.intake.recorded import Studio, open_files


@pytest.fixture
def studio(tmp_path):
    yield Studio(tmp_path)
    assert open_files(tmp_path) == []


@pytest.fixture
def arrivals(studio) -> Arrivals:
    return Arrivals(studio.media, studio.intake, studio.in_thread, studio.clock)


def ended(coroutine):
    """What a coroutine came to."""
    return result(Deferred.fromCoroutine(coroutine))


def refused(coroutine) -> PipeError:
    return error(Deferred.fromCoroutine(coroutine))


def come(arrivals, *files: tuple[Role, str, bytes]) -> Arrival:
    arrival = arrivals.begin()
    for role, name, content in files or [(Role.MAIN, "a.mp4", b"video")]:
        assert ended(arrival.file(role, name)) is None
        assert ended(arrival.write(content)) is None
    return arrival


def submit(arrival, recording_id: str = "rec-1"):
    return arrival.submit("acme", "production", recording_id, "standup")


def left(studio) -> list[str]:
    return sorted(str(path.relative_to(studio.media)) for path in studio.media.rglob("*") if not path.is_dir())


def test_files_are_in_place_with_their_recording(studio, arrivals):
    arrival = come(arrivals, (Role.MAIN, "clip.MP4", b"video"), (Role.RAW, "x.webm", b"raw"), (Role.SNAPSHOT, "", b"j"))

    told = ended(submit(arrival))
    ended(arrival.end())

    folder = studio.media / RECEIVED / str(arrival.uid)
    assert (told.recording.uid, told.again) == (arrival.uid, False)
    assert {one.role: one.path for one in told.recording.files} == {
        Role.MAIN: folder / "main.mp4",
        Role.RAW: folder / "raw.webm",
        Role.SNAPSHOT: folder / "snapshot.jpg",
    }
    assert (folder / "main.mp4").read_bytes() == b"video"
    assert list((studio.media / RECEIVING).iterdir()) == []


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.mkv", ".mkv"), ("", ".mp4"), ("a", ".mp4"), ("../../etc/passwd", ".mp4"), ("a.m p", ".mp4"), ("a.é", ".mp4")],
)
def test_of_the_senders_name_only_a_plain_ending_is_used(studio, arrivals, name, ending):
    arrival = come(arrivals, (Role.MAIN, name, b"video"))

    assert left(studio) == [f"{RECEIVING}/{arrival.uid}/main{ending}"]
    ended(arrival.end())


def test_what_is_ended_before_it_is_told_leaves_nothing(studio, arrivals):
    arrival = come(arrivals)

    ended(arrival.end())
    ended(arrival.end())

    assert left(studio) == []


def test_what_is_refused_leaves_nothing(studio, arrivals):
    arrival = come(arrivals)

    why = refused(submit(arrival, "?"))
    ended(arrival.end())

    assert why.code is Code.INVALID
    assert left(studio) == []


def test_without_any_file_it_is_the_intake_that_says_so(studio, arrivals):
    arrival = arrivals.begin()

    why = refused(submit(arrival))
    ended(arrival.end())

    assert "a main file is needed" in str(why)
    assert left(studio) == []


def test_the_same_again_keeps_the_files_that_are_recorded(studio, arrivals):
    first, again = come(arrivals), come(arrivals)
    ended(submit(first))

    told = ended(submit(again))
    ended(again.end())

    assert (told.recording.uid, told.again) == (first.uid, True)
    assert left(studio) == [f"{RECEIVED}/{first.uid}/main.mp4"]


def test_a_disk_that_is_full_is_told_and_leaves_nothing(studio, arrivals):
    arrivals.free_bytes = 1 << 62
    arrival = arrivals.begin()

    why = refused(arrival.file(Role.MAIN, "a.mp4"))
    ended(arrival.end())

    assert why.code is Code.NO_SPACE
    assert left(studio) == []


@pytest.mark.parametrize("recorded", [True, False])
def test_when_nobody_knows_whether_it_is_recorded_the_next_start_finds_out(studio, arrivals, recorded):
    arrival = come(arrivals)
    studio.recordings.lost = 1 if recorded else 0
    studio.recordings.never_sent = 0 if recorded else 1
    studio.intake.outcome_wait_s = 0

    unknown = refused(submit(arrival))
    ended(arrival.end())

    assert unknown.code is Code.UNKNOWN_OUTCOME
    file = f"{RECEIVED}/{arrival.uid}/main.mp4"
    assert file in left(studio)
    assert ended(arrivals.recover()) == (0 if recorded else 1)
    assert left(studio) == ([file] if recorded else [])


def test_a_start_drops_what_a_killed_process_left_and_nothing_else(studio, arrivals):
    kept = come(arrivals)
    ended(submit(kept))
    come(arrivals)._close()  # killed while the files came
    moved = come(arrivals)
    moved._move()  # killed before the record
    deleted = studio.media / RECEIVED / str(UUID(int=7))
    deleted.mkdir()  # the files of an old one are deleted
    other = studio.file("of-a-manifest.mp4")

    assert ended(arrivals.recover()) == 2
    assert ended(arrivals.recover()) == 0

    assert left(studio) == [other.name, f"{RECEIVED}/{kept.uid}/main.mp4"]
    assert list((studio.media / RECEIVED).iterdir()) == [studio.media / RECEIVED / str(kept.uid)]


def test_a_start_without_any_folders_is_fine(studio, arrivals):
    assert ended(arrivals.recover()) == 0
    assert list(Path(studio.media).iterdir()) == []
