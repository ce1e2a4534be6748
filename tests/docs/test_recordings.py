"""The document on recordings: its manifest is one, and nothing that can be seen in the log is left out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from conch_pipe.catalog.queries import delivery
from conch_pipe.intake.manifest_text import parse
from conch_pipe.intake.recordings import NAME_BYTES, mistakes, remote_names
from conch_pipe.model import PushState, Role, Status
from conch_pipe.processing.attempts import NOMINAL
from conch_pipe.remotes.delivery import NOT_TRIED
from tests.docs.documents import OPERATORS, ROOT, block, blocks, code, rows

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


def test_the_python_program_runs(tmp_path):
    """On an installation like that of the document."""
    (text,) = [one.text for one in blocks(RECORDINGS) if one.language == "python"]
    media = tmp_path / "media"
    media.mkdir()
    for name in ("4711.mp4", "4711.jpg"):
        (media / name).write_bytes(b"content")
    command = [Path(sys.executable).with_name("conch-pipe"), "--config", tmp_path / "state" / "pipe-sftp.toml"]
    subprocess.run(
        [command[0], "init", tmp_path / "state", "--port", "0", "--http-port", "0"], check=True, capture_output=True
    )
    with (tmp_path / "state" / "pipe-sftp.toml").open("a") as settings:
        settings.write(f'[push]\nroots = ["{media}"]\n')
    for words in (["org", "create", "acme"], ["environment", "create", "acme", "production"]):
        subprocess.run([*command, *words], check=True, capture_output=True)

    ran = subprocess.run(
        [sys.executable, "-c", text.replace("/srv/media", str(media))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ran.returncode, ran.stdout.split()[:1]) == (0, ["rec-4711"]), ran.stdout + ran.stderr
    shown = subprocess.run([*command, "recording", "show", "rec-4711", "--json"], check=True, capture_output=True)
    assert json.loads(shown.stdout)["name"] == "standup"


def test_every_state_and_status_has_its_row():
    states = [code(state)[0] for state, _ in rows(RECORDINGS, "state of a push", "")]
    statuses = [code(status)[0] for status, _, _ in rows(RECORDINGS, "status", "what happened", "what to do")]

    assert states == [state.value for state in PushState]
    assert sorted(statuses) == sorted(status.value for status in Status)


def test_the_operators_guide_says_of_each_status_what_to_do():
    statuses = [code(status)[0] for status, _, _ in rows(OPERATORS, "status", "whose", "do")]

    assert sorted(statuses) == sorted(status.value for status in Status)


def test_the_words_of_the_table_are_those_of_the_program():
    """No word that is never said; and none of our own is left out. Those of faults: tests/remotes."""
    told = {word for words, _ in rows(RECORDINGS, "reason", "") for word in code(words)}
    rooms = ("remotes", "ssh/client", "processing", "catalog")
    said = "".join(path.read_text() for room in rooms for path in sorted((ROOT / "conch_pipe" / room).glob("*.py")))

    assert {word for word in told if f'"{word}"' not in said} == set()
    assert told >= {delivery.REMOVED, delivery.NO_OUTCOME, NOT_TRIED, "disabled", "host_key", "too_slow", "internal"}


def test_the_schedule_is_the_programs():
    text = " ".join(RECORDINGS.read_text().split())
    minutes = [round(moment.total_seconds() / 60) for moment in NOMINAL]
    told = [f"{one // 60}:{one % 60:02}" for one in minutes]

    assert f"{', '.join(told[:-1])} and {told[-1]} hours after" in text
