"""The push log and the recordings of the dashboard."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

import pytest

from conch_pipe.model import PushState, Role, Status, utc
from conch_pipe.ssh.keys import fingerprint
from tests.web.conftest import MEMBER, OPERATOR
from tests.web.outflow import OTHER, Outflow


@pytest.fixture
def out(door) -> Outflow:
    made = Outflow(door.catalog, door.now, lambda: utc(door.clock))
    made.remote("archive")
    made.environment("production", "archive")
    return made


@pytest.fixture
def other(door, out) -> Outflow:
    """Another organisation with a recording of its own."""
    door.now(door.catalog.organisations.create("other"))
    out.remote("elsewhere", "other")
    out.environment("production", "elsewhere", organisation="other")
    return out


def words(answer) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.body.decode().replace("<wbr>", "")))


def test_the_push_log_has_the_columns_of_the_source(door, out):
    recording = out.recording("rec-1", "standup", ago=timedelta(minutes=1))
    out.attempt(recording, "archive", Status.UPLOAD_FAILED, "no_space", "the disk is full")

    page = door.page("/pushes")

    heads = re.findall(r'<th scope="col"[^>]*>([^<]+)</th>', page.body.decode())
    assert heads == [
        "Recording ID",
        "Date &amp; time",
        "Host",
        "Username",
        "Folder",
        "Protocol/Port",
        "File(s)",
        "Status",
    ]
    for shown in (
        "rec-1",
        "archive.example",
        "SFTP/22",
        "standup.mp4",
        "standup.jpg",
        "UPLOAD_FAILED",
        "the disk is full",
    ):
        assert shown in words(page), shown


def test_the_push_log_is_filtered(door, out):
    first, second = (out.recording(id, ago=timedelta(minutes=1)) for id in ("rec-1", "rec-2"))
    out.attempt(first, "archive")
    out.attempt(second, "archive", Status.SFTP_LOGIN_FAILED, "password")

    assert "rec-2" not in words(door.page("/pushes?status=OK"))
    assert "rec-1" not in words(door.page("/pushes?recording=rec-2"))
    assert "No recording" not in words(door.page(f"/pushes?recording={first.uid}"))
    assert "no recording rec-3" in words(door.page("/pushes?recording=rec-3"))
    assert "No attempt is like that" in words(door.page("/pushes?since=2099-01-01T00:00"))
    assert "as 2026-11-21T09:30" in words(door.page("/pushes?since=yesterday"))


def test_the_push_log_goes_on_with_older_attempts(door, out):
    recordings = [out.recording(f"rec-{number}", ago=timedelta(minutes=1)) for number in range(51)]
    for number, one in enumerate(recordings):
        out.attempt(one, "archive", began_at=utc(door.clock) - timedelta(seconds=100 - number))

    first = door.page("/pushes")
    assert "rec-50" in words(first) and " rec-0 " not in words(first)
    older = re.search(r'rel="next" href="([^"]+)"', first.body.decode())[1]

    assert " rec-0 " in words(door.page(older.replace("&amp;", "&")))


def test_a_member_sees_only_attempts_of_its_organisation(door, other):
    mine = other.recording("rec-mine", ago=timedelta(minutes=1))
    theirs = other.recording("rec-theirs", organisation="other", ago=timedelta(minutes=1))
    other.attempt(mine, "archive")
    other.attempt(theirs, "elsewhere")

    for path in (
        "/pushes",
        "/pushes?organisation=other",
        f"/pushes?recording={theirs.uid}",
        "/recordings?organisation=other",
    ):
        page = words(door.page(path, MEMBER))
        assert "rec-theirs" not in page and "elsewhere" not in page, path
    assert "rec-theirs" in words(door.page("/pushes?organisation=other"))
    assert door.page(f"/recordings/{theirs.uid}", MEMBER).status == 404
    assert "No recording is like that" in words(door.page(f"/recordings?id={theirs.uid}", MEMBER))
    assert door.page(f"/recordings/{theirs.uid}/now", MEMBER).status == 404


def test_a_recording_shows_its_13_moments_as_a_drawing_and_as_text(door, out):
    recording = out.recording("rec-1", "standup", ago=timedelta(minutes=10))
    out.attempt(recording, "archive", Status.SFTP_CONNECTION_TIMEOUT, "refused", seconds=10.0)
    out.attempt(recording, "archive", Status.UPLOAD_FAILED, "disabled", seconds=0.0)

    page = door.page(f"/recordings/{recording.uid}")

    assert page.body.count(b'class="mark failed"') == 1
    assert page.body.count(b'class="mark missed"') == 1
    assert page.body.count(b'class="mark next"') == 1
    assert page.body.count(b'class="mark coming"') == 10
    assert (
        "1: failed (SFTP_CONNECTION_TIMEOUT, refused); 2: missed (UPLOAD_FAILED, disabled); 3: next; 10 more"
        in words(page)
    )
    assert "Attempts left 11 of 13" in words(page)
    assert "WAITING" in words(page)


def test_a_recording_that_has_arrived_needs_no_more_attempts(door, out):
    recording = out.recording("rec-1", ago=timedelta(minutes=1))
    out.attempt(recording, "archive", missing={Role.SNAPSHOT: "permission"})
    assert "arrived (without snapshot)" in words(door.page(f"/recordings/{recording.uid}"))
    door.clock.advance(600)

    out.attempt(recording, "archive")

    page = door.page(f"/recordings/{recording.uid}")
    assert page.body.count(b'class="mark done"') == 2
    assert page.body.count(b'class="mark spare"') == 11
    assert b"hx-get" not in page.body
    assert "Retry now" not in words(page)


def test_a_recording_that_was_given_up_says_when_its_files_are_deleted_and_can_be_tried_again(door, out):
    recording = out.recording("rec-1", ago=timedelta(hours=76))
    out.give_up(recording, "archive", Status.SFTP_LOGIN_FAILED, "password")
    page = door.page(f"/recordings/{recording.uid}")
    assert "GIVEN_UP" in words(page) and "Files are deleted" in words(page)

    answer = door.fill(f"/recordings/{recording.uid}/retry", remote="archive")

    assert (answer.status, answer.headers["location"]) == (303, f"/recordings/{recording.uid}")
    assert out.push(recording, "archive").manual


def test_what_has_arrived_is_not_tried_again_and_the_page_says_why(door, out):
    recording = out.recording("rec-1", ago=timedelta(minutes=1))
    out.attempt(recording, "archive")

    answer = door.fill(f"/recordings/{recording.uid}/retry")
    page = door.page(f"/recordings/{recording.uid}", Cookie=answer.headers["set-cookie"].partition(";")[0])

    assert "Nothing is tried: recording rec-1 has arrived." in words(page)
    assert out.push(recording, "archive").state is PushState.DELIVERED


def test_a_member_may_not_retry_and_has_no_button_for_it(door, out):
    recording = out.recording("rec-1")

    assert "Retry now" in words(door.page(f"/recordings/{recording.uid}", OPERATOR))
    page = door.page(f"/recordings/{recording.uid}", MEMBER)
    assert "Retry now" not in words(page) and "/srv/media" not in words(page)
    assert door.fill(f"/recordings/{recording.uid}/retry", MEMBER).status == 403
    assert not out.push(recording, "archive").manual


def test_a_retry_needs_the_token_of_the_form(door, out):
    recording = out.recording("rec-1")

    assert door.fill(f"/recordings/{recording.uid}/retry", csrf="").status == 403
    assert not out.push(recording, "archive").manual


def test_hostile_names_are_text(door, out):
    hostile = "<img src=x onerror=alert(1)>\"'\u202e"
    recording = out.recording("rec-1", hostile, ago=timedelta(minutes=1))
    out.attempt(recording, "archive", Status.UPLOAD_FAILED, "no_space", "<script>alert(1)</script>")

    for path in ("/pushes", "/recordings", f"/recordings/{recording.uid}"):
        body = door.page(path).body.decode()
        assert "<img" not in body.replace('<img src="/static', ""), path
        assert "<script>alert" not in body, path
        assert "\u202e" not in body, path


def test_recordings_are_found_by_state_and_id(door, out):
    first, _ = (out.recording(id, ago=timedelta(minutes=1)) for id in ("rec-1", "rec-2"))
    out.attempt(first, "archive")

    assert " rec-1 " in words(door.page("/recordings?state=DELIVERED"))
    assert " rec-2 " not in words(door.page("/recordings?state=DELIVERED"))
    assert " rec-1 " not in words(door.page("/recordings?id=rec-2"))
    assert door.page(f"/recordings?id={first.uid}").headers["location"] == f"/recordings/{first.uid}"
    assert "No recording is like that" in words(door.page(f"/recordings?id={UUID(int=7)}"))
    assert door.page("/recordings?state=LOST").status == 400
    assert door.page("/recordings?cursor=x").status == 400


def test_empty_pages_say_what_to_do_next(door):
    assert "Nothing has been pushed yet" in words(door.page("/pushes"))
    assert "conch-pipe recording submit" in words(door.page("/recordings"))
    assert "conch-pipe" not in words(door.page("/recordings", MEMBER))


def test_an_attempt_shows_both_host_keys_when_they_differ(door, out):
    recording = out.recording("rec-1", ago=timedelta(minutes=1))
    out.attempt(recording, "archive", Status.HOST_KEY_MISMATCH, "host_key", refused=OTHER)

    text = re.sub(r"\s", "", words(door.page("/pushes")))

    assert fingerprint(OTHER) in text
