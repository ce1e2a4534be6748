"""What a parent gives a door process: numbered descriptors, and one document that is the first thing on its input.

After that both speak JSON, one object a line. To the door: ``schemas`` (name → TOML), ``retire`` and ``drain``
(seconds). From the door: ``ready``, ``shut`` (takes no new connections), ``sessions``, ``uploads`` and ``connections``
(how many), ``counted`` (see metrics/tally.py), ``stored`` (a job waits), ``cannot`` (why it does not start). The end of
the input is the parent's end.

What doors say to each other goes through the parent: ``failed`` (a login) to all, ``ask`` to all, which get it as
``asked`` while the asking one gets ``asking``; ``answer`` ``to`` one; ``gone`` from the parent. See sftp/neighbours.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

# Descriptors of a door process; 1 and 2 are the parent's log and its standard error.
ORDERS, LOG, COMPLAINTS, REPORTS, SOCKET, MARK, COUNTS = range(7)

_LENGTH = 12  # digits before the first document
LINE_BYTES = 64 << 20  # schemas may be large


def packed(document: Mapping[str, Any]) -> bytes:
    """The first document, as it is sent."""
    body = json.dumps(document).encode()
    return b"%0*d" % (_LENGTH, len(body)) + body


def unpacked(descriptor: int) -> dict[str, Any]:
    """Read the first document and no byte more.

    :raises EOFError: the parent ended.
    """
    document: dict[str, Any] = json.loads(_exactly(descriptor, int(_exactly(descriptor, _LENGTH))))
    return document


def line(**message: Any) -> bytes:
    """One message."""
    return json.dumps(message).encode() + b"\n"


class Lines:
    """Bytes as they come, put together to messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """:raises ValueError: what came is no message."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES:
            raise ValueError("a line too long")
        messages = [json.loads(each) for each in lines]
        if not all(isinstance(message, dict) for message in messages):
            raise ValueError("not a message")
        return messages


def _exactly(descriptor: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = os.read(descriptor, min(size - len(data), 1 << 16))
        if not more:
            raise EOFError("the parent ended")
        data += more
    return bytes(data)
