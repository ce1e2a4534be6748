"""Well-formed messages of every number, as lists of fields on the wire, and what becomes of them when they are broken.

Every string that a client fills with its own words carries the tests' canary, so that no line of the log may repeat it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from conch_pipe.ssh.fields import string, u32, u64
from tests.conftest import CANARY
from tests.ssh.talk import INIT, ask

Fields = list[bytes]

WORD = b"word " + CANARY.encode()
_BLOB = string(b"ssh-ed25519") + string(bytes(32))
_LISTS = [
    string(names)
    for names in (
        b"curve25519-sha256,ext-info-c",
        b"ssh-ed25519,rsa-sha2-512",
        *[b"aes128-ctr"] * 2,
        *[b"hmac-sha2-256"] * 2,
        *[b"none"] * 2,
        *[b""] * 2,
    )
]


def _login(method: bytes, *fields: bytes, user: bytes = WORD, service: bytes = b"ssh-connection") -> Fields:
    return [string(user), string(service), string(method), *fields]


def _channel(*fields: bytes) -> Fields:
    return [u32(0), *fields]


def _request(kind: bytes, *fields: bytes) -> Fields:
    return _channel(string(kind), b"\1", *fields)


def _open(kind: bytes, *fields: bytes) -> Fields:
    return [string(kind), u32(9), u32(2**21), u32(32768), *fields]


_SFTP = ask(17, 41, string(b"/in"))

# Numbers of RFC 4250 section 4.1.2, RFC 4419, 4462, 5656, 8308 and OpenSSH's PING and PONG.
MESSAGES: dict[int, list[Fields]] = {
    1: [[u32(11), string(b"bye"), string(b"")]],
    2: [[string(WORD)]],
    3: [[u32(1)]],
    4: [[b"\1", string(WORD), string(b"en")]],
    5: [[string(b"ssh-userauth")], [string(b"ssh-connection")], [string(WORD)]],
    6: [[string(b"ssh-userauth")]],
    7: [[u32(2), string(b"server-sig-algs"), string(b"ssh-ed25519"), string(WORD), string(b"")], [u32(0)]],
    8: [[]],
    20: [[b"c" * 16, *_LISTS, b"\0", u32(0)], [b"c" * 16, *_LISTS, b"\1", u32(0)]],
    21: [[]],
    30: [[string(b"\x09" + bytes(31))], [string(bytes(1216))], [string(b"\4" + b"\1" * 64)], [u32(2048)]],
    31: [[string(_BLOB), string(bytes(32)), string(string(b"ssh-ed25519") + string(bytes(64)))]],
    32: [[string(b"\x7f" * 256)]],
    33: [[string(_BLOB), string(b"\x7f" * 256), string(bytes(80))]],
    34: [[u32(2048), u32(4096), u32(8192)]],
    50: [
        _login(b"password", b"\0", string(WORD)),
        _login(b"password", b"\1", string(WORD), string(WORD)),
        _login(b"password", b"\0", string(WORD), service=b"ssh-userauth"),
        _login(b"none"),
        _login(b"publickey", b"\0", string(b"ssh-ed25519"), string(_BLOB)),
        _login(b"publickey", b"\1", string(b"rsa-sha2-512"), string(_BLOB), string(bytes(64))),
        _login(b"keyboard-interactive", string(b""), string(b"")),
        _login(b"hostbased", string(b"ssh-rsa"), string(_BLOB), string(WORD), string(WORD), string(bytes(9))),
        _login(b"gssapi-with-mic", u32(1), string(b"\x06\x09" + bytes(9))),
    ],
    51: [[string(b"password"), b"\0"]],
    52: [[]],
    53: [[string(WORD), string(b"en")]],
    60: [[string(b"ssh-ed25519"), string(_BLOB)], [string(WORD), string(b""), string(b""), u32(0)]],
    61: [[u32(1), string(WORD)]],
    63: [[]],
    64: [[u32(1), u32(1), string(WORD), string(b"en")]],
    65: [[string(WORD)]],
    66: [[string(bytes(16))]],
    80: [
        [string(b"keepalive@openssh.com"), b"\1"],
        [string(b"tcpip-forward"), b"\1", string(b"0.0.0.0"), u32(22)],
        [string(b"hostkeys-prove-00@openssh.com"), b"\1", string(_BLOB)],
        [string(b"no-more-sessions@openssh.com"), b"\0"],
        [string(WORD), b"\1", string(WORD)],
    ],
    81: [[], [u32(22)]],
    82: [[]],
    90: [
        _open(b"session"),
        _open(b"direct-tcpip", string(b"127.0.0.1"), u32(22), string(b"127.0.0.1"), u32(1)),
        _open(b"x11", string(b"127.0.0.1"), u32(1)),
        _open(WORD),
    ],
    91: [_channel(u32(0), u32(2**21), u32(32768))],
    92: [_channel(u32(1), string(WORD), string(b""))],
    93: [_channel(u32(65536))],
    94: [_channel(string(_SFTP)), _channel(string(INIT)), _channel(string(WORD))],
    95: [_channel(u32(1), string(WORD))],
    96: [_channel()],
    97: [_channel()],
    98: [
        _request(b"subsystem", string(b"sftp")),
        _request(b"subsystem", string(WORD)),
        _request(b"exec", string(b"scp -t " + WORD)),
        _request(b"shell"),
        _request(b"pty-req", string(b"xterm"), u32(80), u32(24), u32(0), u32(0), string(b"\0")),
        _request(b"env", string(b"LD_PRELOAD"), string(WORD)),
        _request(b"x11-req", b"\0", string(b"MIT"), string(WORD), u32(0)),
        _request(b"exit-status", u32(0)),
        _request(b"signal", string(b"KILL")),
        _request(WORD),
    ],
    99: [_channel()],
    100: [_channel()],
    192: [[string(WORD)]],
    193: [[string(WORD)]],
}

_UNKNOWN = [[u32(0), string(WORD), u64(2**64 - 1)]]


def messages(number: int) -> list[Fields]:
    """Well-formed messages of a number; fields of some shape for a number that nobody uses."""
    return MESSAGES.get(number, _UNKNOWN)


def payload(number: int, fields: Fields) -> bytes:
    """The message on the wire."""
    return bytes((number,)) + b"".join(fields)


def mutations(fields: Fields, longest: int = 30_000) -> Iterator[tuple[str, bytes]]:
    """Each way to break a message, named; the first leaves it whole.

    :param longest: bytes of a huge string; the packet must stay below what its state takes, or only that is tested.
    """
    whole = b"".join(fields)
    yield "whole", whole
    yield "empty", b""
    yield "extended by a zero", whole + b"\0"
    yield "extended", whole + b"\xff" * 9
    yield "twice", whole * 2
    for at in range(1, len(whole), max(1, len(whole) // 12)):
        yield f"cut at {at}", whole[:at]
    for at, field in enumerate(fields):
        before, after = b"".join(fields[:at]), b"".join(fields[at + 1 :])
        yield f"without field {at}", before + after
        yield f"field {at} twice", before + field * 2 + after
        yield f"field {at} last", before + after + field
        yield f"field {at} huge", before + string(b"h" * longest) + after
        if len(field) >= 4:
            length = int.from_bytes(field[:4], "big")
            for word in (0, 1, length - 1, length + 1, 2**31, 2**32 - 1):
                yield f"word of field {at} is {word}", before + u32(word & 0xFFFFFFFF) + field[4:] + after
            yield f"field {at} of zeros", before + field[:4] + bytes(len(field) - 4) + after
            yield f"field {at} of commas", before + string(b"," * longest) + after
    for bit in range(0, 8 * len(whole), max(1, len(whole) // 2) | 1):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} flipped", bytes(flipped)


def some_mutations(number: int, fields: Fields, most: int, seed: object) -> list[tuple[str, bytes]]:
    """A fixed choice of mutations for a seed: all of them when there are not more than ``most``."""
    every = list(mutations(fields))
    if len(every) <= most:
        return every
    return random.Random(repr((number, seed))).sample(every, most)
