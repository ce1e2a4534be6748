"""Where things are kept: what stands behind the URLs of the catalog, the raw copies and the warehouse."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime

from conch_pipe.catalog import Database, KeyFile
from conch_pipe.catalog.turn import Turn
from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import InThread, IObjects, IWarehouse, IWorkers
from conch_pipe.objects.folder import FolderObjects
from conch_pipe.settings import Settings, local_path
from conch_pipe.warehouse.duckdb_file import DuckDBWarehouse


def open_objects(settings: Settings, in_thread: InThread) -> IObjects:
    """The store behind ``objects.url``."""
    return FolderObjects(_local(settings.objects.url), in_thread)


def open_warehouse(settings: Settings, workers: IWorkers, clock: IReactorTime) -> IWarehouse:
    """The loader behind ``warehouse.url``."""
    return DuckDBWarehouse(workers, _local(settings.warehouse.url), clock, wall_s=settings.workers.wall_s)


def open_database(settings: Settings, reactor: Any) -> Database:
    return Database(
        settings.catalog.url,
        reactor.callFromThread,
        busy_timeout_s=settings.catalog.busy_s,
        readers=2,
        turn=Turn(settings.service.state / "run" / "write") if settings.service.processes > 1 else None,
    )


def sealing(settings: Settings) -> KeyFile:
    """:raises PipeError: FAILED, the keys cannot be used. An installation without remotes may go without."""
    keys = KeyFile(settings.secrets.key_file)
    if keys.path.exists():
        keys.check()
    return keys


def _local(url: str) -> Any:
    path = local_path(url)
    if path is None:
        raise PipeError(Code.INVALID, f"no implementation for {url}")
    return path
