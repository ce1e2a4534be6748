"""Queries about remotes, the host keys trusted for them, and their sealed secrets.

Does not judge what a field holds (the form of a remote does), and does not touch pushes (see delivery.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from conch_pipe.catalog.engine import wiping
from conch_pipe.catalog.queries import organisations
from conch_pipe.catalog.sealing import PASSWORD, PRIVATE_KEY, KeyFile
from conch_pipe.catalog.tables import remote_host_keys, remote_secrets, remotes
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Pin, Remote, RemoteSecrets

HOST_KEY = "host_key"  # why a remote is disabled: it showed another one
CREDENTIALS = "credentials"  # the last of its secrets was taken away
# What an operator may change. The rest is the remote's name, or changes by itself.
EDITABLE = frozenset(
    {
        "host",
        "port",
        "username",
        "folder",
        "max_connections",
        "source_address",
        "algorithms",
        "temporary_names",
        "marker",
        "chunk_size",
        "any_host_key",
        "public_key",
    }
)
_FIELDS = (PASSWORD, PRIVATE_KEY)
_COLUMNS = [field.name for field in fields(Remote) if field.name not in ("pins", "has_password")]


def add(connection: Connection, remote: Remote, secrets: RemoteSecrets, keys: KeyFile | None) -> Remote:
    """Store a new remote with its pins and secrets.

    :raises PipeError: NOT_FOUND for the organisation; CONFLICT when the name is taken; INVALID without any secret;
        FAILED when there is no key to seal with.
    """
    organisations.existing(connection, remote.organisation)
    if get(connection, remote.name) is not None:
        raise PipeError(Code.CONFLICT, f"remote {remote.name} exists already")
    connection.execute(insert(remotes).values({name: getattr(remote, name) for name in _COLUMNS}))
    _add_pins(connection, remote.name, remote.pins)
    given = {field: getattr(secrets, field) for field in _FIELDS if getattr(secrets, field) is not None}
    change_secrets(connection, remote.name, given, keys)
    if not given:
        raise PipeError(Code.INVALID, f"remote {remote.name} needs a password, a private key or both to log in")
    return existing(connection, remote.name)


def get(connection: Connection, name: str) -> Remote | None:
    """One remote with its pins."""
    found = _find(connection, name=name)
    return found[0] if found else None


def existing(connection: Connection, name: str) -> Remote:
    """:raises PipeError: NOT_FOUND."""
    found = get(connection, name)
    if found is None:
        raise PipeError(Code.NOT_FOUND, f"no remote {name}")
    return found


def find_all(connection: Connection, organisation: str | None = None) -> tuple[Remote, ...]:
    """All of them, or an organisation's, by name. :raises PipeError: NOT_FOUND for the organisation."""
    if organisation is None:
        return _find(connection)
    organisations.existing(connection, organisation)
    return _find(connection, organisation=organisation)


def change(connection: Connection, name: str, values: Mapping[str, Any], at: datetime) -> None:
    """Set columns; what was remembered of the remote is old from now on."""
    connection.execute(update(remotes).where(remotes.c.name == name).values({**values, "changed_at": at}))


def disable(
    connection: Connection, name: str, reason: str, refused: bytes | None, began_at: datetime, at: datetime
) -> bool:
    """An attempt found that it must not be tried again; nothing happens when it is gone.

    :param refused: blob of the host key that was shown; None: keep what is there.
    :param began_at: the attempt; of what an operator has changed since then, it cannot speak.
    :returns: whether it was enabled until now.
    """
    row = connection.execute(
        select(remotes.c.enabled, remotes.c.changed_at).where(remotes.c.name == name)
    ).one_or_none()
    if row is None or (row.changed_at is not None and row.changed_at > began_at):
        return False
    values: dict[str, Any] = {} if refused is None else {"refused_key": refused}
    if row.enabled:
        values |= {"enabled": False, "disabled_reason": reason, "disabled_at": at}
    if values:
        connection.execute(update(remotes).where(remotes.c.name == name).values(values))
    return bool(row.enabled)


def set_pins(connection: Connection, name: str, pins: Iterable[Pin]) -> None:
    """Trust these host keys and no other; what it was before is gone from the file."""
    with wiping(connection):
        connection.execute(delete(remote_host_keys).where(remote_host_keys.c.remote == name))
        _rewrite(connection, remote_host_keys)
        _add_pins(connection, name, pins)


def add_pin(connection: Connection, name: str, pin: Pin) -> None:
    """Trust one more host key; one that is trusted already stays as it is."""
    if pin.blob not in {known.blob for known in existing(connection, name).pins}:
        _add_pins(connection, name, [pin])


def secrets(connection: Connection, name: str, keys: KeyFile | None) -> RemoteSecrets:
    """Unsealed. :raises PipeError: NOT_FOUND; FAILED."""
    if connection.execute(select(remotes.c.name).where(remotes.c.name == name)).one_or_none() is None:
        raise PipeError(Code.NOT_FOUND, f"no remote {name}")
    query = select(remote_secrets.c.field, remote_secrets.c.sealed).where(remote_secrets.c.remote == name)
    found = {field: _sealing(keys).unseal(name, field, sealed) for field, sealed in connection.execute(query)}
    private = found.get(PRIVATE_KEY)
    return RemoteSecrets(found.get(PASSWORD), None if private is None else private.encode("latin-1"))


def change_secrets(
    connection: Connection, name: str, given: Mapping[str, str | bytes | None], keys: KeyFile | None
) -> bool:
    """Set or take away; what was there is gone from the file.

    :param given: "password" and "private_key"; None takes it away, what is not named stays.
    :returns: whether there is something left to log in with.
    :raises PipeError: FAILED when there is no key to seal with.
    """
    unknown = set(given) - set(_FIELDS)
    if unknown:
        raise ValueError(f"not secrets of a remote: {sorted(unknown)}")
    with wiping(connection):
        old = delete(remote_secrets).where(remote_secrets.c.remote == name, remote_secrets.c.field.in_(list(given)))
        if connection.execute(old).rowcount:
            _rewrite(connection, remote_secrets)
        for field, value in given.items():
            if value is not None:
                sealed = _sealing(keys).seal(name, field, value)
                connection.execute(insert(remote_secrets).values(remote=name, field=field, sealed=sealed))
    if PRIVATE_KEY in given and given[PRIVATE_KEY] is None:
        connection.execute(update(remotes).where(remotes.c.name == name).values(public_key=""))
    return has_secrets(connection, name)


def has_secrets(connection: Connection, name: str) -> bool:
    """Whether there is something to log in with."""
    found = connection.execute(select(remote_secrets.c.field).where(remote_secrets.c.remote == name)).first()
    return found is not None


def reseal_all(connection: Connection, keys: KeyFile | None) -> int:
    """Seal everything with the first key.

    :returns: how many secrets there are.
    :raises PipeError: FAILED when one of them cannot be unsealed; nothing is changed then.
    """
    rows = connection.execute(select(remote_secrets)).all()
    fresh = [
        {
            "remote": row.remote,
            "field": row.field,
            "sealed": _resealed(_sealing(keys), row.remote, row.field, row.sealed),
        }
        for row in rows
    ]
    with wiping(connection):
        connection.execute(delete(remote_secrets))
        if fresh:
            connection.execute(insert(remote_secrets), fresh)
    return len(fresh)


def remove(connection: Connection, name: str) -> None:
    """The remote, its pins and its secrets are gone, also from the file. :raises PipeError: NOT_FOUND."""
    existing(connection, name)
    with wiping(connection):
        for table in (remote_secrets, remote_host_keys):
            connection.execute(delete(table).where(table.c.remote == name))
            _rewrite(connection, table)
        connection.execute(delete(remotes).where(remotes.c.name == name))


def _rewrite(connection: Connection, table: Table) -> None:
    """Write a small table anew.

    SQLite overwrites what is deleted, but not the copies that stay in the gaps of pages when it moves rows between
    them. With all rows deleted all pages are freed, and overwritten as a whole.
    """
    rows = [dict(row) for row in connection.execute(select(table)).mappings()]
    connection.execute(delete(table))
    if rows:
        connection.execute(insert(table), rows)


def _add_pins(connection: Connection, name: str, pins: Iterable[Pin]) -> None:
    values = [
        {"remote": name, "blob": pin.blob, "added_at": pin.added_at, "origin": pin.origin}
        for pin in {pin.blob: pin for pin in pins}.values()
    ]
    if values:
        connection.execute(insert(remote_host_keys), values)


def _resealed(keys: KeyFile, name: str, field: str, sealed: bytes) -> bytes:
    text = keys.unseal(name, field, sealed)
    return keys.seal(name, field, text if field == PASSWORD else text.encode("latin-1"))


def _sealing(keys: KeyFile | None) -> KeyFile:
    if keys is None:
        raise PipeError(Code.FAILED, "the secrets of remotes are not open to this process")
    return keys


def _find(connection: Connection, **by: str) -> tuple[Remote, ...]:
    query = select(remotes).order_by(remotes.c.name).where(*(remotes.c[column] == by[column] for column in by))
    rows = connection.execute(query).mappings().all()
    names = [row["name"] for row in rows]
    pins: dict[str, list[Pin]] = {}
    known = select(remote_host_keys).order_by(remote_host_keys.c.id)
    passwords = select(remote_secrets.c.remote).where(remote_secrets.c.field == PASSWORD)
    if by:
        known = known.where(remote_host_keys.c.remote.in_(names))
        passwords = passwords.where(remote_secrets.c.remote.in_(names))
    for pin in connection.execute(known):
        pins.setdefault(pin.remote, []).append(Pin(pin.blob, pin.added_at, pin.origin))
    with_password = set(connection.execute(passwords).scalars())
    return tuple(
        Remote(
            **{column: row[column] for column in _COLUMNS},
            pins=tuple(pins.get(row["name"], ())),
            has_password=row["name"] in with_password,
        )
        for row in rows
    )
