"""Signing in with a name and a password: that a failure tells nothing, as with the secrets of clients.

Unknown name, wrong password, disabled: the same words after the same time. Sessions are the catalog's, cookies the
door's matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IEvents, IPeople, ISignIns
from conch_pipe.login.core import Threads
from conch_pipe.login.secrets import SecretChecks
from conch_pipe.login.slowness import Slowness
from conch_pipe.model import Credential, Peer, Secret, password_digest, utc

COST = 12  # as passwords are stored
FAILED = "the name or the password is wrong"
_NAME = re.compile(r"[a-z0-9][a-z0-9.@_-]{0,99}")


@implementer(ISignIns)
class SignIns:
    """See :class:`conch_pipe.interfaces.ISignIns`.

    :param people: an IPeople.
    :param threads: where bcrypt runs; others than the clients', whose secrets are checked in a fourth of the time.
    :param slowness: the login's.
    :param cost: bcrypt's.
    """

    def __init__(
        self,
        people: IPeople,
        threads: Threads,
        slowness: Slowness,
        events: IEvents,
        clock: IReactorTime,
        cost: int = COST,
    ) -> None:
        self._people: Any = people
        self._threads = threads
        self._slowness = slowness
        self._events = events
        self._clock = clock
        self._checks = SecretChecks(clock, threads, cost=cost)

    def start(self) -> None:
        """See ISignIns."""
        self._threads.start()

    def stop(self) -> None:
        """See ISignIns."""
        self._threads.stop()

    def check(self, name: str, password: str, peer: Peer, waits: Callable[[], bool]) -> Deferred[str]:
        """See ISignIns."""
        return Deferred.fromCoroutine(self._check(name, password, peer, waits))

    async def _check(self, name: str, password: str, peer: Peer, waits: Callable[[], bool]) -> str:
        account = b"person\0" + name.encode("utf-8", "surrogatepass")  # no client's
        hashed: bytes | None = await self._people.password(name) if _NAME.fullmatch(name) else None
        person, digest = self._person(name, hashed), password_digest(password)

        # A password proven minutes ago waits for nobody else's failures.
        if self._checks.known(person, digest):
            earliest = self._clock.seconds()
        else:
            await self._slowness.before(account, peer.address)
            earliest = self._slowness.earliest(account)
            if not await self._checks.check(person, digest):
                self._slowness.failed(account, peer.address)
                self._tell_failed(peer, name if hashed is not None else "")
                await self._slowness.until(earliest)
                raise PipeError(Code.UNAUTHORIZED, FAILED)

        if not waits():
            raise PipeError(Code.UNAUTHORIZED, "the client is gone")
        try:
            session: str = await self._people.begin(name, hashed)
        except PipeError as error:
            if error.code is not Code.UNAUTHORIZED:
                raise
            await self._slowness.until(earliest)
            raise PipeError(Code.UNAUTHORIZED, FAILED) from None  # disabled, or with a new password, this moment
        self._events.note(
            events.PERSON_SIGNED_IN, person=name, address=peer.address, banner=peer.banner, session=peer.session
        )
        return session

    def _person(self, name: str, hashed: bytes | None) -> Credential | None:
        """What is checked: as of a client with one secret."""
        if hashed is None:
            return None
        now = utc(self._clock)
        return Credential(name, "", "", now, None, secrets=(Secret(hashed, now),))

    def _tell_failed(self, peer: Peer, name: str) -> None:
        # A name that was tried is not told unless it is somebody's: people type passwords into it.
        self._events.note(
            events.PERSON_SIGN_IN_FAILED,
            person=name,
            address=peer.address,
            banner=peer.banner,
            session=peer.session,
            reason="password" if name else "unknown",
        )
