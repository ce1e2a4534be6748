"""The spool of recordings: manifests are accepted, refused with every mistake, or left for later; none is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conch_pipe.errors import Code, Mistakes, PipeError
from conch_pipe.intake import manifest_folder
from conch_pipe.intake.manifest_folder import LONGEST, MOST
from conch_pipe.intake.manifest_text import Unfinished, parse
from conch_pipe.intake.manifests import KEPT_S, SETTLE_S, TIDY_S, Manifests
from conch_pipe.model import Role
from tests.intake.fakes import fired, result
from tests.intake.recorded import Studio, open_files

GOOD = {"organisation": "acme", "environment": "production", "id": "rec-1", "name": "standup"}


class Spool(Studio):
    """A folder of manifests with a service that looks into it; the spool is the root of the files."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.manifests = self.service()

    def service(self) -> Manifests:
        """As after a start."""
        return Manifests(self.media, self.intake, self.in_thread, self.events, self.clock, look_s=1)

    def leave(self, name: str = "rec-1.json", content: Any = None, age_s: float = 10, **fields: Any) -> Path:
        """A manifest moved into place; its main file is there."""
        self.file("standup.mp4")
        if content is None:
            content = json.dumps(GOOD | {"files": {"main": "standup.mp4"}} | fields)
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        at = self.clock.seconds() - age_s
        os.utime(path, (at, at))
        return path.rename(self.media / name)

    def look(self, seconds: float = 1) -> None:
        self.clock.advance(seconds)

    def names(self, folder: str = "") -> list[str]:
        """Manifests and texts there."""
        try:
            found = os.listdir(self.media / folder)
        except FileNotFoundError:
            return []
        return sorted(name for name in found if name.endswith((".json", ".txt")))

    def problems(self, name: str = "rec-1") -> list[str]:
        text = (self.media / "refused" / f"{name}.problem.txt").read_text()
        return [line[4:] for line in text.splitlines() if line.startswith("  - ")]


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path)
    made.manifests.startService()
    yield made
    if made.manifests.running:
        made.threads.open()
        result(made.manifests.stopService())
    assert made.clock.getDelayedCalls() == []
    assert open_files(tmp_path) == []


# Accepted


def test_a_manifest_becomes_a_recording_and_is_moved_away(spool):
    spool.leave()

    spool.look()

    (recording,) = spool.recordings.records.values()
    assert (recording.organisation, recording.environment, recording.id) == ("acme", "production", "rec-1")
    assert [(one.role, one.path) for one in recording.files] == [(Role.MAIN, spool.media / "standup.mp4")]
    assert (spool.names(), spool.names("accepted")) == ([], ["rec-1.json"])
    assert (spool.media / "standup.mp4").exists()
    assert spool.events.names() == ["recording.accepted"]


def test_files_may_be_elsewhere_below_a_root_or_deeper_in_the_spool(spool):
    spool.file("rec-1/raw.webm")
    spool.leave(files={"main": str(spool.media / "standup.mp4"), "raw": "rec-1/raw.webm"})

    spool.look()

    assert len(spool.recordings.records["acme", "rec-1"].files) == 2


def test_a_byte_order_mark_is_no_mistake(spool):
    spool.leave(content="\ufeff" + json.dumps(GOOD | {"files": {"main": "standup.mp4"}}))

    spool.look()

    assert spool.names("accepted") == ["rec-1.json"]


def test_whoever_may_use_the_spool_may_read_what_was_refused(spool):
    spool.media.chmod(0o2770)
    spool.leave(content="[]")

    spool.look()

    assert os.stat(spool.media / "refused").st_mode & 0o777 == 0o770
    assert os.stat(spool.media / "refused" / "rec-1.problem.txt").st_mode & 0o777 == 0o644


def test_the_spool_is_made_when_it_is_missing(tmp_path):
    spool = Spool(tmp_path)
    spool.media.rmdir()
    spool.manifests.startService()

    spool.leave()
    spool.look()

    assert spool.names("accepted") == ["rec-1.json"]
    result(spool.manifests.stopService())


@pytest.mark.parametrize("name", [".rec-1.json", "rec-1.json.tmp", "rec-1.txt", "rec-1.JSON"])
def test_other_names_are_not_looked_at(spool, name):
    path = spool.leave(name)

    spool.look()

    assert path.exists()
    assert spool.events.names() == []


def test_a_folder_with_such_a_name_stays(spool):
    (spool.media / "a.json").mkdir()

    spool.look()

    assert (spool.media / "a.json").is_dir()


def test_a_crash_between_the_record_and_the_move_is_harmless(spool, monkeypatch):
    """After the start the manifest is looked at again; meanwhile the files were delivered and deleted."""
    spool.leave()
    monkeypatch.setattr(manifest_folder, "accepted", lambda folder, found: None)
    spool.look()
    assert spool.names() == ["rec-1.json"]
    monkeypatch.undo()
    result(spool.manifests.stopService())
    (spool.media / "standup.mp4").unlink()

    spool.manifests = spool.service()
    spool.manifests.startService()

    assert len(spool.recordings.records) == 1
    assert (spool.names(), spool.names("accepted"), spool.names("refused")) == ([], ["rec-1.json"], [])


def test_a_look_takes_so_many_and_the_oldest_first(spool):
    for number in range(MOST + 5):
        spool.leave(f"{number:03}.json", age_s=1000 - number, id=f"rec-{number}")

    spool.look()

    assert len(spool.recordings.records) == MOST
    assert spool.names() == [f"{number:03}.json" for number in range(MOST, MOST + 5)]
    spool.look()
    assert spool.names() == []


def test_the_disk_is_touched_in_threads_only(spool):
    spool.leave()
    spool.threads.shut = True

    spool.look()

    assert spool.names() == ["rec-1.json"]
    assert len(spool.threads.waiting) == 1
    spool.threads.open()
    assert spool.names() == []


def test_accepted_manifests_are_kept_for_a_week(spool):
    spool.leave()
    spool.look()
    spool.clock.rightNow = os.stat(spool.media / "accepted" / "rec-1.json").st_ctime
    spool.look(KEPT_S - TIDY_S)
    assert spool.names("accepted") == ["rec-1.json"]

    spool.look(TIDY_S + 10)

    assert spool.names("accepted") == []


# Refused


def test_a_bad_manifest_is_refused_with_all_its_mistakes(spool):
    spool.leave(
        content='{"id": "a b", "organisation": 7, "name": "x/y", "fils": {}, "files": {"mian": "a", "raw": ""}}'
    )

    spool.look()

    assert spool.problems() == [
        "fils: is unknown; did you mean files?",
        "organisation: text is needed",
        "environment: is missing",
        "files.mian: is unknown; did you mean main?",
        "files.raw: a path is needed",
        "id: 1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-' are needed, the first a letter or digit",
        "name: must not have slashes or backslashes",
    ]
    assert (spool.names(), spool.names("refused")) == ([], ["rec-1.json", "rec-1.problem.txt"])
    ((kind, told),) = spool.events.heard
    assert (kind, told["manifest"]) == ("manifest.refused", "rec-1.json")
    assert told["problem"] == "; ".join(spool.problems())


def test_what_the_intake_refuses_is_told_too(spool):
    spool.leave(files={"main": "nowhere.mp4", "raw": "../outside.mp4", "snapshot": "/etc/passwd"})

    spool.look()

    assert spool.problems() == [
        f"main: {spool.media}/nowhere.mp4 is missing",
        f"raw: {spool.media}/../outside.mp4 has .. in it",
        "snapshot: /etc/passwd is outside the allowed folders, see push.roots",
    ]
    assert spool.events.names() == ["recording.refused", "manifest.refused"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "the manifest is empty"),
        ("{", "is not JSON: Expecting property name"),
        (b"\xff{}", "the manifest is not UTF-8"),
        ("[]", "the manifest is not a JSON object"),
        ("null", "the manifest is not a JSON object"),
        ("[" * 60_000, "the manifest is nested too deep"),
        ("9" * 60_000, "is not JSON: "),
        (" " * (LONGEST + 1), f"the manifest has more than {LONGEST} bytes"),
        ('{"id": "a", "id": "b"}', "id: is there twice"),
        (json.dumps(GOOD | {"files": {}}), "files: a main file is needed"),
        (json.dumps(GOOD | {"files": ["a"]}), "files: an object with roles and paths is needed"),
        (json.dumps(GOOD | {"files": {"main": None}}), "files.main: a path is needed"),
        (json.dumps(GOOD | {"files": {"main": "a\0b"}}), "has a NUL in it"),
        (json.dumps(GOOD | {"files": {"main": "a\udc80b"}}), "is not UTF-8"),
        (json.dumps(GOOD | {"environment": "\udc80", "files": {"main": "standup.mp4"}}), "no environment \\udc80"),
        (json.dumps(GOOD | {"environment": "other", "files": {"main": "standup.mp4"}}), "no environment other"),
    ],
)
def test_a_text_that_is_no_manifest_is_refused(spool, content, told):
    spool.leave(content=content)

    spool.look()

    assert spool.names() == []
    assert any(told in one for one in spool.problems())


def test_a_known_id_with_other_files_is_refused(spool):
    spool.leave()
    spool.look()
    spool.file("other.mp4", b"other")
    spool.leave("again.json", files={"main": "other.mp4"})

    spool.look()

    assert spool.problems("again") == ["the id is known with other files, names or environment"]


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_file_is_refused_and_holds_nobody(spool, kind):
    path = spool.media / "rec-1.json"
    if kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        os.mkfifo(path)

    spool.look()

    assert spool.problems() == ["the manifest is not a regular file"]
    assert (spool.media / "refused" / "rec-1.json").is_symlink() == (kind == "link")


def test_a_link_planted_among_the_refused_leads_nowhere(spool):
    """Whoever may write to the spool must not overwrite other files of ours."""
    victim = spool.folder / "victim"
    victim.write_text("precious")
    refused = spool.media / "refused"
    refused.mkdir()
    for name in (".problem.new", "rec-1.problem.txt", "rec-1.json"):
        (refused / name).symlink_to(victim)
    spool.leave(content="[]")

    spool.look()

    assert victim.read_text() == "precious"
    assert spool.problems() == ["the manifest is not a JSON object"]


def test_a_linked_folder_of_refused_ones_is_not_used(spool):
    (spool.folder / "elsewhere").mkdir()
    (spool.media / "refused").symlink_to(spool.folder / "elsewhere")
    spool.leave(content="[]")

    spool.look()

    assert os.listdir(spool.folder / "elsewhere") == []
    assert spool.events.names() == ["manifest.delayed"]


def test_a_mended_manifest_takes_the_text_about_it_away(spool):
    spool.leave(environment="other")
    spool.look()
    (spool.media / "refused" / "rec-1.json").unlink()

    spool.leave()
    spool.look()

    assert (spool.names("accepted"), spool.names("refused")) == (["rec-1.json"], [])


def test_a_name_that_is_long_or_no_text_is_refused_like_any_other(spool):
    long = "n" * 250 + ".json"
    strange = os.fsdecode(b"\xff\n.json")
    for name in (long, strange):
        spool.leave(name, content="[]")

    spool.look()

    assert {long, strange} <= set(spool.names("refused"))
    assert spool.problems("n" * 240) == ["the manifest is not a JSON object"]
    assert [told["manifest"] for _, told in spool.events.heard] == [long, "\\udcff\\n.json"]


# Left for later


def test_a_manifest_being_written_in_place_is_waited_for(spool):
    text = json.dumps(GOOD | {"files": {"main": "standup.mp4"}})
    for length in (0, 10, len(text) - 1):
        path = spool.leave(content=text[:length], age_s=0)
        spool.look(SETTLE_S - 1)
        assert path.exists()

    spool.leave(content=text, age_s=0)
    spool.look()

    assert spool.names("accepted") == ["rec-1.json"]
    assert spool.events.names() == ["recording.accepted"]


def test_what_stays_half_is_refused_after_a_while(spool):
    path = spool.leave(content="{", age_s=0)

    spool.look(SETTLE_S - 1)
    assert path.exists()
    spool.look(1)

    assert spool.names("refused") == ["rec-1.json", "rec-1.problem.txt"]


def test_a_clock_that_is_ahead_does_not_keep_a_bad_manifest_for_ever(spool):
    spool.leave(content="{", age_s=-86_400)

    spool.look(1)
    spool.look(SETTLE_S)

    assert spool.names("refused") == ["rec-1.json", "rec-1.problem.txt"]


@pytest.mark.parametrize("code", [Code.BUSY, Code.NO_SPACE, Code.FAILED])
def test_what_cannot_be_recorded_now_is_tried_again_less_and_less_often(spool, code):
    spool.recordings.accepting.failures += [PipeError(code, "not now") for _ in range(4)]
    spool.leave()

    tried = []
    for second in range(20):
        before = len(spool.recordings.accepting.failures) + len(spool.names())
        spool.look()
        if len(spool.recordings.accepting.failures) + len(spool.names()) < before:
            tried.append(second)

    assert tried == [0, 1, 3, 7, 15]
    assert spool.names("accepted") == ["rec-1.json"]
    assert spool.events.names() == ["manifest.delayed", "recording.accepted"]


def test_one_that_waits_does_not_hold_others_back(spool):
    spool.recordings.accepting.failures.append(PipeError(Code.BUSY, "not now"))
    spool.leave()
    spool.leave("rec-2.json", id="rec-2", age_s=5)

    spool.look()

    assert spool.names() == ["rec-1.json"]
    assert list(spool.recordings.records) == [("acme", "rec-2")]


def test_one_that_was_mended_meanwhile_is_looked_at_at_once(spool):
    spool.recordings.accepting.failures += [PipeError(Code.BUSY, "not now") for _ in range(3)]
    spool.leave()
    spool.look(1)
    spool.look(1)
    spool.look(2)

    spool.leave(id="rec-2", age_s=0)
    spool.look(1)

    assert list(spool.recordings.records) == [("acme", "rec-2")]


def test_a_manifest_that_is_replaced_while_it_is_looked_at_is_not_moved_unread(spool):
    spool.leave()
    spool.recordings.accepting.shut = True
    spool.look()
    spool.leave(id="rec-2", age_s=0)

    spool.recordings.accepting.open()
    assert spool.names() == ["rec-1.json"]
    spool.look()

    assert list(spool.recordings.records) == [("acme", "rec-1"), ("acme", "rec-2")]
    assert spool.names() == []


def test_a_manifest_that_is_taken_back_meanwhile_harms_nobody(spool):
    path = spool.leave()
    spool.recordings.accepting.shut = True
    spool.look()
    path.unlink()

    spool.recordings.accepting.open()

    assert spool.events.names() == ["recording.accepted"]
    assert (spool.names(), spool.names("accepted")) == ([], [])


def test_a_manifest_that_cannot_be_moved_is_told_once(spool):
    (spool.media / "accepted").write_text("in the way")
    spool.leave()

    for _ in range(10):
        spool.look()

    assert spool.events.names().count("manifest.delayed") == 1
    assert len(spool.recordings.records) == 1


def test_a_fault_of_ours_ends_neither_the_service_nor_the_manifest(spool, logged_errors):
    spool.recordings.accepting.failures.append(ZeroDivisionError())
    path = spool.leave()

    spool.look()
    assert path.exists()
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    spool.look(2)

    assert spool.names("accepted") == ["rec-1.json"]


def test_a_spool_that_cannot_be_read_is_told_once_and_looked_at_again(spool, logged_errors):
    spool.media.rename(spool.folder / "gone")
    spool.media.write_text("a file")
    spool.look()
    spool.look()
    spool.media.unlink()
    (spool.folder / "gone").rename(spool.media)

    spool.leave()
    spool.look()

    assert spool.names("accepted") == ["rec-1.json"]


# The end


def test_a_stop_gives_up_what_is_being_hashed_and_waits_for_the_disk(spool):
    path = spool.leave()
    spool.threads.shut = True
    spool.look()
    spool.threads.step()  # the folder was read
    while not spool.manifests._submitted:
        spool.threads.step()

    stopped = spool.manifests.stopService()

    spool.threads.open()
    assert fired(stopped)
    assert spool.recordings.records == {}
    assert path.exists()


def test_a_stop_between_two_looks_is_done_at_once(spool):
    assert fired(spool.manifests.stopService())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["organisation", "environment", "id", "name", "files", "main", "raw", "x"]), x
            )
        ),
    )
)
def test_any_json_is_a_manifest_or_has_mistakes(value):
    try:
        parse(json.dumps(value).encode(), Path("/spool"))
    except Mistakes as refused:
        assert refused.mistakes
    except Unfinished:
        assert not json.loads(json.dumps(value)) or value != value
