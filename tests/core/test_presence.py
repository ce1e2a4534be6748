"""One service per state folder, and a note of where it listens."""

from __future__ import annotations

import fcntl
import json
import os

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from conch_pipe.errors import Code, PipeError
from conch_pipe.presence import Presence


def test_a_second_service_on_the_same_state_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("conch_pipe.presence.PATIENCE_S", 0)
    first, second = Presence(tmp_path), Presence(tmp_path)
    first.hold()
    first.announce(pid=1, ssh_port=2)

    with pytest.raises(PipeError) as refused:
        second.hold()
    second.leave()

    assert refused.value.code is Code.CONFLICT
    assert (tmp_path / "run" / "service.json").exists()
    first.leave()


def test_a_note_that_could_not_be_written_is_written_when_there_is_room(tmp_path):
    """Once a second it is tried; a full disk must not end that, nor fill the log."""
    presence, note = Presence(tmp_path), tmp_path / "run" / "service.json"
    presence.hold()
    presence.announce(sessions=1)
    (tmp_path / "run" / "service.json.new").mkdir()  # nothing can be written to it
    with capturedLogs() as logged:
        for sessions in (2, 2, 3):
            presence.announce(sessions=sessions)
    assert json.loads(note.read_text()) == {"sessions": 1}
    assert len(logged) == 1

    (tmp_path / "run" / "service.json.new").rmdir()
    presence.announce(sessions=3)

    assert json.loads(note.read_text()) == {"sessions": 3}
    presence.leave()


def test_the_note_of_a_service_that_crashed_is_gone_when_the_next_one_starts(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "service.json").write_text('{"pid": 1, "ssh_port": 2}')
    presence = Presence(tmp_path)

    presence.hold()
    assert not (tmp_path / "run" / "service.json").exists()
    presence.announce(pid=3, ssh_port=4)

    assert json.loads((tmp_path / "run" / "service.json").read_text()) == {"pid": 3, "ssh_port": 4}
    presence.leave()


def test_the_note_of_a_service_that_crashed_is_gone_before_the_next_one_holds_the_lock(tmp_path, monkeypatch):
    """``running()`` takes lock and note for a service: with the old note it would name the old port."""
    note, seen, real = tmp_path / "run" / "service.json", [], fcntl.flock
    note.parent.mkdir()
    note.write_text('{"pid": 1, "ssh_port": 2}')

    def flock(descriptor, operation):
        real(descriptor, operation)
        if operation & fcntl.LOCK_EX:
            seen.append(note.exists())

    monkeypatch.setattr(fcntl, "flock", flock)
    presence = Presence(tmp_path)

    presence.hold()
    presence.leave()

    assert seen == [False]


def test_leaving_lets_the_next_one_in(tmp_path):
    first = Presence(tmp_path)
    first.hold()

    first.leave()
    first.leave()

    second = Presence(tmp_path)
    second.hold()
    second.leave()


def test_a_start_waits_for_the_door_processes_of_a_killed_one(tmp_path):
    """Each holds the lock through a descriptor it inherited: else its living uploads would be taken for dead."""
    killed, clock = Presence(tmp_path), Clock()
    killed.hold()
    inherited = os.dup(alone(killed, clock).result)
    killed.leave()
    fresh = Presence(tmp_path)
    fresh.hold()

    waiting = alone(fresh, clock)
    clock.pump([0.1] * 20)
    assert not waiting.called
    os.close(inherited)
    clock.advance(0.1)

    assert waiting.called
    fresh.leave()


def test_door_processes_that_do_not_end_stop_the_start(tmp_path):
    killed, fresh, clock = Presence(tmp_path), Presence(tmp_path), Clock()
    killed.hold()
    alone(killed, clock)
    failed: list[Failure] = []
    (tmp_path / "run" / "lock").unlink()
    fresh.hold()

    alone(fresh, clock).addErrback(failed.append)
    clock.pump([0.1] * 60)

    assert failed[0].value.code is Code.CONFLICT
    for presence in (killed, fresh):
        presence.leave()


def alone(presence: Presence, clock: Clock) -> Deferred[int]:
    return Deferred.fromCoroutine(presence.alone(clock, 5))
