"""That a failure is slow and tells nothing: who waits how long, before a try and after it, by account and address.

All that let somebody in share one of these, so that they count the failures of an address together.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from conch_pipe.login.throttle import Throttle, network

FLOOR_S = 1.0  # a failure is answered no sooner
JITTER_S = 0.2
CLIENT_DELAY_S = 5.0  # a whole delay would be a lock: logins have a deadline


class Slowness:
    """The delays of one process; failures in the others are heard of.

    :param free: failures of an account or address in a minute that cost nothing.
    :param longest_s: the longest delay before a try.
    :param say: tells other processes of failures, which they :meth:`hear`.
    :param key: for the names of accounts; the same in all of them.
    """

    def __init__(
        self,
        clock: IReactorTime,
        free: int,
        longest_s: float,
        *,
        say: Callable[..., None] | None = None,
        key: bytes | None = None,
    ) -> None:
        self._clock = clock
        self._addresses = Throttle(clock.seconds, free=free, longest_s=longest_s)
        self._accounts = Throttle(clock.seconds, free=free, longest_s=min(longest_s, CLIENT_DELAY_S))
        self._say = say
        self._key = key or os.urandom(32)

    async def before(self, account: bytes, address: str) -> None:
        """Wait, as the failures of that account and address in the last minute want it."""
        delay = max(self._addresses.delay(network(address)), self._accounts.delay(self._hashed(account)))
        await self.until(self._clock.seconds() + delay)

    def earliest(self, account: bytes) -> float:
        """When a failure that begins now may be answered."""
        # The same jitter for the same name: averaging over many tries gains nothing.
        return self._clock.seconds() + FLOOR_S + JITTER_S * hmac.digest(self._key, account, "sha256")[0] / 256

    def failed(self, account: bytes, address: str) -> None:
        """Count a failure, here and in the other processes."""
        name, source = self._hashed(account), network(address)
        self._addresses.failed(source)
        self._accounts.failed(name)
        if self._say is not None:
            self._say(failed=name, source=source)

    def hear(self, message: Mapping[str, Any]) -> None:
        """What another process said: that a login failed there, perhaps."""
        if "failed" in message:
            self._addresses.failed(str(message["source"]))
            self._accounts.failed(str(message["failed"]))

    async def until(self, at: float) -> None:
        """Wait for a time of the clock, which may be over."""
        left = at - self._clock.seconds()
        if left > 0:
            await deferLater(self._clock, left)

    def _hashed(self, account: bytes) -> str:
        # So that long and odd names cost no memory and lie nowhere in clear.
        return hashlib.blake2b(account, digest_size=16, key=self._key).hexdigest()
