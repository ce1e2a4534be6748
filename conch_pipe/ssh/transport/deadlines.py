"""Deadlines of one connection on a single timer of the reactor: most are called off long before they come.

A call of the reactor costs as much as a packet, and a session has eight deadlines, of which none ever comes.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadlines:
    """Functions by name, each with the moment at which it is called unless it was called off before.

    :param clock: its timer is set by :meth:`wind` alone, so that what is set and called off in between costs nothing.
    """

    __slots__ = ("_call", "_clock", "_due", "_loose", "_rings_at")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due: dict[str, tuple[float, Callable[[], object]]] = {}
        self._call: IDelayedCall | None = None
        self._rings_at = inf  # never later than the first deadline, once it is wound
        self._loose = False  # an earlier one was set since

    def __contains__(self, name: str) -> bool:
        return name in self._due

    def set(self, name: str, seconds: float, function: Callable[[], object]) -> None:
        """Call a function after so many seconds; it takes the place of an earlier one of that name."""
        at = self._clock.seconds() + seconds
        self._due[name] = (at, function)
        if at < self._rings_at:
            self._loose = True

    def drop(self, name: str) -> None:
        """Call it off; one that is not set does not mind."""
        self._due.pop(name, None)

    def clear(self) -> None:
        """Call all of them off, for good."""
        self._due.clear()
        if self._call is not None:
            self._call.cancel()
            self._call, self._rings_at = None, inf

    def wind(self) -> None:
        """Have the reactor's timer ring for the first deadline; an earlier ring for one that was called off stays."""
        if not self._loose:
            return
        self._loose = False
        first = min((at for at, _ in self._due.values()), default=inf)
        if first >= self._rings_at:
            return
        if self._call is not None:
            self._call.cancel()
        self._rings_at = first
        self._call = self._clock.callLater(max(0.0, first - self._clock.seconds()), self._ring)

    def _ring(self) -> None:
        now = max(self._clock.seconds(), self._rings_at)  # what it was wound for is due, whatever rounding made of it
        self._call, self._rings_at, self._loose = None, inf, True
        for name, (at, function) in sorted(self._due.items(), key=lambda one: one[1][0]):
            if at <= now and self._due.get(name) == (at, function):
                del self._due[name]
                function()
        self.wind()
