"""Looks every few seconds whether those who are here may still be: revocation ends open sessions."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from conch_pipe import events
from conch_pipe.errors import PipeError
from conch_pipe.interfaces import ICredentials, IEvents, ILogin
from conch_pipe.sftp.visits import Visits

EVERY_S = 2.0  # promised is: within 5 s
SWEEP_EVERY = 15  # looks; a sweep of ten full shelves takes 15 ms


class Watch:
    """Asks the catalog about the clients with open sessions, and forgets what is old.

    :param credentials: an ICredentials.
    :param login: told who may no longer be.
    """

    _log = Logger(namespace="conch_pipe.sftp")

    def __init__(
        self, visits: Visits, credentials: ICredentials, login: ILogin, events: IEvents, clock: IReactorTime
    ) -> None:
        self._visits = visits
        self._login: Any = login
        self._credentials: Any = credentials
        self._events = events
        self._looks = 0
        self._trouble = ""  # with the catalog, as last told: not again until it changes
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.look()))
        self._loop.clock = clock

    def start(self) -> None:
        """Look from now on."""
        self._loop.start(EVERY_S, now=False).addErrback(self._again)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    def _again(self, failure: Failure) -> None:
        # A watch that ended unnoticed would leave revoked sessions open for ever.
        self._log.failure("looking for revocations failed, going on", failure=failure)
        self.start()

    async def look(self) -> None:
        """One look; a catalog that cannot answer ends nobody's session."""
        self._looks += 1
        if self._looks % SWEEP_EVERY == 0:
            self._visits.sweep()
        here = self._visits.client_ids()
        if not here:
            return
        try:
            active = await self._credentials.active(here)
        except PipeError as error:
            self._tell_trouble(str(error))
            return
        self._tell_trouble("")
        for credential in active.values():
            self._visits.refresh(credential)
        for client_id in set(here) - set(active):
            self._login.forget(client_id)  # before its sessions end: who is sent away does not come in again
            ended = self._visits.end(client_id, "your credential was revoked")
            if ended:
                self._events.note(events.CREDENTIAL_REVOKED, client_id=client_id, sessions=ended)

    def _tell_trouble(self, trouble: str) -> None:
        """:param trouble: why the catalog did not answer; empty: it did."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            self._log.warn(
                "revocations cannot be looked up, trying every {every_s:.0f} s: {problem}",
                every_s=EVERY_S,
                problem=trouble,
            )
        else:
            self._log.info("revocations can be looked up again")
