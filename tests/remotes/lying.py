"""An SSH and SFTP server, made of our own, whose answers are scripted: it refuses, lies, stalls and changes its keys.

An attribute of :class:`Liar` is one lie; without any it is an honest server with the folders / , /home and /home/in,
where /home is the login folder.
"""

from __future__ import annotations

import posixpath
import stat
from collections import Counter
from typing import Any

from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.filetransfer import FXF_TRUNC, SFTPError
from twisted.conch.ssh.keys import Key
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.python.components import registerAdapter
from zope.interface import implementer

from conch_pipe.ssh.fields import Reader, string, u32
from conch_pipe.ssh.interfaces import FileSystemStatus, IPasswordAttempt, IPutFile, IPutServer
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server.auth import PasswordAttempt, PasswordAuth
from conch_pipe.ssh.server.connection import PutConnection
from conch_pipe.ssh.server.factory import PutFactory
from conch_pipe.ssh.server.offers import offer
from conch_pipe.ssh.server.transport import PutTransport
from conch_pipe.ssh.sftp import wire
from conch_pipe.ssh.sftp.server import SFTPServer
from conch_pipe.ssh.sftp.session import EXTENSIONS
from conch_pipe.ssh.transport.algorithms import SERVER, Algorithms
from tests.ssh.memory import PASSWORD, Listener
from tests.ssh.pair import host_key

FAILURE = SFTPError(4, "Failure")
DENIED = SFTPError(3, "Permission denied")
MISSING = SFTPError(2, "No such file")


class Liar:
    """One server; calling it makes the protocol of one connection.

    :ivar refuse: operation ("realpath", "stat", "open", "close", "rename", "posix_rename", "remove", "statvfs") or
        (operation, file name) → the error it is answered with.
    :ivar silent: operations (also "write") or (operation, file name) that are never answered.
    :ivar write_error: what the WRITE after ``good_writes`` of them is refused with; those that come at a time are one.
    :ivar drip_s: each WRITE is answered so much later.
    :ivar lost: bytes at the end of each file that are acknowledged and dropped.
    :ivar told: file name → the size that STAT tells.
    :ivar hashed: what check-file answers with; None: it is not offered.
    :ivar raw: type of a request → bytes behind its request id, sent for an answer: a whole body with its type.
    :ivar login: "password", "keyboard" (-interactive alone), "change" (of the password), "partial", "refuse", "leave",
        "echo" (the password, and goodbye), "silent".
    :ivar rekey_key: the host key after the first key exchange.
    :ivar files: path → content, of files whose CLOSE was answered well and of those that are open or cut.
    """

    def __init__(
        self,
        clock: Any,
        key: Key | None = None,
        limits: Limits | None = None,
        algorithms: Algorithms = SERVER["default-2026"],
        **lies: Any,
    ) -> None:
        self.clock = clock
        self.key = key or host_key()
        self.refuse: dict[Any, SFTPError] = {}
        self.silent: set[Any] = set()
        self.good_writes = 0
        self.write_error: SFTPError | None = None
        self.drip_s = 0.0
        self.lost = 0
        self.told: dict[bytes, int | None] = {}
        self.hashed: bytes | None = None
        self.free = FileSystemStatus(4096, 1_000_000, 900_000, 1000, 900)
        self.extensions = dict(EXTENSIONS)
        self.raw: dict[int, bytes] = {}
        self.login = "password"
        self.rekey_key: Key | None = None
        self.folders = {b"/", b"/home", b"/home/in"}
        self.files: dict[bytes, bytearray] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.logins: Counter[str] = Counter()
        self.writes = 0
        self.sizes: list[int] = []  # of WRITEs
        self.connections: list[PutTransport] = []
        for name, lie in lies.items():
            assert hasattr(self, name), name
            setattr(self, name, lie)
        portal = Portal(_Realm(self))
        portal.registerChecker(_Checker(), IPasswordAttempt)
        self.factory = _Factory(portal, [self.key], Listener(), clock, limits, algorithms=algorithms, chance=lambda: 1)
        self.factory.liar = self

    def __call__(self) -> Any:
        """A connection."""
        return self.factory.buildProtocol(IPv4Address("TCP", "198.51.100.9", 50000))

    def answer(self, operation: str, path: bytes = b"") -> Deferred[Any] | None:
        """Refuse, never answer, or go on with None."""
        self.asked.append((operation, path))
        named = (operation, posixpath.basename(path))
        for one in (operation, named):
            if one in self.refuse:
                error = self.refuse[one]
                raise SFTPError(error.code, error.message)
            if one in self.silent:
                return Deferred()
        return None

    def operations(self) -> list[str]:
        """What was asked, without paths."""
        return [operation for operation, _ in self.asked]


@implementer(IRealm)
class _Realm:
    def __init__(self, liar: Liar) -> None:
        self.liar = liar

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        return IConchUser, _Avatar(self.liar), lambda: None


class _Avatar:
    def __init__(self, liar: Liar) -> None:
        self.liar = liar


class _Checker:
    credentialInterfaces = (IPasswordAttempt,)

    def requestAvatarId(self, credentials: Any) -> bytes:
        if credentials.password != PASSWORD:
            raise UnauthorizedLogin
        return credentials.username


class _Factory(PutFactory):
    liar: Liar

    def _welcome(self, address: str, port: int, place: Any) -> PutTransport:
        usual = super()._welcome(address, port, place)
        del self._live[usual]
        connection = _Transport(usual.peer, self._offers.to(address), self.limits, self._clock)
        connection.factory = self
        self._live[connection] = place
        self.liar.connections.append(connection)
        return connection


class _Transport(PutTransport):
    factory: _Factory

    def begin_exchange(self, agreed: Any, transcript: Any) -> Any:
        other = self.factory.liar.rekey_key
        if self.sessionID is not None and other is not None:
            self._signers = offer(SERVER["default-2026"], [other]).signers
        return super().begin_exchange(agreed, transcript)

    def allowed(self, number: int) -> bool:
        return super().allowed(number) or (number == 61 and self.state() == "login")

    def setService(self, service: Any) -> None:
        if type(service) is PasswordAuth:
            service = _Auth()
        elif type(service) is PutConnection:
            service = _Connection()
        super().setService(service)


class _Auth(PasswordAuth):
    """What the server thinks of a login."""

    transport: _Transport
    user = b""

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        liar, send = self.transport.factory.liar, self.transport.sendPacket
        reader = Reader(packet)
        if messageNum == 61:
            assert reader.u32() == 1
            self._decide(reader.string())
            return
        self.user, _, method = reader.string(), reader.string(), reader.string().decode()
        liar.logins[method] += 1
        if liar.login == "password":
            super().packetReceived(messageNum, packet)
        elif liar.login == "keyboard":
            if method == "keyboard-interactive":
                send(60, string(b"") + string(b"") + string(b"") + u32(1) + string(b"Password: ") + b"\0")
            else:
                send(51, string(b"keyboard-interactive") + b"\0")
        elif liar.login == "change":
            send(60, string(b"Your password has expired") + string(b"en"))
        elif liar.login == "partial":
            send(51, string(b"publickey,hostbased") + b"\1")
        elif liar.login == "refuse":
            send(51, string(b"password") + b"\0")
        elif liar.login == "leave":
            self.transport.loseConnection()
        elif liar.login == "echo":
            reader.flag()
            self.transport.sendDisconnect(14, b"wrong password: " + reader.string())

    def _decide(self, password: bytes) -> None:
        self.transport.login.checking = True
        Deferred.fromCoroutine(self._check(PasswordAttempt(self.user, password, self.transport.peer)))


class _Connection(PutConnection):
    transport: _Transport

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        super().packetReceived(messageNum, packet)
        for channel in self.channels.values():
            if type(channel.server) is SFTPServer:  # just begun, and has heard nothing
                liar, limits = self.transport.factory.liar, self.transport.limits
                channel.server = _SFTP(IPutServer(channel.avatar), channel, self.transport.clock, limits)
                channel.server.liar = liar


class _SFTP(SFTPServer):
    liar: Liar

    def _send(self, reply: bytes) -> None:
        if reply == wire.version(EXTENSIONS):
            reply = wire.version(self.liar.extensions)
        super()._send(reply)

    def write_begins(self, request: int, handle: bytes, offset: int, size: int) -> bool:
        self.liar.sizes.append(size)
        return super().write_begins(request, handle, offset, size)

    def handle(self, kind: int, request: int, reader: Reader) -> bytes | None:
        liar = self.liar
        if kind in liar.raw:
            body = liar.raw[kind]
            return u32(len(body) + 4) + body[:1] + u32(request) + body[1:]
        if kind == wire.Type.EXTENDED and liar.hashed is not None:
            ahead = Reader(reader.rest())
            name = ahead.string()
            if name == b"check-file-name":
                liar.asked.append(("check_file", ahead.string()))
                return wire.extended_reply(request, string(b"sha256") + liar.hashed)
            rest = ahead.rest()
            return super().handle(kind, request, Reader(string(name) + rest))
        return super().handle(kind, request, reader)


@implementer(IPutServer)
class _Tree:
    def __init__(self, avatar: _Avatar) -> None:
        self.liar = avatar.liar

    def _at(self, path: bytes) -> bytes:
        return posixpath.normpath(posixpath.join(b"/home", path)) or b"/"

    def gotVersion(self, otherVersion: int, extData: Any) -> dict[bytes, bytes]:
        return {}

    def channelLost(self, reason: str) -> None:
        pass

    def realPath(self, path: bytes) -> Any:
        return self.liar.answer("realpath", path) or self._at(path)

    def getAttrs(self, path: bytes, followLinks: bool) -> Any:
        liar, at = self.liar, self._at(path)
        never = liar.answer("stat", path)
        if never is not None:
            return never
        if at in liar.folders:
            return {"permissions": stat.S_IFDIR | 0o755, "size": 4096}
        if at not in liar.files:
            raise SFTPError(2, "No such file")
        size = liar.told.get(posixpath.basename(at), len(liar.files[at]))
        mode = {"permissions": stat.S_IFREG | 0o644}
        return mode if size is None else mode | {"size": size}

    def openFile(self, path: bytes, flags: int, attrs: Any) -> Any:
        liar, at = self.liar, self._at(path)
        never = liar.answer("open", path)
        if never is not None:
            return never
        if posixpath.dirname(at) not in liar.folders:
            raise SFTPError(2, "No such file")
        if at in liar.folders:
            raise SFTPError(4, "Failure")
        if flags & FXF_TRUNC or at not in liar.files:
            liar.files[at] = bytearray()
        return _File(liar, at)

    def removeFile(self, path: bytes) -> Any:
        never = self.liar.answer("remove", path)
        if never is not None:
            return never
        if self.liar.files.pop(self._at(path), None) is None:
            raise SFTPError(2, "No such file")
        return None

    def renameFile(self, old: bytes, new: bytes) -> Any:
        never = self.liar.answer("rename", old)
        if never is not None:
            return never
        if self._at(new) in self.liar.files:
            raise SFTPError(4, "Failure")
        return self._move(old, new)

    def posixRename(self, old: bytes, new: bytes) -> Any:
        return self.liar.answer("posix_rename", old) or self._move(old, new)

    def _move(self, old: bytes, new: bytes) -> None:
        self.liar.files[self._at(new)] = self.liar.files.pop(self._at(old))

    def fileSystemStatus(self, path: bytes) -> Any:
        return self.liar.answer("statvfs", path) or self.liar.free

    def makeDirectory(self, path: bytes, attrs: Any) -> Any:
        raise AssertionError("a folder was to be made")

    def openDirectory(self, path: bytes) -> Any:
        raise AssertionError("a folder was to be listed")


registerAdapter(_Tree, _Avatar, IPutServer)


@implementer(IPutFile)
class _File:
    lagging = False

    def __init__(self, liar: Liar, path: bytes) -> None:
        self.liar = liar
        self.path = path

    def writeChunks(self, offset: int, pieces: list[memoryview]) -> Any:
        return self.writeChunk(offset, memoryview(b"".join(pieces)))

    def writeChunk(self, offset: int, data: memoryview) -> Any:
        liar, name = self.liar, posixpath.basename(self.path)
        if "write" in liar.silent or ("write", name) in liar.silent:
            return Deferred()
        liar.writes += 1
        if liar.write_error is not None and liar.writes > liar.good_writes:
            raise SFTPError(liar.write_error.code, liar.write_error.message)
        content = liar.files[self.path]
        if len(content) < offset:
            content += bytes(offset - len(content))
        content[offset : offset + len(data)] = data
        if not liar.drip_s:
            return None
        later: Deferred[None] = Deferred()
        liar.clock.callLater(liar.drip_s, later.callback, None)
        return later

    def close(self) -> Any:
        liar = self.liar
        never = liar.answer("close", self.path)
        if liar.lost:
            del liar.files[self.path][-liar.lost :]
        return never

    def abort(self, reason: str) -> None:
        pass

    def getAttrs(self) -> Any:
        raise SFTPError(8, "no FSTAT here")

    def setAttrs(self, attrs: Any) -> None:
        raise SFTPError(3, "Permission denied")
