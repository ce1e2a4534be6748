"""One open file against a model: bytes, first failure, and who was told what, whatever the order of events."""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.conch.ssh.filetransfer import SFTPError

from conch_pipe.ssh.fields import string, u32, u64
from conch_pipe.ssh.sftp.wire import Type
from tests.ssh.talk import Reply, Talk, ask, closing, writing

DOSE = int(os.environ.get("PIPE_DOSE", "1"))


class OneFile(RuleBasedStateMachine):
    """Requests as they are sent, and what the model says must be answered, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk()
        self.handle, self.file = self.talk.open()
        self.bytes = bytearray()
        self.expected: list[tuple[int, int | None]] = []  # request, code; None: ATTRS
        self.answered: list[tuple[int, int | None]] = []
        self.queue: list[tuple] = []  # requests the storage has not come to
        self.busy = False
        self.refused: str | None = None
        self.closed = False  # CLOSE was sent
        self.ended: str | None = None
        self.cut = False
        self.number = 0

    def send(self, packet: bytes, *event: object) -> None:
        if event[0] == "missing":
            self.expected.append((self.number, 4))
        else:
            self.queue.append((self.number, *event))
        self.answered += map(self.seen, self.talk.send(packet))
        self.number += 1
        self.run()

    def seen(self, reply: Reply) -> tuple[int, int | None]:
        return reply.request, reply.code if reply.kind == Type.STATUS else None

    def run(self) -> None:
        """The model does what can be done now."""
        while self.queue and not self.busy and not self.cut:
            number, what, *rest = self.queue[0]
            if self.refused is not None:
                self.expected.append((number, 4))
            elif what == "write":
                offset, data, mode = rest
                if mode == "refuse":
                    self.refused = "refused"
                    self.ended = "aborted"
                    self.expected.append((number, 4))
                else:
                    self.bytes += bytes(max(0, offset - len(self.bytes)))
                    self.bytes[offset : offset + len(data)] = data
                    if mode == "later":
                        self.busy = True
                        return
                    self.expected.append((number, 0))
            elif what == "stat":
                self.expected.append((number, None))
            else:
                if what == "close":
                    self.ended = "closed"
                self.expected.append((number, 0))
            self.queue.pop(0)

    @precondition(lambda self: not self.cut)
    @rule(offset=st.integers(0, 50), data=st.binary(min_size=1, max_size=20), later=st.booleans())
    def write(self, offset: int, data: bytes, later: bool) -> None:
        # The tree's mood must be the same when the write's turn comes, so it changes only when nothing waits.
        if self.closed:
            self.send(writing(self.number, self.handle, offset, data), "missing")
            return
        if not self.queue:
            self.talk.tree.slow = later
        mode = "refuse" if self.talk.tree.refuse_writes else "later" if self.talk.tree.slow else "now"
        self.send(writing(self.number, self.handle, offset, data), "write", offset, data, mode)

    @precondition(lambda self: not self.cut)
    @rule()
    def stat(self) -> None:
        self.send(ask(Type.FSTAT, self.number, string(self.handle)), "missing" if self.closed else "stat")

    @precondition(lambda self: not self.cut)
    @rule()
    def set_size(self) -> None:
        packet = ask(Type.FSETSTAT, self.number, string(self.handle), u32(1) + u64(5))
        self.send(packet, "missing" if self.closed else "setstat")

    @precondition(lambda self: not self.cut)
    @rule()
    def close(self) -> None:
        packet = closing(self.number, self.handle)
        closed, self.closed = self.closed, True
        self.send(packet, "missing" if closed else "close")

    @precondition(lambda self: not self.cut and not self.queue and not self.closed)
    @rule()
    def storage_turns_bad(self) -> None:
        self.talk.tree.slow = False
        self.talk.tree.refuse_writes = SFTPError(4, "refused")

    @precondition(lambda self: self.busy)
    @rule(good=st.booleans())
    def storage_answers(self, good: bool) -> None:
        pending = self.file.pending.pop(0)
        self.busy = False
        if self.cut:
            pending.callback(None)
            return
        number, *_ = self.queue.pop(0)
        self.expected.append((number, 0 if good else 4))
        if not good:
            self.refused, self.ended = "disk full", "aborted"
        if good:
            pending.callback(None)
        else:
            pending.errback(SFTPError(4, "disk full"))
        self.answered += map(self.seen, self.talk.new())
        self.run()

    @rule()
    def lose(self) -> None:
        self.talk.server.connectionLost("cut")
        self.cut = True
        self.ended = self.ended or "aborted"

    @invariant()
    def answers_bytes_and_fate_agree(self) -> None:
        assert self.answered == self.expected
        assert bytes(self.file.data) == bytes(self.bytes)
        assert self.file.fate.partition(":")[0] == (self.ended or "open")


OneFile.TestCase.settings = settings(max_examples=60 * DOSE, stateful_step_count=25, deadline=None)


class TestOneFile(OneFile.TestCase):  # type: ignore[name-defined,misc]
    """Collected by pytest and trial."""
