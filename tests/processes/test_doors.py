"""The parent's side: when door processes are started, replaced and ended, with processes that are only told about."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from conch_pipe.errors import PipeError
from conch_pipe.processes.doors import PATIENCE_S, Doors, pause
from conch_pipe.processes.share import ORDERS, REPORTS, Lines, line


class Port:
    """A listening socket as Twisted has it."""

    def __init__(self) -> None:
        self.reading = True
        self.open = True

    def stopReading(self) -> None:
        self.reading = False

    def stopListening(self) -> Deferred[None]:
        self.open = False
        return succeed(None)

    def fileno(self) -> int:
        return 7


class Endpoint:
    def __init__(self, port: Any) -> None:
        self.port = port

    def listen(self, factory: Any) -> Deferred[Any]:
        return succeed(self.port)


class Process:
    """A door process, played by the test."""

    def __init__(self, reactor: Machine, protocol: Any, pid: int) -> None:
        self.pid = pid
        self.protocol = protocol
        self.orders: list[dict[str, Any]] = []
        self.killed = False
        self._first = True
        protocol.transport = self
        protocol.connectionMade()

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        assert descriptor == ORDERS
        if self._first:  # what it is given
            self._first = False
            return
        self.orders += Lines().feed(data)

    def signalProcess(self, name: str) -> None:
        assert name == "KILL"
        self.killed = True

    def says(self, **message: Any) -> None:
        self.protocol.childDataReceived(REPORTS, line(**message))

    def ends(self, signal: int | None = None) -> None:
        self.protocol.processEnded(Failure(ProcessTerminated(exitCode=None if signal else 0, signal=signal)))


class Machine(Clock):
    """A reactor whose processes are Process."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[Process] = []

    def spawnProcess(self, protocol: Any, *args: Any, **options: Any) -> None:
        self.started.append(Process(self, protocol, 100 + len(self.started)))


class Heard:
    def __init__(self) -> None:
        self.names: list[str] = []

    def note(self, kind: Any, **fields: Any) -> None:
        self.names.append(kind.name)


class Yard:
    """Two doors."""

    def __init__(self, port: Any = None) -> None:
        self.machine = Machine()
        self.port = port or Port()
        self.events = Heard()
        self.tidied: list[tuple[int, int]] = []
        self.heard: list[dict[str, Any]] = []
        self.indexes: list[int] = []
        self.doors = Doors(
            Endpoint(self.port),
            self.machine,
            self.events,
            count=2,
            document=self.document,
            descriptors=dict,
            tidy=self.tidy,
            heard=self.heard.append,
            linger_s=300,
            drain_s=30,
        )

    def document(self, number: int, index: int) -> dict[str, Any]:
        self.indexes.append(index)
        return {}

    def tidy(self, number: int, index: int) -> Deferred[None]:
        self.tidied.append((number, index))
        return succeed(None)

    @property
    def started(self) -> list[Process]:
        return self.machine.started

    def ready(self) -> Yard:
        self.doors.startService()
        for process in self.started:
            process.says(ready=True)
        return self


def test_the_parent_listens_and_never_accepts():
    yard = Yard().ready()

    assert (yard.port.open, yard.port.reading, len(yard.started)) == (True, False, 2)


def test_the_start_is_over_when_the_first_takes_connections():
    yard = Yard()
    started = yard.doors.startService()
    assert not started.called

    yard.started[1].says(ready=True)

    assert started.called


def test_an_endpoint_whose_socket_cannot_be_shared_is_refused():
    failed: list[Failure] = []
    Yard(port=object()).doors.startService().addErrback(failed.append)

    assert failed[0].check(PipeError)


def test_when_none_is_ever_ready_the_start_fails_with_the_reason():
    yard = Yard()
    failed: list[Failure] = []
    yard.doors.startService().addErrback(failed.append)

    while not failed:
        for process in yard.started[-2:]:
            process.says(cannot="a host key is gone")
            process.ends()
        yard.machine.advance(1)

    assert failed[0].getErrorMessage() == "no door process can be started: a host key is gone"


def test_the_first_death_is_made_good_at_once_and_the_next_ones_after_growing_pauses():
    yard = Yard().ready()

    waits = []
    for _ in range(4):
        yard.started[-1].ends(signal=9)
        before, waited = len(yard.started), 0.0
        while len(yard.started) == before:
            yard.machine.advance(0.5 if waited else 0)
            waited += 0.5
        waits.append(waited - 0.5)
        yard.started[-1].says(ready=True)

    assert waits == [0, 0.5, 1, 2]
    assert [pause(deaths) for deaths in (1, 2, 3, 8, 100)] == [0, 0.5, 1, 30, 30]
    assert yard.events.names.count("door.died") == 4


def test_a_death_long_after_the_last_one_is_made_good_at_once_again():
    yard = Yard().ready()
    for _ in range(2):
        yard.started[-1].ends(signal=9)
        yard.machine.advance(61)
        yard.started[-1].says(ready=True)

    yard.started[-1].ends(signal=9)
    yard.machine.advance(0)

    assert len(yard.started) == 5


def test_what_a_dead_one_left_is_tidied_before_its_place_is_taken_again():
    yard = Yard().ready()

    yard.started[0].ends(signal=9)
    yard.machine.advance(0)

    assert yard.tidied == [(1, 0)]
    assert yard.indexes == [0, 1, 0]


def test_an_old_one_retires_only_when_a_fresh_one_is_ready():
    yard = Yard().ready()
    first, second = yard.started

    yard.doors.roll()
    third = yard.started[2]
    assert first.orders == []
    third.says(ready=True)
    assert first.orders == [{"retire": 300}]
    assert second.orders == []
    yard.started[3].says(ready=True)

    assert second.orders == [{"retire": 300}]
    assert yard.indexes == [0, 1, 2, 3]
    assert yard.events.names[-1] == "doors.replaced"
    for old in (first, second):
        old.ends()
    yard.machine.advance(60)
    assert len(yard.started) == 4


def test_a_fresh_one_that_does_not_start_leaves_the_old_ones_alone():
    yard = Yard().ready()

    yard.doors.roll()
    yard.started[2].says(cannot="a host key is gone")
    yard.started[2].ends()
    yard.machine.advance(60)

    assert [process.orders for process in yard.started[:2]] == [[{"gone": 2}], [{"gone": 2}]]
    assert len(yard.started) == 3
    assert yard.events.names[-1] == "doors.kept"


def test_one_that_retires_for_long_is_drained_when_its_place_is_needed():
    yard = Yard().ready()
    for number in (2, 3):
        yard.doors.roll() if number == 2 else None
        yard.started[number].says(ready=True)

    rolled = yard.doors.roll()

    assert yard.started[0].orders[-1] == {"drain": 30}
    assert len(yard.started) == 4
    yard.started[0].ends()
    assert len(yard.started) == 5
    yard.started[4].says(ready=True)
    assert not rolled.called
    yard.started[1].ends()
    yard.started[5].says(ready=True)
    assert rolled.called


def test_a_stop_closes_the_socket_when_all_have_closed_theirs_and_waits_for_their_end():
    yard = Yard().ready()

    drained = yard.doors.drain(5)
    assert [process.orders for process in yard.started] == [[{"drain": 5}], [{"drain": 5}]]
    yard.started[0].says(shut=True)
    assert yard.port.open
    yard.started[1].says(shut=True)
    assert not yard.port.open
    for process in yard.started:
        assert not drained.called
        process.ends()

    assert drained.called
    assert "door.died" not in yard.events.names


def test_one_that_does_not_end_is_killed():
    yard = Yard().ready()
    yard.doors.drain(5)

    yard.machine.advance(5 + PATIENCE_S)

    assert all(process.killed for process in yard.started)
    for process in yard.started:
        process.ends(signal=9)


def test_one_that_breaks_the_protocol_is_killed():
    yard = Yard().ready()

    yard.started[0].protocol.childDataReceived(REPORTS, b"]\n")

    assert yard.started[0].killed


def test_a_question_goes_to_all_others_and_its_answer_back_to_who_asked():
    yard = Yard().ready()
    asking, other = yard.started

    asking.says(ask=4, doing="find")
    other.says(answer=4, to=0, found=None)

    assert other.orders == [{"ask": 4, "doing": "find", "asked": 4, "by": 0}]
    assert asking.orders == [{"asking": 4, "of": [1]}, {"answer": 4, "found": None, "by": 1}]


def test_what_is_for_the_parent_is_heard():
    yard = Yard().ready()

    yard.started[0].says(stored=True)
    yard.started[0].says(sessions=3, uploads=1)

    assert yard.heard == [{"stored": True}]
    assert (yard.doors.sessions, yard.doors.uploads) == (3, 1)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.setattr("sys.executable", "python")
