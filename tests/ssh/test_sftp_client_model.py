"""Puts, windows, answers in any order, refusals, cancelling and the end, mixed at random: a put says what happened."""

from __future__ import annotations

import os
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import CancelledError, Deferred

from conch_pipe.ssh.client.errors import ConnectionEnded, FileChanged
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.fields import Reader, string
from conch_pipe.ssh.sftp.wire import Type
from tests.ssh.sftp_peer import ByHand, Outcome, reply, status, write_fields

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
CONTENT = os.urandom(5_000)
LIMITS = ClientLimits(writes=4, write=100, requests=1_000)


class Putting(RuleBasedStateMachine):
    """The test is the server: it keeps what was written to each handle."""

    def __init__(self) -> None:
        super().__init__()
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed in teardown
        self.file.write(CONTENT)
        self.file.flush()
        self.peer = ByHand(limits=LIMITS, room=0)
        self.puts: list[tuple[Deferred[int], Outcome, bytes, int]] = []
        self.waiting: list[tuple[int, int, bytes]] = []
        self.files: dict[bytes, dict[int, bytes]] = {}
        self.paths: dict[bytes, bytes] = {}
        self.closed: set[bytes] = set()
        self.broken: set[bytes] = set()
        self.over = False

    def teardown(self) -> None:
        # A server that takes and answers everything: every put comes to its end.
        self.open_the_window(100_000)
        self.collect()
        while not self.over and self.waiting:
            self.reply_to(self.waiting.pop(0), good=True)
            self.every_put_says_what_happened()
        assert self.over or all(outcome.fired == 1 for _, outcome, _, _ in self.puts)
        self.peer.client.end()
        assert all(outcome.fired == 1 for _, outcome, _, _ in self.puts)
        assert self.peer.clock.getDelayedCalls() == []
        self.file.close()

    def collect(self) -> None:
        for kind, number, body in self.peer.asked():
            if kind == Type.WRITE:
                handle, offset, data = write_fields(body)
                assert handle not in self.closed, "a WRITE after the CLOSE"
                self.files[handle][offset] = data
            elif kind == Type.CLOSE:
                self.closed.add(Reader(body).string())
            self.waiting.append((kind, number, body))

    @precondition(lambda self: len(self.puts) < 6)
    @rule(size=st.integers(0, 1_000), too_much=st.sampled_from([0, 0, 0, len(CONTENT) + 1]))
    def put(self, size: int, too_much: int) -> None:
        path = b"/%d" % len(self.puts)
        put = self.peer.client.put(self.file.fileno(), path, size + too_much)
        self.puts.append((put, Outcome(put), path, size))

    @rule(more=st.integers(1, 2_000))
    def open_the_window(self, more: int) -> None:
        self.peer.pipe.room += more
        self.peer.client.resume()

    @precondition(lambda self: self.waiting and not self.over)
    @rule(at=st.integers(0, 10**6), dice=st.integers(0, 19))
    def answer(self, at: int, dice: int) -> None:
        self.reply_to(self.waiting.pop(at % len(self.waiting)), good=dice != 7)

    def reply_to(self, request: tuple[int, int, bytes], good: bool) -> None:
        kind, number, body = request
        if not good:
            if kind == Type.WRITE:
                self.broken.add(write_fields(body)[0])
            elif kind == Type.CLOSE:
                self.broken.add(Reader(body).string())
            self.peer.hear(status(number, 4, b"no"))
        elif kind == Type.OPEN:
            handle = b"h%d" % number
            self.files[handle], self.paths[Reader(body).string()] = {}, handle
            self.peer.hear(reply(Type.HANDLE, number, string(handle)))
        else:
            self.peer.hear(status(number))

    @precondition(lambda self: self.puts)
    @rule(at=st.integers(0, 10**6), dice=st.integers(0, 9))
    def cancel(self, at: int, dice: int) -> None:
        if dice == 7:
            self.puts[at % len(self.puts)][0].cancel()

    @rule(dice=st.integers(0, 49))
    def end(self, dice: int) -> None:
        if dice == 7:
            self.over = True
            self.peer.client.connectionLost(ConnectionEnded("cut"))

    @invariant()
    def every_put_says_what_happened(self) -> None:
        self.collect()
        flying = sum(kind == Type.WRITE for kind, _, _ in self.waiting)
        assert flying <= LIMITS.writes or self.over
        for _, outcome, path, size in self.puts:
            assert outcome.fired <= 1
            if outcome.fired and outcome.error is None:
                handle = self.paths[path]
                pieces = sorted(self.files[handle].items())
                assert b"".join(data for _, data in pieces) == CONTENT[:size]
                assert handle in self.closed
                assert handle not in self.broken
            elif outcome.fired:
                assert isinstance(outcome.error, SFTPError | ConnectionEnded | CancelledError | FileChanged)


Putting.TestCase.settings = settings(max_examples=60 * DOSE, stateful_step_count=60, deadline=None)
TestPutting = Putting.TestCase
