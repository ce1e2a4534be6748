"""The log of attempts: what was tried, where, and how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from conch_pipe.model import Page, page

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from conch_pipe.catalog import Catalog
    from conch_pipe.model import Attempt, PushState, Status
    from conch_pipe.operations.together import Means


class Pushes:
    """The catalog's, by pages."""

    def __init__(self, catalog: Catalog, means: Means) -> None:
        self._catalog = catalog
        self._means = means

    async def log(
        self,
        organisation: str | None = None,
        *,
        limit: int = 50,
        before: tuple[datetime, int] | None = None,
        recording: UUID | None = None,
        remote: str | None = None,
        status: Status | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Page[Attempt]:
        """Attempts, newest first; of all organisations, or of one. All that is given must hold.

        :param before: ``more`` of the page before.
        :param recording: our uid of it.
        :param since: begun then or later. :param until: begun before.
        """
        from conch_pipe.catalog import AttemptFilter

        wanted = AttemptFilter(organisation, recording, remote, status, since, until, limit + 1, before)
        found = await self._catalog.pushes.log(wanted)
        return page(found, limit, lambda one: (one.began_at, one.id))

    def counts(self, organisation: str | None = None) -> Deferred[dict[PushState, int]]:
        """How many pushes there are in each state; every state is there."""
        return self._catalog.pushes.counts(organisation)

    async def moving(self) -> dict[str, Any]:
        """How far those are that move now, by the id of the push: see ``progress.read``."""
        from conch_pipe import progress

        found: dict[str, Any] = await self._means.in_thread(progress.read, self._means.settings.service.state)
        return found
