"""A stranger's bytes from the first on: version line, KEXINIT, first key exchange, in clear text."""

from __future__ import annotations

from tests.fuzz.messages import MESSAGES, payload
from tests.fuzz.meters import Lines
from tests.fuzz.peer import STATES, StrictClient
from tests.ssh.test_transport import packet


def seeds() -> list[bytes]:
    """What clients begin with, and each message in its place."""
    found = [b"", b"GET / HTTP/1.1\r\n\r\n", b"SSH-1.99-x\r\n", b"SSH-2.0-" + b"x" * 247 + b"\r\n"]
    for client in (None, StrictClient()):
        first = STATES["before version"](client=client).owed
        found.append(first)
        for number in (1, 2, 3, 4, 7, 20, 21, 30, 34):
            for fields in MESSAGES[number]:
                body = payload(number, fields)
                found += [first + packet(number, body[1:]), first[: first.index(b"\n") + 1] + packet(number, body[1:])]
    return found


def one(data: bytes) -> None:
    """Whatever comes, there is at most one line in the log, little in return, and an end."""
    with Lines() as lines:
        pair = STATES["before version"]()
        half = len(data) // 2
        for piece in (data[:half], data[half:]):
            if piece and not pair.ended:
                pair.server.dataReceived(piece)
        assert pair.to_client.io.tell() < 8_000, "it writes more than a key exchange"
        assert not pair.known
        pair.clock.advance(31)
        assert pair.ended, "the deadline does not end it"
        pair.clock.advance(6)
        pair.cut()
        assert pair.clock.getDelayedCalls() == []
        assert len(lines.take()) <= 4  # Conch's three about algorithms
