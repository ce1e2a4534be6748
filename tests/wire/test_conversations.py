"""Conversations recorded from real clients, played again: what surprised us must go on working.

A record is what the client sent after login (message numbers and payloads, no password), against a tree in memory.
"""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from conch_pipe.ssh.fields import string, u32, u64
from conch_pipe.ssh.sftp_wire import Type
from tests.ssh.pair import Pair
from tests.ssh.talk import Talk, ask, opening

HERE = Path(__file__).parent


def play(name: str) -> tuple[Pair, list[tuple[int, bytes]]]:
    """Send a record message by message; the pair, and all that came back."""
    record = json.loads((HERE / f"{name}.json").read_text())
    pair = Pair(banner=record["client"].encode()).log_in()
    for number, payload in record["messages"]:
        pair.client.sendPacket(number, bytes.fromhex(payload))
        pair.pump()
    return pair, pair.got()


def channel_of(payload: bytes) -> int:
    return int.from_bytes(payload[:4], "big")


class Puts(SynchronousTestCase):
    """Ordinary puts of one file."""

    def fate(self, pair: Pair) -> tuple[str, bytes]:
        (file,) = pair.door.tree.opened
        return file.fate, bytes(file.data)

    def test_openssh_scp_declares_the_size_before_close_and_waits_for_exit_status_0(self) -> None:
        """Recorded from scp 9.2p1: OPEN without TRUNC, FSETSTAT of the size; exit 1 without an exit status."""
        pair, answers = play("scp_put")

        self.assertEqual(self.fate(pair), ("closed", b"id\n1\n"))
        self.assertEqual(pair.door.tree.opened[0].attributes, [{"size": 5}])
        self.assertEqual([number for number, _ in answers][-3:], [98, 96, 97])
        self.assertFalse(pair.over)

    def test_rclone_probes_with_seven_commands_and_puts_nonetheless(self) -> None:
        """Recorded from rclone 1.60: its commands reuse one channel number, one after the other."""
        pair, answers = play("rclone_put")

        statuses = [payload for number, payload in answers if number == 98 and b"exit-status" in payload]
        self.assertEqual(sorted({channel_of(payload) for payload in statuses}), [0, 1])
        self.assertEqual((len(statuses), self.fate(pair)), (8, ("closed", b"id\n1\n")))
        self.assertEqual(pair.server.service.channels, {})

    def test_putty_asks_for_simple_mode_and_uses_one_request_id_for_all(self) -> None:
        """Recorded from psftp 0.78: maximum packet 16,384, window 2**31-1, EOF without CLOSE."""
        pair, answers = play("psftp_put")

        self.assertEqual(self.fate(pair), ("closed", b"id\n1\n"))
        self.assertEqual([number for number, _ in answers][-3:], [98, 96, 97])

    def test_curl_closes_its_channel_right_after_eof(self) -> None:
        """Recorded from curl 7.88 with libssh2 1.10."""
        pair, _ = play("curl_put")

        self.assertEqual(self.fate(pair), ("closed", b"id\n1\n"))
        self.assertEqual((pair.over, pair.server.service.channels), (False, {}))


class Oddities(SynchronousTestCase):
    """Single packets."""

    def test_rclones_last_write_carries_the_rest_of_its_buffer(self) -> None:
        """rclone 1.60 (Debian 12) puts 150,000 bytes: the last packet has 32,793 bytes, its string 18,928.

        Refused as trailing bytes, every put that is no multiple of 32 KiB and longer than that failed.
        """
        talk = Talk()
        (opened,) = talk.send(opening(1))
        header = string(opened.handle) + u64(131_072) + u32(18_928)

        reply = talk.one(ask(Type.WRITE, 9, header, b"x" * 18_928, b"stale" * 2768))

        self.assertEqual((reply.code, len(talk.tree.opened[0].data)), (0, 150_000))
        self.assertNotIn(b"stale", talk.tree.opened[0].data)

    def test_lftp_asks_for_version_6_and_looks_at_a_folder_with_a_dot(self) -> None:
        """Recorded from lftp 4.9.2: both STATs in one data message; when "/in/." failed it put the file into /."""
        talk = Talk(greet=False)
        talk.server.dataReceived(bytes.fromhex("000000050100000006"))
        talk.pipe.sent = b""

        answers = talk.send(bytes.fromhex("0000000c1100000002000000032f696e0000000e1100000003000000052f696e2f2e"))

        self.assertEqual([(reply.request, reply.kind) for reply in answers], [(2, Type.ATTRS), (3, Type.ATTRS)])
