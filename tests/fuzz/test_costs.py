"""What one message may cost us: memory and work in proportion to its bytes, whatever its numbers claim."""

from __future__ import annotations

import gc
import random
from typing import TypeVar

import pytest

from conch_pipe.ssh.client.errors import ProtocolBroken
from conch_pipe.ssh.fields import string, u32, u64
from conch_pipe.ssh.sftp.wire import Type, packet
from tests.fuzz.messages import MESSAGES, messages, payload
from tests.fuzz.meters import calls, peak
from tests.fuzz.peer import FILE, STATES
from tests.fuzz.promises import DOSE
from tests.ssh.sftp_peer import ByHand
from tests.ssh.talk import INIT, Talk, ask, writing

_T = TypeVar("_T")

# A key exchange with its signature takes the most: 3,000 calls.
MOST_CALLS = 6_000
STATES_WITH_WORK = ["kexinit", "exchange", "service", "login", "running", "channel open", "file open", "their re-key"]


def _greedy(number: int, size: int) -> list[bytes]:
    """Messages of about ``size`` bytes whose counts and lengths are the largest there are."""
    found = []
    for fields in messages(number):
        for at in range(len(fields)):
            for filler in (b"h" * size, b"," * size, b"\xff" * size, string(b"n") * (size // 5), bytes(size)):
                found.append(payload(number, [*fields[:at], string(filler), *fields[at + 1 :]]))
                found.append(payload(number, [*fields[:at], b"\xff" * 4, filler]))
    return found or [payload(number, [b"\xff" * size])]


def _some(every: list[_T], seed: int) -> list[_T]:
    """Three of them, or more with a dose."""
    return random.Random(seed).sample(every, min(3 * DOSE, len(every)))


@pytest.mark.parametrize("state", STATES_WITH_WORK)
def test_a_message_of_30_kb_holds_a_few_times_its_size_for_a_moment(state):
    gc.collect()
    for number in MESSAGES:
        for sent in _some(_greedy(number, 30_000), number):
            pair = STATES[state]()
            packet = pair.framed(sent)
            held = peak(lambda pair=pair, packet=packet: pair.server.dataReceived(packet))
            assert held < 16 * len(packet) + 100_000, (number, sent[:40])


@pytest.mark.parametrize("state", STATES_WITH_WORK)
def test_a_message_of_30_kb_is_no_more_work_than_one_of_3_kb(state):
    """No loop runs as often as a peer says, and none over the bytes of a message."""
    for number in MESSAGES:
        both = zip(_greedy(number, 3_000), _greedy(number, 30_000), strict=True)
        for short, long in _some(list(both), number):
            work = []
            for sent in (short, long):
                pair = STATES[state]()
                packet = pair.framed(sent)
                work.append(calls(lambda pair=pair, packet=packet: pair.server.dataReceived(packet)))
            assert work[1] < 2 * work[0] + 1_000, (number, work, long[:40])
            assert work[1] < MOST_CALLS, (number, work, long[:40])


_COUNTS = u32(0x80000000) + u32(2**32 - 1) + (string(b"n") + string(b"v")) * 3_000
GREEDY = {
    "attributes of OPEN": ask(Type.OPEN, 1, string(b"/in/b"), u32(0x1A), _COUNTS),
    "attributes of SETSTAT": ask(Type.SETSTAT, 1, string(b"/in/b"), _COUNTS),
    "attributes of FSETSTAT": ask(Type.FSETSTAT, 1, string(FILE), _COUNTS),
    "attributes of MKDIR": ask(Type.MKDIR, 1, string(b"/in/b"), _COUNTS),
    "a path": ask(Type.REALPATH, 1, string(b"/.." * 60_000)),
    "a name": ask(Type.RENAME, 1, string(b"/in/" + b"a/" * 60_000), string(b"/in/b")),
    "an extension": ask(Type.EXTENDED, 1, string(b"x" * 200_000)),
    "a path to expand": ask(Type.EXTENDED, 1, string(b"expand-path@openssh.com"), string(b"~" * 200_000)),
    "a READ": ask(Type.READ, 1, string(FILE), u64(0), u32(2**32 - 1)),
    "an unknown type": ask(99, 1, bytes(200_000)),
}


@pytest.mark.parametrize("what", GREEDY)
def test_an_sftp_request_of_any_size_is_little_work_and_one_short_reply(what):
    talk = Talk()
    talk.open()
    answered = []

    work = calls(lambda: answered.extend(talk.send(GREEDY[what])))

    assert work < 600
    assert [reply.request for reply in answered] == [1]
    assert sum(talk.pipe.sizes[-1:]) < 4_000


def test_an_init_with_thousands_of_extensions_is_little_work():
    init = INIT[4:] + (string(b"name@example") + string(b"1")) * 10_000
    talk = Talk(greet=False)

    work = calls(lambda: talk.server.dataReceived(u32(len(init)) + init))

    assert work < 600
    assert talk.pipe.status == 11


def test_a_version_with_thousands_of_extensions_is_little_work():
    hello = packet(Type.VERSION, u32(3) + (string(b"name@example") + string(b"1")) * 10_000)
    hand = ByHand(None)

    work = calls(lambda: hand.hear(hello))

    assert work < 1_500
    assert isinstance(hand.greeting.error, ProtocolBroken)


def test_requests_that_wait_are_not_copied_when_one_of_them_is_let_in():
    """Each look copied the rest: 2 MiB of them, let in one by one, were 3 s of copying."""
    talk = Talk()
    handle, file = talk.open()
    talk.tree.slow = True
    while not talk.server.holding:
        talk.server.dataReceived(writing(1, handle, 0, b"x"))
    talk.server.dataReceived(ask(Type.FSTAT, 2, string(handle)) * 60_000)

    held = max(peak(lambda: file.pending.pop(0).callback(None)) for _ in range(20))

    assert held < 50_000
    talk.server.connectionLost("cut")


def test_requests_that_waited_are_all_answered_whatever_comes_meanwhile():
    """In order of their numbers, with pieces of others coming in between."""
    for step in (1, 7, 300):
        talk = Talk()
        handle, file = talk.open()
        talk.tree.slow = True
        stream = b"".join(writing(n, handle, n, b"x") + ask(Type.FSTAT, n, string(handle)) for n in range(400))
        got = []
        for at in range(0, len(stream), step):
            talk.server.dataReceived(stream[at : at + step])
            if file.pending and at % 5 == 0:
                file.pending.pop(0).callback(None)
                got += talk.new()
        while file.pending:
            file.pending.pop(0).callback(None)
        got += talk.new()

        assert [reply.request for reply in got] == [n for n in range(400) for _ in range(2)]
