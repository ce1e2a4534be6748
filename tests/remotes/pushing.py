"""A recording on disk, a remote in a network in memory, and pushes from one to the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from conch_pipe.interfaces import IRemotes
from conch_pipe.model import Pin, RecordedFile, Recording, Remote, RemoteSecrets, Report, Role, new_id
from conch_pipe.remotes.addresses import RemoteEndpoint
from conch_pipe.remotes.pusher import Pusher
from conch_pipe.remotes.session import Surroundings
from conch_pipe.ssh.client.limits import ClientLimits
from tests.remotes.lying import Liar
from tests.remotes.net import Net
from tests.ssh.memory import PASSWORD
from tests.ssh.pair import host_key

NOW = datetime(2026, 7, 1, tzinfo=UTC)
ADDRESS = "192.0.2.7"
ALLOWED = (IPv4Network("192.0.2.0/24"),)
ALL = frozenset(Role)
SIZES = {Role.MAIN: 300_000, Role.RAW: 70_000, Role.SNAPSHOT: 5_000, Role.FILMSTRIP: 0}
NAMES = {Role.MAIN: "n.mp4", Role.RAW: "n_raw.mp4", Role.SNAPSHOT: "n.jpg", Role.FILMSTRIP: "n_strip.jpg"}


def content(role: Role, size: int) -> bytes:
    """Bytes that differ from role to role and from place to place."""
    seed = hashlib.sha256(role.value.encode()).digest()
    return b"".join(hashlib.sha256(seed + n.to_bytes(4, "big")).digest() for n in range(size // 32 + 1))[:size]


def recorded(path: Path, role: Role, data: bytes, name: str | None = None) -> RecordedFile:
    """A local file as it is when it is accepted."""
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return RecordedFile(role, path, name or NAMES[role], len(data), path.stat().st_mtime_ns, digest)


def recording(folder: Path, roles: Any = Role, sizes: dict[Role, int] | None = None) -> Recording:
    """A group of files in a folder."""
    sizes = SIZES | (sizes or {})
    files = [recorded(folder / role.value, role, content(role, sizes[role])) for role in Role if role in set(roles)]
    return Recording(new_id(NOW), "r1", "shop", "live", "n", tuple(files), NOW)


def pin(key: Key | None = None) -> Pin:
    """A host key, trusted."""
    return Pin((key or host_key()).public().blob(), NOW, "given")


def remote(**fields: Any) -> Remote:
    """The server at ADDRESS with its key pinned; files go to "in" in the login folder."""
    usual: dict[str, Any] = {"folder": "in", "pins": (pin(),), "has_password": True}
    return Remote("customer", "shop", ADDRESS, "ann", NOW, **(usual | fields))


@implementer(IRemotes)
class Secrets:
    """An IRemotes that has secrets alone, and counts how often they were asked for."""

    def __init__(self, secrets: RemoteSecrets | Exception) -> None:
        self.answer = secrets
        self.asked = 0

    def get(self, name: str) -> Any:
        raise AssertionError("the pusher is given its remote")

    def secrets(self, name: str) -> Any:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return succeed(self.answer)


class MemorySurroundings(Surroundings):
    """Connects in memory; what is asked to be done in a thread is done at once."""

    def endpoint(self, remote: Remote) -> RemoteEndpoint:
        """See Surroundings; the reactor is the network."""
        return RemoteEndpoint(
            self.reactor, remote.host, remote.port, self.allowed, remote.source_address, self.limits.connect_s
        )


class World:
    """All of it."""

    def __init__(
        self,
        folder: Path,
        secrets: RemoteSecrets | Exception | None = None,
        limits: ClientLimits | None = None,
        attempt_s: float = 21_600.0,
        in_thread: Callable[..., Deferred[Any]] = maybeDeferred,
        **lies: Any,
    ) -> None:
        self.net = Net()
        self.liar = Liar(self.net, **lies)
        self.net.servers[ADDRESS, 22] = self.liar
        self.recording = recording(folder)
        self.remote = remote()
        self.secrets = Secrets(secrets or RemoteSecrets(PASSWORD.decode()))
        self.around = MemorySurroundings(self.net, in_thread, ALLOWED, limits or ClientLimits())
        self.pusher = Pusher(self.around, self.secrets, attempt_s)
        self.progress: list[tuple[Role, int]] = []

    def start(self, wanted: frozenset[Role] = ALL, **fields: Any) -> Deferred[Report]:
        """An attempt."""
        self.remote = replace(self.remote, **fields)
        return self.pusher.push(self.remote, self.recording, wanted, lambda *told: self.progress.append(told))

    def push(self, wanted: frozenset[Role] = ALL, within_s: float = 0.0, then_s: float = 5.0, **fields: Any) -> Report:
        """An attempt to its end, after which nothing is left open."""
        report = self.net.outcome(self.start(wanted, **fields), within_s)
        self.quiet(then_s)
        return report

    def quiet(self, after_s: float = 5.0) -> None:
        """No connection and no timer is left."""
        self.net.pass_s(after_s)
        assert self.net.links == [], "a connection is still there"
        assert [str(call) for call in self.net.getDelayedCalls()] == []

    def arrived(self, folder: bytes = b"/home/in/") -> set[Role]:
        """Roles whose files are there byte for byte."""
        return {
            file.role
            for file in self.recording.files
            if self.liar.files.get(folder + file.name.encode()) == file.path.read_bytes()
        }
