"""What goes out, as the other rooms see it: environments, remotes, recordings and pushes, and webhooks.

One object per aggregate over a database, as in catalog.py, which holds them. The queries are in the modules of the
same names, and in delivery.py those that change several of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from conch_pipe.catalog.aggregate import Aggregate
from conch_pipe.catalog.database import IsDatabase
from conch_pipe.catalog.engine import empty_log
from conch_pipe.catalog.queries import delivery, environments, pushes, recordings, remotes, webhooks
from conch_pipe.catalog.sealing import KeyFile
from conch_pipe.crashpoints import crashpoint
from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces.push import IRecordings, IRemotes
from conch_pipe.interfaces.webhooks import IWebhooks
from conch_pipe.model import (
    Attempt,
    Environment,
    Happening,
    Notice,
    Pin,
    Push,
    PushState,
    Recording,
    Remote,
    RemoteSecrets,
    Shape,
    Webhook,
)

T = TypeVar("T")


class Environments(Aggregate):
    """To which remotes the recordings of an application go; for operators."""

    def create(
        self, organisation: str, name: str, remotes: Iterable[str] = (), delete_delivered: bool = False
    ) -> Deferred[Environment]:
        """:param remotes: names of remotes of the organisation.

        :param delete_delivered: the files of a recording go as soon as every remote has all of them.
        :raises PipeError: INVALID for a bad name; NOT_FOUND for the organisation or a remote; CONFLICT when it exists.
        """
        return self._database.write(
            environments.create, organisation, name, tuple(remotes), delete_delivered, self._now()
        )

    def get(self, organisation: str, name: str) -> Deferred[Environment | None]:
        """One environment."""
        return self._database.read(environments.get, organisation, name)

    def list(self, organisation: str | None = None) -> Deferred[tuple[Environment, ...]]:
        """All of them, or an organisation's, by organisation and name. :raises PipeError: NOT_FOUND."""
        return self._database.read(delivery.environments_of, organisation)

    def edit(
        self,
        organisation: str,
        name: str,
        *,
        remotes: Iterable[str] | None = None,
        delete_delivered: bool | None = None,
    ) -> Deferred[Environment]:
        """Change what is given. Recordings that were accepted before keep their remotes.

        :raises PipeError: NOT_FOUND for the environment, or a remote of the organisation.
        """
        wanted = None if remotes is None else tuple(remotes)
        return self._database.write(environments.edit, organisation, name, wanted, delete_delivered)

    def remove(self, organisation: str, name: str) -> Deferred[None]:
        """:raises PipeError: NOT_FOUND; CONFLICT while pushes of its recordings are not finished."""
        return self._database.write(delivery.remove_environment, organisation, name)


@implementer(IRemotes)
class Remotes(Aggregate):
    """Servers that take recordings; the first two methods for the service, the others for operators.

    A change that may let attempts succeed (``edit``, ``trust``, ``set_pins``, ``enable``) gives every push that waits
    for the remote a manual attempt at once, in the same transaction, if the remote is enabled then.

    :param keys: what seals the secrets; None: they are not open to this process.
    """

    def __init__(self, database: IsDatabase, clock: IReactorTime, keys: KeyFile | None = None) -> None:
        super().__init__(database, clock)
        self._keys = keys

    def get(self, name: str) -> Deferred[Remote | None]:
        """See :class:`IRemotes`."""
        return self._database.read(remotes.get, name)

    def secrets(self, name: str) -> Deferred[RemoteSecrets]:
        """See :class:`IRemotes`."""
        return Deferred.fromCoroutine(self._secrets(name))

    async def _secrets(self, name: str) -> RemoteSecrets:
        return await _unsealed(lambda: self._database.read(remotes.secrets, name, self._keys))

    def add(self, remote: Remote, secrets: RemoteSecrets) -> Deferred[Remote]:
        """A new remote with its pins; its fields were judged before.

        :returns: as it is stored: ``has_password`` tells the truth.
        :raises PipeError: NOT_FOUND for the organisation; CONFLICT when the name is taken; INVALID without any secret;
            FAILED when there is no key to seal with.
        """
        return self._database.write(remotes.add, remote, secrets, self._keys)

    def list(self, organisation: str | None = None) -> Deferred[tuple[Remote, ...]]:
        """All of them, or an organisation's, by name. :raises PipeError: NOT_FOUND for the organisation."""
        return self._database.read(remotes.find_all, organisation)

    def edit(
        self, name: str, changes: Mapping[str, Any], secrets: Mapping[str, str | bytes | None] | None = None
    ) -> Deferred[Remote]:
        """Change fields and secrets; what a secret was before is gone from the catalog's files.

        :param changes: fields of model.Remote, judged before; see ``remotes.EDITABLE``. A new private key needs its
            ``public_key`` here; that of one taken away goes by itself.
        :param secrets: "password" (str) and "private_key" (bytes); None takes one away, what is missing stays.
        :raises PipeError: NOT_FOUND; FAILED, no key to seal with. BUSY
            may also mean that only the wiping failed; the message says so.
        """
        edited = self._database.write(delivery.edit, name, dict(changes), dict(secrets or {}), self._keys, self._now())
        return edited.addCallback(self._wiped, f"remote {name} is changed") if secrets else edited

    def trust(self, name: str, blob: bytes, origin: str = "trusted") -> Deferred[Remote]:
        """Pin one more host key; enables a remote that was disabled for another one. :raises PipeError: NOT_FOUND."""
        return self._database.write(delivery.trust, name, Pin(blob, self._now(), origin))

    def set_pins(self, name: str, pins: Iterable[Pin]) -> Deferred[Remote]:
        """Trust these host keys and no others; otherwise as :meth:`trust`. :raises PipeError: NOT_FOUND."""
        return self._database.write(delivery.set_pins, name, tuple(pins), self._now())

    def enable(self, name: str) -> Deferred[Remote]:
        """Whatever it was disabled for. :raises PipeError: NOT_FOUND."""
        return self._database.write(delivery.enable, name, self._now())

    def disable(self, name: str, reason: str = "operator") -> Deferred[Remote]:
        """Attempts are made at their moments without a connection, and count. :raises PipeError: NOT_FOUND."""
        return self._database.write(delivery.disable, name, reason, self._now())

    def release(self, name: str) -> Deferred[int]:
        """Every push that waits for it gets a manual attempt now; how many. :raises PipeError: NOT_FOUND."""
        return self._database.write(delivery.release, name, self._now())

    def remove(self, name: str) -> Deferred[int]:
        """It is gone, with its pins and secrets also from the catalog's files; environments forget it.

        Its unfinished pushes end as GIVEN_UP with the reason "removed"; an attempt under way is stopped.

        :returns: how many pushes that were.
        :raises PipeError: NOT_FOUND. BUSY may also mean that only the wiping failed; the message says so.
        """
        removed = self._database.write(delivery.remove_remote, name, self._now())
        return removed.addCallback(self._wiped, f"remote {name} is removed")

    def reseal_all(self) -> Deferred[int]:
        """Seal every secret, those of webhooks too, with the first key of the file; how many there are.

        :raises PipeError: FAILED when one cannot be unsealed: nothing is changed. BUSY as for :meth:`remove`.
        """
        resealed = self._database.write(delivery.reseal_all, self._keys)
        return resealed.addCallback(self._wiped, "all secrets are sealed with the first key")

    def wipe(self) -> Deferred[None]:
        """Only the wiping again, when it failed. :raises PipeError: BUSY."""
        return self._database.read(empty_log)

    def _wiped(self, result: Any, done: str) -> Deferred[Any]:
        def failed(failure: Failure) -> None:
            failure.trap(PipeError)
            error = failure.value
            raise PipeError(error.code, f"{done}, but {error.message}", error.detail)

        return self.wipe().addCallbacks(lambda _: result, failed)


async def _unsealed(read: Callable[[], Deferred[T]]) -> T:
    """What was sealed; read again when it cannot be unsealed."""
    try:
        return await read()
    except PipeError as error:
        if error.code is not Code.FAILED:
            raise
    # The keys may have been changed between the look at the rows and the one at the file.
    return await read()


def _recorded(shown: delivery.Shown) -> delivery.Shown:
    crashpoint("A3")
    return shown


@implementer(IRecordings)
class Recordings(Aggregate):
    """Groups of files to deliver; the last two methods for operators, the others for the service."""

    def accept(self, recording: Recording) -> Deferred[delivery.Shown]:
        """See :class:`IRecordings`."""
        return self._database.write(delivery.accept, recording).addCallback(_recorded)

    def environment(self, organisation: str, name: str) -> Deferred[Environment | None]:
        """See :class:`IRecordings`."""
        return self._database.read(environments.get, organisation, name)

    def find(self, organisation: str, recording_id: str) -> Deferred[Recording | None]:
        """See :class:`IRecordings`."""
        return self._database.read(recordings.find, organisation, recording_id)

    def get(self, uid: UUID) -> Deferred[Recording | None]:
        """See :class:`IRecordings`."""
        return self._database.read(recordings.get, uid)

    def push(self, push_id: UUID) -> Deferred[tuple[Push, Recording] | None]:
        """See :class:`IRecordings`."""
        return self._database.read(delivery.push, push_id)

    def pushes(self, uid: UUID) -> Deferred[tuple[Push, ...]]:
        """See :class:`IRecordings`."""
        return self._database.read(pushes.of_recording, uid)

    def purge_at(self, uid: UUID, at: datetime) -> Deferred[None]:
        """See :class:`IRecordings`."""
        return self._database.write(recordings.purge_at, uid, at)

    def shared(self, uid: UUID) -> Deferred[frozenset[Path]]:
        """See :class:`IRecordings`."""
        return self._database.read(recordings.shared, uid)

    def files_deleted(self, uid: UUID, at: datetime) -> Deferred[None]:
        """See :class:`IRecordings`."""
        return self._database.write(recordings.files_deleted, uid, at)

    def list(
        self, wanted: recordings.RecordingFilter = recordings.RecordingFilter()
    ) -> Deferred[tuple[delivery.Shown, ...]]:
        """The newest recordings that pass a filter, newest first, each with its pushes by remote."""
        return self._database.read(delivery.find_all, wanted)

    def show(self, uid: UUID) -> Deferred[delivery.Shown]:
        """One recording with its pushes; their ``due_at`` tells the next attempts. :raises PipeError: NOT_FOUND."""
        return self._database.read(delivery.show, uid)


class Pushes(Aggregate):
    """Each recording on its way to each remote, and the log of the attempts; for operators."""

    def log(self, wanted: pushes.AttemptFilter = pushes.AttemptFilter()) -> Deferred[tuple[Attempt, ...]]:
        """The newest attempts that pass a filter, newest first, with remote, recording and organisation."""
        return self._database.read(pushes.attempts, wanted)

    def retry(self, uid: UUID, remote: str | None = None) -> Deferred[tuple[Push, ...]]:
        """A manual attempt now, which is not counted, of every push that has not arrived; also of one given up.

        :param uid: of the recording.
        :param remote: only of the push to this remote.
        :returns: the pushes that will be tried.
        :raises PipeError: NOT_FOUND for the recording, or for the remote, which may be removed; CONFLICT when
            everything has arrived or the files are deleted.
        """
        return self._database.write(delivery.retry, uid, remote, self._now())

    def counts(self, organisation: str | None = None) -> Deferred[dict[PushState, int]]:
        """How many there are in each state; every state is there."""
        return self._database.read(pushes.counts, organisation)


@implementer(IWebhooks)
class Webhooks(Aggregate):
    """Who is told over HTTP; the first three methods for the service, the others for operators.

    :param keys: what seals the signing secrets; None: they are not open to this process.
    """

    def __init__(self, database: IsDatabase, clock: IReactorTime, keys: KeyFile | None = None) -> None:
        super().__init__(database, clock)
        self._keys = keys

    def get(self, webhook_id: str) -> Deferred[Webhook | None]:
        """See :class:`IWebhooks`."""
        return self._database.read(webhooks.get, webhook_id)

    def secrets(self, webhook_id: str) -> Deferred[tuple[str, ...]]:
        """See :class:`IWebhooks`."""
        return Deferred.fromCoroutine(
            _unsealed(lambda: self._database.read(webhooks.signing, webhook_id, self._keys, self._now()))
        )

    def forget(self, before: datetime, limit: int) -> Deferred[int]:
        """See :class:`IWebhooks`."""
        return self._database.write(webhooks.forget, before, limit)

    def add(
        self,
        organisation: str,
        url: str,
        events: Iterable[Happening],
        *,
        environment: str = "",
        shape: Shape = Shape.STANDARD,
    ) -> Deferred[tuple[Webhook, str]]:
        """A new webhook and its signing secret, which is shown once. Its fields were judged before.

        :raises PipeError: NOT_FOUND for the organisation or its environment; CONFLICT when it has 20; FAILED when there
            is no key to seal with.
        """
        secret = webhooks.new_secret()
        wanted = frozenset(events)
        added = self._database.write(
            webhooks.add, organisation, url, wanted, environment, shape, secret, self._keys, self._now()
        )
        return added.addCallback(lambda webhook: (webhook, secret))

    def list(self, organisation: str | None = None) -> Deferred[tuple[Webhook, ...]]:
        """All of them, or an organisation's, oldest first. :raises PipeError: NOT_FOUND for the organisation."""
        return self._database.read(webhooks.find_all, organisation)

    def waiting(self, webhook_id: str) -> Deferred[int]:
        """How many messages have neither been taken nor given up."""
        return self._database.read(webhooks.waiting, webhook_id)

    def rotate(self, webhook_id: str, overlap_s: float = webhooks.OVERLAP_S) -> Deferred[tuple[Webhook, str]]:
        """A new signing secret, shown once; the old one signs as well for a while.

        :raises PipeError: NOT_FOUND; FAILED when there is no key to seal with.
        """
        secret = webhooks.new_secret()
        rotated = self._database.write(webhooks.rotate, webhook_id, secret, self._keys, self._now(), overlap_s)
        return rotated.addCallback(lambda webhook: (webhook, secret))

    def enable(self, webhook_id: str) -> Deferred[Webhook]:
        """Whatever it was disabled for; what waits for it is sent now. :raises PipeError: NOT_FOUND."""
        return self._database.write(webhooks.enable, webhook_id, self._now())

    def disable(self, webhook_id: str, reason: str = "operator") -> Deferred[Webhook]:
        """What happens from now on is not told to it. :raises PipeError: NOT_FOUND."""
        return self._database.write(webhooks.disable, webhook_id, reason, self._now())

    def remove(self, webhook_id: str) -> Deferred[int]:
        """It is gone, with its secret and its log. :returns: how many messages waited. :raises PipeError: NOT_FOUND."""
        return self._database.write(webhooks.remove, webhook_id)

    def log(self, wanted: webhooks.NoticeFilter = webhooks.NoticeFilter()) -> Deferred[tuple[Notice, ...]]:
        """The newest attempts that pass a filter, newest first."""
        return self._database.read(webhooks.notices, wanted)

    def tested(self, notice: Notice) -> Deferred[None]:
        """Write an attempt down that belongs to no job."""
        return self._database.write(webhooks.log, notice)
