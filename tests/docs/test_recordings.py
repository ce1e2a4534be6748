"""The document on recordings: its manifest is one, and nothing that can be seen in the log is left out."""

from __future__ import annotations

import ast
from pathlib import Path

from conch_pipe.intake.manifest_text import parse
from conch_pipe.intake.recordings import NAME_BYTES, mistakes, remote_names
from conch_pipe.model import PushState, Role, Status
from conch_pipe.processing.attempts import NOMINAL
from tests.docs.documents import ROOT, block, blocks, code, rows

RECORDINGS = ROOT / "docs" / "recordings.md"
SPOOL = Path("/var/lib/pipe-sftp/recordings")


def test_the_manifest_is_one_and_its_names_are_those_of_the_table():
    manifest = parse(block(RECORDINGS, "By a manifest", "json").encode(), SPOOL)

    assert mistakes(manifest.id, manifest.name, manifest.files) == []
    assert manifest.files[Role.MAIN] == SPOOL / "4711" / "processed.mp4"
    assert list(manifest.files) == list(Role)
    told = {file: code(name)[0] for file, name in rows(RECORDINGS, "file", "on the remote")}
    names = remote_names("NAME", manifest.files)
    assert told == {role.value: name.removesuffix(".webm") for role, name in names.items()}
    assert f"1 to {NAME_BYTES} bytes" in RECORDINGS.read_text()


def test_the_python_call_is_python():
    (text,) = [one.text for one in blocks(RECORDINGS) if one.language == "python"]

    assert ast.parse(text)


def test_every_state_and_status_has_its_row():
    states = [code(state)[0] for state, _ in rows(RECORDINGS, "state of a push", "")]
    statuses = [code(status)[0] for status, _, _ in rows(RECORDINGS, "status", "what happened", "what to do")]

    assert states == [state.value for state in PushState]
    assert sorted(statuses) == sorted(status.value for status in Status)


def test_the_schedule_is_the_programs():
    text = " ".join(RECORDINGS.read_text().split())
    minutes = [round(moment.total_seconds() / 60) for moment in NOMINAL]
    told = [f"{one // 60}:{one % 60:02}" for one in minutes]

    assert f"{', '.join(told[:-1])} and {told[-1]} hours after" in text
