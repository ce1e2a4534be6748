"""The analytics database as one DuckDB file, loaded by worker processes.

Loads that are asked for in one turn of the reactor, or wait while others are running, go to the worker together. DuckDB
is never imported here: a file that makes it crash ends a worker, not the service.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from conch_pipe.errors import Code, PipeError, WorkerDied
from conch_pipe.interfaces import IWarehouse, IWorkers
from conch_pipe.model import Upload, utc

LOAD = "conch_pipe.warehouse.duckdb_loader:load_many"
LOADED = "conch_pipe.warehouse.duckdb_loader:loaded"
TOGETHER = 64  # loads in one call, at most
OPEN_S = 2.0  # a call begins no further load when it has had the file for so long: analysts want it as well


@dataclass(eq=False, slots=True)
class _Load:
    """One upload that waits for its rows to be loaded."""

    upload_id: UUID
    arguments: dict[str, Any]
    done: Deferred[int]


@implementer(IWarehouse)
class DuckDBWarehouse:
    """See :class:`conch_pipe.interfaces.IWarehouse`.

    :param workers: in which the loader runs.
    :param path: the DuckDB file; made by the first load, in an existing folder.
    :param clock: for ``_loaded_at``, and tells when a turn is over.
    :param wall_s: seconds after which a call is killed; its uploads are then loaded again, each by itself.
    :param busy_s: seconds to wait for an analyst who has the file open, before BUSY.
    :param memory: DuckDB's memory_limit; must leave a worker room below its own limit.
    """

    def __init__(
        self,
        workers: IWorkers,
        path: Path,
        clock: IReactorTime,
        *,
        wall_s: float = 300.0,
        busy_s: float = 2.0,
        memory: str = "256MB",
    ) -> None:
        self._workers = workers
        self._path = path
        self._clock = clock
        self._wall_s = wall_s
        self._busy_s = busy_s
        self._memory = memory
        self._waiting: deque[_Load] = deque()
        # One process at a time can open the file: a second call would only wait.
        self._running: list[_Load] = []
        self._call: Deferred[dict[str, Any]] | None = None
        # Uploads whose call came to a bad end: each is loaded by itself until it has an answer of its own, so that a
        # death is counted against nobody else.
        self._suspects: set[UUID] = set()

    def rows(self, upload_id: UUID) -> Deferred[int | None]:
        """See :class:`IWarehouse`."""
        arguments = {
            "path": str(self._path),
            "upload_id": str(upload_id),
            "memory": self._memory,
            "busy_s": self._busy_s,
        }
        asked = self._workers.call(LOADED, arguments, wall_s=self._wall_s)
        return asked.addCallback(lambda answer: answer["rows"])

    def load(self, schema: Any, upload: Upload, parquet: Path) -> Deferred[int]:
        """See :class:`IWarehouse`. Cancelled, it is not waited for; a call nobody waits for any more is cancelled."""
        arguments = {
            "parquet": str(parquet),
            "table": schema.table,
            "upload_id": str(upload.id),
            "organisation": upload.organisation,
            "client_id": upload.client_id,
            "schema": upload.schema,
            "name": upload.name,
            "sha256": upload.sha256,
            "loaded_at": utc(self._clock).isoformat(),
        }
        load = _Load(upload.id, arguments, Deferred(lambda _: self._cancelled(load)))
        self._waiting.append(load)
        if not self._running and len(self._waiting) == 1:
            self._clock.callLater(0, self._begin)
        return load.done

    def _cancelled(self, load: _Load) -> None:
        if load in self._waiting:
            self._waiting.remove(load)
        elif self._call is not None and all(one is load or one.done.called for one in self._running):
            self._call.cancel()

    def _begin(self) -> None:
        if self._running or not self._waiting:
            return
        self._running = self._next()
        arguments = {
            "path": str(self._path),
            "memory": self._memory,
            "busy_s": self._busy_s,
            "open_s": OPEN_S,
            "loads": [load.arguments for load in self._running],
        }
        self._call = self._workers.call(LOAD, arguments, wall_s=self._wall_s)
        self._call.addBoth(self._ended)

    def _next(self) -> list[_Load]:
        loads = [self._waiting.popleft()]
        if loads[0].upload_id not in self._suspects:
            while self._waiting and len(loads) < TOGETHER and self._waiting[0].upload_id not in self._suspects:
                loads.append(self._waiting.popleft())
        return loads

    def _ended(self, answer: dict[str, Any] | Failure) -> None:
        loads, self._running, self._call = self._running, [], None
        told: list[int | Failure] = []
        if not isinstance(answer, Failure):
            told = [_result(one) for one in answer["results"]]
        elif len(loads) == 1 or answer.check(CancelledError) or _is_busy(answer):
            told = [answer] * len(loads)
        if not told or told[0] is answer and answer.check(WorkerDied):
            self._suspects.update(load.upload_id for load in loads)
        else:
            self._suspects.difference_update(load.upload_id for load in loads[: len(told)])
        left = [load for load in loads[len(told) :] if not load.done.called]
        self._waiting.extendleft(reversed(left))
        self._begin()  # before anybody is told: the worker need not wait for that
        for load, result in zip(loads, told, strict=False):
            if not load.done.called:
                load.done.callback(result)


def _is_busy(failure: Failure) -> bool:
    return isinstance(failure.value, PipeError) and failure.value.code is Code.BUSY


def _result(told: dict[str, Any]) -> int | Failure:
    if "error" not in told:
        return int(told["rows"])
    error = told["error"]
    return Failure(PipeError(Code(error["code"]), error["message"], error["detail"]))
