"""Groups of files to deliver: told, found, shown with what is still to come, tried once more."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Delivery, Page, Push, Recording, Role, Shown, Submitted, page
from conch_pipe.processing.attempts import ATTEMPTS, ends_at, instant, left

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from conch_pipe.catalog import Catalog
    from conch_pipe.model import PushState


class Recordings:
    """The catalog's, and the way in.

    :param intake: gives what takes recordings, see intake/recordings.py.
    :param arrivals: gives the folders for files that come with their recording, see intake/arrivals.py.
    """

    def __init__(self, catalog: Catalog, intake: Callable[[], Any], arrivals: Callable[[], Any]) -> None:
        self._catalog = catalog
        self._intake = intake
        self._arrivals = arrivals

    def submit(
        self, organisation: str, environment: str, recording_id: str, name: str, files: Mapping[Role, Path]
    ) -> Deferred[Submitted]:
        """Record a group of files for delivery. They stay where they are and must not change any more.

        :param files: absolute paths in the allowed folders.
        :raises PipeError: as IRecordingIntake.submit.
        """
        recorded: Deferred[Submitted] = self._intake().record(organisation, environment, recording_id, name, files)
        return recorded

    def arrival(self) -> Any:
        """For files that come with their recording: an intake.arrivals.Arrival, to be ended in any case."""
        return self._arrivals().begin()

    async def page(
        self,
        organisation: str | None = None,
        *,
        limit: int = 50,
        before: tuple[datetime, UUID] | None = None,
        environment: str | None = None,
        recording_id: str | None = None,
        state: PushState | None = None,
        remote: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Page[Shown]:
        """Recordings, newest first; of all organisations, or of one. All that is given must hold.

        :param before: ``more`` of the page before.
        :param recording_id: the sender's.
        :param state: of at least one of its pushes; with ``remote``, of the one to it.
        :param since: saved then or later. :param until: saved before.
        """
        from conch_pipe.catalog import RecordingFilter

        wanted = RecordingFilter(
            organisation, environment, recording_id, state, remote, since, until, limit + 1, before
        )
        found = await self._catalog.recordings.list(wanted)
        shown = [planned(*one) for one in found]
        return page(shown, limit, lambda one: (one.recording.saved_at, one.recording.uid))

    async def show(self, uid: UUID) -> Shown:
        """One of them, by our id. :raises PipeError: NOT_FOUND."""
        return planned(*await self._catalog.recordings.show(uid))

    async def existing(self, word: str, organisation: str | None = None) -> Recording:
        """One of them by its sender's id, or by our uid.

        :raises PipeError: NOT_FOUND; INVALID when several organisations have one of that id.
        """
        from conch_pipe.catalog import RecordingFilter

        found = await self._catalog.recordings.list(RecordingFilter(organisation=organisation, id=word))
        if len(found) > 1:
            whose = ", ".join(sorted(one.organisation for one, _ in found))
            raise PipeError(Code.INVALID, f"{word} is an id of several organisations: {whose}; say --organisation")
        if found:
            return found[0][0]
        known = None
        with contextlib.suppress(ValueError):
            known = await self._catalog.recordings.get(UUID(word))
        if known is None or organisation not in (None, known.organisation):
            whose = f" of {organisation}" if organisation else ""
            raise PipeError(Code.NOT_FOUND, f"no recording {word}{whose}")
        return known

    def pushes(self, uid: UUID) -> Deferred[tuple[Push, ...]]:
        """All pushes of a recording, by remote."""
        return self._catalog.recordings.pushes(uid)

    def retry(self, uid: UUID, remote: str | None = None) -> Deferred[tuple[Push, ...]]:
        """Try once more now, besides the 13 attempts; also after they have been in vain, while the files are there.

        :param remote: only to this one.
        :returns: the pushes that will be tried.
        :raises PipeError: NOT_FOUND for the recording, or for the remote, which may be removed; CONFLICT when
            everything has arrived or the files are deleted.
        """
        return self._catalog.pushes.retry(uid, remote)


def planned(recording: Recording, pushes: Iterable[Push]) -> Shown:
    """With what is still to come."""
    deliveries = tuple(
        Delivery(
            push,
            left(push.attempts) if push.final_at is None else 0,
            tuple(instant(number, recording.saved_at, recording.uid, push.remote) for number in range(1, ATTEMPTS + 1)),
        )
        for push in pushes
    )
    return Shown(recording, deliveries, ends_at(recording.saved_at))
