"""Secrets on their way to the one page that shows them: kept for a minute, in memory, for who made them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IReactorTime

from conch_pipe.model import Actor

KEPT_S = 60.0
MOST = 100


@dataclass(frozen=True, slots=True, repr=False)
class _Kept:
    actor: str
    until: float
    value: Any


class Once:
    """What is put in comes out once."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    def put(self, actor: Actor, value: Any) -> str:
        """:returns: the word that takes it out again."""
        now = self._clock.seconds()
        self._kept = {word: one for word, one in self._kept.items() if now < one.until}
        while len(self._kept) >= MOST:
            del self._kept[next(iter(self._kept))]
        word = secrets.token_urlsafe(16)
        self._kept[word] = _Kept(actor.name, now + KEPT_S, value)
        return word

    def take(self, actor: Actor, word: str) -> Any:
        """None: it was taken already, is too old, or is somebody else's."""
        found = self._kept.get(word)
        if found is None or found.actor != actor.name:
            return None
        del self._kept[word]
        return found.value if self._clock.seconds() < found.until else None
