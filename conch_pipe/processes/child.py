"""One door process as its parent sees it: starts, is ready, retires, drains, ends.

Does not choose when; see doors.py.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from conch_pipe.processes.share import ORDERS, REPORTS, Lines, line, packed

START_S = 60.0  # a process that is not ready by then is killed


class Stage(enum.Enum):
    """Where a door process stands."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"  # takes no new connections, serves those it has
    DRAINING = "draining"  # and no new files either
    ENDED = "ended"


class Child(ProcessProtocol):
    """The parent's end.

    :param number: of all that were ever started, from 1.
    :param index: the place it has among those that live.
    :param document: what it is given; see share.py.
    :param told: called with each message that is not about its stage.
    :param moved: called when its stage or its numbers changed.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        number: int,
        index: int,
        document: dict[str, Any],
        told: Callable[[Child, dict[str, Any]], None],
        moved: Callable[[Child], None],
    ) -> None:
        self.clock = clock
        self.number = number
        self.index = index
        self.pid = 0
        self.stage = Stage.STARTING
        self.born_at = clock.seconds()
        self.was_ready = False
        self.shut = False  # it has closed its end of the listening socket
        self.sessions = 0
        self.uploads = 0
        self.connections = 0
        self.fate = ""  # why it was killed, or why it ended
        self.wanted = False  # we asked for its end
        self._document = document
        self._told = told
        self._moved = moved
        self._lines = Lines()
        self._timer: IDelayedCall | None = None

    def tell(self, **message: Any) -> None:
        """Send an order; one that has ended does not mind."""
        if self.stage is not Stage.ENDED and self.pid:
            self.transport.writeToChild(ORDERS, line(**message))

    def retire(self, seconds: float) -> None:
        """Take no new connections; when those that are here have not left in time, drain."""
        self.wanted = True
        if self.stage in (Stage.STARTING, Stage.READY):
            self._to(Stage.RETIRING)
            self.tell(retire=seconds)

    def drain(self, seconds: float, patience_s: float) -> None:
        """End; again with fewer seconds hurries.

        :param patience_s: it is killed so many seconds after those.
        """
        self.wanted = True
        if self.stage is Stage.ENDED:
            return
        self._to(Stage.DRAINING)
        self.tell(drain=seconds)
        self._kill_after(seconds + patience_s, "it did not end in time")

    def kill(self, why: str) -> None:
        """End it now; the first reason stays."""
        self.fate = self.fate or why
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            return

    def failed(self, why: str) -> None:
        """It could not even be spawned."""
        self.fate, self.shut = why, True
        self._to(Stage.ENDED)

    # Twisted's calls.

    def connectionMade(self) -> None:
        """It was spawned."""
        self.pid = self.transport.pid
        self.transport.writeToChild(ORDERS, packed(self._document))
        self._document = {}
        self._kill_after(START_S, "it did not start in time")

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Something on one of its pipes."""
        if childFD != REPORTS or self.fate:
            return
        try:
            for message in self._lines.feed(data):
                self._take(message)
        except (ValueError, TypeError, LookupError):
            self.kill("it broke the protocol")

    def processEnded(self, reason: Failure) -> None:
        """It is reaped and its pipes are closed."""
        self._stop_timer()
        self.fate = self.fate or _told(reason)
        self.sessions = self.uploads = self.connections = 0
        self.shut = True
        self._to(Stage.ENDED)

    def _take(self, message: dict[str, Any]) -> None:
        if "cannot" in message:
            self.fate = str(message["cannot"])
        elif "ready" in message:
            self.was_ready = True
            self._told(self, message)
            if self.stage is Stage.STARTING:
                self._stop_timer()
                self._to(Stage.READY)
        elif "shut" in message:
            self.shut = True
            self._moved(self)
        elif "sessions" in message:
            self.sessions, self.uploads = int(message["sessions"]), int(message["uploads"])
            self.connections = int(message.get("connections", self.sessions))
            self._moved(self)
        else:
            self._told(self, message)

    def _to(self, stage: Stage) -> None:
        self.stage = stage
        self._moved(self)

    def _kill_after(self, seconds: float, why: str) -> None:
        self._stop_timer()
        self._timer = self.clock.callLater(seconds, self.kill, why)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


def _told(reason: Failure) -> str:
    """The end of a process in words."""
    error = reason.value
    if isinstance(error, ProcessTerminated) and error.signal is not None:
        return f"killed by {signal.Signals(error.signal).name}"
    return f"exit code {error.exitCode}" if isinstance(error, (ProcessDone, ProcessTerminated)) else str(error)
