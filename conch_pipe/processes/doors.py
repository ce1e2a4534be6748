"""The door processes of one port: started, replaced when they die, one after another when that is asked for.

The parent listens and never accepts, so that the queue of new connections outlives every door process. What is said
on the pipes is in share.py, one process in child.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

import conch_pipe
from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IEvents
from conch_pipe.processes.child import Child, Stage
from conch_pipe.processes.share import ORDERS, REPORTS, SOCKET

PROGRAM = "conch_pipe.door"
FALSE_STARTS = 3  # deaths before any was ever ready: the settings or the machine are to blame
PATIENCE_S = 15.0  # beyond the drain: a commit under way, and the end of threads
SOON_S = 60.0  # deaths within this time of the last one make the pause grow
LONGEST_S = 30.0


def pause(deaths: int) -> float:
    """Seconds before the ``deaths``-th process in a row that died soon, from 1, is replaced: 0, 0.5, 1 … 30."""
    return 0.0 if deaths <= 1 else min(LONGEST_S, 0.5 * 2.0 ** (min(deaths, 10) - 2))


class Doors(Service):
    """Stands where the SFTP service of a single process stands.

    :param endpoint: where the port is; its ``listen`` must answer at once.
    :param reactor: provides IReactorTime and IReactorProcess.
    :param count: processes that take connections.
    :param document: makes what a process is given, of its number and its index (below twice ``count``).
    :param descriptors: which of ours a process gets, as its LOG, COMPLAINTS, MARK and COUNTS.
    :param tidy: called with number and index of a process that has ended; what it left behind is done away with.
    :param heard: called with each message of a process that is for its parent.
    :param linger_s: what the sessions of a replaced process may take to leave by themselves.
    :param drain_s: and then the puts that still run.
    """

    name = "doors"  # type: ignore[assignment]  # twisted declares None
    _log = Logger(namespace="conch_pipe.processes")

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        reactor: Any,
        happenings: IEvents,
        *,
        count: int,
        document: Callable[[int, int], dict[str, Any]],
        descriptors: Callable[[], Mapping[int, int]],
        tidy: Callable[[int, int], Deferred[None]],
        heard: Callable[[dict[str, Any]], None],
        linger_s: float,
        drain_s: float,
    ) -> None:
        self.reactor = reactor
        self.events = happenings
        self.count = count
        self._endpoint: Any = endpoint
        self._document = document
        self._descriptors = descriptors
        self._tidy = tidy
        self._heard = heard
        self._linger_s = linger_s
        self._drain_s = drain_s
        self._port: Any = None
        self._number = 0
        self._children: list[Child] = []  # all that are not reaped yet
        self._tidying: set[Deferred[None]] = set()
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self._restarts: set[IDelayedCall] = set()
        self._deaths = 0  # in a row
        self._died_at = -SOON_S
        self._was_ready = False
        self._why = ""
        self._rolling: Deferred[None] | None = None
        self._draining = False

    # What is asked of it.

    @property
    def port(self) -> int:
        """The TCP port in use."""
        return int(self._port.getHost().port)

    @property
    def family(self) -> int:
        """The address family of the socket."""
        return int(self._port.addressFamily)

    @property
    def sessions(self) -> int:
        """Logged-in connections of all processes, as last told."""
        return sum(child.sessions for child in self._children)

    @property
    def connections(self) -> int:
        """Connections of all processes, logged in or not, as last told."""
        return sum(child.connections for child in self._children)

    @property
    def uploads(self) -> int:
        """Files being put in all processes, as last told."""
        return sum(child.uploads for child in self._children)

    def facts(self) -> list[dict[str, Any]]:
        """Each process for people who look."""
        return [
            {"pid": child.pid, "stage": child.stage.value, "sessions": child.sessions, "uploads": child.uploads}
            for child in self._children
        ]

    def tell(self, index: int | None = None, **message: Any) -> None:
        """Send a message to one process, or to all that are not just starting."""
        for child in self._children:
            if child.was_ready and index in (None, child.index):
                child.tell(**message)

    # Start and end.

    def startService(self) -> Deferred[None]:
        """Listen and start all processes.

        :returns: fires when one of them takes connections.
        :raises PipeError: INVALID when the endpoint is none whose socket can be shared; FAILED when none starts.
        :raises twisted.internet.error.CannotListenError: somebody else has the port.
        """
        super().startService()
        return Deferred.fromCoroutine(self._start_all())

    async def _start_all(self) -> None:
        self._port = await self._endpoint.listen(Factory())
        if not hasattr(self._port, "stopReading") or not hasattr(self._port, "fileno"):
            raise PipeError(Code.INVALID, "ssh.endpoint is none whose socket several processes can share")
        self._port.stopReading()  # never accept here
        for _ in range(self.count):
            self._start()
        await self._until(lambda: self._was_ready or bool(self._why))
        if not self._was_ready:
            raise PipeError(Code.FAILED, f"no door process can be started: {self._why}")

    def roll(self) -> Deferred[None]:
        """Replace every process by a fresh one, one after another; no connection is refused meanwhile.

        :returns: fires when the last old one was told to retire, or when a new one did not start: the others stay.
        """
        if self._draining or self._rolling is not None:
            self._log.warn("the door processes are being replaced already, or end")
            return succeed(None)
        self._rolling = Deferred.fromCoroutine(self._roll())
        return self._rolling.addBoth(self._rolled)

    def _rolled(self, result: Any) -> Any:
        self._rolling = None
        return result

    async def _roll(self) -> None:
        began = self.reactor.seconds()
        for old in [child for child in self._children if not child.wanted]:
            await self._free_index()
            if self._draining:
                return
            if old.stage is Stage.ENDED:  # died meanwhile: a fresh one is there or comes
                continue
            new = self._start()
            await self._until(lambda new=new: new.was_ready or new.stage is Stage.ENDED)  # type: ignore[misc]
            if self._draining:
                return
            if not new.was_ready:
                self.events.note(events.DOORS_KEPT, reason=new.fate)
                return
            old.retire(self._linger_s)
        self.events.note(events.DOORS_REPLACED, count=self.count, seconds=self.reactor.seconds() - began)

    async def _free_index(self) -> None:
        """A replaced process that keeps its place too long is asked for it."""
        while self._index() is None:
            self._hurry_one()
            before = len(self._children)
            await self._until(lambda before=before: len(self._children) < before)  # type: ignore[misc]

    def _hurry_one(self) -> None:
        retiring = [child for child in self._children if child.stage is Stage.RETIRING]
        if retiring:
            retiring[0].drain(self._drain_s, PATIENCE_S)

    def drain(self, seconds: float) -> Deferred[None]:
        """Take no new connections; end all processes once no put is running.

        :param seconds: how long running puts may take at most; again with fewer hurries.
        :returns: fires when all have ended.
        """
        self._draining = True
        for timer in self._restarts:
            timer.cancel()
        self._restarts.clear()
        for child in list(self._children):
            child.drain(seconds, PATIENCE_S)
        return Deferred.fromCoroutine(self._drained())

    async def _drained(self) -> None:
        # Closing ours shuts the socket of all: a process that still listened would take that for an error.
        await self._until(lambda: all(child.shut for child in self._children))
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        await self._until(lambda: not self._children)
        for tidying in list(self._tidying):
            ended: Deferred[None] = Deferred()
            tidying.chainDeferred(ended)
            await ended

    def stopService(self) -> Deferred[None]:
        """End all at once; :meth:`drain` before it lets running puts finish."""
        super().stopService()
        return self.drain(0)

    # One process.

    def _serving(self) -> int:
        return sum(not child.wanted for child in self._children)

    def _index(self) -> int | None:
        taken = {child.index for child in self._children}
        return next((index for index in range(2 * self.count) if index not in taken), None)

    def _start(self) -> Child:
        self._number += 1
        index = self._index()
        assert index is not None
        child = Child(self.reactor, self._number, index, self._document(self._number, index), self._told, self._moved)
        given: dict[int, Any] = {**self._descriptors(), ORDERS: "w", REPORTS: "r", SOCKET: self._port.fileno()}
        # -P: a file named like a module in the current folder is not imported.
        words = [sys.executable, "-P", "-m", PROGRAM]
        self._children.append(child)
        try:
            self.reactor.spawnProcess(child, sys.executable, words, env=self._environment(), childFDs=given)
        except OSError as error:  # no descriptors, processes or memory left just now
            child.failed(f"it cannot be started: {error.strerror}")
        return child

    def _environment(self) -> dict[str, str]:
        """Ours, but for settings, which come another way; a replacement is without the crash points of a test."""
        dropped = ("PIPE_SFTP_", "PIPE_CRASH") if self._deaths else ("PIPE_SFTP_",)
        root = str(Path(conch_pipe.__file__).parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return kept | {"PYTHONPATH": path}

    def _told(self, child: Child, message: dict[str, Any]) -> None:
        if "ready" in message:
            self._was_ready = True
            self.events.note(events.DOOR_READY, pid=child.pid, seconds=self.reactor.seconds() - child.born_at)
        elif "to" in message:
            self.tell(message.pop("to"), **message, by=child.index)
        elif "ask" in message:
            others = [each for each in self._children if each.was_ready and each is not child]
            child.tell(asking=message["ask"], of=[each.index for each in others])
            question = {**message, "asked": message["ask"], "by": child.index}
            for other in others:
                other.tell(**question)
        elif "failed" in message:
            for other in self._children:
                if other.was_ready and other is not child:
                    other.tell(**message)
            self._heard(message)
        else:
            self._heard(message)

    def _moved(self, child: Child) -> None:
        if child.stage is Stage.ENDED and child in self._children:
            self._children.remove(child)
            self._ended(child)
        for waiting in list(self._waiting):
            # Whoever goes on may move another process, and get here again.
            if waiting in self._waiting and waiting[0]():
                self._waiting.remove(waiting)
                waiting[1].callback(None)

    def _ended(self, child: Child) -> None:
        self.tell(gone=child.index)
        tidying = self._tidy(child.number, child.index).addErrback(self._not_tidied)
        self._tidying.add(tidying)
        tidying.addCallback(lambda _: self._tidying.discard(tidying))
        if child.wanted:
            self.events.note(events.DOOR_ENDED, pid=child.pid, reason=child.fate)
            return
        now = self.reactor.seconds()
        self._deaths = self._deaths + 1 if now - self._died_at < SOON_S else 1
        self._died_at = now
        self.events.note(events.DOOR_DIED, pid=child.pid, reason=child.fate)
        if not self._was_ready and self._deaths >= FALSE_STARTS:
            self._why = child.fate
        elif not self._draining and self._serving() < self.count:
            self._start_later(pause(self._deaths))

    def _not_tidied(self, failure: Failure) -> None:
        failure.trap(PipeError)
        self._log.warn("what a door process left is tidied at the next start: {problem}", problem=str(failure.value))

    def _start_later(self, seconds: float) -> None:
        def start() -> None:
            self._restarts.discard(timer)
            if self._serving() >= self.count:
                return
            if self._index() is None:
                self._hurry_one()
                self._start_later(1.0)
                return
            self._start()

        timer = self.reactor.callLater(seconds, start)
        self._restarts.add(timer)

    def _until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fires when a condition is true; looked at whenever a process moved."""
        if condition():
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append((condition, waiting))
        return waiting
