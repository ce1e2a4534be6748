"""A partner's visit to the running service: log in with stock Conch, look around, put one file.

Used by ``check --live`` and ``demo``. It is a client like any other and knows nothing of the server but its address.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.filetransfer import FXF_CREAT, FXF_TRUNC, FXF_WRITE, FileTransferClient, SFTPError
from twisted.conch.ssh.transport import SSHClientTransport
from twisted.conch.ssh.userauth import SSHUserAuthClient
from twisted.internet.defer import Deferred, TimeoutError, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.python.failure import Failure

from conch_pipe.errors import Code, PipeError

CHUNK = 32_768
VISIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Visit:
    """Who goes where, and with what.

    :ivar fingerprints: of the server's host keys, ``SHA256:…``; another key ends the visit before the secret is sent.
    """

    host: str
    port: int
    client_id: str
    client_secret: str
    fingerprints: Collection[str]
    schema: str
    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """What the partner saw."""

    software: str  # the server's version line
    fingerprint: str
    folders: tuple[str, ...]  # listing of the root
    answer: str  # "" for OK, else the status text


class _Login(SSHUserAuthClient):
    preferredOrder = [b"password"]

    def __init__(self, user: bytes, secret: str, connection: SSHConnection) -> None:
        super().__init__(user, connection)
        self._secrets = [secret.encode()]

    def getPassword(self, prompt: bytes | None = None) -> Deferred[bytes] | None:
        """Once; asked again, there is no other."""
        return succeed(self._secrets.pop()) if self._secrets else None


class _Sftp(SSHChannel):
    name = b"session"

    def __init__(self, ssh: _Ssh, connection: SSHConnection) -> None:
        super().__init__(conn=connection)
        self._ssh = ssh
        self._client = _Client(ssh)

    def channelOpen(self, specificData: bytes) -> None:
        assert self.conn is not None
        asked = self.conn.sendRequest(self, b"subsystem", NS(b"sftp"), wantReply=True)
        asked.addCallbacks(lambda _: self._client.makeConnection(self), self._ssh.lost)

    def openFailed(self, reason: Any) -> None:
        self._ssh.lost(Failure(reason))

    def dataReceived(self, data: bytes) -> None:
        self._client.dataReceived(data)


class _Client(FileTransferClient):
    def __init__(self, ssh: _Ssh) -> None:
        super().__init__()
        self._ssh = ssh

    def gotServerVersion(self, serverVersion: int, extData: dict[bytes, bytes]) -> None:
        self._ssh.arrived(self)


class _Connection(SSHConnection):
    def __init__(self, ssh: _Ssh) -> None:
        super().__init__()
        self._ssh = ssh

    def serviceStarted(self) -> None:
        super().serviceStarted()
        self.openChannel(_Sftp(self._ssh, self))


class _Ssh(SSHClientTransport):
    """Fires ``ready`` with the SFTP client, or fails it with the reason it came to nothing."""

    supportedCompressions = [b"none"]

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self.fingerprint = ""
        self.ready: Deferred[FileTransferClient] = Deferred()

    def verifyHostKey(self, hostKey: bytes, fingerprint: bytes) -> Deferred[bool]:
        self.fingerprint = "SHA256:" + base64.b64encode(hashlib.sha256(hostKey).digest()).decode().rstrip("=")
        if self.fingerprint in self._visit.fingerprints:
            return succeed(True)
        wrong = PipeError(Code.FAILED, f"the server showed another host key, {self.fingerprint}")
        self.lost(Failure(wrong))
        return fail(wrong)

    def connectionSecure(self) -> None:
        login = _Login(self._visit.client_id.encode(), self._visit.client_secret, _Connection(self))
        self.requestService(login)

    def arrived(self, client: FileTransferClient) -> None:
        ready, self.ready = self.ready, Deferred()
        ready.callback(client)

    def lost(self, reason: Failure) -> None:
        if not self.ready.called:
            self.ready.errback(reason)

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        self.lost(Failure(PipeError(Code.FAILED, f"the server ended the connection: {description.decode('latin-1')}")))

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        # Conch ends so when no method is left to log in with, or no algorithm is common.
        self.lost(Failure(PipeError(Code.FAILED, f"the visit ended: {desc.decode('latin-1')}")))
        super().sendDisconnect(reason, desc)

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self.lost(Failure(PipeError(Code.FAILED, "the server closed the connection")))
        self.ready.addErrback(lambda _: None)


async def go(reactor: Any, visit: Visit) -> Seen:
    """Connect, compare the host key, log in, list the root, put the file, leave.

    :param reactor: provides IReactorTime and IReactorTCP.
    :raises PipeError: it came to nothing before the file was put; a refused file is no error, see ``Seen.answer``.
    """
    ssh = _Ssh(visit)
    try:
        await connectProtocol(HostnameEndpoint(reactor, visit.host, visit.port), ssh)
    except ConnectError as error:
        raise PipeError(Code.BUSY, f"nothing answers at {visit.host} port {visit.port}: {error}") from error
    try:
        client = await ssh.ready.addTimeout(VISIT_S, reactor)
        folders = await _listing(client)
        try:
            await Deferred.fromCoroutine(_put(client, visit)).addTimeout(VISIT_S, reactor)
            answer = ""
        except SFTPError as refused:
            answer = refused.message or f"status {refused.code}"
    except TimeoutError as error:
        raise PipeError(Code.FAILED, f"no answer within {VISIT_S:.0f} s") from error
    finally:
        ssh.loseConnection()
    software = ssh.otherVersionString.decode("latin-1")
    return Seen(software, ssh.fingerprint, tuple(sorted(folders)), answer)


async def _listing(client: FileTransferClient) -> list[str]:
    folder = await client.openDirectory(b"/")
    names: list[str] = []
    try:
        while True:
            names += [name.decode() for name, _, _ in await folder.read()]
    except EOFError:
        await folder.close()
    return [name for name in names if name not in (".", "..")]


async def _put(client: FileTransferClient, visit: Visit) -> None:
    path = f"/{visit.schema}/{visit.name}".encode()
    file = await client.openFile(path, FXF_WRITE | FXF_CREAT | FXF_TRUNC, {})
    for offset in range(0, len(visit.data), CHUNK):
        await file.writeChunk(offset, visit.data[offset : offset + CHUNK])
    await file.close()


def run(visit: Visit) -> Seen:
    """:func:`go` in a reactor of its own. :raises PipeError: see there."""
    from conch_pipe.cli.connecting import in_reactor

    return in_reactor(lambda reactor: go(reactor, visit))
