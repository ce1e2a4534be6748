"""The catalog as the other rooms see it: one object per aggregate over a database.

The queries are in the modules of the same names; here they meet the database's threads and the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from conch_pipe.catalog import access, outgoing, watch
from conch_pipe.catalog.aggregate import Aggregate
from conch_pipe.catalog.database import IsDatabase
from conch_pipe.catalog.queries import credentials, figures, ingest, jobs, keys, organisations, uploads
from conch_pipe.catalog.queries.claims import Wanted
from conch_pipe.catalog.sealing import KeyFile
from conch_pipe.crashpoints import crashpoint
from conch_pipe.interfaces import ICredentials, IJobs, IUploads
from conch_pipe.model import Credential, Job, Organisation, Outcome, Problem, Secret, State, Upload


class Catalog:
    """Organisations, credentials, uploads and jobs of one database, what goes out (outgoing.py), who asks (access.py).

    :param database: a Database or DirectDatabase, opened and closed by whoever made it.
    :param clock: gives the time of every record.
    :param keys: what seals the secrets of remotes and webhooks; None: they are not open to this process.
    """

    def __init__(self, database: IsDatabase, clock: IReactorTime, keys: KeyFile | None = None) -> None:
        self.database = database
        self.organisations = Organisations(database, clock)
        self.credentials = Credentials(database, clock)
        self.uploads = Uploads(database, clock)
        self.jobs = Jobs(database, clock)
        self.environments = outgoing.Environments(database, clock)
        self.remotes = outgoing.Remotes(database, clock, keys)
        self.recordings = outgoing.Recordings(database, clock)
        self.pushes = outgoing.Pushes(database, clock)
        self.webhooks = outgoing.Webhooks(database, clock, keys)
        self.tokens = access.Tokens(database, clock)
        self.people = access.People(database, clock)
        self.watch = watch.Watch(database, clock)
        self.figures = figures.Figures(database, clock)


class Organisations(Aggregate):
    """Tenants; for operators."""

    def create(self, name: str, title: str = "") -> Deferred[Organisation]:
        """:raises PipeError: INVALID for a bad name, CONFLICT when it exists."""
        return self._database.write(organisations.create, name, title, self._now())

    def get(self, name: str) -> Deferred[Organisation | None]:
        """One organisation with its schemas."""
        return self._database.read(organisations.get, name)

    def list(self) -> Deferred[tuple[Organisation, ...]]:
        """All of them, by name."""
        return self._database.read(organisations.find_all)

    def enable_schema(self, name: str, schema: str) -> Deferred[Organisation]:
        """Again is no error. :raises PipeError: NOT_FOUND for the organisation; the schema is not looked at."""
        return self._database.write(organisations.enable_schema, name, schema, self._now())

    def disable_schema(self, name: str, schema: str) -> Deferred[Organisation]:
        """Again is no error. :raises PipeError: NOT_FOUND."""
        return self._database.write(organisations.disable_schema, name, schema)


@implementer(ICredentials)
class Credentials(Aggregate):
    """Credentials; the first three methods for the doors, the others for operators."""

    def find(self, client_id: str) -> Deferred[Credential | None]:
        """See :class:`ICredentials`."""
        return self._database.read(credentials.find, client_id, self._now())

    def active(self, client_ids: Iterable[str]) -> Deferred[dict[str, Credential]]:
        """See :class:`ICredentials`."""
        return self._database.read(credentials.active, tuple(client_ids), self._now())

    def logged_in(self, client_id: str, at: datetime) -> Deferred[None]:
        """See :class:`ICredentials`."""
        return self._database.write(credentials.logged_in, client_id, at)

    def create(self, organisation: str, label: str = "") -> Deferred[tuple[Credential, str]]:
        """A new credential and its secret, which is shown once.

        :raises PipeError: NOT_FOUND for an unknown organisation.
        """
        return self._with_secret(credentials.create, organisation, label)

    def lend(self, organisation: str, label: str) -> Deferred[tuple[Credential, str]]:
        """The organisation's credential of that label, made when missing, with a secret for ten minutes at most.

        :returns: the new secret is also the first of the credential's: :meth:`give_back` takes it.
        :raises PipeError: NOT_FOUND for an unknown organisation.
        """
        return self._with_secret(credentials.lend, organisation, label, for_s=credentials.LENT_S)

    def give_back(self, client_id: str, secret: Secret) -> Deferred[None]:
        """A lent secret ends now; the credential stays, for the uploads that name it."""
        return self._database.write(credentials.give_back, client_id, secret)

    def rotate(self, client_id: str, overlap_s: float = credentials.OVERLAP_S) -> Deferred[tuple[Credential, str]]:
        """A new secret; the old one goes on working for a while. At most two are alive.

        :param overlap_s: seconds until the old one expires.
        :raises PipeError: NOT_FOUND, CONFLICT when revoked.
        """
        return self._with_secret(credentials.rotate, client_id, overlap_s=overlap_s)

    def _with_secret(
        self, change: Callable[..., Credential], *about: str, **more: float
    ) -> Deferred[tuple[Credential, str]]:
        return Deferred.fromCoroutine(self._changed(change, about, more))

    async def _changed(
        self, change: Callable[..., Credential], about: tuple[str, ...], more: dict[str, float]
    ) -> tuple[Credential, str]:
        secret, hashed = await self._database.read(credentials.fresh)
        return await self._database.write(partial(change, **more), *about, hashed, self._now()), secret

    def revoke(self, client_id: str) -> Deferred[Credential]:
        """For good; again keeps the first time. :raises PipeError: NOT_FOUND."""
        return self._database.write(credentials.revoke, client_id, self._now())

    def list(self, organisation: str | None = None) -> Deferred[tuple[Credential, ...]]:
        """All of them, or an organisation's, oldest first. :raises PipeError: NOT_FOUND for the organisation."""
        return self._database.read(credentials.find_all, organisation, self._now())


def _committed(recorded: Upload) -> Upload:
    crashpoint("C6")
    return recorded


@implementer(IUploads)
class Uploads(Aggregate):
    """Records of uploads; the first six methods for the service, the others for operators."""

    def accept(
        self, upload: Upload, job: Job, *, same_within_s: float, content: bytes | None = None, key: str | None = None
    ) -> Deferred[Upload]:
        """See :class:`IUploads`."""
        if key is None:
            recorded = self._database.write(ingest.accept, upload, job, same_within_s, content)
        else:
            recorded = self._database.write(keys.accept, upload, job, same_within_s, content, key)
        return recorded.addCallback(_committed)

    def answered(self, client_id: str, key: str) -> Deferred[Upload | None]:
        """See :class:`IUploads`."""
        return self._database.read(keys.find, client_id, key, self._now())

    def page(
        self,
        organisation: str,
        *,
        limit: int,
        before: tuple[datetime, UUID] | None = None,
        client_id: str | None = None,
        door: str | None = None,
        schema: str | None = None,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        name: str | None = None,
    ) -> Deferred[tuple[Upload, ...]]:
        """See :class:`IUploads`."""
        wanted = uploads.Filter(organisation, client_id, schema, state, since, until, name, limit, door, before)
        return self._database.read(uploads.find_all, wanted)

    def get(self, upload_id: UUID) -> Deferred[Upload | None]:
        """See :class:`IUploads`."""
        return self._database.read(uploads.get, upload_id)

    def content(self, upload_id: UUID) -> Deferred[bytes | None]:
        """See :class:`IUploads`."""
        return self._database.read(uploads.content, upload_id)

    def latest(self, client_id: str, schema: str, name: str, since: datetime) -> Deferred[Upload | None]:
        """See :class:`IUploads`."""
        return self._database.read(uploads.latest, client_id, schema, name, since)

    def newest(self) -> Deferred[datetime | None]:
        """See :class:`IUploads`."""
        return self._database.read(uploads.newest)

    def keys(self) -> Deferred[set[str]]:
        """See :class:`IUploads`."""
        return self._database.read(uploads.keys)

    def list(self, wanted: uploads.Filter = uploads.Filter()) -> Deferred[tuple[Upload, ...]]:
        """The newest uploads that pass a filter, newest first."""
        return self._database.read(uploads.find_all, wanted)

    def problems(self, upload_id: UUID, offset: int = 0, limit: int | None = None) -> Deferred[tuple[Problem, ...]]:
        """See :class:`IUploads`; without a limit all of them."""
        return self._database.read(uploads.find_problems, upload_id, offset, limit)

    def retry(self, upload_id: UUID) -> Deferred[Upload]:
        """FAILED → PENDING with a new job. :raises PipeError: NOT_FOUND; CONFLICT when it is not FAILED."""
        return self._database.write(ingest.retry, upload_id, self._now())

    def old_copies(self, before: datetime, limit: int) -> Deferred[Sequence[tuple[UUID, str]]]:
        """Ids and object keys of uploads that ended before a time and whose raw copy is kept, oldest first."""
        return self._database.read(uploads.old_copies, before, limit)

    def copies_deleted(self, upload_ids: Iterable[UUID]) -> Deferred[None]:
        """Their raw copies are gone: they have no object key any more and cannot be retried."""
        return self._database.write(uploads.copies_deleted, tuple(upload_ids))

    def forget(self, before: datetime, limit: int) -> Deferred[int]:
        """Delete the records, problems and jobs of uploads that ended before a time; how many uploads they were."""
        return self._database.write(ingest.forget, before, limit)

    def counts(self, organisation: str | None = None) -> Deferred[dict[State, int]]:
        """How many there are in each state; every state is there."""
        return self._database.read(uploads.counts, organisation)


@implementer(IJobs)
class Jobs(Aggregate):
    """The durable queue."""

    def claim(
        self,
        kinds: Iterable[str],
        limit: int,
        lease_s: float,
        lanes: Mapping[str, int] | None = None,
        room: int | None = None,
    ) -> Deferred[list[Job]]:
        """See :class:`IJobs`."""
        # Copied: the caller's may change before the writing thread gets there.
        return Deferred.fromCoroutine(self._claim(Wanted(tuple(kinds), limit, lease_s, dict(lanes or {}), room)))

    async def _claim(self, wanted: Wanted) -> list[Job]:
        claimed = await self._database.write(ingest.claim, wanted, self._now())
        if claimed:
            crashpoint("P1")
        return claimed

    def renew(self, job: Job, lease_s: float) -> Deferred[bool]:
        """See :class:`IJobs`."""
        return self._database.write(jobs.renew, job, lease_s, self._now())

    def settle(self, job: Job, outcome: Outcome) -> Deferred[bool]:
        """See :class:`IJobs`. :raises PipeError: CONFLICT when the upload cannot move as the outcome says."""
        return Deferred.fromCoroutine(self._settle(job, outcome))

    async def _settle(self, job: Job, outcome: Outcome) -> bool:
        settled = await self._database.write(ingest.settle, job, outcome, self._now())
        if settled:
            crashpoint("P9")
        return settled

    def release_all(self) -> Deferred[int]:
        """See :class:`IJobs`."""
        return self._database.write(jobs.release_all)

    def waiting(self) -> Deferred[dict[str, int]]:
        """See :class:`IJobs`."""
        return self._database.read(jobs.waiting)

    def backlog(self) -> Deferred[dict[str, jobs.Backlog]]:
        """Jobs that have not ended, by kind: waiting, leased, and when the oldest was made."""
        return self._database.read(jobs.backlog)
