"""Status and settings, with the service up, down, and on its way."""

from __future__ import annotations

import json
import threading

import pytest

from conch_pipe.cli import service
from conch_pipe.errors import PipeError
from conch_pipe.model import Status
from conch_pipe.presence import Presence
from tests.cli.conftest import completed
from tests.cli.pushing import Studio


@pytest.fixture
def running(installed):
    """The mark of a running service, held by this process."""
    presence = Presence(installed.state)
    presence.hold()
    presence.announce(pid=4711, ssh_port=2022, started_at="2026-11-21T12:00:00Z", sessions=3)
    yield presence
    presence.leave()


def test_status_works_when_the_service_is_down(installed, receive):
    receive("a.csv")
    receive("b.csv", completed(1))

    status = installed.json("status")

    assert (status["running"], status["pid"], status["ssh_port"]) == (False, None, None)
    assert status["uploads"] == {"PENDING": 0, "PROCESSING": 1, "COMPLETED": 1, "FAILED": 0}
    assert status["queue"]["ingest"]["leased"] == 1
    assert status["disk"]["free_bytes"] > 0
    people = installed.run("status").out
    assert "not running" in people and "1 COMPLETED" in people


def test_status_counts_pushes_once_there_are_any(installed):
    none = {"WAITING": 0, "PARTIAL": 0, "DELIVERED": 0, "GIVEN_UP": 0}
    assert installed.json("status")["pushes"] == none
    assert "GIVEN_UP" not in installed.run("status").out
    studio = Studio(installed)
    studio.environment("--remote", "archive", "--remote", "studio")
    studio.submit()
    studio.attempt("archive", Status.OK)

    assert installed.json("status")["pushes"] == none | {"WAITING": 1, "DELIVERED": 1}
    assert "1 WAITING, 0 PARTIAL, 1 DELIVERED, 0 GIVEN_UP" in installed.run("status").out


def test_status_tells_process_and_port(installed, running):
    status = installed.json("status")

    assert (status["running"], status["pid"], status["ssh_port"], status["sessions"]) == (True, 4711, 2022, 3)
    assert status["started_at"] == "2026-11-21T12:00:00Z"
    assert "running on port 2022, process 4711 since 2026-11-21 12:00:00 UTC" in installed.run("status").out


def test_status_tells_of_each_door_process(installed, running):
    doors = [{"pid": 4712 + number, "stage": "ready", "sessions": number, "uploads": 0} for number in (0, 1)]
    running.announce(pid=4711, ssh_port=2022, sessions=1, doors=doors)

    assert installed.json("status")["doors"] == doors
    assert "4712 ready, 0 sessions, 0 uploads; 4713 ready, 1 sessions, 0 uploads" in installed.run("status").out


def test_a_note_without_its_lock_is_a_dead_service(installed, running):
    note = (installed.state / "run" / "service.json").read_text()
    running.leave()
    (installed.state / "run" / "service.json").write_text(note)

    assert installed.json("status")["running"] is False


def test_a_service_that_does_not_listen_yet_is_not_running(installed):
    presence = Presence(installed.state)
    presence.hold()

    assert service.running(installed.state) is None
    presence.leave()


def test_waiting_ends_when_the_service_listens(installed):
    presence = Presence(installed.state)
    timer = threading.Timer(0.1, lambda: (presence.hold(), presence.announce(pid=1, ssh_port=2)))
    timer.start()

    assert installed.json("status", "--wait", "10")["ssh_port"] == 2
    timer.join()
    presence.leave()


def test_waiting_in_vain_is_busy(installed):
    assert installed.json("status", "--wait", "0", status=4)["error"]["code"] == "busy"
    with pytest.raises(PipeError):
        service.needed(installed.state)


def test_settings_are_shown_with_where_they_came_from(installed, monkeypatch):
    monkeypatch.setenv("PIPE_SFTP_LOG__LEVEL", "warn")

    shown = installed.json("settings")

    rows = {(row["section"], row["name"]): row for row in shown["settings"]}
    assert rows["log", "level"] == {
        "section": "log",
        "name": "level",
        "value": "warn",
        "origin": "environment PIPE_SFTP_LOG__LEVEL",
    }
    assert rows["ssh", "port"]["origin"] == "file"
    assert rows["ssh", "endpoint"]["origin"] == "default"
    assert "log.level" in installed.run("settings").out


def test_a_password_in_a_url_is_not_shown(installed, monkeypatch):
    monkeypatch.setenv("PIPE_SFTP_CATALOG__URL", "postgresql://pipe:kanarek@db/pipe")

    assert "kanarek" not in installed.run("settings").out + json.dumps(installed.json("settings"))


def test_the_reference_is_printed(tmp_path, installed):
    from conch_pipe.settings import reference

    assert installed.bare("settings", "--reference").out == reference()
    assert installed.bare("settings", "--reference", "--json").json["text"] == reference()
