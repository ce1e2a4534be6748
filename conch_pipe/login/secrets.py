"""Checks a client_secret against its bcrypt hashes: off the reactor, bounded, and remembered for minutes.

Knows no protocol and no throttling. A secret is in memory only while its check runs; what is remembered is an HMAC
under a key that lives and dies with this object.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

import bcrypt
from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import InThread
from conch_pipe.model import Credential, utc

SECRET_BYTES = 72  # bcrypt reads no more, and version 5 raises beyond
QUEUE_LENGTH = 32
WAIT_S = 5.0
REMEMBERED_S = 300.0
TABLE_LENGTH = 10_000
COST = 10


class HashThreads:
    """A small thread pool of its own, so that a login storm takes no thread from storage.

    :param reactor: an IReactorFromThreads.
    :param most: threads; one does 16 checks a second at cost 10.
    """

    def __init__(self, reactor: Any, most: int = 1) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, most, "secrets")

    def start(self) -> None:
        """Before the first call."""
        self._pool.start()

    def stop(self) -> None:
        """Waits for the checks under way: some 100 ms at most."""
        self._pool.stop()

    def __call__(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run it in a thread."""
        return deferToThreadPool(self._reactor, self._pool, function, *args)


def matches(secret: bytes, hashes: tuple[bytes, ...]) -> int:
    """Which hash is the secret's: its index, or -1. Blocks for tens of milliseconds per hash; runs in a thread."""
    found = -1
    for index, one in enumerate(hashes):
        if bcrypt.checkpw(secret, one):
            found = index
    return found


class SecretChecks:
    """Whether a secret is one of a credential's.

    :param clock: for waiting and expiry.
    :param in_thread: runs a function with arguments in a bounded thread pool and gives its Deferred.
    :param threads: checks that may run at a time.
    :param cost: bcrypt's, as the stored hashes have it, so that an unknown client's check takes as long.
    """

    def __init__(self, clock: IReactorTime, in_thread: InThread, *, threads: int = 1, cost: int = COST) -> None:
        self._clock = clock
        self._in_thread = in_thread
        self._turns = DeferredSemaphore(threads)
        self._cost = cost
        self._key = os.urandom(32)
        self._dummy: bytes | None = None
        self._verified: dict[bytes, tuple[bytes, float]] = {}  # HMAC of client_id and secret → its hash, until

    def known(self, credential: Credential | None, secret: bytes) -> bool:
        """Whether this very secret was verified minutes ago and is still alive; costs microseconds."""
        if credential is None:
            return False
        matched, until = self._verified.get(self._mac(credential.client_id, secret), (b"", 0.0))
        return self._clock.seconds() < until and matched in alive(credential, utc(self._clock))

    async def check(self, credential: Credential | None, secret: bytes) -> bool:
        """The same work for every answer: without a credential, with a revoked one or an impossible secret as well.

        :raises PipeError: BUSY when too many checks wait, or this one waited too long.
        """
        possible = 0 < len(secret) <= SECRET_BYTES and b"\0" not in secret
        hashes = alive(credential, utc(self._clock)) if credential is not None and possible else ()
        await self._turn()
        try:
            if self.known(credential, secret):  # verified while this one waited
                return True
            if self._dummy is None:
                self._dummy = await self._in_thread(
                    bcrypt.hashpw, os.urandom(16).hex().encode(), bcrypt.gensalt(self._cost)
                )
            checked = hashes or (self._dummy,)
            index = await self._in_thread(matches, secret if possible else b"-", checked)
            if not hashes or index < 0:
                return False
            assert credential is not None
            self._remember(self._mac(credential.client_id, secret), hashes[index])
            return True
        finally:
            self._turns.release()

    async def _turn(self) -> None:
        if len(self._turns.waiting) >= QUEUE_LENGTH:
            raise PipeError(Code.BUSY, "too many logins at once; try again")
        turn = self._turns.acquire()
        if not turn.called:
            turn.addTimeout(WAIT_S, self._clock)
        try:
            await turn
        except TimeoutError:
            raise PipeError(Code.BUSY, "too many logins at once; try again") from None

    def _remember(self, mac: bytes, matched: bytes) -> None:
        self._verified.pop(mac, None)
        self._verified[mac] = (matched, self._clock.seconds() + REMEMBERED_S)
        if len(self._verified) > TABLE_LENGTH:
            del self._verified[next(iter(self._verified))]

    def _mac(self, client_id: str, secret: bytes) -> bytes:
        return hmac.digest(self._key, client_id.encode() + b"\0" + secret, "sha256")


def alive(credential: Credential, now: datetime) -> tuple[bytes, ...]:
    """Hashes of the secrets that may be used now; two while a partner changes over, none when revoked."""
    if credential.revoked_at is not None:
        return ()
    return tuple(one.hash for one in credential.secrets if one.expires_at is None or one.expires_at > now)
