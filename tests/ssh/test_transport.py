"""What a peer can do to the transport, before and after login."""

from __future__ import annotations

import os
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from conch_pipe.ssh.fields import string, u32
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.transport.states import EXCHANGE
from tests.ssh.memory import Door
from tests.ssh.pair import Pair, host_key, numbers
from tests.ssh.talk import opening

DOSE = int(os.environ.get("PIPE_DOSE", "1"))


class Stranger:
    """Raw bytes to a fresh server."""

    def __init__(self, door: Door | None = None) -> None:
        self.pair = Pair(door)
        self.pair.to_server.clear()  # the client's own version line and KEXINIT

    def send(self, data: bytes) -> Stranger:
        self.pair.server.dataReceived(data)
        return self

    @property
    def alive(self) -> bool:
        wire = self.pair.to_client
        return not (wire.aborted or wire.disconnecting)


def packet(number: int, payload: bytes = b"") -> bytes:
    """An SSH packet without encryption."""
    size = 6 + len(payload)
    padding = 8 - size % 8
    padding += 8 if padding < 4 else 0
    return struct.pack(">LB", size + padding - 4, padding) + bytes((number,)) + payload + bytes(padding)


VERSION = b"SSH-2.0-OpenSSH_9.2\r\n"


class BeforeKeys(SynchronousTestCase):
    """Version line and first key exchange."""

    def test_our_version_tells_no_number(self) -> None:
        self.assertEqual(Stranger().pair.to_client.value().split(b"\r\n")[0], b"SSH-2.0-pipe-sftp")

    def test_a_version_line_of_255_bytes_is_taken_and_256_are_not(self) -> None:
        line = b"SSH-2.0-" + b"x" * 245

        self.assertTrue(Stranger().send(line + b"\r\n").alive)
        self.assertFalse(Stranger().send(line + b"x\r\n").alive)
        self.assertFalse(Stranger().send(b"SSH-2.0-" + b"x" * 300).alive)

    def test_a_version_line_and_a_large_kexinit_may_come_in_one_segment(self) -> None:
        """Conch counts the KEXINIT to the line and refuses at 4,096 (tracker 10309)."""
        self.assertTrue(Stranger().send(VERSION + packet(2, string(bytes(5000)))).alive)

    def test_other_protocols_are_turned_away(self) -> None:
        for first in (
            b"GET / HTTP/1.1\r\n",
            b"SSH-1.5-old\r\n",
            b"\r\n",
            b"SSH-2.0-a\x00b\r\n",
            b"hello\r\nSSH-2.0-x\r\n",
        ):
            self.assertFalse(Stranger().send(first).alive, first)

    def test_a_version_line_may_come_byte_by_byte(self) -> None:
        stranger = Stranger()
        for byte in VERSION:
            stranger.send(bytes((byte,)))
        self.assertEqual(stranger.pair.server.banner, "SSH-2.0-OpenSSH_9.2")

    def test_only_messages_of_the_key_exchange_are_taken_before_keys(self) -> None:
        """Conch took a SERVICE_REQUEST in clear text (C25)."""
        for number in range(256):
            stranger = Stranger().send(VERSION + packet(number, bytes(8)))
            expected = number in EXCHANGE["kexinit"] - {1, 20}  # 1 says goodbye; this 20 is malformed
            self.assertEqual((number, stranger.alive), (number, expected))

    def test_a_packet_over_35000_bytes_ends_the_connection_at_its_length(self) -> None:
        """Conch buffers 1 MiB for everybody who asks (C15)."""
        for length, alive in ((34_996, True), (35_004, False), (0xFFFFFFFC, False)):
            self.assertEqual(Stranger().send(VERSION + u32(length) + bytes(12)).alive, alive, length)

    def test_a_malformed_packet_ends_the_connection_with_one_line(self) -> None:
        """26 of 39 such packets raised out of Conch (C20)."""
        lines = []
        door = Door([host_key()], Clock(), penalty_exempt=["192.0.2.7"])
        self.addCleanup(globalLogPublisher.removeObserver, lines.append)
        globalLogPublisher.addObserver(lines.append)
        for kexinit in (b"", bytes(15), bytes(16) + u32(99) + b"x", bytes(16) + string(b"") * 10, bytes(60)):
            self.assertFalse(Stranger(door).send(VERSION + packet(20, kexinit)).alive)
        for odd in (packet(2)[:4] + b"\xff" + packet(2)[5:], struct.pack(">LB", 12, 0) + bytes(11)):
            self.assertFalse(Stranger(door).send(VERSION + odd).alive)

        told = [formatEvent(event) for event in lines if "broke the SSH protocol" in event.get("log_format", "")]
        self.assertEqual(len(told), 1)

    def test_zlib_is_not_offered(self) -> None:
        """194 KB became 200 MB before login (C14)."""
        self.assertNotIn(b"zlib", Stranger().pair.to_client.value())

    def test_weak_algorithms_are_not_offered(self) -> None:
        offered = Stranger().pair.to_client.value()
        for weak in (b"-cbc", b"sha1", b"md5", b"nistp", b"group-exchange", b"ssh-rsa", b"ssh-dss"):
            self.assertNotIn(weak, offered)

    def test_nothing_is_looked_at_after_our_disconnect(self) -> None:
        """Conch went on with the rest of the segment (C21)."""
        stranger = Stranger().send(VERSION + packet(5, string(b"ssh-userauth")) + packet(2) * 5)

        self.assertEqual(stranger.pair.server.packets_received, 1)

    def test_500_key_exchange_requests_cost_one_signature(self) -> None:
        pair = Pair().pump()
        sent = len(pair.to_client.value())

        for _ in range(500):
            pair.client.sendPacket(30, string(bytes(32)))
        pair.pump()

        self.assertTrue(pair.over)
        self.assertEqual(sent, 0)

    def test_a_rekey_before_login_ends_the_connection(self) -> None:
        pair = Pair().ask_for_login()

        pair.client.sendKexInit()
        pair.pump()

        self.assertTrue(pair.over)

    def test_128_kib_of_small_packets_before_login_end_the_connection(self) -> None:
        """64 KiB of unknown messages cost Conch 44 ms each (C17)."""
        pair = Pair().ask_for_login()

        for _ in range(5000):
            pair.client.sendPacket(2, b"")
        pair.pump()

        self.assertEqual((pair.over, pair.server.packets_received < 4200), (True, True))

    def test_a_wrong_guess_of_the_exchange_is_skipped(self) -> None:
        """RFC 4253 section 7: first_kex_packet_follows, for an exchange we do not have."""
        pair = Pair()
        client = pair.client
        pair.to_server.clear()
        client.outgoingPacketSequence = 0
        payload = client.ourKexInitPayload
        exchanges = b"sntrup761x25519-sha512," + b",".join(client.supportedKeyExchanges)
        rest = payload[17 + 4 + int.from_bytes(payload[17:21], "big") : -5]
        client.ourKexInitPayload = payload[:17] + string(exchanges) + rest + b"\1" + bytes(4)

        pair.server.dataReceived(client.ourVersionString + b"\r\n")
        client._keyExchangeState = client._KEY_EXCHANGE_NONE
        client.sendPacket(20, client.ourKexInitPayload[1:])
        client._keyExchangeState = client._KEY_EXCHANGE_REQUESTED
        client.sendPacket(30, b"a guess")
        pair.pump()

        self.assertEqual((client.secure, pair.over), (1, False))

    @settings(max_examples=100 * DOSE, deadline=None)
    @given(st.binary(max_size=600), st.booleans())
    def test_noise_never_raises(self, noise: bytes, after_version: bool) -> None:
        Stranger().send((VERSION if after_version else b"") + noise)

    @settings(max_examples=100 * DOSE, deadline=None)
    @given(st.integers(0, 255), st.binary(max_size=200), st.booleans())
    def test_noise_in_a_message_never_raises(self, number: int, payload: bytes, logged_in: bool) -> None:
        pair = Pair().log_in() if logged_in else Pair().pump()

        pair.client.sendPacket(number, payload)
        pair.pump()

        if not logged_in and number not in (1, 2, 3, 4, 7):
            self.assertTrue(pair.over)


def begin_exchange(pair: Pair) -> None:
    """The client sends its KEXINIT and nothing else of the exchange."""
    pair.client.ssh_KEXINIT = lambda packet: None
    pair.send(20, pair.client.ourKexInitPayload[1:])


class AfterLogin(SynchronousTestCase):
    """A peer with a password."""

    def test_a_rekey_by_the_client_keeps_the_session(self) -> None:
        pair = Pair().start_sftp()

        for number in range(3):
            pair.client.sendKexInit()
            pair.pump()
            self.assertEqual(len(pair.sftp(opening(number))), 1)

        self.assertEqual((pair.client.secure, pair.over), (4, False))

    def test_11_rekeys_for_nothing_end_the_connection(self) -> None:
        pair = Pair().log_in()

        for _ in range(11):
            pair.client.sendKexInit()
            pair.pump()

        self.assertTrue(pair.over)

    def test_a_rekey_that_does_not_end_ends_the_connection(self) -> None:
        """Replies piled up behind it (C18)."""
        pair = Pair().log_in()

        begin_exchange(pair)
        pair.advance(31)

        self.assertEqual(pair.door.listener.endings, ["a key exchange did not end in time"])

    def test_replies_behind_a_key_exchange_are_bounded(self) -> None:
        pair = Pair(limits=Limits(backlog=2000)).start_sftp()
        begin_exchange(pair)

        pair.server.sendPacket(94, bytes(1500))
        self.assertFalse(pair.to_client.aborted)
        pair.server.sendPacket(94, bytes(1500))

        self.assertTrue(pair.to_client.aborted)

    def test_messages_after_the_clients_kexinit_that_are_not_of_the_exchange_end_the_connection(self) -> None:
        pair = Pair().log_in()
        begin_exchange(pair)

        pair.send(80, string(b"keepalive@openssh.com"), b"\1")

        self.assertTrue(pair.over)

    def test_a_packet_over_262144_bytes_ends_the_connection(self) -> None:
        pair = Pair().log_in()

        pair.send(2, string(bytes(200_000)))
        self.assertFalse(pair.over)
        pair.send(2, string(bytes(262_144)))

        self.assertTrue(pair.over)

    def test_ext_info_is_ignored(self) -> None:
        """Conch takes 2 s for a megabyte of it (C16)."""
        pair = Pair().log_in()

        self.assertEqual(pair.send(7, u32(2**31)), [])
        self.assertFalse(pair.over)

    def test_an_unknown_message_is_unimplemented_by_its_own_number(self) -> None:
        """Conch names the packet after it."""
        pair = Pair().log_in()
        number = pair.client.outgoingPacketSequence

        self.assertEqual(pair.send(192, b"ping"), [(3, u32(number))])

    def test_a_client_that_does_not_take_the_disconnect_is_cut_after_5_seconds(self) -> None:
        """A peer with a closed TCP window kept the socket for ever (C22)."""
        pair = Pair().log_in()
        pair.server.sendDisconnect(11, b"bye")
        self.assertEqual((pair.to_client.disconnecting, pair.to_client.aborted), (True, False))

        pair.clock.advance(5)

        self.assertTrue(pair.to_client.aborted)

    def test_the_clients_disconnect_is_its_last_word(self) -> None:
        pair = Pair().log_in()

        pair.client.sendPacket(1, u32(11) + string("tschüß\n".encode()) + string(b""))
        pair.client.sendPacket(90, b"")
        pair.pump()

        self.assertEqual(pair.door.listener.endings, ["the client disconnected: 11 tsch?????"])

    def test_a_peer_that_does_not_read_is_not_read_from(self) -> None:
        """Replies to what it sends would pile up (C17)."""
        pair = Pair().log_in()

        pair.to_client.producer.pauseProducing()
        self.assertFalse(pair.to_client.reading)
        pair.to_client.producer.resumeProducing()

        self.assertTrue(pair.to_client.reading)

    def test_nothing_follows_our_disconnect(self) -> None:
        pair = Pair().start_sftp()

        pair.server.sendDisconnect(11, b"bye")
        pair.server.sendPacket(80, string(b"late"))
        pair.pump()

        self.assertEqual(numbers(pair.got())[-1], 1)

    def test_sequence_numbers_wrap(self) -> None:
        """Packet 2**32 raised in Conch (C19)."""
        pair = Pair().log_in()
        outgoing, incoming = pair.server.outgoing, pair.server.incoming
        outgoing.sequence = pair.client.incomingPacketSequence = 2**32 - 1
        incoming.sequence = pair.client.outgoingPacketSequence = 2**32 - 1

        self.assertEqual(numbers(pair.send(80, string(b"x"), b"\1")), [82])
        self.assertEqual((outgoing.sequence, incoming.sequence), (0, 0))
