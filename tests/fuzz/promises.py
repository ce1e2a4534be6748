"""What holds for a connection whatever its client sends: one place for all tests that send what they like."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.fuzz.meters import Lines
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
    "our re-key": LATER,
    "our re-key, exchange": CALM | {30},
    "our re-key, newkeys": CALM | {21},
    "strict, kexinit": CALM | {20},  # that it is strict is known only then, and ends it when something came before
    "strict, exchange": {1, 30},
    "strict, newkeys": {1, 21},
    "our disconnect": set(range(256)),  # nothing is looked at any more, and the DISCONNECT is not repeated
    "their disconnect": set(range(256)),
}
# One message makes at most a few: the refusal of a command is five, a key exchange three with keys and signature.
_ANSWER = 4_096
_DEADLINE_S = 250  # three keepalives; the login's and a key exchange's are shorter


def hold(
    state: str,
    send: Callable[[Hostile], None],
    size: int,
    lines: Lines,
    messages: int = 1,
    must_end: bool = False,
    puts: bool = False,
) -> Hostile:
    """Send something in a state and hold the connection to everything that is promised.

    :param size: of what ``send`` sends, bytes; ``messages`` are in it.
    :param must_end: it may not be looked at.
    :param puts: it may complete files.
    :raises AssertionError: a promise is broken.
    """
    pair = STATES[state]()
    written, avatars = pair.written, len(pair.door.realm.avatars)
    lines.take()

    send(pair)

    assert pair.ended or not must_end, "looked at in a state that does not allow it"
    assert pair.written - written <= _ANSWER * messages + size, "it writes more than it reads"
    assert len(pair.door.realm.avatars) == avatars, "somebody has logged in"
    assert puts or state == "close pending" or "closed" not in pair.fates, "a file was completed"
    assert len(lines.take()) <= 1, "more than a line"

    went_on = not pair.ended and pair.answers()
    assert pair.ended or state != "before version", "a line that is no version was taken for one"
    if state == "strict, kexinit":
        assert pair.ended, "something came before the KEXINIT of a strict exchange"
    if not went_on and not pair.ended:
        # It waits for something that a client would not leave out: then a deadline is its end.
        pair.advance(_DEADLINE_S)
        assert pair.ended, "it neither goes on nor ends"
    pair.cut()
    assert pair.clock.getDelayedCalls() == [], "a timer is left"
    assert not any(fate == "open" for fate in pair.fates), "a file is still open"
    lines.take()
    return pair
