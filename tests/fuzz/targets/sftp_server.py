"""A client's SFTP stream."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import tests.wire
from conch_pipe.ssh.fields import Reader
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp.wire import Type
from tests.fuzz.meters import Lines
from tests.ssh.talk import INIT, Talk, ask
from tests.ssh.test_sftp_fuzz import CONVERSATION, WELL_FORMED

_SLOW, _FULL = 1, 2  # bits of the first byte


def seeds() -> list[bytes]:
    """What recorded clients sent, and every request once."""
    found = [bytes((how,)) + b"".join(CONVERSATION) for how in range(4)]
    for path in Path(tests.wire.__path__[0]).glob("*_put.json"):
        stream = b""
        for number, body in json.loads(path.read_text())["messages"]:
            if number == 94:
                stream += Reader(bytes.fromhex(body)[4:]).string()
        found.append(b"\0" + stream)
    opened = b"".join(CONVERSATION[:4])
    found += [b"\0" + opened + ask(kind, 9, *fields) for kind, fields in WELL_FORMED.items()]
    for name in (b"fsync", b"fstatvfs", b"limits", b"posix-rename", b"lsetstat", b"expand-path"):
        fields = len(name + b"@openssh.com").to_bytes(4, "big") + name + b"@openssh.com"
        found.append(b"\0" + opened + ask(Type.EXTENDED, 9, fields, b"\0\0\0\4\0\0\0\1\0\0\0\3/in"))
    return found


def _asked(stream: bytes) -> Counter[int]:
    """Ids of the whole requests of a stream that starts with INIT, up to where it cannot be followed."""
    asked: Counter[int] = Counter()
    stream = stream[len(INIT) :]
    while len(stream) >= 4:
        size = int.from_bytes(stream[:4], "big")
        if not 5 <= size <= Limits().sftp_packet or len(stream) < 4 + size or stream[4] == Type.INIT:
            break
        asked[int.from_bytes(stream[5:9], "big")] += 1
        stream = stream[4 + size :]
    return asked


def one(data: bytes) -> None:
    """One reply to each whole request, whatever they are; afterwards it goes on or the channel ends; no file stays."""
    if not data:
        return
    with Lines() as lines:
        talk = Talk(greet=False)
        talk.tree.slow = bool(data[0] & _SLOW)
        talk.tree.limit = 100 if data[0] & _FULL else 10_000
        stream = data[1:]
        half = len(stream) // 2
        talk.server.dataReceived(stream[:half])
        talk.server.dataReceived(stream[half:])
        talk.tree.slow = False
        for file in talk.tree.opened:
            while file.pending:
                file.pending.pop().callback(None)
        answered = Counter(reply.request for reply in talk.new())
        if stream.startswith(INIT):
            asked = _asked(stream)
            # A WRITE is answered when its data is there, also when its packet goes on.
            early = answered - asked
            assert not early or (early.total() == 1 and stream.rfind(b"\6" + next(iter(early)).to_bytes(4, "big")) > 0)
            assert asked <= answered or talk.pipe.status == 11, "not one reply to each request"
        assert talk.pipe.dropped is None
        assert sum(talk.pipe.sizes) < 20 * len(stream) + 1_000 + 40 * len(talk.tree.calls)
        talk.server.connectionLost("cut")
        assert "open" not in [file.fate for file in talk.tree.opened]
        assert lines.take() == []
