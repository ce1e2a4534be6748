"""Connecting to servers, from the first byte to the last: two deadlines, and an exception for each thing that fails."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Iterator
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.keys import Key
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from conch_pipe.ssh.client import errors
from conch_pipe.ssh.client.auth import Credentials
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.client.policy import Pinned
from conch_pipe.ssh.fields import string, u32
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp.wire import Type
from tests.conftest import CANARY
from tests.ssh.client_pair import ClientPair, RawServer, Trusting
from tests.ssh.memory import PASSWORD, Door
from tests.ssh.pair import host_key
from tests.ssh.sftp_peer import VERSION, Outcome, reply, status

CONTENT = bytes(range(256)) * 16_384  # 4 MiB
OTHER = Key(Ed25519PrivateKey.generate())


@cache
def rsa_key() -> Key:
    return Key(rsa.generate_private_key(65537, 2048))


@pytest.fixture
def fd(tmp_path) -> Iterator[int]:
    (tmp_path / "local").write_bytes(CONTENT)
    number = os.open(tmp_path / "local", os.O_RDONLY)
    yield number
    os.close(number)


def with_our_server(server_limits: Limits | None = None, **options) -> tuple[ClientPair, Door]:
    """A session with this project's server."""
    door = Door([host_key()], Clock(), server_limits)
    server = door.factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 50000))
    return ClientPair(server, clock=door.clock, **options), door


def leave(pair: ClientPair) -> None:
    """Whatever happened, nothing is left: no timer, no open connection."""
    pair.pump()
    if pair.outcome.error is None and pair.outcome.fired:
        closed = Outcome(pair.session.close())
        pair.pump()
        assert closed.fired == 1
    pair.cut()
    assert pair.outcome.fired == 1, "neither session nor error"
    assert pair.clock.getDelayedCalls() == []


def failed(pair: ClientPair, kind: type[errors.ClientError]) -> errors.ClientError:
    """The one error of a connect; the connection is closed, and no secret is in the text."""
    pair.pump()
    assert pair.outcome.fired == 1, f"still in stage {pair.client and pair.client.stage}"
    assert isinstance(pair.outcome.error, kind), repr(pair.outcome.error)
    assert CANARY not in str(pair.outcome.error)
    leave(pair)
    return pair.outcome.error


# What goes well.


def test_a_file_put_to_our_own_server_arrives(fd):
    pair, door = with_our_server()
    pair.pump()

    put = Outcome(pair.session.sftp.put(fd, b"/in/a.csv"))
    pair.pump()

    assert put.value == len(CONTENT)
    assert bytes(door.tree.opened[0].data) == CONTENT
    leave(pair)


def test_a_file_put_through_conchs_own_transport_arrives_in_pieces_that_fit(fd):
    pair = ClientPair(RawServer()).start_sftp(window=10_000, packet=1_024)
    put = Outcome(pair.session.sftp.put(fd, b"/a", 20_000))
    pair.stream()

    pair.data(reply(Type.HANDLE, 1, string(b"h")))

    assert len(pair.stream()) <= 10_000
    assert put.fired == 0
    leave(pair)


def test_the_session_tells_whom_it_talks_to():
    pair = ClientPair(RawServer()).start_sftp()

    assert pair.session.host_key == host_key().public().blob()
    assert pair.session.server_version.startswith("SSH-2.0-")
    assert pair.session.error is None
    assert pair.session.agreed is not None
    assert pair.session.agreed.host_key == b"ssh-ed25519"
    leave(pair)


def test_leaving_fails_what_waits_and_closes_the_connection():
    pair = ClientPair(RawServer()).start_sftp()
    asked = Outcome(pair.session.sftp.stat(b"/a"))

    closed = Outcome(pair.session.close())
    pair.pump()

    assert isinstance(asked.error, errors.ConnectionEnded)
    assert (closed.fired, asked.fired) == (1, 1)
    assert isinstance(pair.session.error, errors.ConnectionEnded)
    assert pair.clock.getDelayedCalls() == []


def test_a_lost_connection_fails_what_waits_once():
    pair = ClientPair(RawServer()).start_sftp()
    asked = Outcome(pair.session.sftp.stat(b"/a"))
    ended = Outcome(pair.session.ended)

    pair.cut()

    assert isinstance(asked.error, errors.ConnectionEnded)
    assert (asked.fired, ended.fired) == (1, 1)
    assert pair.clock.getDelayedCalls() == []


def test_the_deadline_ends_with_the_connect():
    pair = ClientPair(RawServer()).start_sftp()

    pair.advance(20)

    assert pair.session.error is None
    leave(pair)


# The host key.


def test_no_byte_about_the_user_goes_out_before_the_policy_has_accepted():
    answer: Deferred[bool] = Deferred()
    pair = ClientPair(RawServer(), policy=Trusting(answer))
    pair.advance(5)
    assert pair.numbers() == []

    answer.callback(True)

    assert pair.numbers() == [5]
    pair.deferred.cancel()
    leave(pair)


@pytest.mark.parametrize(
    "answer",
    [None, False, 1, "yes", ValueError("broken"), errors.HostKeyRefused("not the one")],
    ids=["None", "False", "1", "a text", "an exception", "a refusal"],
)
@pytest.mark.parametrize("later", [False, True], ids=["at once", "by a Deferred"])
def test_cve_2025_26465_whatever_is_not_true_refuses_the_host_key(answer, later):
    if later:
        answer = fail(answer) if isinstance(answer, Exception) else succeed(answer)
    pair = ClientPair(RawServer(), policy=Trusting(answer))

    failed(pair, errors.HostKeyRefused)

    assert 5 not in [number for number, _ in pair.server.got]


def test_cve_2025_26465_a_policy_that_never_answers_refuses_the_host_key():
    asked: Deferred[bool] = Deferred()
    pair = ClientPair(RawServer(), policy=Trusting(asked))

    pair.advance(11)

    assert failed(pair, errors.TooLate).stage == "host key"
    assert pair.server.got == []
    assert asked.called, "the policy learns that nobody waits any more"


def test_the_policy_is_asked_for_the_key_and_its_algorithm():
    policy = Trusting()
    pair = ClientPair(RawServer(rsa_key()), policy=policy).start_sftp()

    assert policy.asked == [(rsa_key().public().blob(), b"rsa-sha2-512")]
    leave(pair)


@pytest.mark.parametrize("pinned", [host_key, rsa_key], ids=["ed25519", "rsa"])
def test_a_server_with_two_keys_shows_the_one_that_is_pinned(pinned):
    """Offering other algorithms first would make an honest server's key look changed."""
    for keys in ((host_key(), rsa_key()), (rsa_key(), host_key())):
        pair = ClientPair(RawServer(*keys), policy=Pinned(pinned().public().blob())).start_sftp()
        assert pair.session.host_key == pinned().public().blob()
        leave(pair)


def test_a_server_without_the_pinned_kind_of_key_shows_none():
    pair = ClientPair(RawServer(rsa_key()), policy=Pinned(host_key().public().blob()))

    refused = failed(pair, errors.NoAgreement)

    assert refused.ours == ("ssh-ed25519",)
    assert "rsa-sha2-512" in refused.theirs


def test_another_key_than_the_pinned_one_is_refused():
    pair = ClientPair(RawServer(OTHER), policy=Pinned(host_key().public().blob()))

    failed(pair, errors.HostKeyRefused)


class Signing:
    """A private key that signs as a test says."""

    def __init__(self, sign) -> None:
        self.sign = sign


class WrongSigner(RawServer):
    """Shows a key and signs with something else."""

    signing = None

    def _getHostKeys(self, keyAlg):
        public, private = super()._getHostKeys(keyAlg)
        return public, Signing(lambda data, signatureType=None: self.signing(private, data))


@pytest.mark.parametrize(
    ("keys", "sign"),
    [
        ((host_key,), lambda key, data: OTHER.sign(data)),
        ((host_key,), lambda key, data: key.sign(b"x" + data)),
        ((host_key,), lambda key, data: b""),
        ((host_key,), lambda key, data: string(b"ssh-ed25519") + string(bytes(64))),
        ((host_key,), lambda key, data: key.sign(data)[:-1]),
        ((rsa_key,), lambda key, data: key.sign(data, signatureType=b"ssh-rsa")),
        ((rsa_key,), lambda key, data: key.sign(data, signatureType=b"rsa-sha2-256")),
        ((rsa_key,), lambda key, data: host_key().sign(data)),
    ],
    ids=[
        "by another key",
        "of other data",
        "empty",
        "all zero",
        "cut",
        "CVE-2026-44405 by SHA-1",
        "by another algorithm than agreed",
        "by another kind of key",
    ],
)
def test_a_signature_that_does_not_fit_refuses_the_host_key(keys, sign):
    server = WrongSigner(*(key() for key in keys))
    server.signing = sign
    policy = Trusting()
    pair = ClientPair(server, policy=policy)

    failed(pair, errors.HostKeyRefused)

    assert policy.asked == [], "the policy is asked about proven keys only"


def test_a_rekey_asks_nobody_again_and_the_session_goes_on(fd):
    policy = Trusting()
    pair = ClientPair(RawServer(), policy=policy).start_sftp()

    for number in range(3):
        pair.server.sendKexInit()
        pair.pump()
        asked = Outcome(pair.session.sftp.stat(b"/a"))
        pair.pump()
        pair.data(status(number + 1, 2))
        assert asked.fired == 1

    assert len(policy.asked) == 1
    assert pair.numbers().count(5) == 0, "Conch's client asks for the login again after each re-key"
    leave(pair)


def test_a_rekey_with_another_key_ends_the_session():
    pair = ClientPair(RawServer()).start_sftp()
    asked = Outcome(pair.session.sftp.stat(b"/a"))
    pair.server.factory.privateKeys = {b"ssh-ed25519": OTHER}
    pair.server.factory.publicKeys = {b"ssh-ed25519": OTHER.public()}

    pair.server.sendKexInit()
    pair.pump()

    assert isinstance(asked.error, errors.HostKeyRefused)
    leave(pair)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(ClientLimits(rekey_bytes=300_000), Limits(window=2**17)), (None, Limits(rekey_bytes=300_000, window=2**17))],
    ids=["ours", "the server's"],
)
def test_a_file_arrives_over_many_rekeyings(fd, ours, theirs):
    policy = Trusting()
    pair, door = with_our_server(limits=ours, policy=policy, server_limits=theirs)
    pair.pump()

    put = Outcome(pair.session.sftp.put(fd, b"/in/a.csv"))
    pair.pump()

    assert put.value == len(CONTENT)
    assert bytes(door.tree.opened[0].data) == CONTENT
    assert pair.session.rekeyings >= 10
    assert len(policy.asked) == 1
    leave(pair)


def test_keys_are_changed_after_an_hour():
    pair, _ = with_our_server(limits=ClientLimits(rekey_s=60))
    pair.pump()

    pair.advance(61)

    assert pair.session.rekeyings == 1
    assert pair.session.error is None
    leave(pair)


def test_a_rekey_that_the_server_does_not_finish_ends_the_session(fd):
    pair = ClientPair(RawServer(), limits=ClientLimits(rekey_s=60)).start_sftp()
    pair.server.ssh_KEXINIT = lambda packet: None

    pair.advance(61)
    asked = Outcome(pair.session.sftp.put(fd, b"/a"))
    assert pair.stream() == b"", "nothing but the key exchange goes out"
    pair.advance(31)

    assert isinstance(asked.error, errors.TooLate)
    leave(pair)


def test_cve_2025_22869_what_waits_for_a_rekey_that_does_not_end_is_bounded():
    limits = ClientLimits(rekey_s=60, requests=10_000)
    pair = ClientPair(RawServer(), limits=limits).start_sftp()
    pair.server.ssh_KEXINIT = lambda packet: None
    pair.advance(61)

    asked = [Outcome(pair.session.sftp.stat(b"x" * 4_000)) for _ in range(400)]
    pair.pump()

    assert len(pair.to_server.value()) < 10_000
    assert all(one.fired == 1 for one in asked), "more than a megabyte of them ends the session"
    leave(pair)


def test_cve_2025_8277_rekeyings_cost_no_memory():
    pair = ClientPair(RawServer()).start_sftp()

    def change_keys(times: int) -> int:
        for _ in range(times):
            pair.client.sendKexInit()
            pair.pump()
        gc.collect()
        ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/conch_pipe/ssh/*")])
        return sum(one.size for one in ours.statistics("filename"))

    tracemalloc.start()
    try:
        before = change_keys(20)
        after = change_keys(100)
    finally:
        tracemalloc.stop()

    assert pair.session.rekeyings == 120
    assert after - before < 20_000
    leave(pair)


def test_a_server_that_changes_keys_all_the_time_is_left():
    pair = ClientPair(RawServer()).start_sftp()
    for _ in range(12):
        if pair.session.error is None:
            pair.server.sendKexInit()
            pair.pump()

    assert isinstance(pair.session.error, errors.ProtocolBroken)
    leave(pair)


# Each stage has its error.


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (error.DNSLookupError(), errors.NameNotFound),
        (error.ConnectionRefusedError(), errors.ConnectionRefused),
        (error.TimeoutError(), errors.TooLate),
        (error.TCPTimedOutError(), errors.TooLate),
        (error.NoRouteError(), errors.Unreachable),
        (error.ConnectError(), errors.Unreachable),
        (OSError(1, "not permitted"), errors.Unreachable),
    ],
)
def test_a_connection_that_does_not_come_about_says_why(problem, kind):
    clock = Clock()
    pair = ClientPair.__new__(ClientPair)
    pair.__dict__.update(clock=clock)
    from conch_pipe.ssh.client.connecting import connect
    from tests.ssh.client_pair import ANN, MemoryEndpoint

    outcome = Outcome(connect(clock, MemoryEndpoint(problem), ANN, Trusting()))

    assert isinstance(outcome.error, kind)
    assert outcome.error.__cause__ is problem
    assert clock.getDelayedCalls() == []


def test_an_endpoint_that_never_answers_is_given_up_and_cancelled():
    from conch_pipe.ssh.client.connecting import connect
    from tests.ssh.client_pair import ANN, MemoryEndpoint

    clock, endpoint = Clock(), MemoryEndpoint(None)
    outcome = Outcome(connect(clock, endpoint, ANN, Trusting()))

    clock.advance(9.9)
    assert outcome.fired == 0
    clock.advance(0.2)

    assert isinstance(outcome.error, errors.TooLate)
    assert outcome.error.stage == "connect"
    assert endpoint.cancelled


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n<html>",
        b"SSH-1.5-old\r\n",
        b"220 ftp.example FTP server ready\r\n" * 30,
        b"x" * 2**20,
        b"SSH-2.0-" + b"x" * 2**20,
        b"SSH-2.0-\xff\r\n",
        b"SSH-2.0-a\0b\r\n",
        b"SSH-3.0-x\r\n",
    ],
    ids=[
        "HTTP",
        "SSH 1",
        "30 lines",
        "CVE-2022-21716 no line",
        "CVE-2022-21716 a long version",
        "8 bit",
        "NUL",
        "SSH 3",
    ],
)
def test_something_else_than_ssh_is_named_so(said):
    pair = ClientPair()
    for at in range(0, len(said), 65_536):
        if pair.outcome.fired:
            break
        pair.say(said[at : at + 65_536])
    if pair.outcome.fired == 0:
        pair.cut(error.ConnectionDone())

    failed(pair, errors.NotSSH)

    assert len(pair.heard) < 5_000


def test_lines_before_the_version_are_read_past():
    class Talkative(RawServer):
        ourVersionString = b"SSH-1.99-OpenSSH_3.9"

        def connectionMade(self):
            self.transport.write(b"Welcome\r\nto this server\r\n")
            super().connectionMade()

    pair = ClientPair(Talkative())

    pair.start_sftp()
    leave(pair)


def test_a_server_that_closes_at_once_has_ended_the_connection():
    pair = ClientPair()
    pair.cut(error.ConnectionDone())

    assert "version" in str(failed(pair, errors.ConnectionEnded))


def test_a_silent_server_is_too_late_with_its_version():
    pair = ClientPair().advance(11)

    assert failed(pair, errors.TooLate).stage == "version"


def test_a_server_that_says_its_version_only_is_too_late_with_its_keys():
    pair = ClientPair().say(b"SSH-2.0-OpenSSH_9.2\r\n").advance(11)

    assert failed(pair, errors.TooLate).stage == "kex"


def test_a_server_that_does_not_decide_on_the_login_is_too_late():
    pair = ClientPair(RawServer()).ask_for_login().advance(29)
    assert pair.outcome.fired == 0

    pair.advance(2)

    late = failed(pair, errors.TooLate)
    assert (late.stage, str(late)) == ("auth", "no answer within 30 s (auth)")


def test_a_server_that_does_not_start_sftp_is_too_late():
    pair = ClientPair(RawServer()).log_in().advance(29)
    assert pair.outcome.fired == 0

    pair.advance(2)

    assert failed(pair, errors.TooLate).stage == "subsystem"


def test_the_login_has_its_time_however_long_the_key_exchange_took():
    """The two deadlines are one behind the other: 9 s of the first leave the second whole, and it is no third one."""
    answer: Deferred[bool] = Deferred()
    pair = ClientPair(RawServer(), policy=Trusting(answer)).advance(9)
    answer.callback(True)
    pair.ask_for_login().advance(28)
    assert pair.numbers() == [50]

    pair.send(52).advance(3)

    assert failed(pair, errors.TooLate).stage == "subsystem"


def test_a_slow_login_comes_through():
    pair = ClientPair(RawServer()).ask_for_login().advance(25)
    assert pair.numbers() == [50]
    pair.send(52)
    assert pair.numbers() == [90]
    pair.send(91, u32(0), u32(0), u32(2**21), u32(32_768)).send(99, u32(0)).data(VERSION)

    assert pair.session.error is None
    assert pair.session.server_version.startswith("SSH-2.0-")
    leave(pair)


def test_a_server_with_nothing_but_cbc_is_told_with_both_offers():
    server = RawServer()
    server.supportedCiphers = [b"aes256-cbc", b"3des-cbc"]
    pair = ClientPair(server)

    refused = failed(pair, errors.NoAgreement)

    assert refused.kind == "cipher"
    assert refused.theirs == ("aes256-cbc", "3des-cbc")
    assert "aes128-ctr" in refused.ours


def test_a_wrong_password_is_a_refused_login():
    pair = ClientPair(RawServer()).ask_for_login()

    pair.send(51, string(b"publickey,password"), b"\0")

    assert failed(pair, errors.LoginRefused).methods == ("publickey", "password")


def test_our_own_server_refuses_a_wrong_password():
    pair, _ = with_our_server(credentials=Credentials(b"ann", b"wrong"))

    assert failed(pair, errors.LoginRefused).methods == ("password",)


def test_a_server_that_disconnects_during_the_login_has_refused_it():
    pair = ClientPair(RawServer()).ask_for_login()

    pair.send(1, u32(2), string(b"Too many authentication failures"), string(b""))

    assert "Too many" in str(failed(pair, errors.LoginRefused))


def test_a_server_that_closes_during_the_login_has_refused_it():
    pair = ClientPair(RawServer()).ask_for_login()

    pair.cut(error.ConnectionDone())

    failed(pair, errors.LoginRefused)


def test_a_server_that_disconnects_earlier_is_quoted():
    pair = ClientPair(RawServer())
    pair.pump()

    pair.send(1, u32(12), string(b"Too many \x1b[2J users"), string(b""))

    assert "12 Too many ?[2J users" in str(failed(pair, errors.Disconnected))


def test_a_server_without_sftp_is_told():
    pair = ClientPair(RawServer()).log_in()
    pair.send(91, u32(0), u32(0), u32(2**21), u32(32_768))

    pair.send(100, u32(0))

    failed(pair, errors.NoSFTP)


def test_a_disconnect_in_mid_session_fails_what_waits():
    pair = ClientPair(RawServer()).start_sftp()
    asked = Outcome(pair.session.sftp.stat(b"/a"))

    pair.send(1, u32(11), string(b"going down"), string(b""))

    assert isinstance(asked.error, errors.Disconnected)
    leave(pair)


@pytest.mark.parametrize("seconds", [0, 1])
@pytest.mark.parametrize("stage", ["version", "kex", "auth", "subsystem"])
def test_a_cancelled_connect_closes_the_connection_in_every_stage(stage, seconds):
    pair = ClientPair(RawServer() if stage in ("auth", "subsystem") else None)
    if stage == "kex":
        pair.say(b"SSH-2.0-x\r\n")
    if stage == "auth":
        pair.ask_for_login()
    if stage == "subsystem":
        pair.log_in()
    pair.advance(seconds)

    pair.deferred.cancel()

    failed(pair, errors.ConnectionEnded)
    assert pair.to_server.aborted or pair.to_server.disconnecting


def test_a_connection_cut_after_any_byte_ends_everything_once_with_nothing_left(tmp_path):
    (tmp_path / "small").write_bytes(b"x" * 3_000)
    local = os.open(tmp_path / "small", os.O_RDONLY)
    whole, bytes_down = put_and_cut(local, None)
    assert (whole.value, whole.error) == (3_000, None)

    for cut_at in range(0, bytes_down, 7):
        outcome, _ = put_and_cut(local, cut_at)
        assert isinstance(outcome.error, errors.ClientError), (cut_at, outcome.error)
    os.close(local)


def put_and_cut(local: int, cut_at: int | None) -> tuple[Outcome, int]:
    """Connect and put; after so many bytes from the server the connection is lost.

    :returns: how the last of the two ended, and how many bytes came.
    """
    pair, door = with_our_server()
    last, came = pair.outcome, 0
    while True:
        upstream = pair.to_server.take()
        if upstream:
            pair.server.dataReceived(upstream)
        downstream = pair.to_client.take()
        if cut_at is not None and came + len(downstream) >= cut_at:
            pair.client.dataReceived(downstream[: cut_at - came])
            break
        came += len(downstream)
        if downstream:
            pair.client.dataReceived(downstream)
        if last is pair.outcome and last.fired:
            last = Outcome(pair.session.sftp.put(local, b"/in/a.csv"))
        elif not upstream and not downstream:
            break
    pair.cut()
    assert (pair.outcome.fired, last.fired) == (1, 1)
    assert pair.clock.getDelayedCalls() == []
    files = [file for avatar in door.realm.avatars for tree in avatar.trees for file in tree.opened]
    assert all(file.fate != "open" for file in files)
    return last, came


# Servers that break the protocol.


def clear_packet(number: int, *fields: bytes) -> bytes:
    """A message as it is sent before there are keys."""
    payload = bytes((number,)) + b"".join(fields)
    padding = 8 - (len(payload) + 5) % 8
    padding += 8 if padding < 4 else 0
    return u32(len(payload) + padding + 1) + bytes((padding,)) + payload + bytes(padding)


@pytest.mark.parametrize("number", [5, 6, 7, 21, 30, 31, 50, 51, 52, 53, 60, 80, 90, 91, 93, 94, 99, 100, 0, 255])
def test_cve_2023_46445_nothing_comes_before_the_first_kexinit(number):
    pair = ClientPair().say(b"SSH-2.0-x\r\n" + clear_packet(number, bytes(20)))

    failed(pair, errors.ProtocolBroken)

    assert PASSWORD not in pair.heard


@pytest.mark.parametrize("number", [2, 3, 4])
def test_cve_2023_48795_with_a_strict_server_not_even_ignore_comes_during_the_key_exchange(number):
    pair, _ = with_our_server()
    pair.server.dataReceived(pair.to_server.take())
    before_keys = pair.to_client.take()

    pair.client.dataReceived(before_keys + clear_packet(number, u32(0), string(b"")))

    failed(pair, errors.ProtocolBroken)


@pytest.mark.parametrize("length", [0, 1, 4, 11, 35_001, 2**18 + 1, 2**20 + 1, 2**31, 2**32 - 1])
def test_cve_2026_55200_a_packet_length_out_of_bounds_is_broken_off_at_once(length):
    pair = ClientPair().say(b"SSH-2.0-x\r\n" + u32(length) + bytes(12))

    failed(pair, errors.ProtocolBroken)


def test_cve_2025_30211_a_kexinit_with_giant_lists_is_broken_off():
    lists = string(b"a," * 10_000) + string(b"") * 9 + b"\0" + u32(0)
    pair = ClientPair().say(b"SSH-2.0-x\r\n" + clear_packet(20, bytes(16), lists))

    failed(pair, errors.ProtocolBroken)


@pytest.mark.parametrize("number", [5, 6, 50, 51, 52, 60, 90, 91, 94, 99])
def test_cve_2018_10933_nothing_but_the_service_is_accepted_after_the_keys(number):
    """52 here would be a login that never was."""
    pair = ClientPair(RawServer())
    assert pair.numbers() == [5]

    pair.send(number, string(b"ssh-connection"))

    failed(pair, errors.ProtocolBroken)
    assert pair.numbers() == []


@pytest.mark.parametrize("number", [5, 6, 30, 31, 50, 61, 80, 90, 91, 92, 93, 94, 97, 98, 99, 100])
def test_nothing_but_the_answer_is_accepted_during_the_login(number):
    pair = ClientPair(RawServer()).ask_for_login()

    pair.send(number, u32(0), string(b"x"))

    failed(pair, errors.ProtocolBroken)


@pytest.mark.parametrize("number", [5, 6, 21, 30, 31, 32, 50, 51, 52, 53, 60])
def test_no_message_of_an_earlier_stage_is_accepted_in_the_session(number):
    pair = ClientPair(RawServer()).start_sftp()
    asked = Outcome(pair.session.sftp.stat(b"/a"))

    pair.send(number, string(b"x"))

    assert isinstance(asked.error, errors.ProtocolBroken)
    leave(pair)


def test_ext_info_after_the_keys_is_used_for_the_login():
    pair = ClientPair(RawServer(), Credentials(b"ann", key=rsa_key())).pump()
    pair.send(7, u32(1), string(b"server-sig-algs"), string(b"rsa-sha2-256"))

    pair.send(6, string(b"ssh-userauth"))

    ((number, payload),) = [message for message in pair.got() if message[0] == 50]
    assert b"rsa-sha2-256" in payload
    pair.deferred.cancel()
    leave(pair)


def test_cve_2026_55199_a_malformed_ext_info_is_broken_off():
    pair = ClientPair(RawServer())

    pair.send(7, u32(2**32 - 1), string(b"server-sig-algs"))

    failed(pair, errors.ProtocolBroken)


def test_ignore_debug_and_unimplemented_are_read_past():
    pair = ClientPair(RawServer()).start_sftp()

    for _ in range(100):
        pair.send(2, string(b"x" * 100))
        pair.send(4, b"\1", string(b"debug"), string(b""))
        pair.send(3, u32(1))

    assert pair.got() == []
    leave(pair)


def test_cve_2025_26466_a_server_that_asks_and_does_not_read_is_not_answered_without_bound():
    pair = ClientPair(RawServer()).start_sftp()
    pair.got()
    pair.client.pauseProducing()  # Twisted's: the socket is full
    request = string(b"keepalive@openssh.com") + b"\1"
    for _ in range(20_000):
        pair.server.sendPacket(80, request)
    waiting = pair.to_client.take()
    for at in range(0, len(waiting), 65_536):
        if pair.to_server.reading and not pair.over:
            pair.client.dataReceived(waiting[at : at + 65_536])

    assert len(pair.to_server.value()) < 2**18
    pair.cut()


def test_sftp_bytes_that_are_none_end_the_connection():
    """A login script that prints something is the usual reason."""
    pair = ClientPair(RawServer()).log_in()
    pair.send(91, u32(0), u32(0), u32(2**21), u32(32_768))

    pair.data(b"Welcome to this server!\n")

    failed(pair, errors.ProtocolBroken)


LIMITS = ClientLimits(connect_s=3, login_s=5)


def test_the_deadline_of_the_key_exchange_is_a_limit():
    pair = ClientPair(limits=LIMITS).advance(2.5)
    assert pair.outcome.fired == 0

    pair.advance(1)

    assert failed(pair, errors.TooLate).stage == "version"


def test_the_deadline_of_the_login_is_a_limit():
    pair = ClientPair(RawServer(), limits=LIMITS).ask_for_login().advance(4.5)
    assert pair.outcome.fired == 0

    pair.advance(1)

    assert failed(pair, errors.TooLate).stage == "auth"
