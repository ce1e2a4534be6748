"""What goes out, put into the catalog of a running service: remotes, environments, recordings, and attempts so far.

Nothing of it is due while the tests run: the service has no reason to connect to anybody.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure

from conch_pipe.catalog import Catalog, DirectDatabase, KeyFile
from conch_pipe.model import Recording, Role, Status
from tests.browser.conftest import PASSWORD, Site
from tests.web.outflow import OTHER, Outflow

HOSTILE = '<img src=x onerror=alert(1)>\u202egnp"'
FOUR = {Role.MAIN: 481_000_000, Role.RAW: 1_260_000_000, Role.SNAPSHOT: 61_000, Role.FILMSTRIP: 240_000}


def now(asked: Any) -> Any:
    """What a catalog without threads answers."""
    fired: list[Any] = []
    asked.addBoth(fired.append)
    if isinstance(fired[0], Failure):
        fired[0].raiseException()
    return fired[0]


@contextmanager
def still(site: Site) -> Iterator[None]:
    """The service does nothing meanwhile: it takes no job that is half made."""
    os.kill(site.service.pid(), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(site.service.pid(), signal.SIGCONT)


def fill(site: Site) -> dict[str, Recording]:
    """Everything. :returns: recordings by id."""
    state = site.service.folder / "state"
    clock = Clock()
    clock.advance(time.time())
    database = DirectDatabase(f"sqlite:///{state / 'catalog.sqlite'}")
    database.open()
    try:
        with still(site):
            out = Outflow(Catalog(database, clock, KeyFile(state / "keys" / "secrets.key")), now, _now)
            return _filled(out)
    finally:
        database.close()


def _now() -> datetime:
    return datetime.now(UTC)


def _filled(out: Outflow) -> dict[str, Recording]:
    now(out.catalog.organisations.create("north", "North Retail"))
    theirs = {"organisation": "demo", "password": PASSWORD}
    out.remote("archive", host="sftp.archive.example", **theirs)
    out.remote("studio", host="studio.example", port=2222, username="recordings", folder="/in/demo", **theirs)
    out.remote("old-nas", host="nas.example", folder="", pins=(), any_host_key=True, **theirs)
    out.remote("north-vault", "north", password=PASSWORD)
    out.environment("production", "archive", "studio", organisation="demo")
    out.environment("staging", organisation="demo", delete_delivered=True)
    out.environment("live", "north-vault", organisation="north")

    made: dict[str, Recording] = {}

    def recording(id: str, name: str, organisation: str = "demo", **more: Any) -> Recording:  # noqa: A002
        environment = "production" if organisation == "demo" else "live"
        made[id] = out.recording(id, name, organisation, environment, **more)
        return made[id]

    lost = recording("rec-4698", "board-meeting", ago=timedelta(hours=76))
    out.give_up(lost, "archive", Status.SFTP_LOGIN_FAILED, "password")
    out.attempt(lost, "studio")
    slow = recording("rec-4711", "standup", ago=timedelta(hours=3, minutes=10), sizes=FOUR)
    for status, reason, detail, seconds in (
        (Status.SFTP_CONNECTION_TIMEOUT, "timeout", "no answer within 10 s", 10.0),
        (Status.SFTP_CONNECTION_TIMEOUT, "refused", "nobody listens at port 22", 0.2),
        (Status.UPLOAD_FAILED, "disabled", "the remote is disabled", 0.0),
        (Status.UPLOAD_FAILED, "disabled", "the remote is disabled", 0.0),
        (Status.UPLOAD_FAILED, "no_space", "the server has no space left for standup.mp4", 41.7),
        (Status.INCORRECT_SFTP_FOLDER, "no_folder", "there is no folder incoming", 1.1),
        (Status.UPLOAD_FAILED, "permission", "the server lets nothing be written there", 1.3),
    ):
        out.attempt(slow, "archive", status, reason, detail, seconds=seconds)
    out.attempt(slow, "studio", missing={Role.FILMSTRIP: "permission"}, seconds=93.0)
    out.attempt(slow, "studio", seconds=3.1)
    theirs_too = recording("rec-n1", "north", "north", ago=timedelta(minutes=4))
    for _ in range(2):
        out.attempt(theirs_too, "north-vault", Status.SFTP_LOGIN_FAILED, "password")
    odd = recording("rec-odd", HOSTILE, ago=timedelta(minutes=20))
    out.attempt(odd, "archive")
    out.attempt(odd, "studio")
    partly = recording("rec-4713", "retrospective", ago=timedelta(minutes=20))
    out.attempt(partly, "archive")
    for _ in range(3):
        out.attempt(partly, "studio", missing={Role.SNAPSHOT: "permission"})
    out.attempt(
        partly,
        "studio",
        Status.HOST_KEY_MISMATCH,
        "host_key",
        "it shows another key than the trusted one",
        refused=OTHER,
        seconds=0.4,
    )
    return made
