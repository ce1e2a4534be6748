"""The outbound rows of the fault matrix, one named test or more for each: what the remote or the network does, and
what the push log says of it. In memory, with a Clock.

Elsewhere: addresses that are refused and rebinding in test_addresses.py, host keys on the wire in test_trust.py; how
often and when attempts are made is the chain's.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.filetransfer import SFTPError
from twisted.conch.ssh.keys import Key
from twisted.internet.error import ConnectionRefusedError, NoRouteError
from twisted.internet.protocol import Protocol

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import RemoteSecrets, Role, Status
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.fields import Reader, string, u32
from conch_pipe.ssh.interfaces import FileSystemStatus
from conch_pipe.ssh.sftp.wire import Type, entry, packet
from conch_pipe.ssh.transport.algorithms import SERVER
from tests.remotes.lines import Trouble
from tests.remotes.lying import DENIED, FAILURE
from tests.remotes.pushing import ADDRESS, World, recorded
from tests.ssh.client_pair import RawServer
from tests.ssh.memory import PASSWORD
from tests.ssh.sftp_peer import VERSION, Outcome, reply, status

MAIN = frozenset({Role.MAIN})
DOWN, UP, LOGIN = Status.SFTP_CONNECTION_TIMEOUT, Status.UPLOAD_FAILED, Status.SFTP_LOGIN_FAILED


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def said(report) -> tuple[Status, str]:
    return report.status, report.reason


# Connect refused, filtered, blackhole.


@pytest.mark.parametrize(
    ("answer", "reason"), [(ConnectionRefusedError(), "refused"), (NoRouteError(), "unreachable"), (None, "timeout")]
)
def test_no_connection_comes_about(world, answer, reason):
    world.net.servers[ADDRESS, 22] = answer

    report = world.push(within_s=11)

    assert said(report) == (DOWN, reason)
    assert report.seconds == (10 if answer is None else 0)
    assert not report.connected
    assert {one.reason for one in report.files} == {reason}


# TCP, and then no banner, one byte a second of it, or lines without end.


class Says(Protocol):
    """Says something and then nothing."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def connectionMade(self) -> None:
        self.transport.write(self.data)


def test_a_server_that_says_nothing_is_left_after_ten_seconds(world):
    world.net.servers[ADDRESS, 22] = Says

    report = world.push(within_s=11)

    assert said(report) == (DOWN, "timeout")
    assert report.connected
    assert report.seconds == 10


def test_a_banner_that_drips_is_left_after_ten_seconds(world):
    world.net.down = Trouble(rate=1)

    report = world.push(within_s=11)

    assert said(report) == (DOWN, "timeout")
    assert report.seconds == 10


@pytest.mark.parametrize("data", [b"hello\r\n" * 2_000, b"x" * 100_000, b"HTTP/1.1 400 Bad Request\r\n\r\n<html>" * 30])
def test_what_does_not_speak_ssh_is_left_at_once(world, data):
    world.net.servers[ADDRESS, 22] = lambda: Says(data)

    report = world.push()

    assert said(report) == (DOWN, "not_ssh")


@pytest.mark.parametrize("then", ["reset", "close"])
def test_a_server_that_hangs_up_at_once_or_in_the_key_exchange(world, then):
    for after in (0, 10, 500):
        world.net.down = Trouble(after=after, then=then)

        report = world.push()

        assert said(report) == (DOWN, "connection_lost")
        assert report.connected


# Another host key: nothing is sent, the attempt fails closed.


def test_another_host_key_than_the_pinned_one(tmp_path):
    world = World(tmp_path, key=Key(Ed25519PrivateKey.generate()))

    report = world.push()

    assert said(report) == (Status.HOST_KEY_MISMATCH, "host_key")
    assert report.refused_key == world.liar.key.public().blob()
    assert not world.liar.logins


# Weak algorithms alone.


@pytest.mark.parametrize(
    ("weak", "what"),
    [
        ({"ciphers": (b"aes128-cbc", b"3des-cbc")}, "cipher"),
        ({"exchanges": (b"diffie-hellman-group1-sha1",)}, "key exchange"),
        ({"ciphers": (b"aes128-ctr",), "macs": (b"hmac-sha1", b"hmac-md5")}, "MAC"),
    ],
)
def test_a_server_with_nothing_but_weak_algorithms_is_refused_by_name(tmp_path, weak, what):
    world = World(tmp_path, algorithms=replace(SERVER["default-2026"], **weak))

    report = world.push()

    assert said(report) == (UP, "algorithms")
    assert what in report.detail
    assert next(iter(weak.values()))[0].decode() in report.detail or "hmac-sha1" in report.detail
    assert not world.liar.logins


# Logins.


@pytest.mark.parametrize(
    ("login", "reason"),
    [("refuse", "auth"), ("change", "auth"), ("partial", "second_factor"), ("leave", "auth"), ("echo", "auth")],
)
def test_a_login_that_is_refused_is_tried_once_and_no_more(tmp_path, login, reason):
    world = World(tmp_path, login=login)

    report = world.push()

    assert said(report) == (LOGIN, reason)
    assert sum(world.liar.logins.values()) == 1
    assert report.connected
    assert report.host_key


def test_a_wrong_password_is_sent_once(tmp_path):
    world = World(tmp_path, secrets=RemoteSecrets("wrong"))

    assert said(world.push()) == (LOGIN, "auth")
    assert world.liar.logins == {"password": 1}


def test_a_server_with_keyboard_interactive_alone_is_logged_in_to(tmp_path):
    world = World(tmp_path, login="keyboard")

    assert said(world.push()) == (Status.OK, "")


def test_a_wrong_password_at_keyboard_interactive(tmp_path):
    world = World(tmp_path, secrets=RemoteSecrets("wrong"), login="keyboard")

    assert said(world.push()) == (LOGIN, "auth")
    assert world.liar.logins["keyboard-interactive"] == 1


def test_a_login_without_an_answer_ends_after_thirty_seconds(tmp_path):
    world = World(tmp_path, login="silent")

    report = world.push(within_s=40)

    assert said(report) == (LOGIN, "timeout")
    assert report.seconds == 30


def test_a_remote_whose_secrets_are_gone_is_not_called_again(tmp_path):
    world = World(tmp_path)
    assert world.push().status is Status.OK
    world.secrets.answer = PipeError(Code.NOT_FOUND, "no such remote")
    world.net.connected.clear()

    assert said(world.push()) == (LOGIN, "credentials")
    assert world.net.connected == []


# The folder.


@pytest.mark.parametrize(
    ("folder", "lies", "status", "reason"),
    [
        ("nowhere", {}, Status.INCORRECT_SFTP_FOLDER, "missing"),
        ("in/deeper", {}, Status.INCORRECT_SFTP_FOLDER, "missing"),
        ("../nowhere", {}, Status.INCORRECT_SFTP_FOLDER, "missing"),
        ("a-file", {}, Status.INCORRECT_SFTP_FOLDER, "not_a_folder"),
        ("nowhere", {"refuse": {"stat": DENIED}}, Status.INCORRECT_SFTP_FOLDER, "missing"),
        ("in", {"refuse": {"stat": FAILURE}}, Status.OK, ""),
        ("in", {"refuse": {"open": DENIED}}, UP, "permission"),
        ("in", {"refuse": {"stat": DENIED, "realpath": DENIED, "open": DENIED}}, UP, "permission"),
    ],
)
def test_a_folder_that_is_wrong_and_nothing_is_created_elsewhere(tmp_path, folder, lies, status, reason):
    world = World(tmp_path, **lies)
    world.liar.files[b"/home/a-file"] = bytearray(b"x")
    folders = set(world.liar.folders)

    report = world.push(folder=folder)

    assert said(report) == (status, reason)
    assert world.liar.folders == folders
    if status is not Status.OK:
        assert set(world.liar.files) == {b"/home/a-file"}


# Cut at any place.


def test_a_cut_anywhere_is_a_failure_and_the_next_attempt_writes_everything_anew(tmp_path):
    world = World(tmp_path)
    world.recording = replace(world.recording, files=world.recording.files[:1])
    assert world.push(MAIN).status is Status.OK
    whole = sum(map(len, world.liar.files.values())) + 10_000
    for after in range(4_000, whole, 32_768):
        world.liar.files.clear()
        world.net.up = Trouble(after=after)

        report = world.push(MAIN, chunk_size=32_768)

        if world.arrived() == {Role.MAIN} and report.status is Status.OK:
            continue  # cut when all was over
        assert said(report) == (UP, "connection_lost")
        assert 0 <= report.files[0].bytes < world.recording.main.bytes
        world.net.up = Trouble()
        assert world.push(MAIN).status is Status.OK
        assert world.arrived() == {Role.MAIN}


def test_a_cut_of_what_the_server_sends_is_a_failure_wherever_it_is(tmp_path):
    """Also when everything has arrived: what was not acknowledged is not known to be there."""
    world = World(tmp_path)
    world.recording = replace(world.recording, files=world.recording.files[:1])
    seen = set()
    for after in range(2_000, 3_600, 40):
        world.net.down = Trouble(after=after)
        report = world.push(MAIN)
        if report.status is Status.OK:
            break
        seen.add(said(report))
        assert report.files[0].reason == report.reason

    assert seen <= {(UP, "connection_lost"), (DOWN, "connection_lost"), (LOGIN, "auth")}
    assert (UP, "connection_lost") in seen


# Full.


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        ({"write_error": SFTPError(4, "No space left on device")}, "no_space"),
        ({"refuse": {"close": SFTPError(4, "Disk quota exceeded")}}, "quota"),
        ({"write_error": FAILURE, "free": FileSystemStatus(4096, 256, 3, 100, 50)}, "no_space"),
        ({"refuse": {"close": FAILURE}, "free": FileSystemStatus(4096, 256, 0, 100, 50)}, "no_space"),
        ({"refuse": {"open": FAILURE}, "free": FileSystemStatus(4096, 1_000_000, 900_000, 100, 0)}, "no_space"),
        ({"write_error": SFTPError(4, "File too large")}, "size"),
        ({"refuse": {"open": FAILURE}, "free": FileSystemStatus(4096, 256, 9, 100, 50, read_only=True)}, "permission"),
    ],
)
def test_a_disk_that_is_full_or_read_only_at_any_request(tmp_path, lies, reason):
    assert said(World(tmp_path, **lies).push()) == (UP, reason)


def test_ok_to_everything_and_the_file_is_short(tmp_path):
    assert said(World(tmp_path, lost=100).push()) == (UP, "short")


@pytest.mark.parametrize("size", [0, 1, 299_999, 300_001, 2**63])
def test_a_server_that_lies_about_a_size_is_not_believed(tmp_path, size):
    assert said(World(tmp_path, told={b"n.mp4": size}).push()) == (UP, "short")


# Slow.


def test_acknowledgements_every_59_seconds_are_waited_for(tmp_path):
    world = World(tmp_path, drip_s=59)
    main = recorded(tmp_path / "main", Role.MAIN, bytes(300_000), "n.mp4")
    world.recording = replace(world.recording, files=(main,))

    report = world.push(MAIN, within_s=3_600, then_s=60, chunk_size=1_000)

    assert report.status is Status.OK
    assert report.seconds > 59


def test_61_seconds_without_any_end_the_attempt(tmp_path):
    world = World(tmp_path, drip_s=61)
    main = recorded(tmp_path / "main", Role.MAIN, bytes(300_000), "n.mp4")
    world.recording = replace(world.recording, files=(main,))

    report = world.push(MAIN, within_s=3_600, then_s=62, chunk_size=1_000)

    assert said(report) == (UP, "stalled")
    assert report.seconds == 60


@pytest.mark.parametrize("operation", ["realpath", "stat", "open", "close"])
def test_a_request_without_an_answer_ends_the_attempt_after_thirty_seconds(tmp_path, operation):
    report = World(tmp_path, silent={operation}).push(within_s=40)

    assert said(report) == (UP, "stalled")
    assert report.seconds == 30


def test_a_connection_that_goes_silent_in_mid_file_ends_after_a_minute(world):
    world.net.up = Trouble(after=100_000, then="stall")
    report = world.push(within_s=100, chunk_size=1_000)

    assert said(report) == (UP, "stalled")
    assert report.seconds == 60
    assert len(set(world.progress)) == len(world.progress) > 0, "what does not move is not told again"


def test_a_slow_remote_holds_up_no_other(tmp_path):
    slow, fast = tmp_path / "slow", tmp_path / "fast"
    slow.mkdir(), fast.mkdir()
    world, other = World(slow, silent={"open"}), World(fast)
    pushing = Outcome(world.start())
    world.net.settle()

    assert other.push().status is Status.OK
    assert not pushing.fired
    world.net.pass_s(31)
    world.quiet()


# The reply to CLOSE is lost.


@pytest.mark.parametrize("silent", ["close", "stat"])
def test_what_was_not_answered_has_not_arrived_and_the_next_attempt_ends_with_the_same_bytes(tmp_path, silent):
    world = World(tmp_path)
    world.liar.silent = {(silent, b"n.mp4")}
    pushing = Outcome(world.start())
    world.net.settle()
    world.net.links[0].cut()
    assert said(pushing.value) == (UP, "connection_lost")
    assert pushing.value.files[0].reason == "connection_lost"
    before = bytes(world.liar.files[b"/home/in/n.mp4"])

    world.liar.silent = set()
    assert world.push().status is Status.OK

    assert world.liar.files[b"/home/in/n.mp4"] == before
    assert world.arrived() == set(Role)


# Denied, in part.


def test_a_server_that_denies_rename_and_remove_gets_everything(tmp_path):
    world = World(tmp_path, refuse={"rename": DENIED, "posix_rename": DENIED, "remove": DENIED})

    assert world.push(temporary_names=True).status is Status.OK
    assert world.arrived() == set(Role)


def test_the_main_file_arrives_and_the_snapshot_does_not(tmp_path):
    world = World(tmp_path, refuse={("open", b"n.jpg"): FAILURE})

    report = world.push()

    assert report.status is Status.OK
    assert [one.reason for one in report.files] == ["", "", "failure", ""]


def test_the_local_main_file_is_missing(world):
    world.recording.main.path.unlink()

    assert said(world.push()) == (Status.FILE_MISSING, "missing")
    assert world.net.connected == []


# Hostile servers.


class ByHand:
    """A push to a server whose messages the test writes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.raw = RawServer()
        world.net.servers[ADDRESS, 22] = lambda: self.raw
        self.pushing = Outcome(world.start())
        self.got: list[tuple[int, bytes]] = []
        world.net.settle()

    def send(self, number: int, *fields: bytes) -> None:
        self.raw.sendPacket(number, b"".join(fields))
        self.world.net.settle()

    def log_in(self) -> ByHand:
        self.send(6, string(b"ssh-userauth"))
        self.send(52)
        return self

    def start(self, window: int = 2**32 - 1, size: int = 2**20) -> ByHand:
        self.log_in()
        self.send(91, u32(0), u32(0), u32(window), u32(size))
        self.send(99, u32(0))
        self.data(VERSION)
        return self

    def data(self, data: bytes) -> None:
        for at in range(0, len(data), 32_768):
            if not self.pushing.fired:
                self.send(94, u32(0), string(data[at : at + 32_768]))

    def requests(self) -> list[tuple[int, int]]:
        """Types and ids of the SFTP requests since the last look."""
        got, self.raw.got = self.raw.got, []
        stream = b"".join(Reader(payload[4:]).string() for number, payload in got if number == 94)
        found = []
        while stream:
            size = int.from_bytes(stream[:4], "big")
            found.append((stream[4], int.from_bytes(stream[5:9], "big")))
            stream = stream[4 + size :]
        return found


MILLION = packet(Type.NAME, u32(1) + u32(1_000_000) + entry(b"a", b"a", {}) * 1_000)
HOSTILE: dict[str, tuple[bytes, str]] = {
    "a length of 0xFFFFFFF0": (u32(0xFFFFFFF0) + b"x" * 100, "protocol"),
    "a length of 0": (u32(0) * 20, "protocol"),
    "a million names": (MILLION, "protocol"),
    "a reply to no request": (status(0xDEAD), "protocol"),
    "a reply of another kind": (reply(Type.HANDLE, 1, string(b"h")), "protocol"),
    "a path with NUL": (packet(Type.NAME, u32(1) + u32(1) + entry(b"/a\0b", b"", {})), "protocol"),
    "an endless path": (packet(Type.NAME, u32(1) + u32(1) + entry(b"/a" * 100_000, b"", {})), "protocol"),
    "a string longer than its packet": (packet(Type.NAME, u32(1) + u32(1) + u32(2**31) + b"abc"), "protocol"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_reply_ends_the_attempt_and_costs_little_memory(world, name):
    data, reason = HOSTILE[name]
    hand = ByHand(world).start()
    assert hand.requests()[-1][0] == Type.REALPATH

    tracemalloc.start()
    hand.data(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert said(hand.pushing.value) == (UP, reason)
    assert peak < 8 * 2**20
    world.quiet()


def test_a_hostile_ext_info_ends_the_attempt(world):
    hand = ByHand(world)
    hand.send(7, u32(2**32 - 1))

    assert said(hand.pushing.value) == (UP, "protocol")
    world.quiet()


def test_an_ssh_packet_of_a_megabyte_ends_the_attempt(world):
    hand = ByHand(world).start()
    hand.send(2, b"x" * 2**20)

    assert said(hand.pushing.value) == (UP, "protocol")
    world.quiet()


@pytest.mark.parametrize("number", [1, 4, 20, 80, 90, 98])
def test_a_server_that_only_talks_of_other_things_does_not_hold_us_longer_than_a_request(world, number):
    hand = ByHand(world).start()
    fields = {1: u32(11) + string(b"bye") + string(b""), 4: b"\0" + string(b"x") + string(b"")}.get(number, b"x")
    hand.send(number, fields)
    world.net.pass_s(31)

    assert hand.pushing.value.status is UP
    world.quiet()


def test_a_server_without_sftp(world):
    hand = ByHand(world).log_in()
    hand.send(91, u32(0), u32(0), u32(2**20), u32(32_768))
    hand.send(100, u32(0))

    assert said(hand.pushing.value) == (UP, "subsystem")
    world.quiet()


def test_a_window_that_never_opens_ends_after_a_minute(tmp_path):
    world = World(tmp_path, limits=ClientLimits(request_s=100))
    hand = ByHand(world).start(window=300)
    hand.data(packet(Type.NAME, u32(1) + u32(1) + entry(b"/home", b"", {})))
    hand.data(packet(Type.ATTRS, u32(2) + u32(0)))
    hand.data(reply(Type.HANDLE, 3, string(b"h")))
    world.net.pass_s(61)

    assert said(hand.pushing.value) == (UP, "stalled")
    world.quiet()


def test_no_secret_is_in_any_report(tmp_path):
    lies: list[dict[str, Any]] = [
        {"login": one} for one in ("refuse", "change", "partial", "leave", "echo", "keyboard")
    ]
    for number, lie in enumerate(lies):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert PASSWORD.decode() not in repr(World(folder, **lie).push())
