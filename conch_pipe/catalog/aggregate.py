"""What every aggregate of the catalog has: its database and its clock."""

from __future__ import annotations

from datetime import datetime

from twisted.internet.interfaces import IReactorTime

from conch_pipe.catalog.database import IsDatabase
from conch_pipe.model import utc


class Aggregate:
    """One kind of record; its queries are in the module of the same name.

    :param database: opened and closed by whoever made it.
    :param clock: gives the time of every record.
    """

    def __init__(self, database: IsDatabase, clock: IReactorTime) -> None:
        self._database = database
        self._clock = clock

    def _now(self) -> datetime:
        return utc(self._clock)
