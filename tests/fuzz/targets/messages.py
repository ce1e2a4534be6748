"""Messages of a peer that has exchanged keys, in every state from there on."""

from __future__ import annotations

import json
from pathlib import Path

import tests.wire
from tests.fuzz.messages import MESSAGES, payload
from tests.fuzz.meters import Lines
from tests.fuzz.peer import STATES, Hostile
from tests.fuzz.promises import hold
from tests.fuzz.targets import in_messages, some_messages

_STATES = [state for state in STATES if state not in {"before version", "kexinit", "exchange", "strict, kexinit"}]


def seeds() -> list[bytes]:
    """Every known message once, and the beginnings of recorded conversations."""
    found = []
    for number, forms in MESSAGES.items():
        for at, fields in enumerate(forms):
            found.append(bytes(((number + at) % len(_STATES),)) + in_messages([(number, b"".join(fields))]))
    for path in Path(tests.wire.__path__[0]).glob("*_put.json"):
        messages = [(number, bytes.fromhex(body)) for number, body in json.loads(path.read_text())["messages"]]
        for at in range(0, len(messages), 16):
            state = _STATES.index("running" if at == 0 else "sftp running")
            found.append(bytes((state,)) + in_messages(messages[at : at + 16]))
    return found


def one(data: bytes) -> None:
    """See :func:`tests.fuzz.promises.hold`."""
    if not data:
        return
    some = some_messages(data[1:])

    def send(pair: Hostile) -> None:
        for number, body in some:
            pair.push(payload(number, [body]))

    with Lines() as lines:
        # Among the data may be a CLOSE.
        puts = any(number == 94 for number, _ in some)
        hold(_STATES[data[0] % len(_STATES)], send, len(data), lines, max(1, len(some)), puts=puts)
