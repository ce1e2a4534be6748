"""The body of an answer as it goes out: no more of it is fetched than the client takes."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Outflow:
    """One body. A client that takes nothing is the channel's business, see Channel.pauseProducing.

    :param pieces: an IPieces.
    :param held: the connection has more to send already than it likes.
    """

    def __init__(self, pieces: Any, held: bool) -> None:
        self._pieces = pieces
        self._held = held
        self._over = False
        self._waiting: Deferred[None] | None = None

    async def next(self) -> bytes:
        """Some bytes, when the client has taken those before; none: that was all, or the client is gone.

        :raises PipeError: as IPieces.read.
        """
        while self._held and not self._over:
            self._waiting = Deferred()
            await self._waiting
        return b"" if self._over else bytes(await self._pieces.read())

    # What the connection says.

    def pauseProducing(self) -> None:
        """It has enough."""
        self._held = True

    def resumeProducing(self) -> None:
        """It takes more."""
        self._held = False
        self._wake()

    def stopProducing(self) -> None:
        """It is lost."""
        self._over = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
