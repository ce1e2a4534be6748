"""A server's messages after our client has logged in: its channel, its windows, its SFTP."""

from __future__ import annotations

import tempfile

from twisted.conch.ssh.filetransfer import SFTPError

from conch_pipe.ssh.client.errors import ClientError
from conch_pipe.ssh.fields import Malformed, string, u32
from conch_pipe.ssh.sftp.wire import Type
from tests.fuzz.messages import MESSAGES
from tests.fuzz.meters import Lines
from tests.fuzz.targets import in_messages, some_messages
from tests.ssh.sftp_peer import VERSION, Outcome, reply, status
from tests.ssh.test_client_connection import THEIRS, Channel

_file = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
_file.write(bytes(200_000))
_file.flush()


def _data(*packets: bytes) -> tuple[int, bytes]:
    return 94, u32(0) + string(b"".join(packets))


def seeds() -> list[bytes]:
    """An ordinary beginning, a put, and every message of the connection protocol."""
    begin = [(91, u32(0) + u32(THEIRS) + u32(2**21) + u32(32_768)), (99, u32(0)), _data(VERSION)]
    put = [
        _data(reply(Type.HANDLE, 1, string(b"h"))),
        (93, u32(0) + u32(2**20)),
        _data(*(status(n) for n in range(2, 9))),
    ]
    odd = [[(number, b"".join(fields))] for number in range(80, 101) for fields in MESSAGES.get(number, [])]
    return [
        b"\0" + in_messages(begin),
        b"\1" + in_messages(put),
        b"\3" + in_messages(put),
        *(bytes((how,)) + in_messages(each) for how in range(2) for each in odd),
    ]


def one(data: bytes) -> None:
    """It goes on, or ends with one error that all who wait are told; never more is sent than the window takes."""
    if not data:
        return
    with Lines() as lines:
        channel = Channel(window=300 if data[0] & 2 else 2**21, started=bool(data[0] & 1))
        outcomes = [channel.ready]
        if data[0] & 1:
            outcomes.append(Outcome(channel.sftp.put(_file.fileno(), b"/a", 200_000)))
            outcomes.append(Outcome(channel.sftp.listing(b"/")))
        for number, body in some_messages(data[1:]):
            if channel.below.failed:
                break
            try:
                channel.hear(number, body)
            except Malformed:
                break
        channel.connection.serviceStopped()
        for outcome in outcomes:
            assert outcome.fired == 1
            assert outcome.error is None or isinstance(outcome.error, ClientError | SFTPError), repr(outcome.error)
        assert len(channel.below.failed) <= 1
        assert channel.clock.getDelayedCalls() == []
        assert sum(len(body) for _, body in channel.below.sent) < 400_000
        assert lines.take() == []
