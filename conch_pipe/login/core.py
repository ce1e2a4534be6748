"""Logging in with client_id and client_secret: who may come in, and that a failure tells nothing.

Unknown client, wrong secret, revoked, too long, odd characters: the same words after the same time, at whatever door.
What a connection is and how it is answered is the doors' matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import ICredentials, IEvents, ILogin
from conch_pipe.login.secrets import COST, SecretChecks
from conch_pipe.login.slowness import Slowness
from conch_pipe.model import Client, Credential, Peer, utc

REMEMBER_EVERY = timedelta(minutes=1)
RECENT_S = 1.0  # for so long a credential is not asked for again by those whose secret was verified: a login storm
RECENT = 1000  # credentials
_CLIENT_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


class Threads(Protocol):
    """Where bcrypt runs: see secrets.HashThreads."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def __call__(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """Numbers of this room.

    :param failures_per_minute: failed logins of an account or address in a minute that cost nothing.
    :param longest_delay_s: of a slowed-down answer.
    :param deadline_s: of a login; a delay beyond two thirds of it would lock out everybody behind the address.
    :param hash_threads: bcrypt checks at a time.
    :param hash_cost: bcrypt cost of stored secrets.
    """

    failures_per_minute: int = 10
    longest_delay_s: float = 20.0
    deadline_s: float = 30.0
    hash_threads: int = 1
    hash_cost: int = COST


@implementer(ILogin)
class Login:
    """See :class:`conch_pipe.interfaces.ILogin`.

    :param credentials: an ICredentials; asked once per login, but see RECENT_S.
    :param threads: where bcrypt runs; started with the first door that starts, stopped with the last that stops.
    :param say: tells other processes of failures, which they :meth:`hear`.
    :param key: for the names of accounts; the same in all of them.
    :ivar slowness: of failures, which the sign-in of people shares.
    """

    _log = Logger(namespace="conch_pipe.login")

    def __init__(
        self,
        credentials: ICredentials,
        threads: Threads,
        events: IEvents,
        clock: IReactorTime,
        rules: Rules = Rules(),
        *,
        say: Callable[..., None] | None = None,
        key: bytes | None = None,
    ) -> None:
        self._credentials: Any = credentials
        self._threads = threads
        self._doors = 0
        self._checks = SecretChecks(clock, threads, threads=rules.hash_threads, cost=rules.hash_cost)
        self._events = events
        self._clock = clock
        longest_s = min(rules.longest_delay_s, rules.deadline_s * 2 / 3)
        self.slowness = Slowness(clock, rules.failures_per_minute, longest_s, say=say, key=key)
        self._recent: dict[bytes, tuple[Credential, float]] = {}  # as the catalog had it, until

    def start(self) -> None:
        """See ILogin."""
        self._doors += 1
        if self._doors == 1:
            self._threads.start()

    def stop(self) -> None:
        """See ILogin."""
        self._doors -= 1
        if self._doors == 0:
            self._threads.stop()

    def check(self, username: bytes, secret: bytes, peer: Peer, waits: Callable[[], bool]) -> Deferred[Client]:
        """See ILogin. Of a secret that was verified minutes ago done at once."""
        recent = self._just_found(username)
        if self._checks.known(recent, secret) and waits():
            assert recent is not None
            return succeed(self._welcome(recent, peer))
        return Deferred.fromCoroutine(self._login(username, secret, peer, waits))

    def forget(self, client_id: str) -> None:
        """See ILogin."""
        self._recent.pop(client_id.encode(), None)

    def hear(self, message: Mapping[str, Any]) -> None:
        """See ILogin."""
        self.slowness.hear(message)

    async def _login(self, username: bytes, secret: bytes, peer: Peer, waits: Callable[[], bool]) -> Client:
        credential = await self._find(username)

        # A secret proven minutes ago waits for nobody else's failures.
        if not self._checks.known(credential, secret):
            await self.slowness.before(username, peer.address)
            earliest = self.slowness.earliest(username)
            if not await self._checks.check(credential, secret):
                self.slowness.failed(username, peer.address)
                self._tell_failed(peer, credential)
                await self.slowness.until(earliest)
                raise PipeError(Code.UNAUTHORIZED, "login failed")

        if not waits():
            raise PipeError(Code.UNAUTHORIZED, "the client is gone")  # nobody logged in, so no login is told
        assert credential is not None
        return self._welcome(credential, peer)

    def _just_found(self, username: bytes) -> Credential | None:
        credential, until = self._recent.get(username, (None, 0.0))
        return credential if 0 < until - self._clock.seconds() <= RECENT_S else None

    async def _find(self, username: bytes) -> Credential | None:
        if not _CLIENT_ID.fullmatch(username):
            return None
        began = self._clock.seconds()
        credential: Credential | None = await self._credentials.find(username.decode())
        if credential is not None:
            self._recent.pop(username, None)
            self._recent[username] = (credential, began + RECENT_S)
            if len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]
        return credential

    def _welcome(self, credential: Credential, peer: Peer) -> Client:
        now, last = utc(self._clock), credential.last_login_at
        if last is None or now - last >= REMEMBER_EVERY:  # else a login storm would be a storm of writes
            self._credentials.logged_in(credential.client_id, now).addErrback(self._not_remembered)
            username = credential.client_id.encode()
            if username in self._recent:
                found, until = self._recent[username]
                self._recent[username] = (replace(found, last_login_at=now), until)
        return Client(credential.client_id, credential.organisation, frozenset(credential.schemas), peer)

    def _not_remembered(self, failure: Failure) -> None:
        failure.trap(PipeError)
        self._log.warn("the time of a login was not recorded: {problem}", problem=str(failure.value))

    def _tell_failed(self, peer: Peer, credential: Credential | None) -> None:
        # The name that was tried is not told unless it is one of ours: people type secrets into it.
        self._events.note(
            events.LOGIN_FAILED,
            address=peer.address,
            banner=peer.banner,
            session=peer.session,
            client_id=credential.client_id if credential is not None else "",
            door=peer.door,
            reason="unknown" if credential is None else "revoked" if credential.revoked_at is not None else "secret",
        )
