"""The parent's end of a worker, without a process."""

from __future__ import annotations

import errno
import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from conch_pipe.errors import Code, WorkerDied
from conch_pipe.events import Events
from conch_pipe.processing.worker import START_S, Call, Worker
from conch_pipe.processing.workers import WorkerLimits, Workers


class Pipe:
    """What Worker needs of a process transport."""

    pid = 4711

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.signals: list[str] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)


def made() -> tuple[Clock, Worker, Pipe, list[str]]:
    clock, pipe, ends = Clock(), Pipe(), []
    worker = Worker(clock, lambda worker: None, lambda worker, why: ends.append(why))
    worker.makeConnection(pipe)
    return clock, worker, pipe, ends


def asked(worker: Worker, number: int = 1, wall_s: float = 5) -> Deferred:
    call = Call(number, b"request\n", wall_s)
    call.result = Deferred()
    worker.give(call)
    return call.result


@given(st.lists(st.integers(0, 200), max_size=20), st.text(max_size=50))
def test_an_answer_is_the_same_however_the_pipe_cuts_it(cuts, text):
    _, worker, _, _ = made()
    stream = b'{"ready": true}\n' + json.dumps({"id": 1, "rss": 5, "result": {"text": text}}).encode() + b"\n"
    worker.outReceived(stream[:16])
    answers: list[dict] = []
    asked(worker).addCallback(answers.append)
    ends = sorted({16, len(stream), *(cut for cut in cuts if 16 < cut < len(stream))})

    for begin, end in zip(ends, ends[1:], strict=False):
        worker.outReceived(stream[begin:end])

    assert answers == [{"text": text}]
    assert (worker.calls, worker.resident, worker.idle) == (1, 5, True)


def test_a_worker_that_does_not_greet_is_killed():
    clock, worker, pipe, _ = made()

    clock.advance(START_S)

    assert pipe.signals == ["KILL"]
    assert not worker.idle


def test_the_wall_limit_counts_from_the_call_and_ends_with_the_answer():
    clock, worker, pipe, _ = made()
    worker.outReceived(b'{"ready": true}\n')
    clock.advance(1000)
    asked(worker, wall_s=5)
    clock.advance(4.9)

    worker.outReceived(b'{"id": 1, "rss": 1, "result": {}}\n')
    clock.advance(1000)

    assert pipe.signals == []
    assert clock.getDelayedCalls() == []


def test_an_answer_after_the_wall_limit_is_too_late():
    clock, worker, _, ends = made()
    worker.outReceived(b'{"ready": true}\n')
    failures: list[Failure] = []
    asked(worker, wall_s=5).addErrback(failures.append)
    clock.advance(5)

    worker.outReceived(b'{"id": 1, "rss": 1, "result": {}}\n')
    worker.processEnded(Failure(ProcessTerminated(signal=9)))

    assert ends == ["out of time"]
    assert failures[0].check(WorkerDied)


class NoProcesses(Clock):
    """A reactor on a machine that is full."""

    tries = 0

    def spawnProcess(self, *arguments: object, **keywords: object) -> None:
        self.tries += 1
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")


def test_a_machine_without_room_for_processes_is_asked_again_and_calls_come_back_busy():
    reactor, heard, failures = NoProcesses(), [], []
    workers = Workers(reactor, 1, WorkerLimits(), Events((heard.append,)))
    workers.start()
    workers.call("any:function", {}, wall_s=1).addErrback(failures.append)

    for _ in range(600):
        reactor.advance(0.1)

    assert [failure.value.code for failure in failures] == [Code.BUSY]
    assert 10 < reactor.tries < 25
    assert {event.fields["reason"] for event in heard} == {"it cannot be started: Resource temporarily unavailable"}
    assert workers.stop().called
    assert reactor.getDelayedCalls() == []
