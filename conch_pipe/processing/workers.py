"""The pool of worker processes: who runs which call, and what replaces a dead one.

One process is in worker.py, the program it runs in child.py. Does not bound its queue: callers do (see runner.py).
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

import conch_pipe
from conch_pipe import events
from conch_pipe.errors import Code, PipeError, WorkerDied
from conch_pipe.interfaces import IEvents, IWorkers
from conch_pipe.processing.child import LINE_BYTES
from conch_pipe.processing.schedule import restart_delay
from conch_pipe.processing.worker import Call, Worker

FALSE_STARTS = 5  # workers in a row that died before their greeting: the machine is to blame, not the calls


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one worker may use."""

    memory_bytes: int = 1 << 30  # address space; DuckDB 2.0 works with its memory_limit at 512 MB below this
    cpu_s: float = 120.0  # for one call
    files: int = 64
    nice: int = 10  # doors go first: a busy core is theirs to nine tenths
    calls: int = 500  # after so many it is replaced
    resting_bytes: int = 384 << 20  # resident after a call: more, and it is replaced


def environment(*, crash: bool = True) -> dict[str, str]:
    """What a worker sees of ours: where modules are, and the crash points of a test. No secret is in it.

    :param crash: with the crash points; a replacement is without, for a power cut comes once.
    """
    root = str(Path(conch_pipe.__file__).parents[1])
    # The operator's PYTHONPATH as well: a schema may name a transformer of their own.
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    # Without MALLOC_ARENA_MAX each thread of DuckDB reserves 64 MiB of the address space.
    names = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "MALLOC_ARENA_MAX": "2", "PYTHONPATH": path}
    return names | {key: value for key, value in os.environ.items() if crash and key.startswith("PIPE_CRASH")}


@implementer(IWorkers)
class Workers:
    """See :class:`conch_pipe.interfaces.IWorkers`.

    :param reactor: provides IReactorTime and IReactorProcess.
    :param count: processes.
    :param modules: imported by each worker as it starts, so that no file pays for it.
    """

    def __init__(
        self, reactor: Any, count: int, limits: WorkerLimits, events: IEvents, *, modules: Sequence[str] = ()
    ) -> None:
        self.reactor = reactor
        self.count = count
        self.limits = limits
        self.events = events
        self.modules = tuple(modules)
        self.running = False
        self._ids = itertools.count(1)
        self._queue: deque[Call] = deque()
        self._workers: list[Worker] = []  # all that are not reaped yet, also those being killed
        self._starts: set[IDelayedCall] = set()
        self._deaths = 0  # since the last answer
        self._one_died = False
        self._false_starts = 0  # since the last greeting
        self._stopped: Deferred[None] | None = None

    @property
    def waiting(self) -> int:
        """Calls no worker has taken yet."""
        return len(self._queue)

    @property
    def pids(self) -> list[int]:
        """Of the workers that can take calls, or do."""
        return [worker.pid for worker in self._workers if worker.ready and not worker.fate]

    def start(self) -> None:
        """Start all processes; returns at once, calls wait for the first that is ready."""
        self.running = True
        for _ in range(self.count):
            self._spawn()

    def stop(self) -> Deferred[None]:
        """End all processes; calls that have no answer yet fail with WorkerDied.

        :returns: a Deferred that fires when all are reaped.
        """
        self.running = False
        for timer in self._starts:
            timer.cancel()
        self._starts.clear()
        queued, self._queue = self._queue, deque()
        for call in queued:
            call.result.errback(WorkerDied("the workers are stopped"))
        if not self._workers:
            return succeed(None)
        self._stopped = Deferred()
        for worker in list(self._workers):
            worker.kill("the workers are stopped")
        return self._stopped

    def call(self, function: str, arguments: Mapping[str, Any], *, wall_s: float) -> Deferred[dict[str, Any]]:
        """See IWorkers. The wall limit counts from when a worker takes the call; cancelling kills that worker."""
        if not self.running:
            return fail(WorkerDied("the workers are stopped"))
        number = next(self._ids)
        line = json.dumps({"id": number, "function": function, "arguments": arguments}).encode() + b"\n"
        if len(line) > LINE_BYTES:
            return fail(PipeError(Code.FAILED, "internal error", f"{function}: {len(line)} bytes of arguments"))
        call = Call(number, line, wall_s)
        call.result = Deferred(lambda _: self._cancel(call))
        self._queue.append(call)
        self._dispatch()
        return call.result

    def _cancel(self, call: Call) -> None:
        if call in self._queue:
            self._queue.remove(call)
        for worker in self._workers:
            if worker.call is call:
                worker.call = None  # its Deferred fires with CancelledError, not again with the worker's end
                worker.kill("its call was cancelled", wanted=True)

    def _dispatch(self) -> None:
        for worker in self._workers:
            if not self._queue:
                return
            if worker.idle:
                worker.give(self._queue.popleft())

    def _spawn(self) -> None:
        worker = Worker(self.reactor, self._rested, self._ended)
        config = {
            "parent": os.getpid(),
            "memory_bytes": self.limits.memory_bytes,
            "cpu_s": self.limits.cpu_s,
            "files": self.limits.files,
            "nice": self.limits.nice,
            "modules": self.modules,
        }
        # -P: a file named like a module in the current folder is not imported.
        arguments = [sys.executable, "-P", "-m", "conch_pipe.processing.child", json.dumps(config)]
        self._workers.append(worker)
        try:
            self.reactor.spawnProcess(worker, sys.executable, arguments, env=environment(crash=not self._one_died))
        except OSError as error:  # no descriptors, processes or memory left just now
            self._ended(worker, f"it cannot be started: {error.strerror}")

    def _rested(self, worker: Worker) -> None:
        """A worker greeted or answered."""
        if worker.calls == 0:
            self._false_starts = 0
            self.events.note(events.WORKER_STARTED, pid=worker.pid)
        else:
            self._deaths = 0
        if worker.calls >= self.limits.calls or worker.resident > self.limits.resting_bytes:
            worker.kill("replaced", wanted=True)
        self._dispatch()

    def _ended(self, worker: Worker, why: str) -> None:
        """A worker is reaped."""
        self._workers.remove(worker)
        if not self.running:
            if not self._workers and self._stopped is not None:
                self._stopped.callback(None)
            return
        if worker.wanted:
            self._spawn()
            return
        self.events.note(events.WORKER_DIED, pid=worker.pid, reason=why)
        self._one_died = True
        self._deaths += 1
        self._start_later(restart_delay(self._deaths))
        if not worker.ready:
            self._false_starts += 1
            self._refuse_if_none_starts()

    def _start_later(self, delay_s: float) -> None:
        def start() -> None:
            self._starts.discard(timer)
            self._spawn()

        timer = self.reactor.callLater(delay_s, start)
        self._starts.add(timer)

    def _refuse_if_none_starts(self) -> None:
        if self._false_starts < FALSE_STARTS or any(worker.ready for worker in self._workers):
            return
        queued, self._queue = self._queue, deque()
        for call in queued:
            call.result.errback(PipeError(Code.BUSY, "no worker process can be started"))
