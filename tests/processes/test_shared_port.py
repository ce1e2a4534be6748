"""Two processes on one socket, here two ports in one process."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from conch_pipe.processes.shared_port import WAIT_S, SharedSocket
from conch_pipe.ssh.server.tally import Shape, SharedTally

CONNECTIONS = 6


class Connection(Protocol):
    """One that was taken."""

    def connectionLost(self, reason):
        self.factory.left += 1


class Counting(Factory):
    """Counts connections as the real factory does."""

    noisy = False
    protocol = Connection

    def __init__(self, tally: SharedTally) -> None:
        self.tally = tally
        self.came = self.left = 0

    def buildProtocol(self, addr):
        self.came += 1
        self.tally.add(None, 1, 1)
        return super().buildProtocol(addr)


class Shared:
    """A socket, and any number of ports on it."""

    def __init__(self, processes: int) -> None:
        shape = Shape(16, 1, 16, 1)
        memory = bytearray(SharedTally.size(processes, shape))
        SharedTally.prepare(memory, processes, shape)
        self.tallies = [SharedTally(memory, index) for index in range(processes)]
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.clients = ExitStack()
        self.ports: list = []
        self.factories: list[Counting] = []

    def listen(self, index: int) -> Counting:
        """One more process listens."""
        factory = Counting(self.tallies[index])
        endpoint = SharedSocket(reactor, os.dup(self.socket.fileno()), socket.AF_INET, self.tallies[index])
        self.factories.append(factory)
        endpoint.listen(factory).addCallback(self.ports.append)
        return factory

    def connect(self) -> None:
        """One more client comes."""
        self.clients.enter_context(socket.create_connection(self.socket.getsockname()))

    async def came(self, *factories: Counting, in_all: int) -> None:
        """Wait until so many were taken."""
        while sum(factory.came for factory in factories) < in_all:
            await deferLater(reactor, WAIT_S / 2)

    async def close(self) -> None:
        """End everything."""
        for port in self.ports:
            await port.stopListening()
        self.clients.close()
        self.socket.close()
        while any(factory.left < factory.came for factory in self.factories):
            await deferLater(reactor, WAIT_S / 2)


@pytest_twisted.async_yield_fixture
async def shared():
    made: list[Shared] = []

    def make(processes: int) -> Shared:
        made.append(Shared(processes))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest_twisted.ensureDeferred
async def test_each_has_as_many_as_the_other(shared):
    """Whoever is quicker to wake up must not have all the long uploads."""
    both = shared(2)
    first, second = both.listen(0), both.listen(1)

    for number in range(CONNECTIONS):
        both.connect()
        await both.came(first, second, in_all=number + 1)

    assert (first.came, second.came) == (CONNECTIONS / 2, CONNECTIONS / 2)


@pytest_twisted.ensureDeferred
async def test_a_burst_is_shared_too(shared):
    """One process must not take a whole queue because it looked first."""
    both = shared(2)
    for _ in range(CONNECTIONS):
        both.connect()

    first, second = both.listen(0), both.listen(1)
    await both.came(first, second, in_all=CONNECTIONS)

    assert (first.came, second.came) == (CONNECTIONS / 2, CONNECTIONS / 2)


@pytest_twisted.ensureDeferred
async def test_nobody_waits_for_a_process_that_is_stuck(shared):
    """It says that it listens, and does not."""
    both = shared(2)
    both.tallies[1].listen(True)
    first = both.listen(0)

    for _ in range(CONNECTIONS):
        both.connect()
    await both.came(first, in_all=CONNECTIONS)

    assert both.tallies[0].lead() == CONNECTIONS


@pytest_twisted.ensureDeferred
async def test_one_that_takes_no_more_does_not_count(shared):
    """A process that is being replaced loses its sessions one after the other."""
    both = shared(2)
    first = both.listen(0)
    both.connect()
    await both.came(first, in_all=1)

    assert both.tallies[0].lead() == 0
    second = both.listen(1)
    assert both.tallies[0].lead() == 1
    await both.ports.pop().stopListening()
    assert both.tallies[0].lead() == 0
    assert second.came == 0


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_closed_while_it_waits_leaves_no_timer(shared):
    """And takes nobody any more."""
    both = shared(2)
    first = both.listen(0)
    both.tallies[0].add(None, 1, 1)
    both.tallies[1].listen(True)
    (port,) = both.ports
    both.connect()
    port.doRead()
    assert port._waiting is not None

    await both.ports.pop().stopListening()

    assert port._waiting is None
    assert first.came == 0


@pytest_twisted.ensureDeferred
async def test_a_wait_that_ends_while_the_port_is_being_closed_takes_nobody(shared):
    """The socket lives on in other processes: a reader that stayed behind would be called for ever."""
    both = shared(2)
    first = both.listen(0)
    both.tallies[0].add(None, 1, 1)
    both.tallies[1].listen(True)
    port = both.ports.pop()
    both.connect()
    port.doRead()

    closed = port.stopListening()
    port._waiting.cancel()
    port._waited()

    assert port not in reactor.getReaders()
    await closed
    assert first.came == 0


@pytest_twisted.ensureDeferred
async def test_a_process_that_has_died_does_not_count(shared):
    """Its parent clears its column; else everybody would wait for it with each connection."""
    both = shared(2)
    both.tallies[1].listen(True)
    both.tallies[0].listen(True)
    both.tallies[0].add(None, 1, 1)
    assert both.tallies[0].lead() == 1

    both.tallies[0].forget(1)

    assert both.tallies[0].lead() == 0
