"""A recording as people ask for it: with what is still to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from conch_pipe.model.pushes import Push
from conch_pipe.model.recordings import Recording


@dataclass(frozen=True, slots=True)
class Delivery:
    """A push with its plan.

    :ivar left: counted attempts that are still to come.
    :ivar instants: of the 13 attempts, on paper; ``push.due_at`` is when the next one is made.
    """

    push: Push
    left: int
    instants: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A recording and its way to each remote.

    :ivar ends_at: end of the time in which attempts are made.
    """

    recording: Recording
    deliveries: tuple[Delivery, ...]  # by remote
    ends_at: datetime

    @property
    def next_at(self) -> datetime | None:
        """When the next attempt of any push is made."""
        return min((one.push.due_at for one in self.deliveries if one.push.due_at), default=None)


@dataclass(frozen=True, slots=True)
class Submitted:
    """What came of telling a recording.

    :ivar again: it was known before; what was told now is the same.
    """

    recording: Recording
    pushes: tuple[Push, ...]
    again: bool
