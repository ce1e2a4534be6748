"""Groups of local files become recordings: rules of names, which files are taken, and one record whatever happens."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError

from conch_pipe.errors import Code, Mistakes, PipeError
from conch_pipe.intake import local_files
from conch_pipe.intake.recordings import NAME_BYTES, mistakes, remote_names
from conch_pipe.model import Role
from tests.intake.fakes import error, fired, result
from tests.intake.recorded import CatalogStudio, Studio, open_files

ROOT = os.getuid() == 0


@pytest.fixture
def studio(tmp_path):
    yield Studio(tmp_path)
    assert open_files(tmp_path) == []


@pytest.fixture(params=[Studio, CatalogStudio])
def either(request, tmp_path):
    """With records in memory, and with a catalog."""
    return request.param(tmp_path)


def wrong(studio: Studio, files: dict[Role, Path], **named: str) -> list[str]:
    """The mistakes for which they are refused; nothing is recorded."""
    refused = error(studio.submit(files, **named))
    assert isinstance(refused, Mistakes), refused
    assert studio.recordings.records == {}
    return refused.mistakes


# What is recorded


def test_a_group_is_recorded_as_it_lies_there(studio):
    files = studio.group()

    recording = result(studio.submit(files))

    assert [(one.role, one.name) for one in recording.files] == [
        (Role.MAIN, "standup.mp4"),
        (Role.RAW, "standup_raw.webm"),
        (Role.SNAPSHOT, "standup.jpg"),
        (Role.FILMSTRIP, "standup_filmstrip.jpg"),
    ]
    for one in recording.files:
        found = files[one.role].stat()
        content = files[one.role].read_bytes()
        assert (one.path, one.bytes, one.mtime_ns) == (files[one.role], found.st_size, found.st_mtime_ns)
        assert one.sha256 == hashlib.sha256(content).hexdigest()
    assert studio.recordings.records == {("acme", "rec-1"): recording}
    ((kind, told),) = studio.events.heard
    assert kind == "recording.accepted"
    assert (told["recording_id"], told["files"], told["bytes"]) == ("rec-1", 4, 9 + 3 + 8 + 9)
    assert told["remotes"] == "archive, studio"


def test_the_raw_file_is_the_main_one_when_there_is_no_other(studio):
    recording = result(studio.submit({Role.SNAPSHOT: studio.file("a.jpg"), Role.RAW: studio.file("a.mkv")}))

    assert (recording.main.role, recording.main.name) == (Role.RAW, "standup_raw.mkv")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.webm", ".webm"),
        ("a", ".mp4"),
        ("a.MOV", ".MOV"),
        ("a.extension", ".mp4"),
        ("a.é", ".mp4"),
        ("a.m v", ".mp4"),
    ],
)
def test_a_raw_file_keeps_its_extension_if_it_is_one(file, name):
    assert remote_names("n", {Role.RAW: Path("/") / file}) == {Role.RAW: f"n_raw{name}"}


@given(st.text(max_size=300), st.text(max_size=20), st.sets(st.sampled_from(list(Role)), min_size=1))
def test_names_on_the_remote_are_different_files_in_one_folder(name, extension, roles):
    """Whatever is not refused: 255 bytes, no way out of the folder, and none overwrites another."""
    files = {role: Path("/m") / f"{role.value}.{extension}" for role in roles}
    if any(wrong.startswith("name") for wrong in mistakes("a", name, files)):
        return

    names = list(remote_names(name, files).values())

    assert len({one.casefold() for one in names}) == len(roles)
    for one in names:
        assert len(one.encode()) <= 255
        assert not set(one) & set("/\\\0\n\r")
        assert one not in (".", "..")


# What is refused


def test_the_longest_name_is_as_long_as_its_filmstrip_allows():
    files = {Role.MAIN: Path("/a")}

    assert mistakes("a", "é" * 120 + "a", files) == []
    assert len(("é" * 120 + "a" + "_filmstrip.jpg").encode()) == 255
    assert mistakes("a", "é" * 121, files) == [f"name: must have 1 to {NAME_BYTES} bytes, not 242"]


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a\\b", "a\nb", "a\0", "\x85", "\u2028", "\udc80"])
def test_a_name_that_could_leave_its_folder_or_break_a_line_is_refused(name):
    assert mistakes("a", name, {Role.MAIN: Path("/a")}) != []


@pytest.mark.parametrize("id", ["", "-a", ".a", "a b", "a/b", "é", "a" * 101, "a\n"])
def test_an_id_is_a_plain_word(id):
    assert [one[:3] for one in mistakes(id, "n", {Role.MAIN: Path("/a")})] == ["id:"]
    assert mistakes("A0._-" + "a" * 95, "n", {Role.MAIN: Path("/a")}) == []


def test_all_mistakes_are_told_at_once(studio):
    (studio.media / "folder").mkdir()
    (studio.media / "link").symlink_to(studio.file("there.jpg"))

    found = wrong(
        studio,
        {
            Role.MAIN: studio.media / "nowhere.mp4",
            Role.RAW: studio.media / "folder",
            Role.SNAPSHOT: studio.media / "link",
            Role.FILMSTRIP: Path("/etc/passwd"),
        },
        id="a b",
        name="a/b",
        environment="elsewhere",
    )

    media = studio.media
    assert found == [
        "environment: no environment elsewhere of organisation acme",
        "id: 1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-' are needed, the first a letter or digit",
        "name: must not have slashes or backslashes",
        f"main: {media}/nowhere.mp4 is missing",
        f"raw: {media}/folder is not a regular file",
        f"snapshot: {media}/link is a link",
        "filmstrip: /etc/passwd is outside the allowed folders, see push.roots",
    ]
    assert studio.events.names() == ["recording.refused"]
    assert studio.events.heard[0][1]["problem"] == "; ".join(found)


def test_a_recording_needs_a_main_or_a_raw_file(studio):
    assert wrong(studio, {Role.SNAPSHOT: studio.file("a.jpg")}) == [
        "files: a main file is needed, or a raw one when there is no other"
    ]


def test_one_file_is_not_given_twice(studio):
    files = {Role.MAIN: studio.file("a.mp4"), Role.RAW: studio.media / "." / "a.mp4"}

    assert wrong(studio, files) == ["raw: is the same file as main"]


@pytest.mark.parametrize("role", [Role.MAIN, Role.RAW])
def test_the_file_that_decides_must_not_be_empty(studio, role):
    assert wrong(studio, {role: studio.file("a.mp4", b"")}) == [f"{role.value}: {studio.media}/a.mp4 is empty"]


def test_other_files_may_be_empty(studio):
    result(studio.submit({Role.MAIN: studio.file("a.mp4"), Role.RAW: studio.file("b.mp4", b"")}))


@pytest.mark.parametrize("environment", ["elsewhere", "", "../x", "\udc80", "A"])
def test_an_unknown_environment_is_not_found(studio, environment):
    assert error(studio.submit(studio.group(), environment=environment)).code is Code.NOT_FOUND


# Which files are taken


@pytest.mark.parametrize("path", ["a.mp4", "media/a.mp4", ""])
def test_a_path_must_be_absolute(studio, path, monkeypatch):
    studio.file("a.mp4")
    monkeypatch.chdir(studio.media)

    assert "is not an absolute path" in wrong(studio, {Role.MAIN: Path(path)})[0]


@pytest.mark.parametrize("path", ["../outside.mp4", "folder/../a.mp4", "folder/../../outside.mp4"])
def test_a_path_has_no_dots_that_lead_up(studio, path):
    studio.file("a.mp4")
    (studio.folder / "outside.mp4").write_bytes(b"x")

    assert "has .. in it" in wrong(studio, {Role.MAIN: studio.media / path})[0]


def test_the_root_itself_and_a_neighbour_that_begins_like_it_are_outside(studio):
    neighbour = studio.folder / "media2"
    neighbour.mkdir()
    (neighbour / "a.mp4").write_bytes(b"x")

    for path in (studio.media, neighbour / "a.mp4"):
        assert wrong(studio, {Role.MAIN: path}) == [f"main: {path} is outside the allowed folders, see push.roots"]


def test_what_is_outside_is_not_even_looked_at(studio):
    """Else the answer would tell which files there are on this machine."""
    for path in ("/etc/shadow", "/nowhere/at/all"):
        assert wrong(studio, {Role.MAIN: Path(path)}) == [
            f"main: {path} is outside the allowed folders, see push.roots"
        ]


@pytest.mark.parametrize("into", ["inside", "outside"])
def test_a_link_to_a_folder_is_not_followed_wherever_it_leads(studio, into):
    target = studio.media / "real" if into == "inside" else studio.folder / "outside"
    (target / "deep").mkdir(parents=True)
    (target / "deep" / "a.mp4").write_bytes(b"x")
    (studio.media / "link").symlink_to(target)

    path = studio.media / "link" / "deep" / "a.mp4"

    assert wrong(studio, {Role.MAIN: path}) == [f"main: {path} leads through a link"]


def test_a_dangling_link_is_a_link(studio):
    (studio.media / "a.mp4").symlink_to("nowhere")

    assert wrong(studio, {Role.MAIN: studio.media / "a.mp4"}) == [f"main: {studio.media}/a.mp4 is a link"]


def test_a_root_that_is_reached_through_a_link_is_the_operators_own_affair(studio):
    """What is recorded is the way without links, so that it can be gone again without following any."""
    real = studio.file("deep/a.mp4")
    link = studio.folder / "link"
    link.symlink_to(studio.media)
    studio.intake.roots = (link,)

    recording = result(studio.submit({Role.MAIN: link / "deep" / "a.mp4"}))

    assert recording.main.path == real
    assert result(studio.submit({Role.MAIN: real})) == recording


def test_a_pipe_is_refused_and_holds_nobody(studio):
    os.mkfifo(studio.media / "a.mp4")

    assert wrong(studio, {Role.MAIN: studio.media / "a.mp4"}) == [f"main: {studio.media}/a.mp4 is not a regular file"]


def test_a_file_on_the_way_is_no_folder(studio):
    path = studio.file("a.mp4") / "b.mp4"

    assert wrong(studio, {Role.MAIN: path}) == [f"main: {path} leads through something that is not a folder"]


@pytest.mark.skipif(ROOT, reason="root may read everything")
def test_what_cannot_be_read_is_told(studio):
    path = studio.file("a.mp4")
    path.chmod(0)

    assert wrong(studio, {Role.MAIN: path}) == [f"main: {path} cannot be read by the service's user"]


def test_a_hard_link_is_a_file_like_any_other(studio):
    (studio.media / "a.mp4").hardlink_to(studio.file("b.mp4"))

    assert result(studio.submit({Role.MAIN: studio.media / "a.mp4"})).main.bytes == 7


def test_a_name_that_is_no_text_is_refused(studio):
    path = studio.media / os.fsdecode(b"\xff.mp4")
    path.write_bytes(b"x")

    assert wrong(studio, {Role.MAIN: path}) == [f"main: {studio.media}/\\udcff.mp4 is not UTF-8"]


@pytest.mark.parametrize("change", ["append", "touch", "replace"])
def test_a_file_that_changes_while_it_is_hashed_is_refused(studio, monkeypatch, change):
    path = studio.file("a.mp4")
    hashed = local_files._hashed

    def meanwhile(file, going):
        done = hashed(file, going)
        if change == "append":
            path.write_bytes(b"contents")
        elif change == "touch":
            os.utime(path, (1, 1))
        else:
            studio.file("new.mp4").replace(path)
        return done

    monkeypatch.setattr(local_files, "_hashed", meanwhile)

    (found,) = wrong(studio, {Role.MAIN: path})

    assert ("was replaced" if change == "replace" else "was written to") in found


def test_a_fault_of_the_disk_is_no_mistake_of_the_sender(studio, monkeypatch):
    def broken(file, going):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(local_files, "_hashed", broken)

    assert error(studio.submit(studio.group())).code is Code.FAILED
    assert studio.events.names() == []


# One record


def test_the_same_again_is_the_same_recording_and_reads_nothing_again(either, monkeypatch):
    files = either.group()
    first = result(either.submit(files))
    monkeypatch.setattr(local_files, "take", None)

    assert result(either.submit(files)) == first
    assert either.events.names() == ["recording.accepted", "recording.repeated"]


def test_the_same_again_is_the_same_recording_when_its_files_are_delivered_and_gone(either):
    """The answer to the first call was lost in a crash, and the chain was faster than the second call."""
    files = either.group()
    first = result(either.submit(files))
    for path in files.values():
        path.unlink()

    assert result(either.submit(files)) == first


def test_copies_of_the_same_files_are_the_same_recording(either):
    first = result(either.submit({Role.MAIN: either.file("a.mp4")}))

    assert result(either.submit({Role.MAIN: either.file("b.mp4")})) == first


@pytest.mark.parametrize("other", ["content", "name", "roles", "environment"])
def test_a_known_id_with_other_files_is_a_conflict(either, other):
    files = {Role.MAIN: either.file("a.mp4")}
    result(either.submit(files))
    if other == "content":
        either.file("a.mp4", b"other!!")
    if other == "roles":
        files[Role.SNAPSHOT] = either.file("a.jpg")

    name = "other" if other == "name" else "standup"
    environment = "staging" if other == "environment" else "production"
    refused = error(either.submit(files, name=name, environment=environment))

    assert refused.code is Code.CONFLICT
    assert either.events.names()[-1] == "recording.refused"


def test_an_outcome_that_is_unknown_is_looked_up(studio):
    studio.recordings.lost = 1

    recording = result(studio.submit(studio.group()))

    assert list(studio.recordings.records.values()) == [recording]
    assert studio.recordings.asked == 1
    assert studio.events.names() == ["recording.accepted"]


def test_a_commit_that_never_was_is_made_again(studio):
    studio.recordings.never_sent = 1

    result(studio.submit(studio.group()))

    assert studio.recordings.asked == 2
    assert len(studio.recordings.records) == 1


def test_an_outcome_that_stays_unknown_is_said_to_be(studio):
    studio.recordings.never_sent = 10**6
    submitted = studio.submit(studio.group())

    studio.clock.pump([0.05] * 300)

    assert error(submitted).code is Code.UNKNOWN_OUTCOME
    assert studio.events.names() == []


@pytest.mark.parametrize("code", [Code.BUSY, Code.NO_SPACE, Code.FAILED])
def test_what_may_be_good_later_is_no_refusal(studio, code):
    studio.recordings.accepting.failures.append(PipeError(code, "not now"))

    assert error(studio.submit(studio.group())).code is code
    assert studio.events.names() == []


def test_whoever_cancels_ends_the_hashing(studio):
    files = studio.group()
    studio.threads.shut = True
    submitted = studio.submit(files)
    submitted.cancel()
    studio.threads.open()

    with pytest.raises(CancelledError):
        result(submitted)
    assert studio.recordings.records == {}


def test_a_record_on_its_way_stands_whoever_cancels(studio):
    studio.recordings.accepting.shut = True
    submitted = studio.submit(studio.group())
    submitted.cancel()
    assert fired(submitted)
    submitted.addErrback(lambda failure: failure.trap(CancelledError))

    studio.recordings.accepting.open()

    assert len(studio.recordings.records) == 1
    assert studio.events.names() == ["recording.accepted"]


def test_a_purged_recording_is_still_known(studio):
    files = studio.group()
    first = result(studio.submit(files))
    purged = replace(first, deleted_at=first.saved_at)
    studio.recordings.records["acme", "rec-1"] = purged

    assert result(studio.submit(files)) == purged
