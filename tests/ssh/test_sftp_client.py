"""The SFTP client, sans-IO: against our own server in memory, and against servers that break every rule."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.conch.ssh.filetransfer import FXF_CREAT, FXF_WRITE, SFTPError
from twisted.internet.defer import CancelledError, Deferred

from conch_pipe.ssh.client.errors import ClientError, ConnectionEnded, FileChanged, NoSFTP, ProtocolBroken, TooLate
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.fields import string, u32, u64
from conch_pipe.ssh.interfaces import FileSystemStatus
from conch_pipe.ssh.sftp.wire import Type, packet
from tests.ssh.sftp_peer import ByHand, Outcome, WithServer, reply, status, version, write_fields

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def fd(tmp_path) -> Iterator[int]:
    """A local file with CONTENT."""
    (tmp_path / "local").write_bytes(CONTENT)
    number = os.open(tmp_path / "local", os.O_RDONLY)
    yield number
    os.close(number)


# With our own server.


def test_a_file_put_arrives_as_it_is(fd):
    peer = WithServer()

    size = peer.ask(peer.client.put(fd, b"/in/a.csv"))

    assert size == len(CONTENT)
    (file,) = peer.tree.opened
    assert (file.fate, bytes(file.data)) == ("closed", CONTENT)


def test_an_empty_file_is_opened_and_closed(tmp_path):
    peer = WithServer()
    (tmp_path / "empty").write_bytes(b"")
    with open(tmp_path / "empty", "rb") as local:
        assert peer.ask(peer.client.put(local.fileno(), b"/in/empty.csv")) == 0

    assert [file.fate for file in peer.tree.opened] == ["closed"]


def test_writes_are_as_large_as_the_server_says(fd):
    peer = WithServer()
    peer.ask(peer.client.put(fd, b"/in/a.csv"))

    assert peer.client.write_size == 261_120
    assert max(peer.pipe.pieces) == 261_120


def test_several_files_go_at_once(fd):
    peer = WithServer()
    names = [b"/in/%d.csv" % number for number in range(5)]
    outcomes = [Outcome(peer.client.put(fd, name)) for name in names]

    peer.pump()

    assert [outcome.value for outcome in outcomes] == [len(CONTENT)] * 5
    assert all(bytes(file.data) == CONTENT and file.fate == "closed" for file in peer.tree.opened)


def test_a_durable_put_syncs_before_it_closes(fd):
    peer = WithServer()

    peer.ask(peer.client.put(fd, b"/in/a.csv", durable=True))

    assert [(file.synced, file.fate) for file in peer.tree.opened] == [(1, "closed")]


def test_a_refused_open_is_the_servers_code_and_text(fd):
    peer = WithServer()

    with pytest.raises(SFTPError) as refused:
        peer.ask(peer.client.put(fd, b"/elsewhere/a.csv"))

    assert (refused.value.code, refused.value.message) == (3, "put only into /in")
    assert peer.client.over is None


def test_a_refused_write_fails_the_put_and_leaves_the_session(fd):
    peer = WithServer()
    peer.tree.limit = 100_000

    with pytest.raises(SFTPError, match="larger than"):
        peer.ask(peer.client.put(fd, b"/in/a.csv"))

    assert peer.client.over is None
    assert peer.tree.opened[0].fate.startswith("aborted")
    assert peer.ask(peer.client.realpath(b"/in")) == b"/in"


def test_a_refused_close_fails_the_put(fd):
    peer = WithServer()
    peer.tree.refuse_close = SFTPError(4, "the last record is cut")

    with pytest.raises(SFTPError, match="the last record is cut"):
        peer.ask(peer.client.put(fd, b"/in/a.csv"))


def test_every_operation_reaches_the_server_in_its_own_message(fd):
    peer = WithServer()
    client, ask = peer.client, peer.ask
    handle = ask(client.open(b"/in/a", FXF_WRITE | FXF_CREAT))
    assert ask(client.write(handle, fd, 10)) == 10
    assert ask(client.fstat(handle))["size"] == 10
    ask(client.fsetstat(handle, {"permissions": 0o600}))
    ask(client.fsync(handle))
    ask(client.close(handle))
    assert ask(client.stat(b"/in/a"))["size"] == 10
    assert ask(client.lstat(b"/in/a"))["size"] == 10
    ask(client.setstat(b"/in/a", {"atime": 1, "mtime": 2}))
    ask(client.rename(b"/in/a", b"/in/b"))
    ask(client.posix_rename(b"/in/b", b"/in/c"))
    assert [entry.name for entry in ask(client.listing(b"/"))] == [b"in", b"out"]
    assert ask(client.realpath(b"/in/../in/c")) == b"/in/c"
    assert ask(client.statvfs(b"/in")) == FileSystemStatus(4096, 1000, 900, 100, 90)
    for refused in (client.mkdir(b"/new"), client.rmdir(b"/in"), client.remove(b"/in/c")):
        with pytest.raises(SFTPError):
            ask(refused)

    assert peer.tree.opened[0].attributes == [{"permissions": 0o600}]
    assert ("setAttrs", b"/in/a", {"atime": 1, "mtime": 2}) in peer.tree.calls


def test_a_long_folder_is_listed_whole():
    peer = WithServer()
    peer.tree.rows = 3_000

    listed = peer.ask(peer.client.listing(b"/in"))

    assert [entry.name for entry in listed] == [b"row%d" % number for number in range(3_000)]


def test_an_extension_not_offered_is_not_asked_for():
    peer = ByHand()

    refused = Outcome(peer.client.statvfs(b"/"))

    assert isinstance(refused.error, SFTPError)
    assert refused.error.code == 8
    assert peer.asked() == []


def test_check_file_gives_the_hash_in_both_known_shapes():
    for name in (b"", string(b"check-file")):
        peer = ByHand(version(b"check-file"))
        asked = Outcome(peer.client.check_file(b"/a"))
        peer.hear(reply(Type.EXTENDED_REPLY, peer.last(), name, string(b"sha256"), b"\1" * 32))
        assert asked.value == (b"sha256", b"\1" * 32)


def test_a_file_is_read_in_the_pieces_the_server_gives():
    peer = ByHand()
    asked = [Outcome(peer.client.read(b"h", 7 * number, 7)) for number in range(3)]

    peer.hear(reply(Type.DATA, 1, string(b"content")), reply(Type.DATA, 2, string(b"s")), status(3, 1))

    assert [one.value for one in asked] == [b"content", b"s", b""]


@pytest.mark.parametrize(
    "said",
    [
        reply(Type.DATA, 1, string(b"more than asked for")),
        reply(Type.DATA, 1, string(b"")),
        reply(Type.DATA, 1, u32(2**32 - 1)),
        reply(Type.DATA, 1, string(b"x"), b"x"),
        status(1),
    ],
    ids=["more", "nothing", "a length alone", "bytes behind", "OK"],
)
def test_data_that_was_not_asked_for_ends_the_session(said):
    peer = ByHand()
    asked = Outcome(peer.client.read(b"h", 0, 7))

    peer.hear(said)

    assert isinstance(asked.error, ProtocolBroken)


# The window, the file and the pipeline.


def opened(peer: ByHand) -> bytes:
    """Answer the OPEN of a put."""
    peer.hear(reply(Type.HANDLE, peer.last(), string(b"h")))
    return b"h"


def test_no_more_writes_are_in_flight_than_the_limit(fd):
    peer = ByHand(limits=ClientLimits(writes=16))
    Outcome(peer.client.put(fd, b"/a", 16 * 32_768 + 1))
    opened(peer)

    writes = peer.asked()
    assert len(writes) == 16
    peer.hear(status(writes[0][1]))
    assert len(peer.asked()) == 1
    peer.client.connectionLost(ConnectionEnded("over"))


def test_a_file_waits_for_the_window_and_goes_on_when_it_opens(fd):
    peer = ByHand(room=100_000)
    put = Outcome(peer.client.put(fd, b"/a", 150_000))
    opened(peer)
    first = peer.asked()
    assert len(first) == 3

    peer.pipe.room += 50
    peer.client.resume()
    assert peer.asked() == [], "a small piece would cost a message of its own"
    peer.pipe.room += 100_000
    peer.client.resume()
    rest = peer.asked()
    peer.hear(*(status(number) for _, number, _ in (*first, *rest)))
    peer.hear(status(peer.last()))

    pieces = sorted(write_fields(body)[1:] for _, _, body in (*first, *rest))
    assert b"".join(data for _, data in pieces) == CONTENT[:150_000]
    assert put.value == 150_000


def test_a_window_smaller_than_a_write_still_lets_the_file_through(fd):
    peer = ByHand(room=2_000)
    put = Outcome(peer.client.put(fd, b"/a", 10_000))
    opened(peer)
    got = bytearray()
    while put.fired == 0:
        for kind, number, body in peer.asked():
            if kind == Type.WRITE:
                _, offset, data = write_fields(body)
                assert offset == len(got)
                got += data
            peer.pipe.room = 2_000
            peer.hear(status(number))
            peer.client.resume()

    assert put.value == 10_000
    assert bytes(got) == CONTENT[:10_000]


def test_a_small_files_close_goes_with_its_write(fd):
    peer = ByHand()
    put = Outcome(peer.client.put(fd, b"/a", 2_000))
    opened(peer)

    (write, number, _), (close, closing, _) = peer.asked()

    assert (write, close) == (Type.WRITE, Type.CLOSE)
    peer.hear(status(number), status(closing))
    assert put.value == 2_000


def test_a_failed_write_counts_although_the_close_was_ok(fd):
    peer = ByHand()
    put = Outcome(peer.client.put(fd, b"/a", 2_000))
    opened(peer)
    (_, number, _), (_, closing, _) = peer.asked()

    peer.hear(status(number, 4, b"disk full"), status(closing))

    assert isinstance(put.error, SFTPError)
    assert put.error.message == "disk full"


def test_a_close_never_overtakes_a_write_that_waits_for_the_window(fd):
    peer = ByHand(room=0)
    Outcome(peer.client.put(fd, b"/a", 2_000))
    opened(peer)
    assert peer.asked() == []

    peer.pipe.room = 10_000
    peer.client.resume()

    assert [kind for kind, _, _ in peer.asked()] == [Type.WRITE]
    peer.client.end()


def test_the_first_refusal_stops_the_file_and_closes_it(fd):
    peer = ByHand(limits=ClientLimits(writes=2))
    put = Outcome(peer.client.put(fd, b"/a"))
    opened(peer)
    (_, first, _), (_, second, _) = peer.asked()

    peer.hear(status(first, 4, b"no"))
    assert [kind for kind, _, _ in peer.asked()] == [Type.CLOSE]
    peer.hear(status(second, 4, b"no again"))

    assert put.fired == 1
    assert peer.client.over is None


def test_a_local_file_that_got_shorter_fails_its_put_alone(fd):
    peer = ByHand()
    put = Outcome(peer.client.put(fd, b"/a", len(CONTENT) + 1))
    opened(peer)
    peer.hear(*(status(number) for _, number, _ in peer.asked()))

    assert isinstance(put.error, FileChanged)
    assert peer.client.over is None


def test_a_local_file_that_cannot_be_read_fails_its_put_alone(tmp_path):
    peer = ByHand()
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        put = Outcome(peer.client.put(folder, b"/a", 10))
        opened(peer)
    finally:
        os.close(folder)

    assert isinstance(put.error, IsADirectoryError)
    assert [kind for kind, _, _ in peer.asked()] == [Type.CLOSE]


def test_a_cancelled_write_reads_the_file_no_more(fd):
    peer = ByHand(limits=ClientLimits(writes=1))
    writing = peer.client.write(b"h", fd, len(CONTENT))
    outcome = Outcome(writing)
    writing.cancel()

    peer.hear(status(peer.last()))

    assert isinstance(outcome.error, CancelledError)
    assert peer.asked() == []
    assert peer.client.over is None


# Time.


def test_a_request_without_a_reply_ends_the_session():
    peer = ByHand()
    asked = [Outcome(peer.client.stat(b"/a")), Outcome(peer.client.stat(b"/b"))]

    peer.clock.advance(29.9)
    assert peer.client.over is None
    peer.clock.advance(0.2)

    assert all(isinstance(one.error, TooLate) and one.error.stage == "request" for one in asked)
    assert peer.pipe.dropped is not None
    assert peer.clock.getDelayedCalls() == []


def test_a_server_that_takes_nothing_of_a_file_ends_the_session(fd):
    peer = ByHand(room=100_000)
    put = Outcome(peer.client.put(fd, b"/a"))
    opened(peer)
    peer.clock.advance(50)
    peer.hear(status(peer.asked()[0][1]))
    peer.clock.advance(50)
    assert put.fired == 0, "it moved 50 s ago"

    peer.clock.advance(11)

    assert isinstance(put.error, TooLate)
    assert put.error.stage == "progress"


def test_requests_are_timed_also_while_a_file_is_sent(fd):
    peer = ByHand(room=100_000)
    put = Outcome(peer.client.put(fd, b"/a"))
    opened(peer)
    asked = Outcome(peer.client.stat(b"/b"))

    peer.clock.advance(31)

    assert isinstance(asked.error, TooLate)
    assert asked.error.stage == "request"
    assert put.fired == 1


def test_a_silent_server_is_given_up_before_its_version():
    peer = ByHand(hello=None)

    peer.clock.advance(31)

    assert isinstance(peer.greeting.error, TooLate)


# The end.


def test_the_end_of_the_connection_fails_all_that_waits_exactly_once(fd):
    peer = ByHand()
    waiting = [Outcome(peer.client.stat(b"/a")), Outcome(peer.client.put(fd, b"/b"))]
    writing = Outcome(peer.client.write(b"h", fd, len(CONTENT)))
    why = ConnectionEnded("cut")

    peer.client.connectionLost(why)
    peer.client.connectionLost(ConnectionEnded("again"))
    peer.hear(status(1))

    assert [(one.fired, one.error) for one in (*waiting, writing)] == [(1, why)] * 3
    assert peer.clock.getDelayedCalls() == []


def test_after_the_end_every_request_fails_at_once(fd):
    peer = ByHand()
    peer.client.end()

    for asked in (peer.client.stat(b"/a"), peer.client.put(fd, b"/b"), peer.client.write(b"h", fd, 1)):
        assert isinstance(Outcome(asked).error, ConnectionEnded)
    assert peer.asked() == []


def test_a_request_from_within_a_failure_does_not_hang():
    peer = ByHand()
    again: list[Outcome] = []
    peer.client.stat(b"/a").addErrback(lambda _: again.append(Outcome(peer.client.stat(b"/b"))))

    peer.client.end()

    assert [one.fired for one in again] == [1]


# Hostile servers. A row is what the server says to a STAT with id 1 and what is wrong with it.

HOSTILE = {
    "a reply to no request": status(99),
    "a reply that came already": status(1, 4) + status(1, 4),
    "the wrong type of reply": reply(Type.HANDLE, 1, string(b"h")),
    "OK where a value was asked for": status(1, 0),
    "a NAME reply to STAT": reply(Type.NAME, 1, u32(0)),
    "VERSION again": version(),
    "a request": reply(Type.WRITE, 1, string(b"h"), u64(0), string(b"x")),
    "an unknown type": reply(250, 1),
    "a length of 2**32-1": b"\xff\xff\xff\xff",
    "a length of 256 KiB and 1": u32(262_145),
    "a length of 0": u32(0),
    "a length of 4": u32(4),
    "an empty STATUS": reply(Type.STATUS, 1),
    "a STATUS whose text is longer than the packet": reply(Type.STATUS, 1, u32(4), u32(2**32 - 1)),
    "a STATUS with bytes behind it": reply(Type.STATUS, 1, u32(4), string(b""), string(b""), b"x"),
    "ATTRS cut in the middle": reply(Type.ATTRS, 1, u32(1), b"\0\0"),
    "ATTRS with 2**32-1 extended attributes": reply(Type.ATTRS, 1, u32(0x80000000), u32(2**32 - 1)),
    "ATTRS with bytes behind them": reply(Type.ATTRS, 1, u32(0), b"x"),
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE)
def test_a_server_that_breaks_the_protocol_ends_the_session(said):
    peer = ByHand()
    asked, other = Outcome(peer.client.stat(b"/a")), Outcome(peer.client.stat(b"/b"))

    peer.hear(said)

    assert isinstance(peer.client.over, ProtocolBroken)
    assert peer.pipe.dropped is not None
    assert (asked.fired, other.fired) == (1, 1)
    assert isinstance(other.error, ProtocolBroken)
    assert peer.clock.getDelayedCalls() == []


def names(count: int, *rows: bytes) -> bytes:
    """NAME."""
    return reply(Type.NAME, 1, u32(count), *rows)


def row(name: bytes) -> bytes:
    return string(name) + string(b"-rw") + u32(0)


HOSTILE_NAMES = {
    "1,001 names": names(1_001, row(b"a") * 1_001),
    "2**32-1 names": names(2**32 - 1),
    "one name fewer than said": names(2, row(b"a")),
    "no names": names(0),
    "CVE-2026-0968, a long name longer than the packet": names(1, string(b"a") + u32(2**32 - 1)),
    "CVE-2026-54591, a name with a way out": names(1, row(b"../../etc/passwd")),
    "a name with a NUL": names(1, row(b"a\0b")),
    "an empty name": names(1, row(b"")),
}


@pytest.mark.parametrize("said", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_a_malformed_listing_ends_the_session(said):
    peer = ByHand()
    asked = Outcome(peer.client.readdir(b"h"))

    peer.hear(said)

    assert isinstance(asked.error, ProtocolBroken)


@pytest.mark.parametrize(
    "said",
    [names(0), names(2, row(b"/a") * 2), names(1, row(b"/a\0")), status(1)],
    ids=["no path", "two paths", "a NUL", "OK"],
)
def test_a_malformed_path_ends_the_session(said):
    peer = ByHand()
    asked = Outcome(peer.client.realpath(b"."))

    peer.hear(said)

    assert isinstance(asked.error, ProtocolBroken)


def test_a_listing_without_end_ends_the_session():
    peer = ByHand(limits=ClientLimits(listing=10))
    asked = Outcome(peer.client.listing(b"/"))
    peer.hear(reply(Type.HANDLE, peer.last(), string(b"h")))
    for _ in range(11):
        if asked.fired == 0:
            peer.hear(reply(Type.NAME, peer.last(), u32(1), row(b"again")))

    assert isinstance(asked.error, ProtocolBroken)


def test_cve_2025_5318_a_handle_longer_than_256_bytes_ends_the_session():
    peer = ByHand()
    asked = Outcome(peer.client.opendir(b"/"))

    peer.hear(reply(Type.HANDLE, 1, string(b"h" * 257)))

    assert isinstance(asked.error, ProtocolBroken)


def test_cve_2025_26618_a_length_of_4_gib_is_not_waited_for():
    peer = ByHand()

    peer.hear(b"\xff\xff\xff\xff" + bytes(1_000))

    assert isinstance(peer.client.over, ProtocolBroken)


def test_a_write_answered_with_anything_but_status_ends_the_session(fd):
    peer = ByHand()
    writing = Outcome(peer.client.write(b"h", fd, 100_000))

    peer.hear(reply(Type.HANDLE, peer.last(), string(b"h")))

    assert isinstance(writing.error, ProtocolBroken)


@pytest.mark.parametrize(
    "hello",
    {
        "STATUS first": status(0),
        "too short": packet(Type.VERSION, b""),
        "CVE-2026-3731, an extension longer than the packet": packet(Type.VERSION, u32(3) + u32(2**32 - 1)),
        "a name without data": packet(Type.VERSION, u32(3) + string(b"x")),
        "too many extensions": version(*(b"x%d" % number for number in range(65))),
    }.items(),
    ids=lambda row: row[0],
)
def test_a_malformed_greeting_ends_the_session(hello):
    peer = ByHand(hello[1])

    assert isinstance(peer.greeting.error, ProtocolBroken)
    assert peer.greeting.fired == 1


@pytest.mark.parametrize("number", [0, 2, 4, 6, 2**32 - 1])
def test_another_version_of_sftp_is_no_sftp_for_us(number):
    peer = ByHand(packet(Type.VERSION, u32(number)))

    assert isinstance(peer.greeting.error, NoSFTP)
    assert peer.pipe.dropped is not None


@pytest.mark.parametrize("text", ["Není místo".encode(), b"\xff\xfe", b"\0\r\n\x1b[2J", b"x" * 60_000])
def test_the_text_of_a_refusal_never_loses_the_request(text):
    """Conch's own client loses a request whose STATUS is not ASCII: it never fires, not even at the end."""
    peer = ByHand()
    asked = Outcome(peer.client.stat(b"/a"))

    peer.hear(status(1, 4, text))

    assert isinstance(asked.error, SFTPError)
    assert asked.error.code == 4
    assert asked.error.message.isascii()
    assert asked.error.message.isprintable()
    assert len(asked.error.message) <= 255


def test_a_refusal_without_texts_as_old_servers_send_it_is_read():
    peer = ByHand()
    asked = [Outcome(peer.client.stat(b"/a")), Outcome(peer.client.stat(b"/b"))]

    peer.hear(reply(Type.STATUS, 1, u32(2)), reply(Type.STATUS, 2, u32(3), string(b"no")))

    assert [one.error.code for one in asked if isinstance(one.error, SFTPError)] == [2, 3]


def test_a_code_that_version_3_does_not_know_is_kept():
    peer = ByHand()
    asked = Outcome(peer.client.stat(b"/a"))

    peer.hear(status(1, 11))

    assert isinstance(asked.error, SFTPError)
    assert asked.error.code == 11


@pytest.mark.parametrize(
    ("told", "used"),
    [
        ((0, 0, 0, 0), 32_768),
        ((262_144, 261_120, 261_120, 0), 261_120),
        ((34_000, 32_768, 32_768, 5), 32_768),
        ((2**64 - 1,) * 4, 261_120),
        ((1, 1, 1, 1), 1),
        ((16_384, 0, 0, 0), 15_360),
    ],
)
def test_the_servers_limits_are_taken_within_ours(told, used):
    peer = ByHand(hello=None)
    peer.hear(version(b"limits@openssh.com"))

    peer.hear(reply(Type.EXTENDED_REPLY, peer.last(), *(u64(number) for number in told)))

    assert peer.client.write_size == used


def test_a_server_that_refuses_to_tell_its_limits_gets_small_writes():
    peer = ByHand(hello=None)
    peer.hear(version(b"limits@openssh.com"))

    peer.hear(status(peer.last(), 8))

    assert peer.client.write_size == 32_768
    assert peer.client.over is None


def test_too_many_requests_at_once_are_refused_here():
    peer = ByHand(limits=ClientLimits(requests=3))

    asked = [Outcome(peer.client.stat(b"/a")) for _ in range(4)]

    assert [one.fired for one in asked] == [0, 0, 0, 1]
    peer.client.end()


@pytest.mark.parametrize("path", [b"a\0b", b"x" * 4_097])
def test_a_path_that_no_server_should_see_is_refused_here(path):
    peer = ByHand()

    with pytest.raises(ValueError, match="remote path"):
        peer.client.stat(path)


def test_request_ids_wrap_and_skip_those_still_waiting():
    peer = ByHand()
    peer.client._last = 2**32 - 2
    waiting = [Outcome(peer.client.stat(b"/a")) for _ in range(2)]
    peer.client._last = 2**32 - 2
    waiting.append(Outcome(peer.client.stat(b"/a")))

    assert [number for _, number, _ in peer.asked()] == [2**32 - 1, 0, 1]
    peer.client.end()
    assert [one.fired for one in waiting] == [1, 1, 1]


# Every byte.

ANSWERS = {
    Type.STAT: reply(Type.ATTRS, 1, u32(0x8000000F), u64(5), u32(1) * 5, u32(1), string(b"n"), string(b"v")),
    Type.OPEN: reply(Type.HANDLE, 1, string(b"h")),
    Type.READDIR: names(2, row(b"a"), row(b"b")),
    Type.REALPATH: names(1, row(b"/a")),
    Type.CLOSE: status(1),
    Type.EXTENDED: reply(Type.EXTENDED_REPLY, 1, u64(1) * 11),
}
ASKING = {
    Type.STAT: lambda client: client.stat(b"/a"),
    Type.OPEN: lambda client: client.open(b"/a", 1),
    Type.READDIR: lambda client: client.readdir(b"h"),
    Type.REALPATH: lambda client: client.realpath(b"."),
    Type.CLOSE: lambda client: client.close(b"h"),
    Type.EXTENDED: lambda client: client.statvfs(b"/"),
}


def check_one_outcome(kind: Type, said: bytes) -> None:
    """Whatever was said, the request fires once at the latest when the connection ends."""
    peer = ByHand(version(b"statvfs@openssh.com"))
    deferred: Deferred = ASKING[kind](peer.client)
    asked = Outcome(deferred)
    peer.hear(said)
    if peer.client.over is not None:
        assert asked.fired == 1
    peer.client.connectionLost(ConnectionEnded("cut"))
    assert asked.fired == 1
    assert asked.error is None or isinstance(asked.error, ClientError | SFTPError)
    assert peer.clock.getDelayedCalls() == []


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_mutation_of_every_reply_has_one_outcome(kind):
    answer = ANSWERS[kind]
    for size in range(4, len(answer)):
        check_one_outcome(kind, u32(size - 4) + answer[4:size])
        check_one_outcome(kind, answer[:size])
    for at in range(len(answer) - 3):
        for word in (b"\xff" * 4, bytes(4), u32(2**31)):
            check_one_outcome(kind, answer[:at] + word + answer[at + 4 :])


@settings(max_examples=300 * DOSE, deadline=None)
@given(st.sampled_from(list(ANSWERS)), st.binary(max_size=200))
def test_any_bytes_have_one_outcome(kind, said):
    check_one_outcome(kind, said)


@settings(max_examples=100 * DOSE, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_replies_may_come_in_any_pieces(sizes):
    peer = ByHand()
    asked = [Outcome(peer.client.stat(b"/a")) for _ in range(8)]
    stream = b"".join(reply(Type.ATTRS, number, u32(1), u64(number)) for number in range(8, 0, -1))
    at = 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        peer.hear(stream[at : at + size])
        at += size

    assert [one.value for one in asked] == [{"size": number} for number in range(1, 9)]
    peer.client.end()


def test_a_put_tells_when_its_bytes_are_on_their_way_and_how_many_are_acknowledged(fd):
    peer = ByHand(limits=ClientLimits(writes=4))
    told = []
    outcome = Outcome(peer.client.put(fd, b"a", opened=told.append))
    peer.hear(reply(Type.HANDLE, peer.last(), string(b"h")))

    (upload,) = told
    seen = [upload.acknowledged]
    while not outcome.fired:
        for kind, request, _ in peer.asked():
            assert kind in (Type.WRITE, Type.CLOSE)
            peer.hear(status(request))
            seen.append(upload.acknowledged)

    assert outcome.value == seen[-1] == len(CONTENT)
    assert seen[0] == 0
    assert seen == sorted(seen)
    assert len(set(seen)) == len(CONTENT) // 32_768 + 1
