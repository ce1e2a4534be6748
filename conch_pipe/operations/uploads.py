"""What was received: lists, problems beside the lines they are about, raw copies; and to process one again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Page, page
from conch_pipe.operations.pieces import FilePieces, MemoryPieces

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from conch_pipe.catalog import Catalog
    from conch_pipe.interfaces import InThread, IObjects
    from conch_pipe.model import Problem, State, Upload


@dataclass(frozen=True, slots=True)
class RawCopy:
    """The very bytes that were received.

    :ivar pieces: an IPieces; whoever asked closes it.
    """

    upload: Upload
    pieces: Any


class Uploads:
    """The catalog's, and the raw copies that belong to them.

    :param objects: gives the store of raw copies.
    """

    def __init__(self, catalog: Catalog, objects: Callable[[], IObjects], in_thread: InThread) -> None:
        self._catalog = catalog
        self._objects = objects
        self._in_thread = in_thread

    async def page(
        self,
        organisation: str | None = None,
        *,
        limit: int = 50,
        before: tuple[datetime, UUID] | None = None,
        client_id: str | None = None,
        door: str | None = None,
        schema: str | None = None,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        name: str | None = None,
    ) -> Page[Upload]:
        """Uploads, newest first; of all organisations, or of one. All that is given must hold.

        :param before: ``more`` of the page before.
        :param door: sftp, http or cli.
        :param since: received then or later. :param until: received before.
        :param name: part of the file's name.
        """
        from conch_pipe.catalog import Filter

        wanted = Filter(organisation, client_id, schema, state, since, until, name, limit + 1, door, before)
        found = await self._catalog.uploads.list(wanted)
        return page(found, limit, lambda one: (one.received_at, one.id))

    async def existing(self, upload_id: UUID) -> Upload:
        """One of them. :raises PipeError: NOT_FOUND."""
        found = await self._catalog.uploads.get(upload_id)
        if found is None:
            raise PipeError(Code.NOT_FOUND, f"no upload {upload_id}")
        return found

    def problems(self, upload_id: UUID, offset: int = 0, limit: int | None = None) -> Deferred[tuple[Problem, ...]]:
        """Those that are kept, in the order of the file. :raises PipeError: NOT_FOUND."""
        return self._catalog.uploads.problems(upload_id, offset, limit)

    async def passages(self, upload: Upload, problems: Sequence[Problem]) -> tuple[str | None, ...]:
        """The line or record that each of some problems is about, from the raw copy; 500 characters of it at most.

        :returns: as many as there are problems; None: it has no place, is too far down, or the copy is gone.
        """
        if not any(one.line or one.row for one in problems):
            return (None,) * len(problems)
        from conch_pipe.formats.passages import passages

        try:
            file = await self._copy(upload)
            found: tuple[str | None, ...] = await self._in_thread(passages, file, upload.name, problems)
        except (PipeError, OSError):
            return (None,) * len(problems)
        return found

    def counts(self, organisation: str | None = None) -> Deferred[dict[State, int]]:
        """How many there are in each state; every state is there."""
        return self._catalog.uploads.counts(organisation)

    def rerun(self, upload_id: UUID) -> Deferred[Upload]:
        """Process a FAILED one once more, after the schema or the disk was put right. Rows are never loaded twice.

        :raises PipeError: NOT_FOUND; CONFLICT when it is not FAILED, or its raw copy is deleted.
        """
        return self._catalog.uploads.retry(upload_id)

    async def raw(self, upload: Upload) -> RawCopy:
        """Its raw copy. :raises PipeError: NOT_FOUND, it is deleted; FAILED."""
        copy = await self._copy(upload)
        if isinstance(copy, bytes):
            return RawCopy(upload, MemoryPieces(copy))
        return RawCopy(upload, await FilePieces(copy, self._in_thread).open())

    async def _copy(self, upload: Upload) -> Path | bytes:
        """Where it is; of a small file that is not in the store yet, what it is."""
        if not upload.object_key:
            raise PipeError(Code.NOT_FOUND, f"the raw copy of upload {upload.id} is deleted")
        content = await self._catalog.uploads.content(upload.id)
        return content if content is not None else await self._objects().fetch(upload.object_key)
