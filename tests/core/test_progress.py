"""The file in which the command line sees pushes move."""

from __future__ import annotations

import json

import pytest
from twisted.internet.task import Clock

from conch_pipe import events
from conch_pipe.events import Events
from conch_pipe.presence import Presence
from conch_pipe.progress import Progress, read


@pytest.fixture
def state(tmp_path):
    """A state folder whose service runs."""
    presence = Presence(tmp_path)
    presence.hold()
    yield tmp_path
    presence.leave()


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1_800_000_000)
    return clock


def moved(hub: Events, push: str = "p1", sent: int = 5, seconds: float = 2.0) -> None:
    hub.note(
        events.PUSH_PROGRESS,
        push_id=push,
        recording_id="r1",
        organisation="acme",
        remote="dock",
        file="talk.mp4",
        sent=sent,
        size=10,
        seconds=seconds,
    )


def ended(hub: Events, push: str = "p1") -> None:
    about = dict.fromkeys(("recording_id", "organisation", "remote", "status", "reason"), "")
    hub.note(events.PUSH_ATTEMPTED, push_id=push, number=1, bytes=10, seconds=1.0, **about)


def test_a_push_that_moves_is_seen_with_its_speed(state, clock):
    progress = Progress(state, clock)

    moved(Events((progress,)))

    (found,) = read(state).items()
    assert found[0] == "p1"
    assert found[1] | {"at": 0} == {
        "recording": "r1",
        "organisation": "acme",
        "remote": "dock",
        "file": "talk.mp4",
        "sent": 5,
        "size": 10,
        "began_at": "2027-01-15T07:59:58+00:00",
        "bytes_s": 2,
        "at": 0,
    }
    progress.stop()


def test_the_file_is_written_once_a_second_at_most(state, clock):
    progress = Progress(state, clock)
    hub = Events((progress,))
    seen = []

    for step in range(40):
        moved(hub, sent=step)
        seen.append(read(state)["p1"]["sent"])
        clock.advance(0.25)

    assert len(set(seen)) <= 11
    clock.advance(1)
    assert read(state)["p1"]["sent"] == 39
    assert clock.getDelayedCalls() == []
    progress.stop()


def test_what_has_ended_or_stands_still_for_long_is_gone(state, clock):
    progress = Progress(state, clock)
    hub = Events((progress,))
    moved(hub, "ended")
    moved(hub, "still")
    ended(hub, "ended")
    clock.advance(1)
    assert set(read(state)) == {"still"}

    clock.advance(121)
    moved(hub, "new")

    assert set(read(state)) == {"new"}
    progress.stop()


def test_a_stop_leaves_neither_a_file_nor_a_timer(state, clock):
    progress = Progress(state, clock)
    hub = Events((progress,))
    moved(hub)
    moved(hub)

    progress.stop()
    progress.stop()

    assert clock.getDelayedCalls() == []
    assert list((state / "run").glob("pushes*")) == []


def test_what_a_killed_service_left_moves_no_more(tmp_path, clock):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").touch()
    moved(Events((Progress(tmp_path, clock),)))

    assert json.loads((tmp_path / "run" / "pushes.json").read_text())
    assert read(tmp_path) == {}


@pytest.mark.parametrize("text", [None, "", "{"])
def test_a_file_that_is_not_there_or_not_whole_is_nothing_that_moves(state, text):
    if text is not None:
        (state / "run" / "pushes.json").write_text(text)

    assert read(state) == {}


def test_a_folder_that_cannot_be_written_harms_nobody(tmp_path, clock):
    moved(Events((Progress(tmp_path / "gone", clock),)))

    assert read(tmp_path / "gone") == {}
