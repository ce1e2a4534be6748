"""Connections that send large buffers from where they lie: order, a peer that does not read, and ends in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_twisted import blockon, ensureDeferred
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from conch_pipe.ssh.client.tcp import PushingClient, endpoint

LARGE = 6_000_000  # bytes: more than the buffers of both sockets take


class Peer(Protocol):
    """Reads when it is told; ``ended`` fires with all it got."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.ended: Deferred[bytes] = Deferred()
        self.transport: Any

    def connectionMade(self) -> None:
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(bytes(self.got))


class Ours(Protocol):
    """A streaming producer, as the SSH transport is."""

    def __init__(self) -> None:
        self.transport: Any
        self.paused: list[bool] = []
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    def pauseProducing(self) -> None:
        self.paused.append(True)

    def resumeProducing(self) -> None:
        self.paused.append(False)

    def stopProducing(self) -> None:
        pass

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


class Both:
    """A connection in this process."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.peer, self.ours = Peer(), Ours()
        self.port = reactor.listenTCP(0, Factory.forProtocol(lambda: self.peer), interface="127.0.0.1")

    async def connect(self, host: str = "127.0.0.1") -> PushingClient:
        factory = Factory.forProtocol(lambda: self.ours)
        await endpoint(self.reactor, host, self.port.getHost().port).connect(factory)
        while not hasattr(self.peer, "transport") or self.peer.transport is None:
            await deferLater(self.reactor, 0)
        return self.ours.transport

    def read(self) -> None:
        self.peer.transport.resumeProducing()


@pytest.fixture
def both() -> Iterator[Both]:
    from twisted.internet import reactor

    made = Both(reactor)
    yield made
    for side in (made.ours, made.peer):
        if getattr(side, "transport", None) is not None:
            side.transport.abortConnection()
    blockon(made.port.stopListening())


def pieces(count: int, size: int) -> tuple[bytes, list[memoryview]]:
    content = b"".join(bytes((number,)) * size for number in range(count))
    view = memoryview(bytearray(content))
    return content, [view[at : at + size] for at in range(0, len(content), size)]


@ensureDeferred
async def test_buffers_that_the_socket_takes_are_sent_at_once(both):
    ours = await both.connect()
    content, views = pieces(4, 1_000)

    assert ours.push(views, lambda: pytest.fail("it was sent already"))
    assert not ours.behind
    ours.loseConnection()
    both.read()

    assert await both.peer.ended == content
    await both.ours.lost


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@ensureDeferred
async def test_what_is_written_behind_a_large_buffer_comes_behind_it(both, host):
    ours = await both.connect(host)
    assert isinstance(ours, PushingClient)
    content, views = pieces(60, LARGE // 60)
    pushed: Deferred[None] = Deferred()

    assert not ours.push(views, lambda: pushed.callback(None))
    assert ours.behind
    ours.write(b"behind it")
    ours.write(b" and last")
    ours.loseConnection()
    both.read()

    await pushed
    assert await both.peer.ended == content + b"behind it and last"
    await both.ours.lost


@ensureDeferred
async def test_one_push_follows_the_other(both):
    ours = await both.connect()
    first, views = pieces(60, LARGE // 60)
    second, more = pieces(3, 100)
    again: Deferred[None] = Deferred()

    def next_one() -> None:
        assert not ours.behind
        assert ours.push(more, lambda: None)
        again.callback(None)

    ours.push(views, next_one)
    both.read()
    await again
    ours.loseConnection()

    assert await both.peer.ended == first + second
    await both.ours.lost


@ensureDeferred
async def test_too_much_written_behind_pauses_its_producer_until_it_is_sent(both):
    ours = await both.connect()
    content, views = pieces(60, LARGE // 60)
    ours.push(views, lambda: None)

    for _ in range(100):
        ours.write(b"x" * 1_000)
    assert both.ours.paused == [True]
    both.read()
    while both.ours.paused != [True, False]:
        await deferLater(both.reactor, 0)
    both.ours.transport.unregisterProducer()
    ours.loseConnection()

    assert await both.peer.ended == content + b"x" * 100_000
    await both.ours.lost


@ensureDeferred
async def test_a_connection_cut_in_the_middle_of_a_buffer_is_lost_once(both):
    ours = await both.connect()
    _, views = pieces(60, LARGE // 60)
    ours.push(views, lambda: pytest.fail("it was never sent"))

    both.peer.transport.abortConnection()
    await both.ours.lost

    assert not ours.behind or not ours.connected


@ensureDeferred
async def test_an_aborted_connection_forgets_the_rest(both):
    ours = await both.connect()
    _, views = pieces(60, LARGE // 60)
    ours.push(views, lambda: pytest.fail("it was never sent"))

    ours.abortConnection()

    await both.ours.lost


@pytest.mark.parametrize("host", ["", "a\0b", "a\r\nb", "a b", "\x7f"])
def test_cve_2025_61985_a_host_with_control_characters_is_none(host):
    from twisted.internet import reactor

    with pytest.raises(ValueError, match="host"):
        endpoint(reactor, host, 22)
