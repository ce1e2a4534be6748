"""``python -m conch_pipe.door``: one door process, started by the service when ``service.processes`` is 2 or more.

Gets everything from its parent, over descriptors (processes/share.py), and ends with it. Nobody starts it by hand.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.logger import Logger, globalLogBeginner

from conch_pipe import jsonlog
from conch_pipe.assembly import assemble_door
from conch_pipe.errors import PipeError
from conch_pipe.processes.share import LOG, ORDERS, REPORTS, Lines, line, unpacked
from conch_pipe.settings import Settings

STUCK_S = 20.0  # beyond the drain after the parent's death


class Parent(Protocol):
    """The pipes to the parent: orders come, reports go; their end means that it has died."""

    _log = Logger(namespace="conch_pipe.door")

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.door: Any = None
        self._lines = Lines()
        self._lost = False

    def report(self, **message: Any) -> None:
        """Tell the parent; without one, nobody."""
        if not self._lost and self.transport is not None:
            self.transport.write(line(**message))

    def dataReceived(self, data: bytes) -> None:
        """Orders."""
        for order in self._lines.feed(data):
            self.door.obey(order)

    def connectionLost(self, reason: Any = None) -> None:
        """The parent has died, unless this is our own end: nobody would replace or stop this process."""
        self._lost = True
        if self.door.still:
            return
        seconds = self.door.drain_s
        self._log.warn("the parent has ended: draining, at most {seconds} s", seconds=seconds)
        # A new service waits for us (presence.py).
        self.reactor.callLater(seconds + STUCK_S, os._exit, 1)
        self.door.drain(seconds)


def main() -> None:
    """Take connections until told to stop, or until the parent is gone."""
    given = unpacked(ORDERS)
    settings = Settings.model_validate(given["settings"])
    stream = os.fdopen(LOG, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    observer = jsonlog.observer(stream, style=settings.log.format, level=settings.log.level, process=os.getpid())
    globalLogBeginner.beginLoggingTo([observer])
    from twisted.internet import reactor

    parent = Parent(reactor)
    try:
        parent.door = assemble_door(settings, reactor, given, parent.report, lambda: _end(reactor))
        StandardIO(parent, ORDERS, REPORTS)  # type: ignore[call-arg]
        parent.door.start(given["schemas"])
    except PipeError as error:
        os.write(REPORTS, line(cannot=str(error)))
        raise SystemExit(5) from None
    # Ctrl-C goes to the whole group, and the parent tells us what it means.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    reactor.callWhenRunning(_signals, reactor, parent.door)
    reactor.callWhenRunning(gc.freeze)  # as the parent's Main
    reactor.run()
    sys.stderr.flush()


def _signals(reactor: Any, door: Any) -> None:
    """SIGTERM to this process alone drains it; the parent starts another one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(door.drain, door.drain_s))


def _end(reactor: Any) -> None:
    if reactor.running:
        reactor.stop()


if __name__ == "__main__":
    main()
