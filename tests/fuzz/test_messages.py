"""Every SSH message in every state, whole and broken: one connection at most is harmed, and it ends at once."""

from __future__ import annotations

import random

import pytest

from conch_pipe.ssh.fields import u32
from tests.fuzz.messages import MESSAGES, messages, mutations, payload, some_mutations
from tests.fuzz.meters import Lines, nothing_stays
from tests.fuzz.peer import STATES, Hostile
from tests.fuzz.promises import ALLOWED, DOSE, hold


@pytest.mark.parametrize("state", STATES)
def test_a_message_is_answered_ignored_or_the_end(state):
    """Every number whole, and each known message broken in some way (in every way, with a dose of 100)."""
    turn = list(STATES).index(state)
    with Lines() as lines, nothing_stays() as watch:
        for number in range(256):
            if number not in MESSAGES and (number + turn) % 3 and DOSE < 10:
                continue  # a number that nobody uses: in every third state
            for at, fields in enumerate(messages(number)):
                broken = some_mutations(number, fields, DOSE, (state, at)) if number in MESSAGES else []
                for what, body in [next(mutations(fields)), *broken]:
                    sent = payload(number, [body])
                    try:
                        must_end = number not in ALLOWED[state]
                        push = lambda pair, sent=sent: pair.push(sent)  # noqa: E731
                        watch(hold(state, push, len(sent), lines, 1, must_end).server)
                    except Exception as error:
                        error.add_note(f"state {state!r}, message {number}, form {at}, {what}")
                        raise


def _some(choice: random.Random) -> bytes:
    number = choice.choice((*MESSAGES, choice.randrange(256)))
    fields = choice.choice(messages(number))
    body = b"".join(fields) if choice.random() < 0.7 else choice.choice(list(mutations(fields, 2000)))[1]
    return payload(number, [body])


@pytest.mark.parametrize("state", STATES)
def test_messages_in_any_order_and_any_pieces_are_held_to_the_same(state):
    """Several at once, some twice, cut into pieces anywhere or in one."""
    with Lines() as lines, nothing_stays() as watch:
        for seed in range(40 * DOSE):
            choice = random.Random(f"{state} {seed}")
            some = [_some(choice) for _ in range(choice.randint(2, 6))]
            some += choice.choices(some, k=choice.randint(0, 3))
            choice.shuffle(some)
            pieces = choice.choice((1, 2, 10, 10_000))

            def send(pair: Hostile, some: list[bytes] = some, pieces: int = pieces) -> None:
                stream = b"".join(pair.framed(one) for one in some)
                step = max(1, len(stream) // pieces)
                for at in range(0, len(stream), step):
                    pair.to_server.write(stream[at : at + step])
                    pair.pump()

            try:
                watch(hold(state, send, sum(map(len, some)), lines, len(some)).server)
            except Exception as error:
                error.add_note(f"state {state!r}, seed {seed}: messages {[one[:1].hex() for one in some]}")
                raise


def _lies(pair: Hostile) -> list[tuple[str, bytes]]:
    """Packets whose frame is wrong while, after keys, the MAC is right (or is what is wrong)."""
    fresh = pair.framed(b"\2" + u32(3) + b"abc")
    block = pair.client.currentEncryptions.encBlockSize
    length = block - 4 + (block if block == 8 else 0)
    lengths = (0, 1, 3, 4, 5, length - 1, length + 1, length + 8, 34_997, 35_001, 35_005, 262_141, 262_149, 2**20)
    said = [(f"length {n}", n, None) for n in (*lengths, 2**31 - 1, 2**31, 2**32 - 5, 2**32 - 4, 2**32 - 1)]
    said += [(f"padding {n}", None, n) for n in (0, 1, 3, 16, 17, 24, 128, 255)]
    found = []
    for what, size, padding in said:
        pair.client.outgoingPacketSequence -= 1
        found.append((what, pair.framed(b"\2" + u32(3) + b"abc", size, padding)))
    flipped = [fresh[:at] + bytes((fresh[at] ^ 1,)) + fresh[at + 1 :] for at in range(len(fresh))]
    found += [(f"byte {at} flipped", one) for at, one in enumerate(flipped)]
    found += [(f"cut at {at}", fresh[:at]) for at in range(1, len(fresh), 3)]
    found += [("nothing but padding", pair.framed(b"")), ("once more", fresh * 2), ("noise", b"\xa5" * 400)]
    return found


@pytest.mark.parametrize("state", [state for state in STATES if "disconnect" not in state and "before" not in state])
def test_a_packet_whose_frame_lies_is_the_end_or_waited_for_until_a_deadline(state):
    with Lines() as lines, nothing_stays() as watch:
        for at, (what, _) in enumerate(_lies(STATES[state]())):

            def send(pair: Hostile, at: int = at) -> None:
                before = pair.client.currentEncryptions, pair.client.outgoingPacketSequence
                _, lie = _lies(pair)[at]
                assert before[0] is pair.client.currentEncryptions
                pair.to_server.write(lie)
                pair.pump()

            try:
                watch(hold(state, send, 400, lines).server)
            except Exception as error:
                error.add_note(f"state {state!r}, {what}")
                raise
