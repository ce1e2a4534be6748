"""A reactor that stays awake for a moment for a peer who is about to answer.

A client on the same machine, or next to it, that puts many small files asks, waits for the reply, and asks again within
some 100 us. Falling asleep and being woken takes longer than that: 140 us for one exchange of two processes.
Whoever has just answered so quickly is waited for awake, unless others were heard in between. Nobody else pays: the
reactor goes on looking at all of its connections meanwhile.
"""

from __future__ import annotations

import math

from twisted.internet.interfaces import IDelayedCall, IReactorTime

NEAR_S = 0.0002  # a peer that answers within this time is waited for, so long
SMALL_BYTES = 32 << 10  # of one who sends more at once the next bytes are here anyway


class Vigil:
    """One for all connections of a port.

    :param reactor: looks at its connections again before a delayed call of 0 seconds.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._peer: object = None  # the last that was heard
        self._near = False
        self._told_at = -math.inf  # something it has not answered
        self._awake: IDelayedCall | None = None

    def heard(self, peer: object, count: int) -> None:
        """So many bytes came from a peer."""
        alone, self._peer = self._peer is peer, peer
        self._near = alone and count <= SMALL_BYTES and self._reactor.seconds() - self._told_at < NEAR_S
        self._told_at = -math.inf

    def told(self, peer: object) -> None:
        """The peer was sent something."""
        if peer is not self._peer:
            return
        self._told_at = self._reactor.seconds()
        if self._near and self._awake is None:
            self._stay()

    def gone(self, peer: object) -> None:
        """The peer is there no more."""
        if peer is self._peer:
            self._peer, self._near = None, False
            if self._awake is not None:
                self._awake.cancel()
                self._awake = None

    def _stay(self) -> None:
        self._awake = self._reactor.callLater(0, self._look)

    def _look(self) -> None:
        self._awake = None
        if self._near and self._reactor.seconds() - self._told_at < NEAR_S:
            self._stay()
