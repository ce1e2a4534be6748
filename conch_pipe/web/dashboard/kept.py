"""Answers that many who look share for a moment; the longer they took to find, the longer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime

GOOD_FOR_S = 2.0  # at least …
SHARE = 20  # … and so that one answer is looked for a twentieth of the time at most
MOST = 200  # answers

T = TypeVar("T")


class Kept:
    """Them, by what was asked."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._known: dict[Hashable, tuple[Any, float]] = {}

    async def get(self, asked: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        """The answer that is known, or else the one that is found."""
        began_at = self._clock.seconds()
        found, until = self._known.pop(asked, (None, began_at))
        if until <= began_at:
            found = await find()
            now = self._clock.seconds()
            until = now + max(GOOD_FOR_S, SHARE * (now - began_at))
        self._known[asked] = (found, until)
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        answer: T = found
        return answer
