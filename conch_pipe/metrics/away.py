"""What a process that takes connections counts, until its parent has it."""

from __future__ import annotations

from typing import Any

from conch_pipe.events import Events
from conch_pipe.metrics.catalogue import COUNTED
from conch_pipe.metrics.counting import Counting
from conch_pipe.metrics.lag import Lag
from conch_pipe.metrics.tally import Tally


class Away:
    """Hears of all events of this process."""

    def __init__(self, happenings: Events, clock: Any) -> None:
        self._tally = Tally(COUNTED, filled=False)
        self._lag = Lag(clock, self._tally, "door")
        happenings.listeners.append(Counting(self._tally))

    def start(self) -> None:
        """The event loop turns."""
        self._lag.start()

    def stop(self) -> None:
        """It ends soon."""
        self._lag.stop()

    def take(self) -> list[list[Any]]:
        """What was counted since the last time; see Tally.take."""
        return self._tally.take()
