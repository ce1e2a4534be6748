"""The analytics database as one DuckDB file, loaded by worker processes.

DuckDB is never imported here: a file that makes it crash ends a worker, not the service.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from conch_pipe.interfaces import IWarehouse, IWorkers
from conch_pipe.model import Upload, utc

LOAD = "conch_pipe.warehouse.duckdb_loader:load"


@implementer(IWarehouse)
class DuckDBWarehouse:
    """See :class:`conch_pipe.interfaces.IWarehouse`.

    :param workers: in which the loader runs.
    :param path: the DuckDB file; made by the first load, in an existing folder.
    :param clock: for ``_loaded_at``.
    :param wall_s: seconds after which a load is killed; the upload is then loaded again.
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
        # One process at a time can open the file: a second worker would only wait.
        self._one = DeferredLock()

    def load(self, schema: Any, upload: Upload, parquet: Path) -> Deferred[int]:
        """See :class:`IWarehouse`."""
        return self._one.run(lambda: Deferred.fromCoroutine(self._load(schema.table, upload, parquet)))

    async def _load(self, table: str, upload: Upload, parquet: Path) -> int:
        arguments = {
            "path": str(self._path),
            "parquet": str(parquet),
            "table": table,
            "upload_id": str(upload.id),
            "organisation": upload.organisation,
            "client_id": upload.client_id,
            "schema": upload.schema,
            "name": upload.name,
            "sha256": upload.sha256,
            "loaded_at": utc(self._clock).isoformat(),
            "memory": self._memory,
            "busy_s": self._busy_s,
        }
        answer = await self._workers.call(LOAD, arguments, wall_s=self._wall_s)
        return int(answer["rows"])
