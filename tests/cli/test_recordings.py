"""Recordings: submitted without a service, found, followed, tried again; every attempt with its reasons."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from conch_pipe.cli import deliveries, following, recordings
from conch_pipe.cli.session import now
from conch_pipe.model import Push, PushState, Role, Status, new_id
from tests.cli.pushing import Studio

ENDS = timedelta(hours=75)


@pytest.fixture
def studio(installed) -> Studio:
    made = Studio(installed)
    made.environment("--remote", "archive", "--remote", "studio")
    return made


@pytest.fixture
def bucharest(monkeypatch):
    """The operator's zone."""
    monkeypatch.setenv("TZ", "Europe/Bucharest")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# Submit


def test_a_recording_is_submitted_without_a_service(studio):
    main, raw = studio.file("a.mp4"), studio.file("a.webm", b"raw")

    made = studio.installed.json(
        *("recording", "submit", "acme", "production", "--id", "rec-1", "--name", "standup"),
        *("--main", str(main), "--raw", str(raw)),
    )

    assert [(one["role"], one["name"], one["path"]) for one in made["files"]] == [
        ("main", "standup.mp4", str(main)),
        ("raw", "standup_raw.webm", str(raw)),
    ]
    assert [(one["remote"], one["state"], one["attempts_left"]) for one in made["pushes"]] == [
        ("archive", "WAITING", 13),
        ("studio", "WAITING", 13),
    ]
    assert made["again"] is False
    assert len(now(studio.catalog().jobs.claim(["push"], 10, 60))) == 2
    assert main.exists()


def test_the_name_is_the_id_unless_given_and_paths_may_be_relative(studio, monkeypatch):
    studio.file("a.mp4")
    (studio.media / "deep").mkdir()
    monkeypatch.chdir(studio.media / "deep")

    ran = studio.installed.run("recording", "submit", "acme", "production", "--id", "rec-1", "--main", "../a.mp4")

    assert ran.status == 0
    assert "it goes to archive, studio" in ran.out and "not running" in ran.out
    (found,) = studio.installed.json("recording", "list")
    assert found["files"][0]["name"] == "rec-1.mp4"


def test_the_same_again_is_the_same_recording(studio):
    first = studio.submit()
    words = ("recording", "submit", "acme", "production", "--id", "rec-1", "--name", "standup")
    files = ("--main", str(studio.media / "rec-1.mp4"), "--snapshot", str(studio.media / "rec-1.jpg"))

    again = studio.installed.json(*words, *files)

    assert (again["uid"], again["again"]) == (str(first.uid), True)
    assert "is known since" in studio.installed.run(*words, *files).out
    studio.file("rec-1.jpg", b"other")
    assert studio.installed.json(*words, *files, status=1)["error"]["code"] == "conflict"


def test_all_mistakes_are_told_at_once(studio):
    outside = studio.installed.folder / "outside.mp4"
    outside.write_bytes(b"x")
    (studio.media / "link").symlink_to(outside)

    refused = studio.installed.json(
        *("recording", "submit", "acme", "production", "--id", "a b", "--name", "a/b"),
        *("--main", str(outside), "--raw", str(studio.media / "link"), "--snapshot", str(studio.media / "gone")),
        status=1,
    )

    assert [one.partition(":")[0] for one in refused["error"]["mistakes"]] == ["id", "name", "main", "raw", "snapshot"]
    assert refused["error"]["code"] == "invalid"
    assert studio.installed.run("recording", "list").out == "no recordings\n"


def test_an_unknown_environment_is_not_found(studio):
    words = ("recording", "submit", "acme", "nothing", "--id", "rec-1", "--main", str(studio.file("a.mp4")))

    assert studio.installed.json(*words, status=3)["error"]["code"] == "not_found"


def test_the_spool_itself_is_allowed(studio):
    main = studio.installed.state / "recordings" / "a.mp4"
    main.parent.mkdir(exist_ok=True)
    main.write_bytes(b"x")

    studio.installed.json("recording", "submit", "acme", "production", "--id", "rec-1", "--main", str(main))


# List and show


def test_the_list_is_filtered(studio):
    studio.submit("rec-1")
    studio.installed.json("environment", "create", "acme", "staging", "--remote", "archive")
    main = str(studio.file("b.mp4"))
    studio.installed.json("recording", "submit", "acme", "staging", "--id", "rec-2", "--main", main)
    studio.attempt("studio", Status.OK)

    def ids(*filters: str) -> list[str]:
        return [one["id"] for one in studio.installed.json("recording", "list", *filters)]

    assert ids() == ["rec-2", "rec-1"]
    assert ids("--environment", "staging") == ["rec-2"]
    assert ids("--remote", "studio") == ["rec-1"]
    assert ids("--state", "delivered") == ["rec-1"]
    assert ids("--state", "WAITING", "--remote", "studio") == []
    assert ids("--id", "rec-2") == ["rec-2"]
    assert ids("--organisation", "nobody") == []
    assert ids("--since", "1h") == ["rec-2", "rec-1"]
    assert ids("--since", "2100-01-01") == []
    assert ids("--limit", "1") == ["rec-2"]
    out = studio.installed.run("recording", "list").out
    assert "archive WAITING 0/13, studio DELIVERED" in out


def test_show_tells_attempts_made_and_left_the_next_one_and_what_is_missing(studio):
    made = studio.submit()
    studio.attempt("archive", Status.OK, snapshot="no_space")

    shown = studio.installed.json("recording", "show", "rec-1")

    assert moment(shown["attempts_end_at"]) - moment(shown["saved_at"]) == ENDS
    archive, waiting = shown["pushes"]
    assert (archive["state"], archive["attempts"], archive["attempts_left"]) == ("PARTIAL", 1, 12)
    assert (archive["arrived"], archive["problems"]) == (["main"], {"snapshot": "no_space"})
    assert moment(archive["next_attempt_at"]) > moment(archive["last_attempt_ended_at"])
    assert (waiting["attempts"], waiting["attempts_left"], waiting["next_attempt_at"]) == (0, 13, shown["saved_at"])
    assert shown["purge_at"] is None
    out = studio.installed.run("recording", "show", str(made.uid)).out
    for words in (
        "75 h after it was saved",
        "1 of 13",
        "12 left",
        "snapshot: no_space",
        "standup.jpg",
        "main, snapshot",
    ):
        assert words in out


def test_times_are_local_for_people_and_utc_for_programs(studio, bucharest):
    made = studio.submit()
    now(studio.catalog().recordings.purge_at(made.uid, datetime(2026, 12, 19, 10, tzinfo=UTC)))

    out = studio.installed.run("recording", "show", "rec-1").out
    assert "deleted on 2026-12-19 12:00:00 EET" in out
    assert studio.installed.json("recording", "show", "rec-1")["purge_at"] == "2026-12-19T10:00:00Z"
    assert "2026-12-19 12:00:00 EET" in studio.installed.run("recording", "list").out
    assert deliveries.local(datetime(2026, 7, 1, tzinfo=UTC)) == "2026-07-01 03:00:00 EEST"


def test_deleted_files_are_told(studio):
    made = studio.submit()
    now(studio.catalog().recordings.files_deleted(made.uid, datetime.now(UTC)))

    assert "deleted" in studio.installed.run("recording", "show", "rec-1").out
    assert studio.installed.json("recording", "retry", "rec-1", status=1)["error"]["code"] == "conflict"


def test_a_recording_without_remotes_is_shown(studio):
    studio.installed.json("environment", "edit", "acme", "production", "--no-remotes")
    studio.submit()

    assert "no remotes" in studio.installed.run("recording", "show", "rec-1").out
    assert "none" in studio.installed.run("recording", "list").out


def test_an_id_of_several_organisations_needs_one(studio):
    studio.submit()
    studio.installed.json("org", "create", "beta")
    studio.installed.json("environment", "create", "beta", "production")
    main = str(studio.file("b.mp4"))
    studio.installed.json("recording", "submit", "beta", "production", "--id", "rec-1", "--main", main)

    assert "acme, beta" in studio.installed.json("recording", "show", "rec-1", status=1)["error"]["message"]
    assert studio.installed.json("recording", "show", "rec-1", "--organisation", "beta")["organisation"] == "beta"


@pytest.mark.parametrize("command", ["show", "retry", "log"])
@pytest.mark.parametrize("id", ["nothing", str(uuid4())])
def test_an_unknown_recording_is_not_found(studio, command, id):
    assert studio.installed.json("recording", command, id, status=3)["error"]["code"] == "not_found"


def test_a_name_cannot_repaint_the_terminal(studio):
    main = str(studio.file("a.mp4"))
    name = "\u202estandup"
    words = ("recording", "submit", "acme", "production", "--id", "rec-1", "--name", name, "--main", main)
    assert studio.installed.run(*words).status == 0

    for command in ("list", "show", "log"):
        assert "\u202e" not in studio.installed.run("recording", command, *(["rec-1"] * (command != "list"))).out


# Retry and log


def test_a_retry_makes_a_manual_attempt_due_now(studio):
    studio.submit()
    studio.attempt("archive", Status.SFTP_CONNECTION_TIMEOUT, "refused", main="refused", snapshot="refused")
    studio.attempt("studio", Status.OK)

    (tried,) = studio.installed.json("recording", "retry", "rec-1")

    (push,) = tried["pushes"]
    assert (push["remote"], push["manual"], push["attempts"]) == ("archive", True, 1)
    assert moment(push["next_attempt_at"]) <= datetime.now(UTC)
    assert "archive" in studio.installed.run("recording", "retry", "rec-1", "--remote", "archive").out
    assert ", manual" in studio.installed.run("recording", "show", "rec-1").out
    refused = studio.installed.json("recording", "retry", "rec-1", "--remote", "studio", status=1)
    assert refused["error"]["code"] == "conflict"
    assert (
        studio.installed.json("recording", "retry", "rec-1", "--remote", "x", status=3)["error"]["code"] == "not_found"
    )


def test_the_log_has_what_the_source_shows_and_why(studio):
    studio.submit()
    studio.attempt("archive", Status.UPLOAD_FAILED, "no_space", main="no_space", snapshot="no_space")
    studio.attempt("studio", Status.OK)

    log = studio.installed.json("recording", "log", "rec-1")

    newest, oldest = log
    assert (oldest["recording"], oldest["organisation"], oldest["remote"]) == ("rec-1", "acme", "archive")
    assert (oldest["host"], oldest["username"], oldest["folder"]) == ("archive.example", "pipe", "inbox")
    assert (oldest["protocol"], oldest["port"]) == ("SFTP", 22)
    assert (oldest["status"], oldest["reason"], oldest["shared"]) == ("UPLOAD_FAILED", "no_space", True)
    assert [(one["name"], one["reason"]) for one in oldest["files"]] == [
        ("standup.mp4", "no_space"),
        ("standup.jpg", "no_space"),
    ]
    assert (newest["status"], newest["bytes"], newest["seconds"]) == ("OK", 14, 1.5)
    assert (newest["host_key"], newest["algorithms"]) == ("SHA256:key", "curve25519 aes128-gcm")
    out = studio.installed.run("recording", "log").out
    for words in ("SFTP/22", "standup.mp4 (no_space), standup.jpg (no_space)", "1 of 13", "SHA256:key", "same failure"):
        assert words in out


def test_the_log_is_filtered(studio):
    studio.submit("rec-1")
    studio.attempt("archive", Status.HOST_KEY_MISMATCH, "host_key", main="host_key", snapshot="host_key")
    studio.attempt("studio", Status.OK)

    def remotes(*filters: str) -> list[str]:
        return [one["remote"] for one in studio.installed.json("recording", "log", *filters)]

    assert remotes() == ["studio", "archive"]
    assert remotes("--remote", "archive") == ["archive"]
    assert remotes("--status", "ok") == ["studio"]
    assert remotes("--organisation", "nobody") == []
    assert remotes("--since", "1h", "--limit", "1") == ["studio"]
    assert studio.installed.run("recording", "log", "--status", "FILE_MISSING").out == "no attempts\n"
    (refused,) = studio.installed.json("recording", "log", "--status", "HOST_KEY_MISMATCH")
    assert refused["refused_host_key"] == deliveries.fingerprint(b"other")


def test_a_narrow_terminal_gets_a_few_lines_for_each_attempt(studio, monkeypatch, capsys):
    from conch_pipe.cli.output import Output

    studio.submit()
    studio.attempt("archive", Status.UPLOAD_FAILED, "no_space", main="no_space", snapshot="no_space")
    (attempt,) = now(studio.catalog().pushes.log())
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((80, 24)))

    deliveries.log(Output(), [attempt])

    out = capsys.readouterr().out
    assert "UPLOAD_FAILED no_space: the server said so" in out
    assert "SFTP/22  pipe@archive.example  folder inbox" in out


def test_words_of_the_filters_are_those_of_the_model():
    assert set(recordings.STATES) == {state.value for state in PushState}
    assert set(recordings.STATUSES) == {status.value for status in Status}


# Follow


def push(state: PushState = PushState.WAITING, **fields: object) -> Push:
    ended = datetime.now(UTC) if state in (PushState.DELIVERED, PushState.GIVEN_UP) else None
    return Push(new_id(datetime.now(UTC)), uuid4(), "archive", state, final_at=ended, **fields)


def test_following_draws_each_push_until_all_have_ended():
    waiting = push(due_at=datetime(2026, 11, 21, 12, tzinfo=UTC), attempts=1, problems={Role.MAIN: "refused"})
    done = push(PushState.DELIVERED)
    half = {"file": "standup.mp4", "sent": 50_000_000, "size": 200_000_000, "bytes_s": 10_000_000}
    rounds = iter([((waiting,), {}), ((waiting,), {str(waiting.id): half}), ((done,), {})])
    current: list[tuple] = []

    def pushes():
        current[:] = [next(rounds)]
        return current[0][0]

    first, second, third = following.follow(pushes, lambda: current[0][1], lambda: None)

    assert "WAITING  1 of 13 attempts, next" in first[0] and "main refused" in first[0]
    assert second == [
        "archive  standup.mp4  [#######-----------------------]  25 %  50.0 of 200.0 MB  10.0 MB/s  0:15 left"
    ]
    assert third == ["archive  DELIVERED"]


def test_a_manual_attempt_after_the_end_is_followed_too():
    frames = following.follow(lambda: (push(PushState.GIVEN_UP, manual=True),), dict, lambda: None)

    next(frames)
    assert "GIVEN_UP" in next(frames)[0]


@pytest.mark.parametrize(
    ("sent", "size", "speed", "told"),
    [
        (0, 0, 0, "100 %  0.0 of 0.0 MB  0.0 MB/s  stalled"),
        (1, 10**10, 10**6, "0 %  0.0 of 10000.0 MB  1.0 MB/s  2:46:40 left"),
        (10**7, 10**7, 10**6, "[##############################] 100 %  10.0 of 10.0 MB  1.0 MB/s  0:00 left"),
    ],
)
def test_a_bar_copes_with_anything(sent, size, speed, told):
    assert following.bar({"file": "a", "sent": sent, "size": size, "bytes_s": speed}).endswith(told)


def test_show_follow_ends_by_itself_when_all_have_ended(studio):
    studio.submit()
    studio.attempt("archive", Status.OK)
    studio.attempt("studio", Status.OK)

    ran = studio.installed.run("recording", "show", "rec-1", "--follow")

    assert ran.status == 0
    assert ran.out.splitlines()[-2:] == ["archive  DELIVERED", "studio  DELIVERED"]


def test_following_has_no_json(studio):
    studio.submit()

    assert studio.installed.json("recording", "show", "rec-1", "--follow", status=2)["error"]["code"] == "usage"
