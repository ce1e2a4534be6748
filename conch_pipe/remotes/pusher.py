"""One attempt to carry a recording to a remote: one new connection, one report, whatever happens.

Decides nothing about when or how often (see processing). Keeps no secret beyond its connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from conch_pipe.crashpoints import crashpoint
from conch_pipe.errors import PipeError
from conch_pipe.interfaces import IPusher, IRemotes
from conch_pipe.model import FileResult, Recording, Remote, Report, Role, Status
from conch_pipe.remotes import local
from conch_pipe.remotes.addresses import RemoteEndpoint
from conch_pipe.remotes.delivery import NOT_TRIED, Delivery
from conch_pipe.remotes.faults import Fault, Found, Stage, fault
from conch_pipe.remotes.session import Surroundings, told
from conch_pipe.remotes.trust import Policy, policy
from conch_pipe.ssh.client.connecting import ClientSession
from conch_pipe.ssh.client.errors import ClientError, HostKeyRefused
from conch_pipe.ssh.fields import printable
from conch_pipe.ssh.keys import fingerprint

_TELLING = 4  # characters of a password that are not in a sentence by chance
_EXPECTED = (ClientError, SFTPError, Found, PipeError, OSError, ValueError)


@implementer(IPusher)
class Pusher:
    """Makes attempts; any number at a time.

    :param remotes: an IRemotes, asked for the secrets.
    :param attempt_s: a whole attempt, local files and the end of the connection included.
    """

    def __init__(self, around: Surroundings, remotes: Any, attempt_s: float = 21_600.0) -> None:
        self._around = around
        self._remotes = IRemotes(remotes, remotes)
        self._attempt_s = attempt_s
        self._direct: set[tuple[str, datetime | None]] = set()  # see Delivery

    def push(
        self, remote: Remote, recording: Recording, wanted: frozenset[Role], progress: Callable[[Role, int], None]
    ) -> Deferred[Report]:
        """See IPusher."""
        attempt = _Attempt(self._around, self._remotes, self._direct, remote, recording, wanted, progress)
        return attempt.start(self._attempt_s)


class _Attempt:
    """One of them."""

    def __init__(
        self,
        around: Surroundings,
        remotes: Any,
        direct: set[tuple[str, datetime | None]],
        remote: Remote,
        recording: Recording,
        wanted: frozenset[Role],
        progress: Callable[[Role, int], None],
    ) -> None:
        self._around = around
        self._clock = around.reactor
        self._remotes = remotes
        self._direct = direct
        self._remote = remote
        self._recording = recording
        self._wanted = [file for file in recording.files if file.role in wanted]
        self._progress = progress
        self._began = self._clock.seconds()
        self._stopped: Exception | None = None  # why it was ended before it had ended by itself
        self._timer: IDelayedCall | None = None
        self._hidden = ""  # what a server could repeat and no log may have
        self._refused_key: bytes | None = None
        self._files: dict[Role, Any] = {}
        self._endpoint: RemoteEndpoint | None = None
        self._policy: Policy | None = None
        self._session: ClientSession | None = None
        self._delivery: Delivery | None = None

    def start(self, attempt_s: float) -> Deferred[Report]:
        """Begin; cancelling the Deferred closes the connection."""
        working = Deferred.fromCoroutine(self._work())
        report: Deferred[Report] = Deferred(lambda _: self._stop(working, CancelledError()))

        def late() -> None:
            why = Found(Status.UPLOAD_FAILED, "too_slow", f"the attempt did not end within {attempt_s:g} s")
            self._stop(working, why)
            if not report.called:  # the end of the connection is not waited for any more
                report.callback(self._report(why.fault))

        def ended(result: Any) -> None:
            if not report.called:
                report.callback(self._report(result) if isinstance(result, Fault | None) else result)

        if not working.called:
            self._timer = self._clock.callLater(attempt_s, late)
        working.addBoth(ended)
        return report

    def _stop(self, working: Deferred[Fault | None], why: Exception) -> None:
        self._stopped = self._stopped or why
        working.cancel()

    async def _work(self) -> Fault | None:
        """Do it and close the connection. :returns: why the attempt failed."""
        try:
            return await self._try()
        except (*_EXPECTED, CancelledError) as error:
            return self._fault(self._stopped or error)
        finally:
            if self._timer is not None and self._timer.active():
                self._timer.cancel()
            try:
                if self._session is not None:
                    await self._session.close()
            finally:
                local.close(self._files)

    async def _try(self) -> Fault | None:
        self._files = await self._opened()
        problem = self._nothing_to_send()
        if problem is not None:
            return problem
        secrets = await self._remotes.secrets(self._remote.name)
        credentials = await self._around.credentials(self._remote, secrets)
        self._hidden = printable(secrets.password or "")
        del secrets
        self._endpoint = self._around.endpoint(self._remote)
        self._policy = policy(self._remote)
        connecting = self._around.connect(self._remote, self._endpoint, self._policy, credentials)
        del credentials
        self._session = await connecting
        self._hidden = ""
        crashpoint("R3")
        self._delivery = Delivery(
            self._session.sftp, self._remote, self._recording, self._clock, self._direct, self._progress
        )
        await self._delivery.folder()
        problem = await self._delivery.files([self._files[file.role] for file in self._wanted])
        if isinstance(self._session.error, HostKeyRefused):
            raise self._session.error  # whatever has arrived before
        return problem

    async def _opened(self) -> dict[Role, Any]:
        working = self._around.in_thread(local.open_all, self._wanted, lambda: self._stopped is not None)
        waiting: Deferred[dict[Role, Any]] = Deferred()

        def ended(result: Any) -> None:
            if not waiting.called:
                waiting.callback(result)
            elif isinstance(result, dict):  # cancelled meanwhile: a thread cannot be
                local.close(result)

        working.addBoth(ended)
        return await waiting

    def _nothing_to_send(self) -> Fault | None:
        """The main file is not there, or no file is: nobody is called."""
        gone = [one for one in self._files.values() if isinstance(one, local.NotThere)]
        main = self._recording.main.role
        for one in gone:
            if one.file.role is main or len(gone) == len(self._files):
                return Fault(Status.FILE_MISSING, one.reason, one.detail)
        return None

    def _fault(self, error: Exception) -> Fault:
        stage = Stage.FOLDER
        if self._delivery is None:
            shown = self._policy is not None and self._policy.shown is not None
            stage = Stage.LOGIN if shown else Stage.CONNECT
        if isinstance(error, HostKeyRefused):
            self._refused_key = error.blob
        found = fault(error, stage)
        if len(self._hidden) >= _TELLING and self._hidden in found.detail:
            found = replace(found, detail="the server repeats the password, so its words are left out")
        return found

    def _report(self, problem: Fault | None) -> Report:
        results = list(self._delivery.results) if self._delivery is not None else []
        later = problem
        if problem is not None and problem.status is Status.UPLOAD_FAILED and self._main_has_arrived(results):
            problem = None
        done = {one.role for one in results}
        for file in self._wanted:
            if file.role not in done:
                results.append(self._untouched(file.role, file.name, later))
        shown = self._policy.shown if self._policy is not None else None
        return Report(
            problem.status if problem else Status.OK,
            problem.reason if problem else "",
            problem.detail if problem else "",
            tuple(results),
            fingerprint(shown) if shown is not None else "",
            told(self._session.agreed) if self._session is not None else "",
            self._clock.seconds() - self._began,
            self._refused_key,
            self._endpoint is not None and self._endpoint.connected,
        )

    def _main_has_arrived(self, results: list[FileResult]) -> bool:
        return any(one.role is self._recording.main.role and not one.reason for one in results)

    def _untouched(self, role: Role, name: str, problem: Fault | None) -> FileResult:
        gone = self._files.get(role)
        if isinstance(gone, local.NotThere):
            return FileResult(role, name, 0, gone.reason, gone.detail)
        if problem is None or problem.status is Status.FILE_MISSING:
            return FileResult(role, name, 0, NOT_TRIED)
        return FileResult(role, name, 0, problem.reason)
