"""``conch-pipe status`` and ``conch-pipe settings``: how it stands, and what it was told to be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from conch_pipe.cli import service
from conch_pipe.cli.edge import Command
from conch_pipe.cli.output import cell
from conch_pipe.cli.room import room
from conch_pipe.cli.session import Session, now


@click.command(cls=Command)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 3600),
    metavar="SECONDS",
    help="Wait until the service listens; exit with 4 when it does not within so many seconds.",
)
@click.pass_obj
def status(session: Session, wait_s: float | None) -> None:
    """Whether the service runs, what it has received, and what waits. Works when it is down, too.

    \b
    conch-pipe status
    conch-pipe status --wait 10 --json
    """
    settings = session.settings
    state = settings.service.state
    found = service.needed(state, wait_s) if wait_s is not None else service.running(state)
    counts = now(session.catalog.uploads.counts())
    pushes = now(session.catalog.pushes.counts())
    backlog = now(session.catalog.jobs.backlog())
    moment = datetime.now(UTC)
    queue = {
        kind: {
            "waiting": entry.waiting,
            "leased": entry.leased,
            "oldest_s": round((moment - entry.oldest_at).total_seconds(), 1),
        }
        for kind, entry in backlog.items()
    }
    disk = room(settings)
    session.out.document(
        {
            "running": found is not None,
            "pid": found.pid if found else None,
            "ssh_port": found.ssh_port if found else None,
            "started_at": found.started_at if found else None,
            "config": settings.file,
            "state": state,
            "uploads": {one.value: number for one, number in counts.items()},
            "pushes": {one.value: number for one, number in pushes.items()},
            "queue": queue,
            "disk": {"free_bytes": disk.free, "total_bytes": disk.total, "least_bytes": disk.least},
        }
        | (found.more if found else {})
    )
    if found:
        since = f" since {cell(found.started_at)} UTC" if found.started_at else ""
        session.out.say(f"running on port {found.ssh_port}, process {found.pid}{since}")
    else:
        session.out.say("not running")
    session.out.facts(
        [
            ("settings", settings.file),
            ("uploads", _counted(counts)),
            *([("pushes", _counted(pushes))] if any(pushes.values()) else []),
            *(
                (f"queue {kind}", f"{one['waiting']} waiting, {one['leased']} running, oldest {one['oldest_s']:.0f} s")
                for kind, one in queue.items()
            ),
            ("disk", f"{disk.free >> 20} MiB free of {disk.total >> 20}; uploads are refused below {disk.least >> 20}"),
            *((name, _said(value)) for name, value in (found.more if found else {}).items()),
        ]
    )
    if disk.free < disk.least:
        session.out.say(f"uploads are refused: less than {disk.least >> 20} MiB are free")


def _counted(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{number} {one.value}" for one, number in counts.items())


def _said(value: object) -> object:
    """What the service tells of itself, for people: its door processes are a list of objects."""
    if not isinstance(value, list):
        return value
    return "; ".join(
        f"{door['pid']} {door['stage']}, {door['sessions']} sessions, {door['uploads']} uploads" for door in value
    )


@click.command(cls=Command)
@click.option("--reference", "all_settings", is_flag=True, help="The commented reference of all settings, as TOML.")
@click.pass_obj
def settings(session: Session, all_settings: bool) -> None:
    """The settings in force and where each came from; or their reference.

    \b
    conch-pipe settings
    conch-pipe settings --reference > pipe-sftp.toml
    """
    from conch_pipe.settings import Settings, origins, reference

    if all_settings:
        session.out.document({"text": reference()})
        session.out.say(reference().rstrip("\n"))
        return
    chosen = session.settings
    came = origins(chosen)
    rows = [
        {"section": section, "name": name, "value": shown(value), "origin": came[section, name]}
        for section in Settings.model_fields
        for name, value in getattr(chosen, section)
    ]
    session.out.document({"config": chosen.file, "settings": rows})
    session.out.say(f"# {chosen.file}")
    session.out.table(
        ("setting", "value", "from"), [(f"{row['section']}.{row['name']}", row["value"], row["origin"]) for row in rows]
    )


def shown(value: object) -> object:
    """A setting's value without the password a URL may hold."""
    return re.sub(r"(://[^/@]*:)[^/@]*@", r"\1***@", value) if isinstance(value, str) else value
