"""Recordings, their pushes and the log of attempts, as documents and as tables for people.

Times for people are local and say so; documents have UTC. Asks nothing of the catalog.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from conch_pipe.cli.output import Output, printable
from conch_pipe.processing.attempts import ATTEMPTS, ends_at, left

if TYPE_CHECKING:
    from conch_pipe.model import Attempt, Push, Recording

PROTOCOL = "SFTP"
WIDE_ENOUGH = 200  # columns of a terminal that the log's table needs


def local(moment: datetime | None) -> str:
    """A time where the operator is, with its zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}" if moment is not None else ""


def fingerprint(blob: bytes | None) -> str:
    """SHA256:… of a public key, as ssh-keygen shows it."""
    if blob is None:
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def unfinished(push: Push) -> bool:
    """Whether counted attempts are still to come."""
    return push.final_at is None


def recording_document(recording: Recording, pushes: Iterable[Push]) -> dict[str, Any]:
    """A recording and its pushes for JSON."""
    return {
        "id": recording.id,
        "uid": recording.uid,
        "organisation": recording.organisation,
        "environment": recording.environment,
        "name": recording.name,
        "saved_at": recording.saved_at,
        "attempts_end_at": ends_at(recording.saved_at),
        "purge_at": recording.purge_at,
        "deleted_at": recording.deleted_at,
        "files": [
            {"role": one.role, "name": one.name, "path": one.path, "bytes": one.bytes, "sha256": one.sha256}
            for one in recording.files
        ],
        "pushes": [_push_document(one) for one in pushes],
    }


def _push_document(one: Push) -> dict[str, Any]:
    return {
        "id": one.id,
        "remote": one.remote,
        "state": one.state,
        "attempts": one.attempts,
        "attempts_left": left(one.attempts) if unfinished(one) else 0,
        "next_attempt_at": one.due_at,
        "manual": one.manual,
        "last_attempt_ended_at": one.ended_at,
        "final_at": one.final_at,
        "arrived": sorted(role.value for role in one.arrived),
        "problems": dict(one.problems),
    }


def attempt_document(one: Attempt) -> dict[str, Any]:
    """A row of the log for JSON."""
    report = one.report
    return {
        "recording": one.recording,
        "organisation": one.organisation,
        "remote": one.remote,
        "push": one.push,
        "number": one.number,
        "manual": one.number == 0,
        "began_at": one.began_at,
        "host": one.host,
        "username": one.username,
        "folder": one.folder,
        "protocol": PROTOCOL,
        "port": one.port,
        "files": report.files,
        "status": report.status,
        "reason": report.reason,
        "detail": report.detail,
        "bytes": _bytes(one),
        "seconds": report.seconds,
        "host_key": report.host_key,
        "refused_host_key": fingerprint(report.refused_key),
        "algorithms": report.algorithms,
        "late": one.late,
        "shared": one.shared,
    }


def recording_table(out: Output, found: Iterable[tuple[Recording, tuple[Push, ...]]]) -> None:
    """Recordings, one row each."""
    out.table(
        ("saved", "id", "environment", "name", "bytes", "remotes", "next attempt", "files"),
        [
            (
                local(recording.saved_at),
                recording.id,
                f"{recording.organisation}/{recording.environment}",
                recording.name,
                sum(one.bytes for one in recording.files),
                ", ".join(_briefly(push) for push in pushes) or "none",
                local(min((push.due_at for push in pushes if push.due_at), default=None)),
                _files(recording),
            )
            for recording, pushes in found
        ],
        empty="no recordings",
    )


def _briefly(push: Push) -> str:
    made = f" {push.attempts}/{ATTEMPTS}" if unfinished(push) else ""
    return f"{push.remote} {push.state.value}{made}"


def show(out: Output, recording: Recording, pushes: tuple[Push, ...]) -> None:
    """Everything of one recording, for people."""
    facts: list[tuple[str, Any]] = [
        ("recording", recording.id),
        ("uid", recording.uid),
        ("organisation", recording.organisation),
        ("environment", recording.environment),
        ("name", recording.name),
        ("saved", local(recording.saved_at)),
    ]
    if any(unfinished(push) for push in pushes):
        facts.append(("attempts until", f"{local(ends_at(recording.saved_at))}, 75 h after it was saved"))
    facts.append(("files", _files(recording) or "here"))
    out.facts(facts)
    out.say()
    out.table(
        ("file", "name on the remote", "bytes", "sha256", "here"),
        [(one.role, one.name, one.bytes, f"{one.sha256[:16]}…", str(one.path)) for one in recording.files],
    )
    for push in pushes:
        left_over = left(push.attempts) if unfinished(push) else 0
        happened = [
            ("state", push.state),
            ("attempts", f"{push.attempts} of {ATTEMPTS}, {left_over} left"),
            ("next", f"{local(push.due_at)}{', manual' if push.manual else ''}" if push.due_at else ""),
            ("last ended", local(push.ended_at)),
            ("ended", local(push.final_at)),
            ("missing", _missing(recording, push)),
        ]
        out.say()
        out.facts([("remote", push.remote), *(one for one in happened if one[1])])
    if not pushes:
        out.say("\nno remotes")


def _files(recording: Recording) -> str:
    """What became or becomes of the files; empty: nothing is decided."""
    if recording.deleted_at:
        return f"deleted {local(recording.deleted_at)}"
    return f"deleted on {local(recording.purge_at)}" if recording.purge_at else ""


def _missing(recording: Recording, push: Push) -> str:
    """The files that have not arrived, by the word that says why; without one they were not tried."""
    by_word: dict[str, list[str]] = {}
    for file in recording.files:
        if file.role not in push.arrived:
            by_word.setdefault(push.problems.get(file.role, ""), []).append(file.role.value)
    return "; ".join(", ".join(roles) + (f": {word}" if word else "") for word, roles in by_word.items())


def log(out: Output, found: Iterable[Attempt]) -> None:
    """The log of attempts: a table, or a few lines for each on a terminal that is too narrow for it."""
    found = list(found)
    if sys.stdout.isatty() and shutil.get_terminal_size().columns < WIDE_ENOUGH and found:
        for one in found:
            _card(out, one)
        return
    out.table(
        ("recording", "date and time", "remote", "attempt", "host", "username", "folder", "protocol/port", "files")
        + ("status", "reason", "bytes", "seconds", "host key", "algorithms", "note"),
        [
            (
                one.recording,
                local(one.began_at),
                one.remote,
                _number(one),
                one.host,
                one.username,
                one.folder,
                f"{PROTOCOL}/{one.port}",
                _names(one),
                one.report.status,
                one.report.reason,
                _bytes(one),
                round(one.report.seconds, 3),
                one.report.host_key,
                one.report.algorithms,
                _note(one),
            )
            for one in found
        ],
        empty="no attempts",
    )


def _card(out: Output, one: Attempt) -> None:
    report = one.report
    why = f" {report.reason}" + (f": {report.detail}" if report.detail else "") if report.reason else ""
    for text in (
        f"{one.recording}  {local(one.began_at)}  {one.remote}, attempt {_number(one)}",
        f"  {report.status.value}{why}",
        f"  {PROTOCOL}/{one.port}  {one.username}@{one.host}  folder {one.folder or '(login folder)'}",
        f"  {_names(one)}",
        f"  {_bytes(one)} bytes, {report.seconds:.3f} s  {report.host_key}  {report.algorithms}",
    ):
        out.say(printable(text).rstrip())
    if note := _note(one):
        out.say(f"  {printable(note)}")


def _number(one: Attempt) -> str:
    return f"{one.number} of {ATTEMPTS}" if one.number else "manual"


def _names(one: Attempt) -> str:
    return ", ".join(file.name + (f" ({file.reason})" if file.reason else "") for file in one.report.files)


def _bytes(one: Attempt) -> int:
    return sum(file.bytes for file in one.report.files)


def _note(one: Attempt) -> str:
    notes = []
    if one.late:
        notes.append("late: the service was down")
    if one.shared:
        notes.append("no connection of its own: another recording had just met the same failure")
    if one.report.refused_key:
        notes.append(f"refused host key {fingerprint(one.report.refused_key)}")
    return "; ".join(notes)
