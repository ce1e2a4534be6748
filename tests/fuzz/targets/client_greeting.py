"""A server's bytes from the first on, to our client: lines, version, KEXINIT, and what follows in clear text."""

from __future__ import annotations

from conch_pipe.ssh.client.errors import ClientError
from tests.fuzz.messages import MESSAGES, payload
from tests.fuzz.meters import Lines
from tests.ssh.client_pair import ClientPair, RawServer, Trusting
from tests.ssh.test_transport import packet


def _first() -> bytes:
    """What Conch's server begins with."""
    pair = ClientPair(RawServer())
    first = pair.to_client.take()
    pair.cut()
    return first


def seeds() -> list[bytes]:
    """What servers begin with, and each message in its place."""
    first = _first()
    line = first[: first.index(b"\n") + 1]
    found = [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"220 smtp\r\n" * 9,
        b"hello\r\n" + first,
        b"SSH-1.99-x\n",
        first,
    ]
    for number in (1, 2, 3, 4, 7, 20, 21, 31, 33, 52):
        for fields in MESSAGES[number]:
            body = payload(number, fields)
            found += [first + packet(number, body[1:]), line + packet(number, body[1:])]
    return found


def one(data: bytes) -> None:
    """It ends, at its deadline or before, with one error that says why, and asks nobody to trust a key."""
    with Lines() as lines:
        policy = Trusting()
        pair = ClientPair(policy=policy)
        half = len(data) // 2
        for piece in (data[:half], data[half:]):
            if piece and not pair.over:
                pair.say(piece)
        assert pair.outcome.value is None, "connected to nobody"
        pair.advance(11)
        assert pair.outcome.fired == 1
        assert isinstance(pair.outcome.error, ClientError), repr(pair.outcome.error)
        assert str(pair.outcome.error).isprintable()
        assert not policy.asked, "a signature that nobody made was taken for good"
        assert len(pair.heard) < 8_000
        pair.advance(10)
        pair.cut()
        assert pair.clock.getDelayedCalls() == []
        assert len(lines.take()) <= 1
