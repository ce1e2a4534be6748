"""What ``check`` looks at, one function for each part of an installation; each yields findings and mends nothing."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from conch_pipe.cli import service
from conch_pipe.cli.room import room
from conch_pipe.cli.session import Session, now
from conch_pipe.errors import Code, Mistakes, PipeError
from conch_pipe.operations.schemas import known

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    level: str  # ok, warn, fail
    text: str


def all_findings(session: Session) -> Iterator[Finding]:
    """Everything that can be told without a visit to the service.

    :raises SettingsRefused: without settings there is nothing to look at.
    """
    session.settings  # noqa: B018 - refused here, before anything is told
    for what, look in _PARTS.items():
        try:
            yield from look(session)
        except OSError as error:
            # Another user than the service's may see less; the rest is told all the same.
            yield Finding(what, FAIL, f"{error.strerror}: {error.filename}")


def _settings(session: Session) -> Iterator[Finding]:
    from conch_pipe.settings.places import unusable

    mistakes = unusable(session.settings)
    yield from (Finding("settings", FAIL, one) for one in mistakes)
    if not mistakes:
        yield Finding("settings", OK, str(session.settings.file))


def _keys(session: Session) -> Iterator[Finding]:
    from conch_pipe.cli.host_keys import listed

    keys, mistakes = listed(session)
    yield from (Finding("host key", FAIL, one) for one in mistakes)
    for key in keys:
        if key.kind == "RSA" and key.bits < 3072:
            yield Finding("host key", WARN, f"{key.file}: {key.bits} bits; 3072 are usual today")
        else:
            use = "" if key.use == "signs" else f"  {key.use}"
            yield Finding("host key", OK, f"{key.fingerprint}  {key.file.name}{use}")
    if {key.kind for key in keys} == {"RSA"}:
        yield Finding("host key", WARN, "there is no Ed25519 key, which clients prefer")


def _sealing(session: Session) -> Iterator[Finding]:
    from conch_pipe.catalog import KeyFile

    keys = KeyFile(session.settings.secrets.key_file)
    try:
        count = keys.check()
    except PipeError as error:
        yield Finding("secrets", FAIL if keys.path.exists() or _any_remotes(session) else WARN, str(error))
        return
    if count > 1:
        yield Finding("secrets", WARN, f"{keys.path} has {count} keys: a change of keys was not finished")
    else:
        yield Finding("secrets", OK, str(keys.path))


def _any_remotes(session: Session) -> bool:
    try:
        return bool(now(session.catalog.remotes.list()))
    except PipeError:
        return False  # told of the catalog


def _schemas(session: Session) -> Iterator[Finding]:
    try:
        names = session.schemas.names()
    except Mistakes as error:
        yield from (Finding("schemas", FAIL, one) for one in error.mistakes)
        return
    from conch_pipe.formats.engine import prove_schema

    wrong = False
    for name in names:
        try:
            prove_schema(known(session.schemas, name))
        except Mistakes as error:
            wrong = True
            yield from (Finding("schemas", FAIL, f"{name}: {one}") for one in error.mistakes)
    if names and not wrong:
        yield Finding("schemas", OK, ", ".join(names))
    elif not names:
        yield Finding("schemas", WARN, f"there are none in {session.settings.schemas.folder}")


def _catalog(session: Session) -> Iterator[Finding]:
    try:
        damage = now(session.catalog.database.read(_quick_check))
        organisations = now(session.catalog.organisations.list())
        credentials = now(session.catalog.credentials.list())
        counts = now(session.catalog.uploads.counts())
    except PipeError as error:
        yield Finding("catalog", FAIL, str(error))
        return
    if damage:
        yield Finding("catalog", FAIL, f"the file is damaged: {damage}")
    else:
        number = sum(counts.values())
        yield Finding(
            "catalog", OK, f"{len(organisations)} organisations, {len(credentials)} credentials, {number} uploads"
        )
    try:
        names = set(session.schemas.names())
    except Mistakes:
        names = {schema for one in organisations for schema in one.schemas}  # told already
    able = {one.organisation for one in credentials if one.revoked_at is None and one.secrets}
    for one in organisations:
        if not one.schemas:
            yield Finding("organisation", WARN, f"{one.name} has no schema: conch-pipe schema enable {one.name} SCHEMA")
        if gone := sorted(set(one.schemas) - names):
            yield Finding("organisation", FAIL, f"{one.name} has schemas whose files are gone: {', '.join(gone)}")
        if one.name not in able:
            yield Finding("organisation", WARN, f"{one.name} cannot log in: conch-pipe credential create {one.name}")


def _remotes(session: Session) -> Iterator[Finding]:
    from conch_pipe.cli.remote_shown import warnings

    try:
        remotes = now(session.catalog.remotes.list())
    except PipeError:
        return  # told of the catalog
    well = 0
    for one in remotes:
        found = [Finding("remote", WARN, f"{one.name}: {words}") for words in warnings(session, one)]
        try:
            now(session.catalog.remotes.secrets(one.name))
        except PipeError as error:
            found.append(Finding("remote", FAIL, str(error)))
        well += not found
        yield from found
    if well:
        yield Finding("remote", OK, f"{well} of {len(remotes)}; conch-pipe remote test NAME connects to one")


def _quick_check(connection: Any) -> str:
    """The first damage SQLite finds, or nothing."""
    if connection.dialect.name != "sqlite":
        return ""
    found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    return "" if found == "ok" else found


def _warehouse(session: Session) -> Iterator[Finding]:
    from conch_pipe.cli.warehouse import query

    try:
        query(session, "SELECT 1 AS one", limit=1)
    except PipeError as error:
        absent = error.code is Code.NOT_FOUND
        text = "no rows yet; the first upload makes the file" if absent else str(error)
        yield Finding("warehouse", OK if absent else WARN if error.code is Code.BUSY else FAIL, text)
    else:
        yield Finding("warehouse", OK, session.settings.warehouse.url)


def _room(session: Session) -> Iterator[Finding]:
    settings = session.settings
    disk = room(settings)
    level = FAIL if disk.free < disk.least else WARN if disk.free < 2 * disk.least else OK
    yield Finding("disk", level, f"{disk.free >> 20} MiB free; uploads are refused below {disk.least >> 20}")
    if disk.inodes < disk.least_inodes:
        yield Finding(
            "disk", FAIL, f"{disk.inodes} files can still be made: uploads are refused below {disk.least_inodes}"
        )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * settings.limits.connections + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        yield Finding(
            "limits",
            WARN,
            f"{hard} open files are allowed, {settings.limits.connections} connections may need {wanted}",
        )


def _service(session: Session) -> Iterator[Finding]:
    found = service.running(session.settings.service.state)
    if found:
        yield Finding("service", OK, f"runs on port {found.ssh_port}, process {found.pid}")
        return
    yield Finding("service", WARN, "does not run")
    for door in (session.settings.ssh, session.settings.http):
        if door.endpoint or door.port < 1:
            continue
        try:
            _listen(door.interface, door.port)
        except OSError as error:
            yield Finding("service", FAIL, f"cannot listen on {door.interface} port {door.port}: {error.strerror}")


def _listen(interface: str, port: int) -> None:
    """:raises OSError: somebody else does, or this user may not."""
    for family, kind, protocol, _, address in socket.getaddrinfo(interface, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)


_PARTS: dict[str, Callable[[Session], Iterator[Finding]]] = {
    "settings": _settings,
    "host key": _keys,
    "secrets": _sealing,
    "schemas": _schemas,
    "catalog": _catalog,
    "remote": _remotes,
    "warehouse": _warehouse,
    "disk": _room,
    "service": _service,
}
