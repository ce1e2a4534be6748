"""A remote as people and programs see it: everything but its secrets, and what is wrong or dangerous with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conch_pipe.cli.session import Session, now

if TYPE_CHECKING:
    from conch_pipe.model import Remote

ANY = "ANY: INSECURE"


def existing(session: Session, name: str) -> Remote:
    """:raises PipeError: NOT_FOUND."""
    return now(session.operations.remotes.existing(name))


def document(session: Session, remote: Remote) -> dict[str, Any]:
    """For JSON."""
    told: dict[str, Any] = session.operations.remotes.document(remote)
    return told | {"warnings": warnings(session, remote)}


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
    return [
        one.words + _MEND.get(one.word, "").format(name=remote.name)
        for one in session.operations.remotes.concerns(remote)
    ]


_MEND = {
    "any_host_key": "; conch-pipe remote edit {name} --any-host-key no",
    "no_host_key": "; conch-pipe remote test {name} shows it and asks",
    "host_key": "; compare it with the customer, then conch-pipe remote trust {name}; "
    "or remote enable {name}, if the old key is back",
    "credentials": "; conch-pipe remote edit {name} gives it one",
    "disabled": "; conch-pipe remote enable {name}",
}


def key(blob: bytes) -> str:
    """A host key as people compare it."""
    from conch_pipe.ssh.keys import algorithm, fingerprint

    return f"{fingerprint(blob)} {algorithm(blob)}"


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
