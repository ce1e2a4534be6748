"""Whole SFTP conversations of both directions, some packets broken, with storage that is slow or fails.

Single packets are tests/ssh/test_sftp_fuzz.py and test_sftp_client.py; here they follow each other, in any pieces.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from twisted.conch.ssh.filetransfer import SFTPError

from conch_pipe.ssh.client.errors import ClientError, ConnectionEnded, FileChanged
from conch_pipe.ssh.fields import string, u32, u64
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp.wire import Type
from tests.fuzz.messages import WORD, mutations
from tests.fuzz.meters import Lines, peak
from tests.fuzz.promises import DOSE
from tests.ssh.sftp_peer import VERSION, ByHand, Outcome, reply, status
from tests.ssh.talk import Talk, ask

FULL = {"size": 0, "uid": 0, "gid": 0, "permissions": 0, "atime": 0, "mtime": 0}


def requests(choice: random.Random) -> tuple[int, list[bytes]]:
    """Type and fields of some request."""
    handle = string(u32(choice.choice((0, 1, 1, 1, 2, 2, 3, 4))))
    path = string(choice.choice((b"/in/a", b"/in/b", b"/in", b"/", b".", b"/in/" + WORD, b"", b"/out/x", b"/in/../..")))
    attributes = choice.choice((u32(0), u32(1) + u64(5), u32(0xF) + u64(1) + u32(1) * 5))
    return choice.choice(
        [
            (Type.OPEN, [path, u32(choice.choice((0x1A, 0x1A, 0x02, 0x01, 0x3F, 0))), attributes]),
            (Type.OPEN, [string(b"/in/a"), u32(0x1A), u32(0)]),
            (Type.WRITE, [handle, u64(choice.choice((0, 5, 2**20, 2**63 - 1))), string(b"x" * choice.randrange(2000))]),
            (Type.WRITE, [handle, u64(choice.randrange(100)), string(b"id\n")]),
            (Type.CLOSE, [handle]),
            (Type.READ, [handle, u64(0), u32(2**32 - 1)]),
            (Type.FSTAT, [handle]),
            (Type.FSETSTAT, [handle, attributes]),
            (Type.STAT, [path]),
            (Type.LSTAT, [path]),
            (Type.SETSTAT, [path, attributes]),
            (Type.OPENDIR, [path]),
            (Type.READDIR, [handle]),
            (Type.REMOVE, [path]),
            (Type.RENAME, [path, path]),
            (Type.MKDIR, [path, attributes]),
            (Type.REALPATH, [path]),
            (Type.SYMLINK, [path, path]),
            (Type.EXTENDED, [string(b"fsync@openssh.com"), handle]),
            (Type.EXTENDED, [string(b"statvfs@openssh.com"), path]),
            (Type.EXTENDED, [string(WORD), path]),
            (choice.randrange(2, 256), [handle, path]),
        ]
    )


def storage_works(talk: Talk, choice: random.Random) -> None:
    """Whatever storage still owes it delivers now, good or bad."""
    again = True
    while again:
        again = False
        for file in talk.tree.opened:
            for waiting in (file.pending, file.catching_up):
                while waiting:
                    again = True
                    late = waiting.pop(choice.randrange(len(waiting)))
                    if choice.random() < 0.1:
                        late.errback(SFTPError(4, "the disk is gone"))
                    else:
                        file.lagging = False
                        late.callback(None)


@pytest.mark.parametrize("storage", ["quick", "slow", "full"])
def test_every_request_of_a_conversation_has_one_reply_with_its_number(storage):
    with Lines() as lines:
        for seed in range(60 * DOSE):
            choice = random.Random(f"{storage} {seed}")
            talk = Talk()
            talk.tree.slow = storage == "slow"
            talk.tree.limit = 1000 if storage == "full" else 8 * 2**20
            asked: Counter[int] = Counter()
            stream = b""
            for _ in range(choice.randint(1, 40)):
                kind, fields = requests(choice)
                body = b"".join(fields)
                if choice.random() < 0.2:
                    body = choice.choice(list(mutations(fields, 500)))[1]
                number = choice.choice((0, 1, 7, choice.randrange(2**32)))
                asked[number] += 1
                stream += ask(kind, number, body)

            step = choice.choice((1, 13, 500, 100_000))
            for at in range(0, len(stream), step):
                talk.server.dataReceived(stream[at : at + step])
                if choice.random() < 0.01 and storage == "slow":
                    storage_works(talk, choice)
            talk.tree.slow = False
            storage_works(talk, choice)

            assert Counter(reply.request for reply in talk.new()) == asked, (storage, seed)
            assert (talk.pipe.status, talk.pipe.dropped) == (None, None)
            assert talk.one(ask(Type.STAT, 9, string(b"/in"))).kind == Type.ATTRS
            talk.server.connectionLost("cut")
            assert "open" not in [file.fate for file in talk.tree.opened]
            assert lines.take() == []


def test_what_a_conversation_keeps_is_bounded_by_what_waits():
    """Requests that storage holds up: the window closes at the bound, so that no more than it and the window come."""
    limits = Limits()
    talk = Talk()
    handle, file = talk.open()
    talk.tree.slow = True
    write = ask(Type.WRITE, 1, string(handle), u64(0), string(bytes(30_000)))

    def fill() -> None:
        while not talk.server.holding:
            talk.server.dataReceived(write)
        for _ in range(limits.window // len(write)):
            talk.server.dataReceived(write)

    held = peak(fill)

    assert held < 2 * (limits.unfinished + limits.window)
    talk.server.connectionLost("cut")
    assert file.fate.startswith("aborted")


# The client's direction.


RIGHT = {
    Type.OPEN: (Type.HANDLE, string(b"h")),
    Type.OPENDIR: (Type.HANDLE, string(b"h")),
    Type.STAT: (Type.ATTRS, u32(0)),
    Type.REALPATH: (Type.NAME, u32(1) + string(b"/") * 2 + u32(0)),
    Type.READDIR: (Type.STATUS, u32(1) + string(b"") * 2),
    Type.EXTENDED: (Type.EXTENDED_REPLY, u64(2**16) * 4),
}
DONE = (Type.STATUS, u32(0) + string(b"") * 2)


def answers(choice: random.Random, asked: int, number: int) -> bytes:
    """Some reply to a request, mostly the right one."""
    if choice.random() < 0.8:
        right, fields_of_it = RIGHT.get(asked, DONE)  # type: ignore[call-overload]
        return reply(right, number, fields_of_it)
    if choice.random() < 0.5:
        return status(number, 4, WORD)
    attributes = [u32(0), u32(1) + u64(5), u32(0xF) + u64(1) + u32(1) * 5, u32(0x80000000) + u32(1) + string(b"n") * 2]
    name = string(choice.choice((b"a.csv", b"", b"..", b"../x", b"a/b", WORD, b"\0", b"n" * 5000)))
    entry = name + string(b"-rw " + WORD) + choice.choice(attributes)
    kind, fields = choice.choice(
        [
            (Type.STATUS, [u32(0), string(b""), string(b"")]),
            (Type.STATUS, [u32(choice.choice((0, 1, 2, 4, 31, 2**32 - 1))), string(b"\xff\n" + WORD), string(b"en")]),
            (Type.STATUS, [u32(0)]),
            (Type.HANDLE, [string(b"h" * choice.choice((0, 1, 4, 256, 257)))]),
            (Type.NAME, [u32(choice.choice((0, 1, 2, 2**32 - 1))), entry, entry][: choice.randint(1, 3)]),
            (Type.NAME, [u32(1), entry]),
            (Type.ATTRS, [choice.choice(attributes)]),
            (Type.EXTENDED_REPLY, [u64(choice.choice((0, 1, 2**18, 2**64 - 1)))] * choice.choice((1, 4, 11))),
            (Type.DATA, [string(b"x")]),
            (choice.randrange(256), [string(WORD)]),
        ]
    )
    body = b"".join(fields)
    if choice.random() < 0.2:
        body = choice.choice(list(mutations(fields, 500)))[1]
    return reply(kind, number, body)


@pytest.fixture
def fd(tmp_path):
    path = Path(tmp_path, "file")
    path.write_bytes(bytes(200_000))
    opened = os.open(path, os.O_RDONLY)
    yield opened
    os.close(opened)


def test_whatever_a_server_replies_every_question_has_one_outcome(fd):
    """An answer, the server's refusal, or an error that says what broke; never two, never none, never anything else."""
    ends: Counter[str] = Counter()
    with Lines() as lines:
        for seed in range(150 * DOSE):
            choice = random.Random(seed)
            names = (b"posix-rename@openssh.com", b"fsync@openssh.com", b"statvfs@openssh.com", b"limits@openssh.com")
            hello = VERSION[4:] + b"".join(string(name) + string(b"1") for name in names[: choice.randint(0, 4)])
            hand = ByHand(u32(len(hello)) + hello, room=choice.choice((0, 100, 40_000, 2**30)))
            client, outcomes = hand.client, []
            asked: list[tuple[int, int, bytes]] = []
            for _ in range(choice.randint(1, 8)):
                outcomes.append(Outcome(choice.choice(_QUESTIONS)(client, fd)))
            for _ in range(choice.randint(1, 30)):
                asked += hand.asked()
                stream = b""
                for _ in range(min(len(asked), choice.randint(1, 3))):
                    kind, number, _ = asked.pop(choice.randrange(len(asked)))
                    stream += answers(choice, kind, number if choice.random() < 0.97 else number + 1)
                step = choice.choice((1, 7, 100_000))
                for at in range(0, len(stream), step):
                    client.dataReceived(stream[at : at + step])
                if choice.random() < 0.3:
                    hand.pipe.room = 2**30
                    client.resume()
            client.connectionLost(ConnectionEnded("the connection was lost"))

            for outcome in outcomes:
                assert outcome.fired == 1, seed
                fine = outcome.error is None or isinstance(outcome.error, SFTPError | ClientError | FileChanged)
                assert fine, (seed, repr(outcome.error))
                ends[type(outcome.error).__name__] += 1
            assert hand.clock.getDelayedCalls() == [], seed
            assert lines.take() == []
    assert min(ends[name] for name in ("NoneType", "SFTPError", "ProtocolBroken", "ConnectionEnded")) > 0, ends


_QUESTIONS = [
    lambda client, fd: client.put(fd, b"/in/a.csv"),
    lambda client, fd: client.put(fd, b"/in/b.csv", 100_000, durable=True),
    lambda client, fd: client.write(b"h", fd, 70_000),
    lambda client, fd: client.open(b"/in/a", 0x1A),
    lambda client, fd: client.close(b"h"),
    lambda client, fd: client.stat(b"/in"),
    lambda client, fd: client.listing(b"/in"),
    lambda client, fd: client.readdir(b"h"),
    lambda client, fd: client.realpath(b"."),
    lambda client, fd: client.rename(b"/a", b"/b"),
    lambda client, fd: client.posix_rename(b"/a", b"/b"),
    lambda client, fd: client.statvfs(b"/"),
    lambda client, fd: client.remove(b"/a"),
]


def test_a_server_cannot_make_the_client_hold_more_than_one_packet():
    """Whatever comes, whole replies are dealt with at once, and a part of one is not longer than a packet may be."""
    for stream in (
        u32(262_144) + b"\x65" * 300_000,
        u32(2**32 - 1) + b"\x65" * 300_000,
        status(1) * 10_000,
        status(77, 4, b"x" * 200_000) * 3,
        VERSION * 1000,
    ):
        hand = ByHand()
        outcome = Outcome(hand.client.stat(b"/in"))
        held = peak(lambda hand=hand, stream=stream: hand.client.dataReceived(memoryview(stream)))
        hand.client.connectionLost(ConnectionEnded("over"))
        assert held < 2 * len(stream) + 100_000
        assert outcome.fired == 1
