"""Messages of a peer that has exchanged keys, in every state from there on."""

from __future__ import annotations

import json
from pathlib import Path

import tests.wire
from tests.fuzz.messages import MESSAGES, payload
from tests.fuzz.meters import Lines
from tests.fuzz.peer import STATES, Hostile
from tests.fuzz.promises import hold

_STATES = [state for state in STATES if state not in {"before version", "kexinit", "exchange"}]
_MOST = 16  # messages of one input; more are cheaper to find in several inputs


def _written(state: str, some: list[bytes]) -> bytes:
    return bytes((_STATES.index(state),)) + b"".join(len(each).to_bytes(2, "big") + each for each in some)


def _read(data: bytes) -> tuple[str, list[bytes]]:
    """The first byte is the state; then messages, each behind its length in two bytes."""
    state, at, some = _STATES[data[0] % len(_STATES)], 1, []
    while at + 2 < len(data) and len(some) < _MOST:
        size = int.from_bytes(data[at : at + 2], "big")
        some.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return state, some


def seeds() -> list[bytes]:
    """Every known message once, and the beginnings of recorded conversations."""
    found = []
    for number, forms in MESSAGES.items():
        for at, fields in enumerate(forms):
            found.append(_written(_STATES[(number + at) % len(_STATES)], [payload(number, fields)]))
    for path in Path(tests.wire.__path__[0]).glob("*_put.json"):
        messages = [bytes((number,)) + bytes.fromhex(body) for number, body in json.loads(path.read_text())["messages"]]
        for at in range(0, len(messages), _MOST):
            found.append(_written("running" if at == 0 else "sftp running", messages[at : at + _MOST]))
    return found


def one(data: bytes) -> None:
    """See :func:`tests.fuzz.promises.hold`."""
    if len(data) < 3:
        return
    with Lines() as lines:
        state, some = _read(data)

        def send(pair: Hostile) -> None:
            for each in some:
                if each:
                    pair.push(each)

        # Among the data may be a CLOSE.
        hold(state, send, len(data), lines, max(1, len(some)), puts=any(each[:1] == b"\x5e" for each in some))
