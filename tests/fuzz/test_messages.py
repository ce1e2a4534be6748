"""Every SSH message in every state, whole and broken: one connection at most is harmed, and it ends at once."""

from __future__ import annotations

import os

import pytest

from tests.fuzz.messages import MESSAGES, messages, mutations, payload, some_mutations
from tests.fuzz.meters import Lines, nothing_stays
from tests.fuzz.peer import STATES, Hostile

DOSE = int(os.environ.get("PIPE_DOSE", "1"))

CALM = {1, 2, 3, 4}
LATER = set(range(256)) - {5} - set(range(21, 50))  # after login: all but another login and a key exchange's middle

# What may be looked at at all; any other number must end the connection. Who a message is for is tested elsewhere.
ALLOWED = {
    "before version": set(range(256)),  # bytes of a line that is not ended; see below
    "kexinit": CALM | {20},
    "exchange": CALM | {30},
    "newkeys": CALM | {21},
    "service": CALM | {5, 7},
    "login": CALM | {7, 50},
    "login being checked": CALM | {7, 50},
    "running": LATER,
    "channel open": LATER,
    "sftp running": LATER,
    "file open": LATER,
    "write pending": LATER,
    "close pending": LATER,
    "their re-key": CALM | {30},
    "their re-key, newkeys": CALM | {21},
    "our disconnect": set(range(256)),  # nothing is looked at any more, and the DISCONNECT is not repeated
    "their disconnect": set(range(256)),
}
ENDED = {"our disconnect", "their disconnect"}
# One message makes at most a few: the refusal of a command is five, a key exchange three with keys and signature.
ANSWER = 4_096
DEADLINE_S = 60


def one(state: str, number: int, sent: bytes, lines: Lines) -> Hostile:
    """Send a message in a state and hold the connection to everything that is promised."""
    pair = STATES[state]()
    written, avatars = pair.written, len(pair.door.realm.avatars)

    lines.take()

    pair.push(sent)

    assert pair.ended or number in ALLOWED[state], "looked at in a state that does not allow it"
    assert pair.written - written <= ANSWER + len(sent), "it writes more than it reads"
    assert len(pair.door.realm.avatars) == avatars, "somebody has logged in"
    assert state == "close pending" or "closed" not in pair.fates, "a file was completed"
    assert len(lines.take()) <= 1, "more than a line"

    went_on = not pair.ended and pair.answers()
    assert pair.ended or state != "before version", "a line that is no version was taken for one"
    if not went_on and not pair.ended:
        # It waits for something that a client would not leave out: then a deadline is its end.
        pair.advance(DEADLINE_S)
        assert pair.ended, "it neither goes on nor ends"
    pair.cut()
    assert pair.clock.getDelayedCalls() == [], "a timer is left"
    lines.take()
    return pair


@pytest.mark.parametrize("state", STATES)
def test_a_message_is_answered_ignored_or_the_end(state):
    """Every number whole, and each known message broken in some way (in every way, with a dose of 100)."""
    with Lines() as lines, nothing_stays() as watch:
        for number in range(256):
            for at, fields in enumerate(messages(number)):
                broken = some_mutations(number, fields, DOSE, (state, at)) if number in MESSAGES else []
                for what, body in [next(mutations(fields)), *broken]:
                    try:
                        watch(one(state, number, payload(number, [body]), lines).server)
                    except Exception as error:
                        error.add_note(f"state {state!r}, message {number}, form {at}, {what}")
                        raise
