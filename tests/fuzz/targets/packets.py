"""A stream of packets under each cipher, as somebody between the two sides could change it."""

from __future__ import annotations

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.transport.ciphers import CIPHERS, MACS, direction
from conch_pipe.ssh.transport.packets import BadPacket, Incoming, Outgoing

_LONGEST = 35_000
_PAYLOADS = [b"\2", b"\x50" + bytes(3), b"\x5e" + bytes(range(256)), b"\x14" + b"k" * 900, b"\x15"]
_METHODS = [
    (cipher, mac) for cipher in CIPHERS for mac in (MACS if cipher.endswith(b"-ctr") else [b""]) if b"192" not in cipher
]


def _direction(which: int, sending: bool) -> object:
    cipher, mac = _METHODS[which]
    key, iv = CIPHERS[cipher]
    return direction(cipher, mac, b"k" * key, b"i" * iv, b"m" * (MACS[mac][1] if mac else 0), sending=sending)


def _stream(which: int) -> tuple[bytes, list[int]]:
    """What was sent, and where each packet of it ends."""
    outgoing, sent, ends = Outgoing(), b"", []
    if which < len(_METHODS):
        outgoing.change(_direction(which, True), restart=False)  # type: ignore[arg-type]
    for payload in _PAYLOADS:
        # The padding is random; without keys what comes out must be the same in each run.
        packet = bytearray(outgoing.packet(payload))
        if which == len(_METHODS):
            packet[4 + 1 + len(payload) :] = bytes(len(packet) - 5 - len(payload))
        sent += packet
        ends.append(len(sent))
    return sent, ends


_STREAMS = [_stream(which) for which in range(len(_METHODS) + 1)]


def seeds() -> list[bytes]:
    """Every cipher: the stream as it is, and a change in each part of it."""
    changes = [b"", b"\0\0\0\1", b"\0\4\1", b"\0\0\1\0\5\x80\0\x20\x55"]
    return [bytes((which, 7)) + change for which in range(len(_STREAMS)) for change in changes]


def one(data: bytes) -> None:
    """What comes out before the first change is what went in; behind it nothing does, where there are keys.

    The first byte chooses the cipher, the second the size of the pieces; then places (two bytes) and what they are
    XORed with (one). Without keys whatever comes out must be in bounds.
    """
    if len(data) < 2:
        return
    which = data[0] % len(_STREAMS)
    sent, ends = _STREAMS[which]
    stream, first = bytearray(sent), len(sent)
    for at in range(2, len(data) - 2, 3):
        place = int.from_bytes(data[at : at + 2], "big") % len(stream)
        stream[place] ^= data[at + 2]
    first = next((at for at, (old, new) in enumerate(zip(sent, stream, strict=True)) if old != new), len(sent))
    unharmed = sum(end <= first for end in ends)

    incoming, got = Incoming(_LONGEST), []
    clear = which == len(_METHODS)
    if not clear:
        incoming.change(_direction(which, False), restart=False)  # type: ignore[arg-type]
    step = 1 + data[1] * 7
    try:
        for at in range(0, len(stream), step):
            incoming.feed(bytes(stream[at : at + step]))
            while (packet := incoming.next()) is not None:
                assert 0 < len(packet) <= _LONGEST
                got.append(bytes(packet))
            incoming.rest()
    except (Malformed, BadPacket):
        pass
    incoming.close()
    assert got[:unharmed] == _PAYLOADS[:unharmed], "what was not changed came out otherwise"
    assert clear or got == _PAYLOADS[: len(got)], "what was changed came out"
    assert clear or len(got) <= unharmed, "a changed packet came out"
