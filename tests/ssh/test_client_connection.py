"""Our channel at other servers, message by message: windows both ways, and whatever a server should not send."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from conch_pipe.ssh.client.connection import ClientConnection
from conch_pipe.ssh.client.errors import ClientError, ConnectionEnded, NoSFTP, ProtocolBroken, TooLate
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.fields import Malformed, Reader, string, u32
from conch_pipe.ssh.sftp.wire import Type
from tests.ssh.sftp_peer import VERSION, Outcome, reply, status

GLOBAL, GLOBAL_YES, GLOBAL_NO, OPEN, CONFIRM, REFUSE, ADJUST, DATA, EXTENDED, EOF, CLOSE, REQUEST, YES, NO = (
    *(80, 81, 82),
    *range(90, 101),
)
CONTENT = bytes(range(256)) * 4096
THEIRS = 77


class Below:
    """The transport's part, remembering what it was asked."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.failed: list[ClientError] = []
        self.room = 2**30
        self.connection: ClientConnection | None = None

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        self.sent.append((messageType, payload))

    def send_file(self, number: int, head: bytes, fd: int, offset: int, size: int, packet: int) -> None:
        data = head + os.pread(fd, size, offset)
        for at in range(0, len(data), packet):
            self.sendPacket(DATA, u32(number) + string(data[at : at + packet]))

    def fail(self, error: ClientError) -> None:
        self.failed.append(error)
        assert self.connection is not None
        self.connection.ended(error)


class Channel:
    """A connection after login; the test is the server. With ``started`` SFTP has begun."""

    def __init__(
        self,
        window: int = 2**21,
        packet: int = 32_768,
        started: bool = True,
        limits: ClientLimits | None = None,
    ) -> None:
        self.below = Below()
        self.clock = Clock()
        self.connection = self.below.connection = ClientConnection(self.clock, limits or ClientLimits())
        self.connection.transport = self.below
        self.ready = Outcome(self.connection.ready)
        self.connection.serviceStarted()
        if started:
            self.confirm(window, packet)
            self.hear(YES, u32(0))
            self.data(VERSION)
            self.below.sent.clear()

    @property
    def sftp(self):
        return self.connection.sftp

    def hear(self, number: int, *fields: bytes) -> None:
        if number == DATA:
            self.connection.channelData(memoryview(bytes((DATA,)) + b"".join(fields)))
        else:
            self.connection.packetReceived(number, b"".join(fields))
        self.connection.turnEnded()

    def confirm(self, window: int = 2**21, packet: int = 32_768) -> None:
        self.hear(CONFIRM, u32(0), u32(THEIRS), u32(window), u32(packet))

    def data(self, data: bytes) -> None:
        self.hear(DATA, u32(0), string(data))

    def stream(self) -> list[bytes]:
        """Data messages since the last look."""
        found = []
        for number, payload in self.below.sent:
            if number == DATA:
                reader = Reader(payload)
                assert reader.u32() == THEIRS
                found.append(reader.string())
        self.below.sent.clear()
        return found

    def numbers(self) -> list[int]:
        return [number for number, _ in self.below.sent]


@pytest.fixture
def fd(tmp_path) -> Iterator[int]:
    (tmp_path / "local").write_bytes(CONTENT)
    number = os.open(tmp_path / "local", os.O_RDONLY)
    yield number
    os.close(number)


def start_a_put(channel: Channel, fd: int, size: int) -> Outcome:
    put = Outcome(channel.sftp.put(fd, b"/a", size))
    channel.stream()
    channel.data(reply(Type.HANDLE, 1, string(b"h")))
    return put


def end(channel: Channel) -> None:
    channel.connection.serviceStopped()
    assert channel.clock.getDelayedCalls() == []


def test_sftp_begins_with_a_channel_a_subsystem_and_init_without_waiting_between():
    channel = Channel(started=False)
    assert channel.numbers() == [OPEN]

    channel.confirm()
    assert channel.numbers() == [OPEN, REQUEST, DATA]
    channel.hear(YES, u32(0))
    channel.data(VERSION)

    assert channel.ready.value is channel.sftp
    end(channel)


def test_a_file_is_not_sent_further_than_the_servers_window(fd):
    channel = Channel(window=100_000)
    put = start_a_put(channel, fd, 200_000)
    sent = sum(map(len, channel.stream()))
    assert sent <= 100_000

    channel.hear(ADJUST, u32(0), u32(50_000))

    assert 0 < sum(map(len, channel.stream())) <= 150_000 - sent
    end(channel)
    assert isinstance(put.error, ConnectionEnded)


def test_no_message_is_larger_than_the_servers_maximum_packet(fd):
    channel = Channel(packet=1_024)
    start_a_put(channel, fd, 40_000)

    sizes = [len(data) for data in channel.stream()]

    assert max(sizes) == 1_024
    assert sum(sizes) > 40_000
    end(channel)


def test_a_file_is_not_read_while_the_socket_is_behind(fd):
    channel = Channel()
    channel.below.room = 0
    start_a_put(channel, fd, 40_000)
    assert channel.stream() == []

    channel.below.room = 2**20
    channel.connection.resume()

    assert channel.stream() != []
    end(channel)


def test_requests_wait_for_the_window_in_order():
    channel = Channel(window=9)  # INIT
    asked = [Outcome(channel.sftp.stat(b"/%d" % number)) for number in range(3)]
    assert channel.stream() == []

    for _ in range(100):
        channel.hear(ADJUST, u32(0), u32(1))
    stream = b"".join(channel.stream())
    channel.data(status(1, 2) + status(2, 2) + status(3, 2))

    assert [stream[at + 13 : at + 15] for at in (0, 15, 30)] == [b"/0", b"/1", b"/2"]
    assert [one.fired for one in asked] == [1, 1, 1]
    end(channel)


def test_requests_that_the_server_never_takes_end_the_session():
    channel = Channel(window=9, limits=ClientLimits(backlog=100))
    asked = [Outcome(channel.sftp.stat(b"x" * 60)) for _ in range(3)]

    assert all(isinstance(one.error, ConnectionEnded) for one in asked)


def test_our_window_is_opened_again_in_large_steps():
    channel = Channel(limits=ClientLimits(window=100_000))
    for _ in range(2):
        channel.hear(EXTENDED, u32(0), u32(1), string(bytes(30_000)))

    ((number, payload),) = channel.below.sent
    assert (number, Reader(payload[4:]).u32()) == (ADJUST, 60_000 + len(VERSION))
    end(channel)


@pytest.mark.parametrize("said", [b"", b"This account is \xff disabled\r\n"])
def test_a_refused_subsystem_is_no_sftp_with_what_the_server_said(said):
    channel = Channel(started=False)
    channel.confirm()
    channel.hear(EXTENDED, u32(0), u32(1), string(said))

    channel.hear(NO, u32(0))

    assert isinstance(channel.ready.error, NoSFTP)
    assert ("This account is ? disabled" in str(channel.ready.error)) == bool(said)


def test_a_refused_channel_is_no_sftp():
    channel = Channel(started=False)

    channel.hear(REFUSE, u32(0), u32(4), string(b"no more sessions"), string(b""))

    assert isinstance(channel.ready.error, NoSFTP)
    assert "no more sessions" in str(channel.ready.error)


@pytest.mark.parametrize("number", [EOF, CLOSE])
def test_a_channel_that_ends_before_sftp_began_is_no_sftp(number):
    channel = Channel(started=False)
    channel.confirm()

    channel.hear(number, u32(0))

    assert isinstance(channel.ready.error, NoSFTP)


@pytest.mark.parametrize("number", [EOF, CLOSE])
def test_the_end_of_the_channel_fails_what_waits(number, fd):
    channel = Channel()
    put, asked = start_a_put(channel, fd, 100), Outcome(channel.sftp.stat(b"/a"))

    channel.hear(number, u32(0))
    channel.data(status(1))

    assert [(one.fired, type(one.error)) for one in (put, asked)] == [(1, ConnectionEnded)] * 2


def test_a_server_that_never_starts_sftp_is_given_up():
    channel = Channel(started=False)
    channel.confirm()

    channel.clock.advance(31)

    assert isinstance(channel.ready.error, TooLate)


def test_a_broken_sftp_server_ends_the_connection():
    channel = Channel()

    channel.data(status(99))

    assert [type(error) for error in channel.below.failed] == [ProtocolBroken]


# Hostile servers: a row is what the server says when SFTP runs, and it is broken off.

BROKEN = {
    "a second confirmation": (CONFIRM, u32(0) + u32(1) + u32(1) + u32(32_768)),
    "a late refusal": (REFUSE, u32(0) + u32(1) + string(b"") + string(b"")),
    "data for another channel": (DATA, u32(1) + string(b"")),
    "CVE-2026-78662, an end of another channel": (CLOSE, u32(2**32 - 1)),
    "CVE-2026-39834, a window past 2**32": (ADJUST, u32(0) + u32(2**32 - 1)),
    "more data than a message may have": (DATA, u32(0) + string(bytes(32_769))),
    "data longer than the message": (DATA, u32(0) + u32(100) + b"x"),
    "bytes behind the data": (DATA, u32(0) + string(b"") + b"x"),
    "a short window adjustment": (ADJUST, u32(0)),
    "an empty message": (DATA, b""),
    "a login message": (52, b""),
    "an unknown message": (127, b""),
}


@pytest.mark.parametrize(("number", "body"), BROKEN.values(), ids=BROKEN)
def test_a_message_that_must_not_come_is_broken_off(number, body):
    channel = Channel()

    with pytest.raises(Malformed):
        channel.hear(number, body)
    end(channel)


@pytest.mark.parametrize("packet", [0, 1, 1_023])
def test_a_maximum_packet_of_nearly_nothing_is_broken_off(packet):
    channel = Channel(started=False)

    with pytest.raises(Malformed):
        channel.confirm(packet=packet)
    end(channel)


@pytest.mark.parametrize("number", [DATA, EXTENDED, EOF, CLOSE])
def test_nothing_comes_on_a_channel_before_it_is_open(number):
    channel = Channel(started=False)
    kind = u32(1) if number == EXTENDED else b""

    with pytest.raises(Malformed):
        channel.hear(number, u32(0), kind, string(b"x") if number in (DATA, EXTENDED) else b"")
    end(channel)


@pytest.mark.parametrize("number", [GLOBAL_YES, GLOBAL_NO, YES, NO])
def test_cve_2026_39830_answers_to_no_request_change_nothing(number):
    channel = Channel()

    for _ in range(1_000):
        channel.hear(number, u32(0))

    assert (channel.below.sent, channel.below.failed) == ([], [])
    end(channel)


def test_keepalives_are_answered_and_announcements_not():
    channel = Channel()

    channel.hear(GLOBAL, string(b"keepalive@openssh.com"), b"\1")
    channel.hear(GLOBAL, string(b"hostkeys-00@openssh.com"), b"\0", bytes(100))
    channel.hear(REQUEST, u32(0), string(b"keepalive@openssh.com"), b"\1")
    channel.hear(REQUEST, u32(0), string(b"exit-status"), b"\0", u32(0))

    assert channel.numbers() == [GLOBAL_NO, NO]
    end(channel)


def test_a_server_that_opens_channels_is_refused_and_costs_nothing():
    channel = Channel()

    channel.hear(OPEN, string(b"forwarded-tcpip"), u32(5), u32(1), u32(1), bytes(100))

    assert channel.numbers() == [REFUSE]
    end(channel)


def test_cve_2026_54886_extended_data_of_any_code_is_read_past():
    channel = Channel()

    for code in (0, 1, 2, 2**32 - 1):
        channel.hear(EXTENDED, u32(0), u32(code), string(b"x"))

    assert channel.below.failed == []
    end(channel)


@pytest.mark.parametrize("number", [GLOBAL, OPEN, CONFIRM, ADJUST, DATA, EXTENDED, EOF, CLOSE, REQUEST])
def test_every_message_cut_at_every_byte_is_broken_off(number):
    whole = {
        GLOBAL: string(b"keepalive@openssh.com") + b"\1",
        OPEN: string(b"session") + u32(1),
        CONFIRM: u32(0) + u32(1) + u32(1),
        ADJUST: u32(0) + u32(1),
        DATA: u32(0) + string(b"abc"),
        EXTENDED: u32(0) + u32(1) + string(b"abc"),
        EOF: u32(0),
        CLOSE: u32(0),
        REQUEST: u32(0) + string(b"exit-status") + b"\0",
    }[number]
    for size in range(len(whole)):
        channel = Channel()
        with pytest.raises(Malformed):
            channel.hear(number, whole[:size])
        end(channel)
