"""The seams of the push service: recordings, remotes, pushes and who carries the bytes.

A ``Deferred[X]`` fires with X or fails with PipeError, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from uuid import UUID

from twisted.internet.defer import Deferred
from zope.interface import Interface

from conch_pipe.model import Environment, Push, Recording, Remote, RemoteSecrets, Report, Role, Submitted

# zope interfaces describe methods without self.
# mypy: disable-error-code="empty-body,misc"
# ruff: noqa: N805


class IRecordings(Interface):
    """Records of recordings and of their way to each remote. Implemented in ``catalog``."""

    def accept(recording: Recording) -> Deferred[tuple[Recording, tuple[Push, ...]]]:
        """Record it with one push and one job for each enabled or disabled remote of its environment, in ONE durable
        transaction; by organisation and id, so it may be called again.

        Without any remote its retention is decided at once, by the environment's setting.

        :returns: Deferred of the recorded Recording, the earlier one when its id is known, and its pushes.
        :raises PipeError: NOT_FOUND for the environment; CONFLICT when the id is known with other files (names or
            sha256 differ) or for another environment; BUSY, NO_SPACE, FAILED: not recorded. UNKNOWN_OUTCOME: perhaps.
        """

    def environment(organisation: str, name: str) -> Deferred[Environment | None]:
        """:returns: Deferred[model.Environment | None]."""

    def find(organisation: str, recording_id: str) -> Deferred[Recording | None]:
        """By the sender's id. :returns: Deferred[model.Recording | None]."""

    def get(uid: UUID) -> Deferred[Recording | None]:
        """:returns: Deferred[model.Recording | None]."""

    def push(push_id: UUID) -> Deferred[tuple[Push, Recording] | None]:
        """What the chain needs for one attempt. :returns: None when it is gone."""

    def pushes(uid: UUID) -> Deferred[tuple[Push, ...]]:
        """All pushes of a recording, by remote."""

    def purge_at(uid: UUID, at: datetime) -> Deferred[None]:
        """Remember when its files will be deleted, some pushes having been in vain."""

    def shared(uid: UUID) -> Deferred[frozenset[Path]]:
        """Which of its local files another recording still needs: some remote has not got that one, and it may be
        tried again.
        """

    def files_deleted(uid: UUID, at: datetime) -> Deferred[None]:
        """Its local files are gone for good; no push of it can be tried again."""


class IRemotes(Interface):
    """Remotes as the service sees them. Implemented in ``catalog``."""

    def get(name: str) -> Deferred[Remote | None]:
        """:returns: Deferred[model.Remote | None]."""

    def secrets(name: str) -> Deferred[RemoteSecrets]:
        """Unsealed; asked just before a login and not kept.

        :raises PipeError: NOT_FOUND; FAILED when they cannot be unsealed: another key, damaged.
        """


class IPusher(Interface):
    """Carries the files of one recording to one remote. Implemented in ``remotes``, called by the push chain."""

    def push(
        remote: Remote,
        recording: Recording,
        wanted: frozenset[Role],
        progress: Callable[[Role, int], None],
    ) -> Deferred[Report]:
        """One attempt: local files checked, one new connection, files one after another, main file first.

        :param wanted: roles of the files that have not arrived yet; the main file comes first if it is among them.
        :param progress: called with a role and the bytes of it that the server has acknowledged, at most 4 times/s.
        :returns: Deferred[model.Report]; every expected fault is a report. Cancelling it closes the connection.
            ``status`` is OK when the main file has arrived now or was not wanted (it had before) and all is well with
            the connection and login; side files that failed are in ``files``.
        """


class IRecordingIntake(Interface):
    """Takes recordings from any door: the spool's manifests, the command line, a Python call, HTTP."""

    def submit(
        organisation: str, environment: str, recording_id: str, name: str, files: Mapping[Role, Path]
    ) -> Deferred[Recording]:
        """Check, hash and record a group of local files; they stay where they are and must not change any more.

        :param files: absolute paths; at least the main or the raw file.
        :returns: Deferred[model.Recording]; the earlier one when the id is known with the same files.
        :raises PipeError: Mistakes with all that is wrong: names, paths outside the allowed roots, links, files that
            are missing, unreadable or not regular. NOT_FOUND, CONFLICT, BUSY … as IRecordings.accept.
        """

    def record(
        organisation: str,
        environment: str,
        recording_id: str,
        name: str,
        files: Mapping[Role, Path],
        uid: UUID | None = None,
    ) -> Deferred[Submitted]:
        """The same, and tells whether it was known before.

        :param uid: our id of it, if it is new; None: one is made.
        :returns: Deferred[model.Submitted].
        """
