"""A server's SFTP stream, while the client waits for a reply of every kind."""

from __future__ import annotations

import os
import tempfile

from twisted.conch.ssh.filetransfer import SFTPError

from conch_pipe.ssh.client.errors import ClientError, ConnectionEnded
from conch_pipe.ssh.fields import string, u32, u64
from conch_pipe.ssh.sftp.wire import Type
from tests.fuzz.meters import Lines
from tests.ssh.sftp_peer import ByHand, Outcome, reply, status, version

_HELLO = version(
    b"posix-rename@openssh.com", b"fsync@openssh.com", b"statvfs@openssh.com", b"limits@openssh.com", b"check-file"
)
_file = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
_file.write(bytes(100_000))
_file.flush()


def _ask(hand: ByHand) -> list[Outcome]:
    """Requests 1 to 13 (1 is the one for limits), and a file that is being sent."""
    client = hand.client
    return [
        Outcome(asked)
        for asked in (
            client.open(b"/a", 0x1A),
            client.stat(b"/a"),
            client.readdir(b"h"),
            client.realpath(b"."),
            client.statvfs(b"/"),
            client.check_file(b"/a"),
            client.rename(b"/a", b"/b"),
            client.fsync(b"h"),
            client.listing(b"/"),
            client.put(_file.fileno(), b"/c", 50_000, durable=True),
            client.write(b"h", _file.fileno(), 100_000),
        )
    ]


def seeds() -> list[bytes]:
    """Good replies to all, alone and together, with a greeting and without."""
    entry = string(b"a.csv") + string(b"-rw-r--r-- 1 0 0 5 Jan 1 00:00 a.csv") + u32(0xF) + u64(5) + u32(1) * 5
    good = [
        reply(Type.EXTENDED_REPLY, 1, u64(2**18), u64(2**18), u64(2**17), u64(9)),
        reply(Type.HANDLE, 2, string(b"handle")),
        reply(Type.ATTRS, 3, u32(0xF) + u64(5) + u32(1) * 5),
        reply(Type.NAME, 4, u32(2), entry * 2),
        reply(Type.NAME, 5, u32(1), string(b"/") * 2, u32(0)),
        reply(Type.EXTENDED_REPLY, 6, u64(1) * 11),
        reply(Type.EXTENDED_REPLY, 7, string(b"sha256"), bytes(32)),
        status(8),
        status(9, 4, b"no"),
        reply(Type.HANDLE, 10, string(b"folder")),
        reply(Type.HANDLE, 11, string(b"file")),
        *(status(number) for number in range(12, 20)),
    ]
    found = [b"\0" + each for each in good] + [b"\0" + b"".join(good), b"\1" + _HELLO, b"\1" + _HELLO + b"".join(good)]
    return [
        *found,
        b"\0" + b"".join(reversed(good)),
        b"\0" + status(4, 1),
        b"\0" + reply(Type.ATTRS, 3, b"\x80" + bytes(7)),
    ]


def one(data: bytes) -> None:
    """Every question has one outcome, and nothing but a refusal or an error of the session's."""
    if not data:
        return
    with Lines() as lines:
        hand = ByHand(None if data[0] & 1 else _HELLO)
        outcomes = [] if data[0] & 1 else _ask(hand)
        half = 1 + len(data) // 2
        hand.client.dataReceived(data[1:half])
        hand.client.dataReceived(data[half:])
        if data[0] & 1 and hand.client.over is None and hand.greeting.fired:
            outcomes = _ask(hand)
        hand.client.connectionLost(ConnectionEnded("over"))
        for outcome in (hand.greeting, *outcomes):
            assert outcome.fired == 1
            assert outcome.error is None or isinstance(outcome.error, SFTPError | ClientError), repr(outcome.error)
        assert hand.clock.getDelayedCalls() == []
        assert len(hand.pipe.sent) < 400_000
        assert os.fstat(_file.fileno()).st_size == 100_000
        assert lines.take() == []
