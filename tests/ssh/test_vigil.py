"""A reactor that stays awake for a near peer, and for nobody else."""

from __future__ import annotations

import socket
from functools import partial

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from conch_pipe.ssh.transport.tcp import Server, hasten
from conch_pipe.ssh.transport.vigil import NEAR_S, SMALL_BYTES, Vigil

SOON, LATE = NEAR_S / 4, NEAR_S * 2


class Call:
    """One of a reactor's delayed calls."""

    def __init__(self, reactor, run) -> None:
        self.reactor = reactor
        self.run = run

    def cancel(self) -> None:
        self.reactor.due.remove(self)


class Rounds:
    """A reactor, round by round: what is called in one is due in the next. (A Clock goes on until nothing is due.)"""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list = []

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay, call) -> Call:
        assert delay == 0
        self.due.append(made := Call(self, call))
        return made

    def round(self, took: float) -> None:
        """One round ends so much later."""
        self.now += took
        due, self.due = self.due, []
        for call in due:
            call.run()


class Watched:
    """A vigil over two peers."""

    def __init__(self) -> None:
        self.reactor = Rounds()
        self.vigil = Vigil(self.reactor)

    def exchange(self, peer: str, answers_after: float = SOON, count: int = 100) -> None:
        """We tell the peer something, and it answers."""
        self.vigil.told(peer)
        self.reactor.round(answers_after)
        self.vigil.heard(peer, count)

    @property
    def awake(self) -> bool:
        """The reactor does not sleep before its next look."""
        return bool(self.reactor.due)


@pytest.fixture
def watched():
    made = Watched()
    made.vigil.heard("near", 100)
    yield made
    for _ in range(3):
        made.reactor.round(SOON * 2)
    assert not made.awake


def test_a_peer_that_answers_soon_is_waited_for_awake(watched):
    """Its next question is seen without being woken; and it ends when nothing comes."""
    watched.exchange("near")

    watched.vigil.told("near")

    for _ in range(3):
        assert watched.awake
        watched.reactor.round(SOON)
    assert watched.awake
    watched.reactor.round(SOON)
    assert not watched.awake


def test_a_peer_far_away_is_not_waited_for(watched):
    """What comes over the internet costs no more CPU than before."""
    watched.exchange("near", LATE)

    watched.vigil.told("near")

    assert not watched.awake


def test_while_its_question_is_worked_on_nobody_waits(watched):
    """The thread that writes the catalog wants the interpreter to itself."""
    watched.exchange("near")
    watched.vigil.told("near")
    watched.reactor.round(SOON)

    watched.vigil.heard("near", 100)
    watched.reactor.round(0)

    assert not watched.awake
    watched.vigil.told("near")
    assert watched.awake


def test_with_others_at_work_nobody_is_waited_for(watched):
    """Who has many clients finds one with a question each time it looks."""
    watched.exchange("near")
    watched.vigil.heard("other", 100)
    watched.vigil.told("other")
    watched.reactor.round(SOON)
    watched.vigil.heard("near", 100)

    watched.vigil.told("near")
    watched.vigil.told("other")

    assert not watched.awake


def test_one_who_sends_much_is_not_waited_for(watched):
    """The next part of a large file is here, or on its way, anyway."""
    watched.exchange("near", count=SMALL_BYTES + 1)

    watched.vigil.told("near")

    assert not watched.awake


def test_a_first_message_is_no_answer():
    """Nothing was asked yet."""
    watched = Watched()

    watched.vigil.heard("new", 100)
    watched.vigil.heard("new", 100)
    watched.vigil.told("new")

    assert not watched.awake


def test_one_that_has_left_is_not_waited_for(watched):
    """Nothing is left to look for it; and the next one is waited for as ever."""
    watched.exchange("near")
    watched.vigil.told("near")

    watched.vigil.gone("near")

    assert not watched.awake
    watched.vigil.heard("next", 100)
    watched.exchange("next")
    watched.vigil.told("next")
    assert watched.awake


def test_that_another_one_leaves_changes_nothing(watched):
    """It was not the one that is waited for."""
    watched.exchange("near")
    watched.vigil.told("near")

    watched.vigil.gone("other")

    assert watched.awake


class Echo(Protocol):
    """Says again what it hears, from a buffer of its own; ``factory.lost`` fires at the end."""

    def __init__(self) -> None:
        self.room = bytearray(100)

    def roomForData(self) -> memoryview:
        return memoryview(self.room)

    def dataCame(self, count: int) -> None:
        self.transport.write(bytes(self.room[:count]))
        self.factory.client.shutdown(socket.SHUT_WR)

    def connectionLost(self, reason) -> None:
        self.factory.lost.callback(None)


class Noted:
    """A vigil that only notes."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, int]] = []

    def heard(self, peer, count) -> None:
        self.notes.append(("heard", count))

    def told(self, peer) -> None:
        self.notes.append(("told", 0))

    def gone(self, peer) -> None:
        self.notes.append(("gone", 0))


@pytest_twisted.ensureDeferred
async def test_connections_say_what_they_hear_and_tell_and_that_they_end():
    """All of one port to the same vigil."""
    factory, noted = Factory.forProtocol(Echo), Noted()
    factory.noisy, factory.lost = False, Deferred()
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    hasten(port)
    assert isinstance(port.transport.args[0], Vigil)
    port.transport = partial(Server, noted)

    with socket.create_connection(("127.0.0.1", port.getHost().port)) as factory.client:
        factory.client.sendall(b"word")
        await factory.lost

    assert noted.notes == [("heard", 4), ("told", 0), ("gone", 0)]
    await port.stopListening()
