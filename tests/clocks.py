"""Clocks for tests that are not about waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

MOMENT_S = 0.01


class PromptClock(Clock):
    """Does at once what is put off for a moment, so that more might come."""

    def callLater(self, when: float, what: Callable[..., object], *args: Any, **named: Any) -> IDelayedCall:
        """See IReactorTime."""
        if when > MOMENT_S:
            return super().callLater(when, what, *args, **named)
        what(*args, **named)
        call = super().callLater(0, lambda: None)
        call.cancel()
        return call
