"""One worker process as its parent sees it: starts, takes a call, answers, dies.

Does not choose which call comes next nor whether a dead worker is replaced (see workers.py).
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IProcessTransport, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from conch_pipe.errors import Code, PipeError, WorkerDied
from conch_pipe.processing.child import LINE_BYTES

START_S = 60.0  # a worker that has not greeted by then is killed
OUT_OF_TIME = "out of time"


@dataclass(eq=False, slots=True)
class Call:
    """One function to run, until its Deferred has fired."""

    id: int
    line: bytes
    wall_s: float
    result: Deferred[dict[str, Any]] = field(init=False)


class Worker(ProcessProtocol):
    """The parent's end of one child process.

    :param clock: for the wall limit.
    :param rested: called when it can take a call: after its start, and after each answer.
    :param ended: called once, when the process is reaped and its pipes are closed, with the reason.
    """

    _log = Logger()
    transport: IProcessTransport

    def __init__(
        self, clock: IReactorTime, rested: Callable[[Worker], None], ended: Callable[[Worker, str], None]
    ) -> None:
        self.clock = clock
        self.rested = rested
        self.ended = ended
        self.pid = 0
        self.ready = False
        self.call: Call | None = None
        self.calls = 0  # answered ones
        self.resident = 0  # bytes, as it told with its last answer
        self.fate = ""  # why it was killed, or why it died
        self.wanted = False  # that end is no death worth telling
        self._received = b""
        self._complaints = b""
        self._timer: IDelayedCall | None = None

    @property
    def idle(self) -> bool:
        """It can take a call now."""
        return self.ready and self.call is None and not self.fate

    def give(self, call: Call) -> None:
        """Let it run a call; only while ``idle``."""
        self.call = call
        self._timer = self.clock.callLater(call.wall_s, self.kill, OUT_OF_TIME)
        self.transport.write(call.line)

    def kill(self, why: str, *, wanted: bool = False) -> None:
        """End it now; ``ended`` will be called with ``why``. Any number of times, the first reason stays."""
        if not self.fate:
            self.fate, self.wanted = why, wanted
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            return

    def connectionMade(self) -> None:
        """Twisted calls this when the process was spawned."""
        self.pid = self.transport.pid
        self._timer = self.clock.callLater(START_S, self.kill, "it did not start in time")

    def outReceived(self, data: bytes) -> None:
        """Collect answers; one that breaks the protocol ends the worker."""
        self._received += data
        while not self.fate:
            line, found, rest = self._received.partition(b"\n")
            if not found:
                break
            self._received = rest
            self._take(line)
        if len(self._received) > LINE_BYTES:
            self._received = b""
            self.kill("it sent a line too long")

    def _take(self, line: bytes) -> None:
        try:
            document = json.loads(line)
            if document == {"ready": True} and not self.ready:
                self.ready = True
                self._stop_timer()
                self.rested(self)
                return
            if self.call is None or document["id"] != self.call.id:
                raise ValueError("not an answer to what was asked")
            result = _result_of(document)
            resident = int(document["rss"])
        except (ValueError, TypeError, LookupError, RecursionError):
            # A function that got hold of the pipe must not take the service down, nor leave its call waiting for ever.
            self.kill("it broke the protocol")
            return
        call, self.call = self.call, None
        self.calls += 1
        self.resident = resident
        self._stop_timer()
        self.rested(self)
        if isinstance(result, PipeError):
            call.result.errback(result)
        else:
            call.result.callback(result)

    def errReceived(self, data: bytes) -> None:
        """What a worker prints goes to the log, line by line, with its pid."""
        *lines, self._complaints = (self._complaints + data).split(b"\n")
        if len(self._complaints) > 4096:
            lines.append(self._complaints)
            self._complaints = b""
        for line in lines:
            text = line[:4096].decode("utf-8", "backslashreplace")
            self._log.warn("worker {pid}: {text}", pid=self.pid, text=text)

    def processEnded(self, reason: Failure) -> None:
        """Twisted calls this when it is reaped and its pipes are closed."""
        self._stop_timer()
        if self._complaints:
            self.errReceived(b"\n")
        why = self.fate or _told(reason)
        self.fate = why
        call, self.call = self.call, None
        self.ended(self, why)
        if call is not None:
            call.result.errback(WorkerDied(why))

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


def _result_of(document: dict[str, Any]) -> dict[str, Any] | PipeError:
    """What an answer carries. :raises ValueError, TypeError, LookupError: it is none."""
    if "error" in document:
        error = document["error"]
        return PipeError(Code(error["code"]), str(error["message"]), str(error["detail"]))
    if not isinstance(document["result"], dict):
        raise TypeError("a result is an object")
    result: dict[str, Any] = document["result"]
    return result


def _told(reason: Failure) -> str:
    """The end of a process in words."""
    error = reason.value
    if isinstance(error, ProcessTerminated) and error.signal is not None:
        return OUT_OF_TIME if error.signal == signal.SIGXCPU else f"killed by {signal.Signals(error.signal).name}"
    return f"exit code {error.exitCode}" if isinstance(error, (ProcessDone, ProcessTerminated)) else str(error)
