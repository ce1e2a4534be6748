"""How late the event loop is: a timer that is due twice a second, and when it came."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall

from conch_pipe.metrics.catalogue import LAG
from conch_pipe.metrics.tally import Tally

EVERY_S = 0.5


class Lag:
    """Measures it from ``start`` to ``stop``.

    :param process: "parent" or "door".
    """

    def __init__(self, clock: Any, tally: Tally, process: str) -> None:
        self._clock = clock
        self._spread = tally.spread(LAG)
        self._labels = (process,)
        self._due = 0.0
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Measure from now on."""
        self._due = self._clock.seconds() + EVERY_S
        self._timer = self._clock.callLater(EVERY_S, self._look)

    def stop(self) -> None:
        """No more. Again it is no error."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._spread.add(self._labels, max(0.0, self._clock.seconds() - self._due))
        self.start()
