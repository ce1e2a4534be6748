"""Recordings over HTTP: told by paths, brought with their files, found, tried again; and the log of the attempts."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from conch_pipe.model import PushState, Role, Scope, Status, utc
from conch_pipe.ssh.keys import fingerprint
from tests.web.conftest import FORM, form
from tests.web.operators import Program
from tests.web.outflow import OTHER, Outflow

VIDEO = os.urandom(300_000)


@pytest.fixture
def program(door):
    return Program(door)


@pytest.fixture
def out(door) -> Outflow:
    made = Outflow(door.catalog, door.now, lambda: utc(door.clock))
    made.remote("archive")
    made.remote("studio")
    made.environment("production", "archive", "studio")
    return made


@pytest.fixture
def other(door, out) -> Outflow:
    """Another organisation with a recording of its own."""
    door.now(door.catalog.organisations.create("rival"))
    out.remote("elsewhere", "rival")
    out.environment("production", "elsewhere", organisation="rival")
    return out


def file(door, name: str, content: bytes = b"video") -> str:
    path = door.recordings / name
    path.write_bytes(content)
    return str(path)


def fields(**more) -> dict:
    return {"organisation": "acme", "environment": "production", "id": "rec-1", "name": "standup", **more}


def brought(door, program, *parts, cut: int = 0, **headers):
    """A form is sent; as a connection."""
    body = form(*parts)
    connection = door.connect()
    sent = {"Content_Type": FORM, "Authorization": program.token, **headers}
    if cut:
        return connection.ask("POST", "/api/recordings", Content_Length=str(len(body)), **sent).send(body[:-cut])
    return connection.ask("POST", "/api/recordings", body, **sent)


def words(**more) -> list[tuple[str, str]]:
    return list(fields(**more).items())


def left(door) -> list[str]:
    """Files in the spool of recordings."""
    return sorted(str(path.relative_to(door.recordings)) for path in door.recordings.rglob("*") if path.is_file())


# By paths


def test_a_recording_is_told_by_the_paths_of_its_files(door, program, out):
    files = {"main": file(door, "a.mp4"), "raw": file(door, "a.webm", b"raw")}

    made = program.ask("POST", "/api/recordings", 201, **fields(files=files))

    assert [(one["role"], one["name"], one["path"]) for one in made["files"]] == [
        ("main", "standup.mp4", files["main"]),
        ("raw", "standup_raw.webm", files["raw"]),
    ]
    assert (made["again"], made["savedAt"], made["attemptsEndAt"]) == (
        False,
        "2027-01-15T08:00:00Z",
        "2027-01-18T11:00:00Z",
    )
    assert [(one["remote"], one["state"], one["attemptsLeft"], len(one["instants"])) for one in made["pushes"]] == [
        ("archive", "WAITING", 13, 13),
        ("studio", "WAITING", 13, 13),
    ]
    assert made["pushes"][0]["instants"][0] == made["pushes"][0]["nextAttemptAt"] == made["savedAt"]
    assert len(door.now(door.catalog.jobs.claim(["push"], 10, 60))) == 2
    shown = program.ask("GET", f"/api/recordings/{made['uid']}")
    assert shown == {key: value for key, value in made.items() if key != "again"}


def test_the_same_again_is_the_same_recording(door, program, out):
    asked = fields(files={"main": file(door, "a.mp4")})
    first = program.ask("POST", "/api/recordings", 201, **asked)

    again = program.ask("POST", "/api/recordings", 200, **asked)

    assert (again["uid"], again["again"]) == (first["uid"], True)
    other = fields(files={"main": file(door, "b.mp4", b"other")})
    assert program.refused("POST", "/api/recordings", 409, **other)["code"] == "conflict"


def test_the_name_is_the_id_unless_it_is_given(door, program, out):
    asked = fields(files={"main": file(door, "a.mp4")})
    del asked["name"]

    made = program.ask("POST", "/api/recordings", 201, **asked)

    assert made["files"][0]["name"] == "rec-1.mp4"


def test_all_that_is_wrong_is_told_at_once(door, program, out):
    error = program.refused(
        "POST",
        "/api/recordings",
        400,
        **fields(id="?", name="a/b", environment="nowhere", files={"main": "/etc/passwd", "raw": "relative.mp4"}),
    )

    assert [one.partition(":")[0] for one in error["mistakes"]] == ["environment", "id", "name", "main", "raw"]
    assert "outside the allowed folders" in str(error["mistakes"])
    assert program.ask("GET", "/api/recordings")["recordings"] == []


@pytest.mark.parametrize(
    "asked", [{}, {"files": {"poster": "/x"}}, {"files": {"main": ""}}, {"files": {"main": "/x"}, "colour": "red"}]
)
def test_a_document_that_is_none_is_refused(program, asked):
    assert program.refused("POST", "/api/recordings", 400, **fields(**asked))["code"] == "invalid"


# With their files


def test_a_recording_may_bring_its_files(door, program, out):
    connection = brought(
        door,
        program,
        *words(),
        ("main", VIDEO, "C:\\clips\\A Clip.MP4"),
        ("raw", b"raw", "r.webm"),
        ("snapshot", b"j", ""),
    )

    made = connection.answer.json
    assert (connection.answer.status, made["again"]) == (201, False)
    folder = f"received/{made['uid']}"
    assert left(door) == [f"{folder}/main.mp4", f"{folder}/raw.webm", f"{folder}/snapshot.jpg"]
    assert (door.recordings / folder / "main.mp4").read_bytes() == VIDEO
    assert [one["name"] for one in made["files"]] == ["standup.mp4", "standup_raw.webm", "standup.jpg"]
    assert len(made["pushes"]) == 2


def test_no_more_of_a_file_is_in_memory_than_a_piece(door, program, out):
    """A recording may have gigabytes."""
    body = form(*words(), ("main", VIDEO, "a.mp4"))
    connection = door.connect().ask(
        "POST", "/api/recordings", Content_Type=FORM, Content_Length=str(len(body)), Authorization=program.token
    )

    for start in range(0, len(body), 50_000):
        connection.send(body[start : start + 50_000])
        received = sum(path.stat().st_size for path in door.recordings.rglob("main.mp4"))
        assert min(start + 50_000, len(VIDEO)) - received < 1000 or connection.answers

    assert connection.answer.status == 201


@pytest.mark.parametrize("cut", [10, 100_000, len(VIDEO) - 10])
def test_a_request_that_is_cut_leaves_nothing(door, program, out, cut):
    connection = brought(door, program, *words(), ("main", VIDEO, "a.mp4"), cut=cut)
    assert left(door) != []

    connection.cut()

    assert left(door) == []
    assert program.ask("GET", "/api/recordings")["recordings"] == []


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        pytest.param([("main", b"v", "a.mp4"), *words()], 400, id="files before whose they are"),
        pytest.param([*words(), ("main", b"v", "a.mp4"), ("main", b"v", "b.mp4")], 400, id="two main files"),
        pytest.param([*words(), ("poster", b"v", "a.mp4")], 400, id="a field of another name"),
        pytest.param([*words(), ("id", "rec-2"), ("main", b"v", "a.mp4")], 400, id="two ids"),
        pytest.param([*words(id="?"), ("main", b"v", "a.mp4")], 400, id="a bad id"),
        pytest.param([*words(), ("main", b"", "a.mp4")], 400, id="an empty file"),
        pytest.param([*words(), ("snapshot", b"v", "a.jpg")], 400, id="no main file"),
        pytest.param(words(), 400, id="no file"),
        pytest.param([("organisation", "acme"), ("main", b"v", "a.mp4")], 400, id="no id"),
        pytest.param([*words(environment="nowhere"), ("main", b"v", "a.mp4")], 404, id="no such environment"),
        pytest.param([*words(name="x" * 5000), ("main", b"v", "a.mp4")], 400, id="a long field"),
        pytest.param([*words(name=b"\xff"), ("main", b"v", "a.mp4")], 400, id="a field that is not UTF-8"),
    ],
)
def test_a_form_that_is_refused_leaves_nothing(door, program, out, parts, status):
    answer = brought(door, program, *parts).answer

    assert answer.status == status
    assert left(door) == []


def test_the_same_files_again_are_not_kept_twice(door, program, out):
    first = brought(door, program, *words(), ("main", VIDEO, "a.mp4")).answer.json

    again = brought(door, program, *words(), ("main", VIDEO, "a.mp4")).answer
    other = brought(door, program, *words(), ("main", b"other", "a.mp4")).answer

    assert (again.status, again.json["again"], again.json["uid"]) == (200, True, first["uid"])
    assert other.status == 409
    assert left(door) == [f"received/{first['uid']}/main.mp4"]


def test_a_recording_may_be_larger_than_a_file_of_rows_and_has_its_own_bound(make):
    door = make(body_bytes=10_000, recording_bytes=200_000)
    out = Outflow(door.catalog, door.now, lambda: utc(door.clock))
    out.environment("production")
    program = Program(door)

    assert brought(door, program, *words(), ("main", VIDEO[:150_000], "a.mp4")).answer.status == 201
    declared = brought(door, program, *words(id="rec-2"), ("main", VIDEO, "a.mp4")).answer
    chunks = b"%x\r\n%b\r\n" % (len(VIDEO), VIDEO)
    undeclared = brought(door, program, *words(id="rec-3"), Transfer_Encoding="chunked")
    assert (declared.status, declared.code) == (413, "too_large")
    assert undeclared.answers[0].status == 400  # the form's first line was no chunk
    body = form(*words(id="rec-4"), ("main", VIDEO, "a.mp4"))
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    told = door.connect().ask(
        "POST", "/api/recordings", Content_Type=FORM, Transfer_Encoding="chunked", Authorization=program.token
    )
    assert told.send(chunks).answer.status == 413
    assert len(left(door)) == 1


def test_a_full_disk_is_told_and_leaves_nothing(door, program, out):
    door.arrivals.free_bytes = 1 << 62

    answer = brought(door, program, *words(), ("main", VIDEO, "a.mp4")).answer

    assert (answer.status, answer.code) == (507, "no_space")
    assert left(door) == []


def test_a_long_request_does_not_outlive_its_token(door, program, out):
    token = door.now(door.catalog.tokens.list())[0]
    connection = brought(door, program, *words(), ("main", VIDEO, "a.mp4"), cut=10)
    door.now(door.catalog.tokens.revoke(token.token_id))
    door.clock.advance(3)

    connection.send(form(*words(), ("main", VIDEO, "a.mp4"))[-10:])

    assert connection.answer.status == 401
    assert left(door) == []


# What became of them


def test_recordings_are_listed_by_what_one_looks_for_and_by_pages(door, program, other):
    for number in range(3):
        other.recording(f"rec-{number}")
        door.clock.advance(60)
    other.recording("theirs", organisation="rival")

    def listed(query=""):
        return [one["id"] for one in program.ask("GET", f"/api/recordings{query}")["recordings"]]

    assert listed() == ["theirs", "rec-2", "rec-1", "rec-0"]
    assert listed("?organisation=acme&environment=production&remote=studio&state=WAITING") == [
        "rec-2",
        "rec-1",
        "rec-0",
    ]
    assert listed("?id=rec-1") == ["rec-1"]
    assert listed("?from=2027-01-15T08:01:00Z&to=2027-01-15T08:02:00Z") == ["rec-1"]
    assert listed("?state=DELIVERED") == []
    first = program.ask("GET", "/api/recordings?limit=3")
    assert listed(f"?limit=3&cursor={first['nextCursor']}") == ["rec-0"]
    assert program.refused("GET", "/api/recordings?cursor=x", 400)["code"] == "invalid"


def test_a_recording_tells_what_is_still_to_come(door, program, out):
    recording = out.recording("rec-1")
    out.attempt(recording, "archive", Status.OK)
    out.attempt(recording, "studio", Status.UPLOAD_FAILED, "no_space")

    told = program.ask("GET", f"/api/recordings/{recording.uid}")

    archive, studio = told["pushes"]
    assert (archive["state"], archive["attemptsLeft"], archive["nextAttemptAt"]) == ("DELIVERED", 0, None)
    assert (studio["state"], studio["attempts"], studio["attemptsLeft"]) == ("WAITING", 1, 12)
    assert studio["nextAttemptAt"] == studio["instants"][1]
    assert studio["problems"] == {"main": "no_space", "snapshot": "no_space"}
    assert archive["arrived"] == ["main", "snapshot"]


def test_a_recording_is_tried_again_when_asked_for(door, program, out):
    recording = out.recording("rec-1")
    out.attempt(recording, "archive", Status.OK)
    out.attempt(recording, "studio", Status.UPLOAD_FAILED, "no_space")
    door.clock.advance(10)

    tried = program.ask("POST", f"/api/recordings/{recording.uid}/retry", 202, remote="studio")

    assert [(one["remote"], one["manual"], one["nextAttemptAt"]) for one in tried["pushes"]] == [
        ("archive", False, None),
        ("studio", True, "2027-01-15T08:00:10Z"),
    ]
    path = f"/api/recordings/{recording.uid}/retry"
    assert program.refused("POST", path, 409, remote="archive")["code"] == "conflict"
    assert program.refused("POST", path, 404, remote="nowhere")["code"] == "not_found"
    assert program.ask("POST", path, 202)["uid"] == str(recording.uid)


# The log


def test_the_log_has_the_columns_of_the_source_and_what_explains_them(door, program, out):
    recording = out.recording("rec-1", "standup", ago=timedelta(minutes=1))
    out.attempt(recording, "archive", Status.HOST_KEY_MISMATCH, "host_key", "not the key we know", refused=OTHER)

    (row,) = program.ask("GET", "/api/pushes")["pushes"]

    assert {key: row[key] for key in ("recordingId", "host", "username", "folder", "protocol", "status")} == {
        "recordingId": "rec-1",
        "host": "archive.example",
        "username": "pipe",
        "folder": "incoming",
        "protocol": "SFTP/22",
        "status": "HOST_KEY_MISMATCH",
    }
    assert row["beganAt"].endswith("Z")
    assert [one["name"] for one in row["files"]] == ["standup.mp4", "standup.jpg"]
    assert (row["reason"], row["bytes"], row["seconds"], row["number"]) == ("host_key", 0, 2.4, 1)
    assert (row["refusedHostKey"], row["hostKey"]) == (fingerprint(OTHER), fingerprint(OTHER))
    assert "aes256-gcm" in row["algorithms"]
    assert (row["organisation"], row["remote"]) == ("acme", "archive")


def test_the_log_is_filtered_and_comes_by_pages(door, program, other):
    one, two = other.recording("rec-1"), other.recording("rec-2")
    theirs = other.recording("theirs", organisation="rival")
    other.attempt(one, "archive", Status.OK)
    other.attempt(one, "studio", Status.SFTP_LOGIN_FAILED, "refused")
    other.attempt(two, "archive", Status.OK)
    other.attempt(theirs, "elsewhere", Status.OK)

    def log(query=""):
        return [(row["recordingId"], row["remote"]) for row in program.ask("GET", f"/api/pushes{query}")["pushes"]]

    assert len(log()) == 4
    assert log("?status=SFTP_LOGIN_FAILED") == [("rec-1", "studio")]
    assert log("?organisation=rival") == [("theirs", "elsewhere")]
    assert sorted(log("?remote=archive")) == [("rec-1", "archive"), ("rec-2", "archive")]
    assert sorted(log(f"?recording={one.uid}")) == [("rec-1", "archive"), ("rec-1", "studio")]
    assert log("?from=2027-01-16T08:00:00Z") == log("?to=2027-01-14T08:00:00Z") == []
    pages, cursor = [], ""
    while cursor is not None:
        page = program.ask("GET", f"/api/pushes?limit=3{cursor and f'&cursor={cursor}'}")
        pages += [row["recordingId"] + row["remote"] for row in page["pushes"]]
        cursor = page["nextCursor"]
    assert len(pages) == len(set(pages)) == 4
    assert program.refused("GET", "/api/pushes?status=GONE", 400)["code"] == "invalid"


# Who may


def test_what_another_organisation_delivers_does_not_exist(door, other):
    acme = Program(door, organisation="acme")
    theirs = other.recording("theirs", organisation="rival")
    other.attempt(theirs, "elsewhere", Status.UPLOAD_FAILED, "no_space")

    assert acme.ask("GET", "/api/recordings")["recordings"] == []
    assert acme.ask("GET", "/api/pushes")["pushes"] == []
    assert acme.ask("GET", f"/api/pushes?recording={theirs.uid}")["pushes"] == []
    missing = {"code": "not_found", "message": f"no recording {theirs.uid}"}
    assert acme.refused("GET", f"/api/recordings/{theirs.uid}", 404) == missing
    assert acme.refused("POST", f"/api/recordings/{theirs.uid}/retry", 404) == missing
    told = fields(organisation="rival", files={"main": file(door, "a.mp4")})
    assert acme.refused("POST", "/api/recordings", 404, **told)["message"] == "no organisation rival"
    answer = brought(door, acme, *words(organisation="rival"), ("main", VIDEO, "b.mp4")).answer
    assert (answer.status, answer.json["error"]["message"]) == (404, "no organisation rival")
    assert left(door) == ["a.mp4"]
    assert other.push(theirs, "elsewhere").manual is False


def test_a_token_of_one_organisation_is_not_told_of_places_on_this_machine(door, program, out):
    acme = Program(door, organisation="acme")
    path = file(door, "a.mp4")

    made = acme.ask("POST", "/api/recordings", 201, **fields(files={"main": path}))

    assert [one["path"] for one in made["files"]] == [None]
    shown = program.ask("GET", f"/api/recordings/{made['uid']}")
    assert [one["path"] for one in shown["files"]] == [path]
    assert str(door.folder).encode() not in b"".join(acme.told)


def test_each_change_needs_its_scope(door, out):
    looks = Program(door, Scope.READ)
    recording = out.recording("rec-1")

    assert looks.refused("POST", f"/api/recordings/{recording.uid}/retry", 403)["code"] == "not_allowed"
    assert looks.refused("POST", "/api/recordings", 403, **fields())["code"] == "not_allowed"
    assert brought(door, looks, *words(), ("main", VIDEO, "a.mp4")).answer.status == 403
    assert out.push(recording, "archive").state is PushState.WAITING
    assert {file.role for file in recording.files} == {Role.MAIN, Role.SNAPSHOT}
