"""What real clients send for an ordinary put, and the answers that make them report success.

Recorded from runs against Conch 26.10 or read in the clients' sources (research/features.md 4A, conch.md 2.8). Every
conversation is held twice: with the in-memory intake and with the real one on a disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import maybeDeferred

from conch_pipe.errors import Code, PipeError
from conch_pipe.intake.intake import Intake, Limits, TemporaryNames
from conch_pipe.objects.memory import MemoryObjects
from tests.sftp.conftest import APPEND, CREAT, EXCL, PUT, TRUNC, WRITE, Service
from tests.sftp.fakes import LIMIT

MISSING, DENIED, FAILURE, UNSUPPORTED = 2, 3, 4, 8
OK = "ok"
DIR = "dir"
DATA = b"id,name\n" + b"".join(b"%d,somebody\n" % number for number in range(40))  # 500 bytes or so
HALF = len(DATA) // 2
TIMES = {"atime": 1_700_000_000, "mtime": 1_700_000_000}


class RealService(Service):
    """The same with the real intake over a spool on disk."""

    def __init__(self, folder: Any) -> None:
        super().__init__()
        spool = folder / "spool"
        spool.mkdir()
        self.objects = MemoryObjects(folder)
        self.intake = Intake(  # type: ignore[assignment]
            spool,
            self.objects,
            self.uploads,
            self.events,
            self.clock,
            maybeDeferred,
            {"orgShifts": object(), "orgTransactions": object()},
            Limits(max_bytes=LIMIT, free_bytes=0, free_share=0, free_inodes_share=0),
            TemporaryNames(),
            check_bytes,
        )
        self.realm._intake = self.intake

    @property
    def recorded(self) -> list[tuple[str, str, bytes]]:
        return [(one.schema, one.name, self.objects.stored[one.object_key]) for one in self.uploads.records]


def check_bytes(name: str, head: bytes, tail: bytes, size: int, schema: Any) -> None:
    if b"BAD" in head:
        raise PipeError(Code.BAD_FILE, "no header")


@pytest.fixture(params=["memory", "real"])
def service(request, tmp_path):
    return Service() if request.param == "memory" else RealService(tmp_path)


class Talk:
    """Holds one conversation: each step is a request of the client and the answer it needs."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.connections = {0: service.login()}
        self.pair = self.connections[0].channel()
        self.handle: Any = None

    def on(self, connection: int) -> None:
        """Another connection of the same client."""
        if connection not in self.connections:
            self.connections[connection] = self.service.login()
        self.pair = self.connections[connection].channel()

    def hold(self, steps: list[tuple[Any, ...]]) -> None:
        for step in steps:
            verb, *rest = step
            if verb == "on":
                self.on(*rest)
                continue
            *arguments, expected = rest
            answer = self.answer(getattr(self, verb), arguments)
            assert answer == expected, f"{verb} {arguments}: {answer} instead of {expected}"

    def answer(self, request: Callable[..., Any], arguments: list[Any]) -> Any:
        try:
            return request(*arguments)
        except SFTPError as error:
            return error.code
        except NotImplementedError:
            return UNSUPPORTED

    def realpath(self, path: bytes) -> str:
        return self.pair.ask(self.pair.client.realPath(path))

    def stat(self, path: bytes, follow: bool = True) -> Any:
        attrs = self.pair.ask(self.pair.client.getAttrs(path, follow))
        return DIR if attrs["permissions"] & 0o170000 == 0o040000 else attrs["size"]

    lstat = stat

    def fstat(self) -> int:
        return self.pair.ask(self.handle.getAttrs())["size"]

    def list(self, path: bytes) -> list[bytes]:
        return self.pair.names(path)

    def open(self, path: bytes, flags: int, attrs: dict[str, int]) -> str:
        self.handle = self.pair.open(path, flags, attrs)
        return OK

    def write(self, offset: int, data: bytes) -> str:
        self.pair.ask(self.handle.writeChunk(offset, data))
        return OK

    def fsetstat(self, attrs: dict[str, int]) -> str:
        self.pair.ask(self.pair.fsetstat(self.handle, attrs))
        return OK

    def setstat(self, path: bytes, attrs: dict[str, int]) -> str:
        self.pair.ask(self.pair.client.setAttrs(path, attrs))
        return OK

    def fsync(self) -> str:
        self.pair.ask(self.pair.client.extendedRequest(b"fsync@openssh.com", self.handle.handle))
        return OK

    def close(self) -> str:
        self.pair.ask(self.handle.close())
        return OK

    def close_and_setstat(self, path: bytes, attrs: dict[str, int]) -> str:
        """Pipelined: the second is sent before the first is answered."""
        closed = self.handle.close()
        self.pair.ask(self.pair.client.setAttrs(path, attrs))
        self.pair.ask(closed)
        return OK

    def rename(self, old: bytes, new: bytes) -> str:
        self.pair.ask(self.pair.client.renameFile(old, new))
        return OK

    def posix_rename(self, old: bytes, new: bytes) -> str:
        self.pair.ask(self.pair.posix_rename(old, new))
        return OK

    def remove(self, path: bytes) -> str:
        self.pair.ask(self.pair.client.removeFile(path))
        return OK

    def mkdir(self, path: bytes) -> str:
        self.pair.ask(self.pair.client.makeDirectory(path, {}))
        return OK

    def statvfs(self, path: bytes) -> str:
        self.pair.ask(self.pair.client.extendedRequest(b"statvfs@openssh.com", NS(path)))
        return OK


A = b"/orgShifts/a.csv"
PART, PARTIAL, LFTP = b"/orgShifts/a.csv.filepart", b"/orgShifts/a.csv.1f2e3d4c.partial", b"/orgShifts/.in.a.csv"
BYTES = [("write", 0, DATA[:HALF], OK), ("write", HALF, DATA[HALF:], OK)]
SIZE = len(DATA)
RENAMED_WINSCP = [
    ("lstat", PART, MISSING),
    ("open", PART, PUT, {"size": SIZE, "permissions": 0o644}, OK),
    *BYTES,
    ("close", OK),
]

PUTS: dict[str, list[tuple[Any, ...]]] = {
    "OpenSSH sftp: cd, put": [
        ("realpath", b".", "/"),
        ("list", b"/", [b"orgShifts", b"orgTransactions"]),
        ("realpath", b"orgShifts", "/orgShifts"),
        ("stat", b"/orgShifts", DIR),
        ("open", A, PUT, {"permissions": 0o644}, OK),
        *BYTES,
        ("close", OK),
    ],
    "OpenSSH sftp host:/orgShifts/ <<< put": [
        ("realpath", b".", "/"),
        ("realpath", b"/orgShifts/", "/orgShifts"),
        ("stat", b"/orgShifts/", DIR),
        ("stat", A, MISSING),
        ("open", A, PUT, {"permissions": 0o644}, OK),
        *BYTES,
        ("close", OK),
    ],
    "OpenSSH sftp put -p, put -f": [
        ("open", A, PUT, {"permissions": 0o644}, OK),
        *BYTES,
        ("fsetstat", TIMES | {"permissions": 0o644}, OK),
        ("fsync", OK),
        ("close", OK),
    ],
    "OpenSSH sftp put -r of a folder named as the schema": [
        ("mkdir", b"/orgShifts", DENIED),
        ("stat", b"/orgShifts", DIR),
        ("open", A, PUT, {"permissions": 0o644}, OK),
        *BYTES,
        ("close", OK),
    ],
    "OpenSSH scp": [
        ("realpath", b".", "/"),
        ("stat", b"/orgShifts", DIR),
        ("open", A, WRITE | CREAT, {"permissions": 0o644}, OK),
        *BYTES,
        ("fsetstat", {"size": SIZE}, OK),
        ("close", OK),
    ],
    "OpenSSH scp to ~/": [
        ("realpath", b"~/orgShifts", "/orgShifts"),
        ("stat", b"~/orgShifts", DIR),
        ("open", b"~/orgShifts/a.csv", WRITE | CREAT, {"permissions": 0o644}, OK),
        *BYTES,
        ("fsetstat", {"size": SIZE}, OK),
        ("close", OK),
    ],
    "WinSCP below 100 KiB": [
        ("realpath", b".", "/"),
        ("lstat", b"/orgShifts", DIR),
        ("list", b"/orgShifts", []),
        ("open", A, WRITE | CREAT | EXCL, {"size": SIZE, "permissions": 0o644}, OK),
        *BYTES,
        ("close_and_setstat", A, TIMES, OK),
        ("list", b"/orgShifts", [b"a.csv"]),
    ],
    "WinSCP from 100 KiB on": [
        ("realpath", b".", "/"),
        ("lstat", A, MISSING),
        *RENAMED_WINSCP,
        ("rename", PART, A, OK),
        ("setstat", A, TIMES, OK),
        ("list", b"/orgShifts", [b"a.csv"]),
    ],
    "FileZilla: browses on one connection, puts on another": [
        ("realpath", b".", "/"),
        ("list", b"/orgShifts", []),
        ("on", 1),
        ("realpath", b".", "/"),
        ("open", A, PUT, {"permissions": 0o644}, OK),
        *BYTES,
        ("close", OK),
        ("stat", A, SIZE),
        ("setstat", A, TIMES, OK),
        ("on", 0),
        ("stat", A, SIZE),
        ("list", b"/orgShifts", []),
    ],
    "PSFTP": [
        ("realpath", b".", "/"),
        ("realpath", b"orgShifts", "/orgShifts"),
        ("list", b"/orgShifts", []),
        ("realpath", A, A.decode()),
        ("open", A, PUT, {"permissions": 0o100644}, OK),
        *BYTES,
        ("close", OK),
    ],
    "PSCP": [
        ("realpath", b".", "/"),
        ("stat", b"orgShifts", DIR),
        ("open", b"orgShifts/a.csv", PUT, {"permissions": 0o644}, OK),
        *BYTES,
        ("fsetstat", TIMES, OK),
        ("close", OK),
    ],
    "paramiko": [
        ("list", b"/", [b"orgShifts", b"orgTransactions"]),
        ("open", A, PUT, {}, OK),
        *BYTES,
        ("close", OK),
        ("stat", A, SIZE),
    ],
    "ssh2-sftp-client put": [
        ("list", b"/", [b"orgShifts", b"orgTransactions"]),
        ("open", A, PUT, {"permissions": 0o666}, OK),
        ("fsetstat", {"permissions": 0o666}, OK),
        *BYTES,
        ("close", OK),
    ],
    "ssh2 fastPut, out of order": [
        ("open", A, PUT, {"permissions": 0o666}, OK),
        ("write", HALF, DATA[HALF:], OK),
        ("write", 100, DATA[100:HALF], OK),
        ("write", 0, DATA[:100], OK),
        ("fsetstat", {"permissions": 0o666}, OK),
        ("close", OK),
    ],
    "JSch": [
        ("realpath", b"", "/"),
        ("stat", A, MISSING),
        ("open", A, PUT, {}, OK),
        *BYTES,
        ("close", OK),
    ],
    "sshj": [
        ("stat", A, MISSING),
        ("open", A, PUT, {}, OK),
        *BYTES,
        ("close", OK),
        ("setstat", A, TIMES | {"permissions": 0o644}, OK),
    ],
    "SSH.NET": [
        ("realpath", b".", "/"),
        ("open", A, PUT, {}, OK),
        ("fstat", 0),
        *BYTES,
        ("close", OK),
    ],
    "Cyberduck": [
        ("realpath", b".", "/"),
        ("list", b"/orgShifts", []),
        ("stat", A, MISSING),
        ("open", A, PUT, {}, OK),
        *BYTES,
        ("close", OK),
        ("stat", A, SIZE),
    ],
    "lftp": [
        ("realpath", b".", "/"),
        ("stat", b"orgShifts", DIR),
        ("stat", b"orgShifts/.", DIR),
        ("open", b"orgShifts/a.csv", PUT, {}, OK),
        *BYTES,
        ("fsetstat", TIMES | {"size": SIZE}, OK),
        ("close", OK),
    ],
    "lftp with temporary names": [
        ("stat", b"/orgShifts/.", DIR),
        ("open", LFTP, PUT, {}, OK),
        *BYTES,
        ("fsetstat", TIMES | {"size": SIZE}, OK),
        ("close", OK),
        ("remove", A, MISSING),
        ("rename", LFTP, A, OK),
    ],
    "rclone, each request on any connection of its pool": [
        ("realpath", b".", "/"),
        ("stat", A, MISSING),
        ("stat", b"/orgShifts", DIR),
        ("on", 1),
        ("open", PARTIAL, PUT, {}, OK),
        *BYTES,
        ("close", OK),
        ("on", 2),
        ("setstat", PARTIAL, TIMES, OK),
        ("on", 0),
        ("stat", PARTIAL, SIZE),
        ("on", 3),
        ("posix_rename", PARTIAL, A, OK),
        ("on", 1),
        ("stat", A, SIZE),
        ("stat", PARTIAL, MISSING),
    ],
    "rclone where posix-rename is switched off": [
        ("open", PARTIAL, PUT, {}, OK),
        *BYTES,
        ("close", OK),
        ("remove", A, MISSING),
        ("rename", PARTIAL, A, OK),
        ("stat", A, SIZE),
    ],
    "rclone --inplace": [
        ("stat", A, MISSING),
        ("open", A, PUT, {}, OK),
        *BYTES,
        ("close", OK),
        ("setstat", A, TIMES, OK),
        ("stat", A, SIZE),
    ],
    "curl": [
        ("realpath", b".", "/"),
        ("open", A, PUT, {"permissions": 0o100644}, OK),
        *BYTES,
        ("close", OK),
    ],
    "asyncssh": [
        ("stat", b"/orgShifts/", DIR),
        ("stat", A, MISSING),
        ("open", A, PUT, {}, OK),
        *BYTES,
        ("close", OK),
    ],
    "sshfs and file managers that ask for room": [
        ("statvfs", b"/orgShifts", OK),
        ("lstat", A, MISSING),
        ("open", A, WRITE | CREAT | EXCL, {"permissions": 0o100644}, OK),
        ("fsetstat", {"size": 0}, OK),
        *BYTES,
        ("close", OK),
    ],
}


@pytest.mark.parametrize("client", PUTS)
def test_an_ordinary_put_ends_as_one_upload(service, client):
    Talk(service).hold(PUTS[client])

    assert service.recorded == [("orgShifts", "a.csv", DATA)]


AGAIN: dict[str, list[tuple[Any, ...]]] = {
    "OpenSSH scp over a longer file": [
        ("open", A, WRITE | CREAT, {}, OK),
        ("write", 0, DATA[:HALF], OK),
        ("fsetstat", {"size": HALF}, OK),
        ("close", OK),
        ("stat", A, HALF),
    ],
    "WinSCP below 100 KiB asks its user": [
        ("open", A, WRITE | CREAT | EXCL, {"size": HALF}, FAILURE),
        ("lstat", A, SIZE),
        ("open", A, PUT, {"size": HALF}, OK),
        ("write", 0, DATA[:HALF], OK),
        ("close_and_setstat", A, TIMES, OK),
    ],
    "WinSCP from 100 KiB on clears the way": [
        ("lstat", A, SIZE),
        ("lstat", PART, MISSING),
        ("open", PART, PUT, {"size": HALF}, OK),
        ("write", 0, DATA[:HALF], OK),
        ("close", OK),
        ("remove", A, OK),
        ("rename", PART, A, OK),
        ("setstat", A, TIMES, OK),
        ("lstat", A, HALF),
    ],
    "Cyberduck opens what exists without CREAT": [
        ("stat", A, SIZE),
        ("open", A, WRITE | TRUNC, {}, OK),
        ("write", 0, DATA[:HALF], OK),
        ("close", OK),
        ("stat", A, HALF),
    ],
    "rclone": [
        ("stat", A, SIZE),
        ("open", PARTIAL, PUT, {}, OK),
        ("write", 0, DATA[:HALF], OK),
        ("close", OK),
        ("on", 1),
        ("posix_rename", PARTIAL, A, OK),
        ("on", 2),
        ("stat", A, HALF),
    ],
}


def test_openssh_reput_is_refused_before_it_sends_anything(service):
    talk = Talk(service)
    talk.hold(PUTS["paramiko"])

    talk.hold([("stat", A, SIZE), ("open", A, WRITE | CREAT | APPEND, {}, UNSUPPORTED)])

    assert service.recorded == [("orgShifts", "a.csv", DATA)]


@pytest.mark.parametrize("client", AGAIN)
def test_the_same_name_again_is_a_second_upload_and_the_first_stays(service, client):
    talk = Talk(service)
    talk.hold(PUTS["paramiko"])

    talk.hold(AGAIN[client])

    assert service.recorded == [("orgShifts", "a.csv", DATA), ("orgShifts", "a.csv", DATA[:HALF])]


BAD = b"BAD" + DATA
REFUSED: dict[str, list[tuple[Any, ...]]] = {
    "lftp's put after a cd that failed, into the root": [
        ("stat", b"orgShift", MISSING),
        ("open", b"a.csv", PUT, {}, DENIED),
    ],
    "WinSCP declares a size above the limit": [
        ("lstat", PART, MISSING),
        ("open", PART, PUT, {"size": LIMIT + 1}, FAILURE),
    ],
    "curl and PSCP, which ignore CLOSE, put a wrong kind of file": [
        ("open", b"/orgShifts/a.xlsx", PUT, {}, FAILURE),
    ],
    "curl --ftp-create-dirs": [
        ("open", b"/orgShifts/2026/a.csv", PUT, {}, MISSING),
        ("mkdir", b"/orgShifts/2026", DENIED),
    ],
    "curl -C -, JSch RESUME": [
        ("stat", A, MISSING),
        ("open", A, WRITE | CREAT, {}, OK),
        ("write", HALF, DATA[HALF:], OK),
        ("close", FAILURE),
    ],
    "paramiko swallows CLOSE and looks at STAT": [
        ("open", A, PUT, {}, OK),
        ("write", 0, BAD, OK),
        ("close", FAILURE),
        ("stat", A, MISSING),
    ],
    "sshj swallows CLOSE and sets times": [
        ("open", A, PUT, {}, OK),
        ("write", 0, BAD, OK),
        ("close", FAILURE),
        ("setstat", A, TIMES, MISSING),
    ],
    "ssh2-sftp-client ignores WRITE and looks at CLOSE": [
        ("open", A, PUT, {}, OK),
        ("write", LIMIT - 1, b"xx", FAILURE),
        ("write", 0, b"x", FAILURE),
        ("setstat", A, {"permissions": 0o666}, MISSING),
        ("close", FAILURE),
    ],
    "rclone removes what it could not finish": [
        ("open", PARTIAL, PUT, {}, OK),
        ("write", 0, BAD, OK),
        ("close", FAILURE),
        ("on", 1),
        ("remove", PARTIAL, MISSING),
        ("stat", A, MISSING),
    ],
    "WinSCP's user cancels": [
        ("open", PART, PUT, {"size": SIZE}, OK),
        ("write", 0, DATA[:HALF], OK),
        ("close", FAILURE),
        ("remove", PART, MISSING),
    ],
    "lftp's put is cut short after it declared the size": [
        ("open", A, PUT, {}, OK),
        ("write", 0, DATA[:HALF], OK),
        ("fsetstat", TIMES | {"size": SIZE}, OK),
        ("close", FAILURE),
        ("stat", A, MISSING),
    ],
    "somebody downloads": [
        ("open", A, 1, {}, DENIED),
    ],
}


@pytest.mark.parametrize("client", REFUSED)
def test_a_refusal_shows_where_the_client_looks_and_leaves_nothing(service, client):
    Talk(service).hold(REFUSED[client])

    assert service.recorded == []
    assert not service.intake.live


def test_winscp_falls_back_to_the_final_name_where_temporary_names_are_off(service):
    """Since 2024 (issue 2277): a refused OPEN of .filepart is followed by one of the file itself."""
    if isinstance(service, RealService):
        service.intake._names = TemporaryNames((), ())
    else:
        service.intake.temporary_names = False

    Talk(service).hold(
        [
            ("lstat", A, MISSING),
            ("lstat", PART, MISSING),
            ("open", PART, PUT, {"size": SIZE}, FAILURE),
            ("open", A, PUT, {"size": SIZE}, OK),
            *BYTES,
            ("close_and_setstat", A, TIMES, OK),
        ]
    )

    assert service.recorded == [("orgShifts", "a.csv", DATA)]
