"""A remote as people and programs see it: everything but its secrets, and what is wrong or dangerous with it."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from conch_pipe.cli.connecting import networks_allowed
from conch_pipe.cli.session import Session, now
from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.model import Remote

ANY = "ANY: INSECURE"


def existing(session: Session, name: str) -> Remote:
    """:raises PipeError: NOT_FOUND."""
    found = now(session.catalog.remotes.get(name))
    if found is None:
        raise PipeError(Code.NOT_FOUND, f"no remote {name}")
    return found


def document(session: Session, remote: Remote) -> dict[str, Any]:
    """For JSON."""
    from conch_pipe.ssh.keys import algorithm, fingerprint

    return {
        "name": remote.name,
        "organisation": remote.organisation,
        "host": remote.host,
        "port": remote.port,
        "username": remote.username,
        "folder": remote.folder,
        "max_connections": remote.max_connections,
        "source_address": remote.source_address,
        "algorithms": remote.algorithms,
        "temporary_names": remote.temporary_names,
        "marker": remote.marker,
        "chunk_size": remote.chunk_size,
        "password": remote.has_password,
        "public_key": remote.public_key,
        "host_keys": [
            {
                "type": algorithm(pin.blob),
                "fingerprint": fingerprint(pin.blob),
                "added_at": pin.added_at,
                "origin": pin.origin,
            }
            for pin in remote.pins
        ],
        "any_host_key": remote.any_host_key,
        "enabled": remote.enabled,
        "disabled_reason": remote.disabled_reason,
        "disabled_at": remote.disabled_at,
        "refused_host_key": fingerprint(remote.refused_key) if remote.refused_key else None,
        "created_at": remote.created_at,
        "changed_at": remote.changed_at,
        "warnings": warnings(session, remote),
    }


def show(session: Session, remote: Remote) -> None:
    """For people."""
    out = session.out
    out.facts(
        [
            ("remote", remote.name),
            ("organisation", remote.organisation),
            ("address", f"{remote.host} port {remote.port}"),
            ("user name", remote.username),
            ("folder", remote.folder or "the login folder"),
            ("logs in with", login(remote) or "NOTHING"),
            ("connections", f"at most {remote.max_connections}"),
            ("connects from", remote.source_address or "the system's choice"),
            ("algorithms", remote.algorithms),
            ("names", "temporary while a file is sent" if remote.temporary_names else "final from the beginning"),
            ("marker file", remote.marker or "none"),
            ("chunk size", remote.chunk_size or "the server's"),
            ("made", remote.created_at),
            ("changed", remote.changed_at or "never"),
            ("state", state(remote)),
        ]
    )
    if remote.public_key:
        out.say(f"public key     {remote.public_key}")
    if remote.any_host_key:
        out.say(f"host key       {ANY}")
    for pin in remote.pins:
        out.say(f"host key       {key(pin.blob)}, {pin.origin} {pin.added_at:%Y-%m-%d}")
    if remote.refused_key:
        out.say(f"it showed      {key(remote.refused_key)}, which is not trusted")
    warn(session, remote)


def warn(session: Session, remote: Remote) -> None:
    """Say what is wrong or dangerous, if anything is."""
    for one in warnings(session, remote):
        session.out.say(f"WARNING: {one}")


def warnings(session: Session, remote: Remote) -> list[str]:
    """What is wrong or dangerous, and what to do about it."""
    found = []
    if remote.any_host_key:
        gets = "the password and the recordings" if remote.has_password else "the recordings"
        found.append(
            f"any host key is taken: whoever answers at {remote.host} gets {gets}; "
            f"conch-pipe remote edit {remote.name} --any-host-key no"
        )
    elif not remote.pins:
        found.append(
            f"no host key is trusted, so nothing is pushed; conch-pipe remote test {remote.name} shows it and asks"
        )
    if not remote.enabled and remote.disabled_reason == "host_key":
        found.append(
            "it showed another host key than the trusted one, so nothing is pushed; compare it with the customer, then "
            f"conch-pipe remote trust {remote.name}; or remote enable {remote.name}, if the old key is back"
        )
    elif remote.disabled_reason == "credentials":
        found.append(
            f"it has no password and no key, so nothing is pushed; conch-pipe remote edit {remote.name} gives it one"
        )
    elif not remote.enabled:
        found.append(f"it is disabled, and attempts count all the same; conch-pipe remote enable {remote.name}")
    if (why := _unreachable(session, remote)) is not None:
        found.append(f"{remote.host} is {why}: nothing connects there unless push.networks_allowed has its network")
    return found


def key(blob: bytes) -> str:
    """A host key as people compare it."""
    from conch_pipe.ssh.keys import algorithm, fingerprint

    return f"{fingerprint(blob)} {algorithm(blob)}"


def _unreachable(session: Session, remote: Remote) -> str | None:
    """Why an address is none to connect to; of a name that is seen when it is resolved."""
    from conch_pipe.remotes.addresses import refusal

    try:
        return refusal(IPv4Address(remote.host), networks_allowed(session.settings))
    except ValueError:
        return None


def login(remote: Remote) -> str:
    """What logs in; of a key the type."""
    ways = ["password"] if remote.has_password else []
    ways += [remote.public_key.split(" ", 1)[0]] if remote.public_key else []
    return " and ".join(ways)


def trusted(remote: Remote) -> str:
    """The host keys in short."""
    if remote.any_host_key:
        return ANY
    return {0: "none", 1: "1 key"}.get(len(remote.pins), f"{len(remote.pins)} keys")


_WHY = {
    "host_key": "it showed another host key",
    "operator": "by an operator",
    "credentials": "its password and key were taken away",
}


def state(remote: Remote) -> str:
    """Whether it is used, and why not."""
    if remote.enabled:
        return "enabled"
    why = _WHY.get(remote.disabled_reason, remote.disabled_reason)
    since = f" since {remote.disabled_at:%Y-%m-%d %H:%M} UTC" if remote.disabled_at else ""
    return f"disabled{since}: {why}"
