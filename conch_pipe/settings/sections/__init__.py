"""Every setting with its default, its range and one sentence: the model, and the text of the reference.

Frozen. Paths are absolute once ``load()`` has placed them. The order of ``Settings`` is that of the reference.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, PrivateAttr

from conch_pipe.settings.sections.base import Section
from conch_pipe.settings.sections.doors import Http, Limits, Ssh
from conch_pipe.settings.sections.ingest import Files, Schemas, Spool, Uploads, Workers
from conch_pipe.settings.sections.outgoing import Push, Secrets, Webhooks
from conch_pipe.settings.sections.service import Log, Runner, Service
from conch_pipe.settings.sections.stores import Catalog, Disk, Kept, Objects, Warehouse

__all__ = [
    "Catalog",
    "Disk",
    "Files",
    "Http",
    "Kept",
    "Limits",
    "Log",
    "Objects",
    "Push",
    "Runner",
    "Schemas",
    "Secrets",
    "Section",
    "Service",
    "Settings",
    "Spool",
    "Ssh",
    "Uploads",
    "Warehouse",
    "Webhooks",
    "Workers",
]


class Settings(BaseModel):
    """All sections; built by ``load()``, or directly in tests."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    service: Service = Service()
    ssh: Ssh = Ssh()
    http: Http = Http()
    limits: Limits = Limits()
    uploads: Uploads = Uploads()
    spool: Spool = Spool()
    files: Files = Files()
    catalog: Catalog = Catalog()
    objects: Objects = Objects()
    warehouse: Warehouse = Warehouse()
    schemas: Schemas = Schemas()
    workers: Workers = Workers()
    runner: Runner = Runner()
    push: Push = Push()
    webhooks: Webhooks = Webhooks()
    kept: Kept = Kept()
    secrets: Secrets = Secrets()
    log: Log = Log()
    disk: Disk = Disk()

    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """The file the settings came from; None when they were made in the program."""
        return self._file
