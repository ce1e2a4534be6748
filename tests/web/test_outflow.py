"""Answers that come in pieces: no more is fetched than the client takes, and whatever happens they are closed."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, succeed

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.web.responses import Response
from tests.web.conftest import answers


class Pieces:
    """An IPieces that counts."""

    def __init__(self, *pieces: bytes, size: int | None = None) -> None:
        self.left = list(pieces)
        self.size = sum(map(len, pieces)) if size is None else size
        self.reads = self.closed = 0
        self.error: PipeError | None = None
        self.held: Deferred[None] | None = None

    async def read(self) -> bytes:
        self.reads += 1
        if self.held is not None:
            await self.held
        if self.error is not None:
            raise self.error
        return self.left.pop(0) if self.left else b""

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def answered(door):
    """A function: pieces → a connection that asked for them; nothing has been read of what it was sent."""

    def ask(pieces: Pieces, method: str = "GET", full: bool = False, **headers: str):
        door.site._application = lambda request: succeed(Response(200, media_type="text/csv", pieces=pieces))
        connection = door.connect()
        if full:
            connection.channel.pauseProducing()
        return connection.ask(method, "/", **headers)

    return ask


def told(door) -> list[int]:
    return [one["status"] for one in door.events.of(events.WEB_REQUEST)]


def test_pieces_make_one_body_with_its_length(door, answered):
    pieces = Pieces(b"a" * 10, b"b" * 5)

    connection = answered(pieces)

    assert connection.answer.body == b"a" * 10 + b"b" * 5
    assert connection.answer.headers["content-length"] == "15"
    assert connection.answer.headers["content-type"] == "text/csv"
    assert (pieces.closed, told(door)) == (1, [200])
    connection.ask("GET", "/")  # the connection goes on
    assert len(connection.answers) == 2


def test_nothing_is_fetched_that_the_client_does_not_take(door, answered):
    """Whoever asks for a large file and reads nothing must not bring it into our memory."""
    pieces = Pieces(*[b"x" * 1000] * 50)

    connection = answered(pieces, full=True)
    assert pieces.reads == 0

    pieces.held = Deferred()
    connection.channel.resumeProducing()
    connection.channel.pauseProducing()
    pieces.held.callback(None)
    pieces.held = None
    assert (pieces.reads, len(pieces.left)) == (1, 49)
    connection.channel.resumeProducing()
    assert len(connection.answer.body) == 50_000
    assert pieces.closed == 1


def test_a_client_that_takes_nothing_is_cut_in_time(door, answered):
    pieces = Pieces(b"x" * 1000)
    connection = answered(pieces, full=True)

    door.advance(door.limits.unread_s + 1)

    assert connection.transport.aborting
    connection.cut()
    assert (pieces.closed, pieces.reads, told(door)) == (1, 0, [0])


@pytest.mark.parametrize("reading", [False, True])
def test_a_client_that_goes_leaves_nothing_open(door, answered, reading):
    pieces = Pieces(b"x" * 1000)
    if reading:
        pieces.held = Deferred()
    connection = answered(pieces, full=not reading)

    connection.cut()
    if reading:
        assert pieces.closed == 0  # a file must not be closed while a thread reads it
        pieces.held.callback(None)

    assert (pieces.closed, told(door)) == (1, [0])


def test_head_has_the_length_and_reads_nothing(door, answered):
    pieces = Pieces(b"x" * 1000)

    connection = answered(pieces, "HEAD")

    (answer,) = answers(connection.transport.value(), heads=1)
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "1000", b"")
    assert (pieces.reads, pieces.closed, told(door)) == (0, 1, [200])


def test_an_answer_that_cannot_go_on_is_cut_and_not_ended(door, answered):
    """A shorter body that looks complete would be a damaged file in somebody's hands."""
    pieces = Pieces(b"x" * 1000, size=2000)
    pieces.held = Deferred()
    connection = answered(pieces)
    pieces.error = PipeError(Code.FAILED, "the disk is out of order")

    pieces.held.callback(None)

    assert connection.transport.aborting
    connection.cut()
    assert (pieces.closed, told(door)) == (1, [0])


def test_who_went_before_the_answer_was_there_leaves_nothing_open(door):
    pieces, asked = Pieces(b"x"), Deferred()
    door.site._application = lambda request: asked
    connection = door.connect().ask("GET", "/")

    connection.cut()
    asked.callback(Response(200, pieces=pieces))

    assert (pieces.reads, pieces.closed) == (0, 1)
