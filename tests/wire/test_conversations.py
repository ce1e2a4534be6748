"""Conversations recorded from real clients, played again: what surprised us must go on working.

A record is what the client sent after login (message numbers and payloads, no password), against a tree in memory.
Each is played over every make of transports.py: Conch's own transport below our connection and channels, Conch's
client with our server in what both have, and our transport on both sides in every cipher and MAC. The outcome is the
same, answer by answer; also when either side or both ask for new keys before and after every message, while data and
replies are on their way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from conch_pipe.ssh.fields import string, u32, u64
from conch_pipe.ssh.sftp.wire import Type
from tests.ssh.talk import Talk, ask, opening
from tests.wire.transports import MAKES, STOCK, Made, Make

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
HERE = Path(__file__).parent
RECORDS = ("scp_put", "rclone_put", "psftp_put", "curl_put")

Answers = list[tuple[int, bytes]]
Send = Callable[[Made, int, int, bytes], None]


@cache
def recorded(name: str) -> dict[str, Any]:
    return json.loads((HERE / f"{name}.json").read_text())


def plainly(pair: Made, place: int, number: int, payload: bytes) -> None:
    """Nothing comes between the messages."""
    pair.client.sendPacket(number, payload)


def client_asks(pair: Made, place: int, number: int, payload: bytes) -> None:
    """For new keys: before the message, which then waits for them, or right after it, and the answers wait."""
    steps = [lambda: pair.client.sendPacket(number, payload), pair.client.sendKexInit]
    for step in reversed(steps) if place % 2 else steps:
        step()


def server_asks(pair: Made, place: int, number: int, payload: bytes) -> None:
    """The message is on its way when it does."""
    pair.client.sendPacket(number, payload)
    pair.server.sendKexInit()


def both_ask(pair: Made, place: int, number: int, payload: bytes) -> None:
    """Neither knows of the other's KEXINIT when it sends its own."""
    pair.server.sendKexInit()
    client_asks(pair, place, number, payload)


def play(name: str, make: Make, send: Send = plainly) -> tuple[Made, Answers]:
    """Send a record message by message; the pair, and all that came back."""
    pair = Made(make, recorded(name)["client"].encode())
    for place, (number, payload) in enumerate(recorded(name)["messages"]):
        send(pair, place, number, bytes.fromhex(payload))
        pair.pump()
    return pair, pair.got()


def channel_of(payload: bytes) -> int:
    return int.from_bytes(payload[:4], "big")


def fate(pair: Made) -> tuple[str, bytes]:
    (file,) = pair.door.tree.opened
    return file.fate, bytes(file.data)


every_make = pytest.mark.parametrize("make", MAKES, ids=str)


@every_make
def test_openssh_scp_declares_the_size_before_close_and_waits_for_exit_status_0(make: Make) -> None:
    """Recorded from scp 9.2p1: OPEN without TRUNC, FSETSTAT of the size; exit 1 without an exit status."""
    pair, answers = play("scp_put", make)

    assert fate(pair) == ("closed", b"id\n1\n")
    assert pair.door.tree.opened[0].attributes == [{"size": 5}]
    assert [number for number, _ in answers][-3:] == [98, 96, 97]
    assert not pair.over


@every_make
def test_rclone_probes_with_seven_commands_and_puts_nonetheless(make: Make) -> None:
    """Recorded from rclone 1.60: its commands reuse one channel number, one after the other."""
    pair, answers = play("rclone_put", make)

    statuses = [payload for number, payload in answers if number == 98 and b"exit-status" in payload]
    assert sorted({channel_of(payload) for payload in statuses}) == [0, 1]
    assert (len(statuses), fate(pair)) == (8, ("closed", b"id\n1\n"))
    assert pair.server.service.channels == {}


@every_make
def test_putty_asks_for_simple_mode_and_uses_one_request_id_for_all(make: Make) -> None:
    """Recorded from psftp 0.78: maximum packet 16,384, window 2**31-1, EOF without CLOSE."""
    pair, answers = play("psftp_put", make)

    assert fate(pair) == ("closed", b"id\n1\n")
    assert [number for number, _ in answers][-3:] == [98, 96, 97]


@every_make
def test_curl_closes_its_channel_right_after_eof(make: Make) -> None:
    """Recorded from curl 7.88 with libssh2 1.10."""
    pair, _ = play("curl_put", make)

    assert fate(pair) == ("closed", b"id\n1\n")
    assert (pair.over, pair.server.service.channels) == (False, {})


def pairs() -> Iterator[Any]:
    """Every make in every way, each with one record in turn, or with all of them."""
    ways = product(MAKES, (plainly, client_asks, server_asks, both_ask))
    for place, (make, send) in enumerate(ways):
        for name in RECORDS if DOSE > 1 else (RECORDS[(place + place // len(RECORDS)) % len(RECORDS)],):
            yield pytest.param(make, send, name, id=f"{make}-{send.__name__}-{name}")


@cache
def from_conch(name: str) -> Answers:
    """What is answered over Conch's own transport on both sides."""
    return play(name, STOCK)[1]


@pytest.mark.parametrize(("make", "send", "name"), list(pairs()))
def test_the_answers_are_those_over_conchs_own_transport(make: Make, send: Send, name: str) -> None:
    """In the cipher that was meant, and with as many new keys as were asked for."""
    pair, answers = play(name, make, send)

    assert answers == from_conch(name)
    assert fate(pair) == ("closed", b"id\n1\n")
    assert pair.used() == (make.cipher, make.mac)
    assert pair.rekeyings() == (0 if send is plainly else len(recorded(name)["messages"]))


def test_only_the_first_kexinit_says_what_else_we_can() -> None:
    """paramiko 5.1 answered ext-info-c in a later one by EXT_INFO in the middle of a transfer, which ended it."""
    pair = Made(Make("ours", "ours", b"aes128-gcm@openssh.com"), b"SSH-2.0-paramiko_5.1.0")
    for side, marker in ((pair.client, b"ext-info-c"), (pair.server, b"ext-info-s")):
        assert marker in side.ourKexInitPayload
        assert b"kex-strict-" in side.ourKexInitPayload

    pair.client.sendKexInit()
    pair.pump()

    assert pair.rekeyings() == 1
    for side in (pair.client, pair.server):
        assert b"ext-info-" not in side.ourKexInitPayload
        assert b"kex-strict-" not in side.ourKexInitPayload


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
