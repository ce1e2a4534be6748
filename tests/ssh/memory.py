"""A tree of files in memory to put into, a realm and checker over it, and a server to run by hand.

``python -m tests.ssh.memory PORT [LIMIT [PRESET]]`` serves it on 127.0.0.1 for real clients: user "ann", PASSWORD
below, files of at most LIMIT bytes, and all algorithms of PRESET whatever the client has; 0 is any free port, and it is
printed.
"""

from __future__ import annotations

import stat
from typing import Any

from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.filetransfer import SFTPError
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, succeed
from twisted.python.components import registerAdapter
from zope.interface import implementer

from conch_pipe.ssh.interfaces import FileSystemStatus, IConnectionListener, IPasswordAttempt, IPutFile, IPutServer
from tests.conftest import CANARY

PASSWORD = b"secret " + CANARY.encode()


@implementer(IPutFile)
class MemoryFile:
    """Bytes; ``fate`` says how it ended: "open", "closed" or "aborted: why"."""

    def __init__(self, tree: MemoryTree, path: bytes) -> None:
        self.tree = tree
        self.path = path
        self.data = bytearray()
        self.fate = "open"
        self.lagging = False
        self.pending: list[Deferred[None]] = []
        self.catching_up: list[Deferred[None]] = []
        self.attributes: list[dict[str, Any]] = []
        self.synced = 0

    def writeChunk(self, offset: int, data: memoryview) -> Deferred[None] | None:
        assert self.fate == "open", "a write after the end"
        refusal = self.tree.refuse_writes
        if refusal is not None:
            raise refusal
        if offset + len(data) > self.tree.limit:
            raise SFTPError(4, f"larger than {self.tree.limit} bytes")
        if len(self.data) < offset:
            self.data += bytes(offset - len(self.data))
        self.data[offset : offset + len(data)] = data
        if self.tree.slow:
            self.pending.append(Deferred())
            return self.pending[-1]
        return None

    def writeChunks(self, offset: int, pieces: list[memoryview]) -> Deferred[None] | None:
        return self.writeChunk(offset, memoryview(b"".join(pieces)))

    def caughtUp(self) -> Deferred[None]:
        self.catching_up.append(Deferred())
        return self.catching_up[-1]

    def sync(self) -> Deferred[None]:
        self.synced += 1
        return succeed(None)

    def close(self) -> Deferred[None] | None:
        assert self.fate == "open", "closed after " + self.fate
        self.fate = "closed"
        self.tree.files[self.path] = self
        if self.tree.refuse_close is not None:
            raise self.tree.refuse_close
        return self.tree.closing

    def abort(self, reason: str) -> None:
        assert self.fate == "open", "aborted after " + self.fate
        self.fate = "aborted: " + reason

    def readChunk(self, offset: int, length: int) -> bytes:
        raise AssertionError("nobody reads")

    def getAttrs(self) -> dict[str, Any]:
        return {"size": len(self.data), "permissions": stat.S_IFREG | 0o200}

    def setAttrs(self, attrs: dict[str, Any]) -> None:
        self.attributes.append(attrs)


@implementer(IPutServer)
class MemoryTree:
    """Two folders, /in and /out; files only in /in. Public attributes make it misbehave."""

    def __init__(self, avatar: Any = None) -> None:
        self.files: dict[bytes, MemoryFile] = {}
        self.opened: list[MemoryFile] = []
        self.limit = 8 * 2**20  # bytes of one file
        self.slow = False  # writeChunk returns Deferreds, kept in MemoryFile.pending
        self.refuse_writes: Exception | None = None
        self.refuse_close: Exception | None = None
        self.closing: Deferred[None] | None = None
        self.opening: Deferred[None] | None = None
        self.lost: list[str] = []
        self.calls: list[tuple[Any, ...]] = []
        self.rows = 0
        if avatar is not None:
            avatar.trees.append(self)
            self.limit = avatar.limit or self.limit

    def _at(self, path: bytes) -> list[bytes]:
        parts: list[bytes] = []
        for part in path.split(b"/"):
            if part == b"..":
                parts = parts[:-1]
            elif part not in (b"", b"."):
                parts.append(part)
        return parts

    def gotVersion(self, otherVersion: int, extData: dict[bytes, bytes]) -> dict[bytes, bytes]:
        self.calls.append(("gotVersion", otherVersion, extData))
        return {}

    def openFile(self, filename: bytes, flags: int, attrs: dict[str, Any]) -> Any:
        self.calls.append(("openFile", filename, flags, attrs))
        parts = self._at(filename)
        if not flags & 2:
            raise SFTPError(3, "files can only be put here")
        if len(parts) != 2 or parts[0] != b"in":
            raise SFTPError(3, "put only into /in")
        file = MemoryFile(self, b"/".join(parts))
        self.opened.append(file)
        if self.opening is not None:
            return self.opening.addCallback(lambda _: file)
        return file

    def removeFile(self, filename: bytes) -> None:
        self.calls.append(("removeFile", filename))
        if b"/".join(self._at(filename)) not in self.files:
            raise SFTPError(2, "no such file")
        raise SFTPError(3, "nothing can be removed")

    def renameFile(self, oldpath: bytes, newpath: bytes) -> None:
        self.calls.append(("renameFile", oldpath, newpath))
        old = b"/".join(self._at(oldpath))
        if old not in self.files:
            raise SFTPError(2, "no such file")
        self.files[b"/".join(self._at(newpath))] = self.files.pop(old)

    posixRename = renameFile

    def makeDirectory(self, path: bytes, attrs: dict[str, Any]) -> None:
        raise SFTPError(3, "no folder can be made")

    def removeDirectory(self, path: bytes) -> None:
        raise SFTPError(3, "no folder can be removed")

    def openDirectory(self, path: bytes) -> Any:
        self.calls.append(("openDirectory", path))
        parts = self._at(path)
        if parts not in ([], [b"in"], [b"out"]):
            raise SFTPError(2, "no such folder")
        if not parts:
            return [(name, b"dr-xr-xr-x 1 0 0 0 Jan 1 00:00 " + name, self._folder()) for name in (b"in", b"out")]
        rows = [name.rpartition(b"/")[2] for name in self.files] + [b"row%d" % n for n in range(self.rows)]
        return [(name, b"--w------- 1 0 0 0 Jan 1 00:00 " + name, {"size": 1}) for name in rows]

    def _folder(self) -> dict[str, Any]:
        return {"size": 0, "uid": 0, "gid": 0, "permissions": stat.S_IFDIR | 0o755, "atime": 0, "mtime": 0}

    def getAttrs(self, path: bytes, followLinks: bool) -> dict[str, Any]:
        self.calls.append(("getAttrs", path, followLinks))
        parts = self._at(path)
        if parts in ([], [b"in"], [b"out"]):
            return self._folder()
        file = self.files.get(b"/".join(parts))
        if file is None:
            raise SFTPError(2, "no such file")
        return {**self._folder(), "size": len(file.data), "permissions": stat.S_IFREG | 0o200}

    def setAttrs(self, path: bytes, attrs: dict[str, Any]) -> None:
        self.calls.append(("setAttrs", path, attrs))

    def readLink(self, path: bytes) -> bytes:
        raise SFTPError(3, "there are no links")

    def makeLink(self, linkPath: bytes, targetPath: bytes) -> None:
        raise SFTPError(3, "no link can be made")

    def realPath(self, path: bytes) -> bytes:
        return b"/" + b"/".join(self._at(path))

    def extendedRequest(self, extendedName: bytes, extendedData: bytes) -> bytes:
        raise AssertionError("not called")

    def fileSystemStatus(self, path: bytes) -> FileSystemStatus:
        return FileSystemStatus(4096, 1000, 900, 100, 90)

    def channelLost(self, reason: str) -> None:
        self.lost.append(reason)


class Avatar:
    """Who logged in."""

    def __init__(self, name: bytes, peer: Any) -> None:
        self.name = name
        self.peer = peer
        self.trees: list[MemoryTree] = []
        self.limit: int | None = None
        self.logged_out = 0


registerAdapter(MemoryTree, Avatar, IPutServer)


@implementer(IRealm)
class Realm:
    """Remembers avatars."""

    def __init__(self, limit: int | None = None) -> None:
        self.avatars: list[Avatar] = []
        self.limit = limit

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        avatar = Avatar(avatarId, mind)
        avatar.limit = self.limit
        self.avatars.append(avatar)

        def logout() -> None:
            avatar.logged_out += 1

        return IConchUser, avatar, logout


class Checker:
    """Accepts PASSWORD; ``later`` holds Deferreds when it is a list."""

    credentialInterfaces = (IPasswordAttempt,)

    def __init__(self) -> None:
        self.attempts: list[Any] = []
        self.later: list[Deferred[None]] | None = None
        self.fault: Exception | None = None

    def requestAvatarId(self, credentials: Any) -> Any:
        self.attempts.append(credentials)
        if self.fault is not None:
            raise self.fault

        def decide(_: object = None) -> bytes:
            if credentials.password != PASSWORD:
                raise UnauthorizedLogin("wrong")
            return credentials.username

        if self.later is None:
            return decide()
        self.later.append(Deferred())
        return self.later[-1].addCallback(decide)


@implementer(IConnectionListener)
class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.opened_as: list[str] = []
        self.refusals: list[str] = []
        self.endings: list[str] = []
        self.disagreements: list[tuple[str, ...]] = []
        self.lessons: list[tuple[str, str, list[str]]] = []

    def opened(self, session: str, address: str, port: int) -> None:
        self.opened_as.append(session)

    def refused(self, address: str, reason: str) -> None:
        self.refusals.append(reason)

    def disagreed(self, address: str, banner: str, what: str, client: str, server: str) -> None:
        self.disagreements.append((address, banner, what, client, server))

    def learnt(self, session: str, address: str, host_keys: list[str]) -> None:
        self.lessons.append((session, address, host_keys))

    def closed(self, session: str, address: str, seconds: float, reason: str) -> None:
        self.endings.append(reason)


class Door:
    """A factory with all its parts, for tests and for real clients; ``door`` is for PutFactory.

    Nobody is dropped at random unless ``chance`` says so.
    """

    def __init__(self, keys: list[Any], clock: Any, limits: Any = None, limit: int | None = None, **door: Any) -> None:
        from conch_pipe.ssh.server.factory import PutFactory

        self.clock = clock
        self.realm = Realm(limit)
        self.checker = Checker()
        self.listener = Listener()
        self.portal = Portal(self.realm)
        self.portal.registerChecker(self.checker, IPasswordAttempt)
        self.factory = PutFactory(
            self.portal, keys, self.listener, clock, limits, **{"chance": lambda: 0.9999999, **door}
        )

    @property
    def tree(self) -> MemoryTree:
        return self.realm.avatars[-1].trees[-1]


def main() -> None:
    import sys
    import tempfile
    from pathlib import Path

    from twisted.internet import reactor, task
    from twisted.python import log

    from conch_pipe.ssh.limits import Limits
    from conch_pipe.ssh.server import hostkeys
    from conch_pipe.ssh.transport.algorithms import SERVER
    from conch_pipe.ssh.transport.tcp import hasten

    log.startLogging(sys.stderr, setStdout=False)
    with tempfile.TemporaryDirectory() as folder:
        keys = []
        for kind in ("ed25519", "rsa"):
            hostkeys.generate(Path(folder, kind), kind)
            keys.append(hostkeys.load(Path(folder, kind)))
    preset = SERVER[sys.argv[3] if len(sys.argv) > 3 else "default-2026"]
    limits = Limits(kexinit_wait_s=0) if len(sys.argv) > 3 else Limits()
    door = Door(keys, reactor, limits, int(sys.argv[2]) if len(sys.argv) > 2 else None, algorithms=preset)
    seen: set[int] = set()

    def report() -> None:
        for avatar in door.realm.avatars:
            for tree in avatar.trees:
                for file in tree.opened:
                    if file.fate != "open" and id(file) not in seen:
                        seen.add(id(file))
                        print("FILE", file.path, len(file.data), file.fate, flush=True)
                if tree.lost and id(tree) not in seen:
                    seen.add(id(tree))
                    print("LOST", tree.lost, [c for c in tree.calls], flush=True)
        while door.listener.endings:
            print("END", door.listener.endings.pop(), door.listener.refusals, flush=True)

    task.LoopingCall(report).start(0.1)
    port = reactor.listenTCP(int(sys.argv[1]), door.factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    hasten(port)
    print("PORT", port.getHost().port, flush=True)
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
