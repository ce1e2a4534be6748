"""Whether one more connection may come in: caps in all and for one source, before and after login, and the draining.

Counts nothing itself (see tally.py) and asks in the same time whatever the number of connections.
"""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom

from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server.tally import Tally

_FIRST_DROP = 0.3  # sshd: MaxStartups 10:30:100


class Admission:
    """The caps of Limits.

    :param chance: a number from 0.0 up to 1.0, for the early drop.
    """

    def __init__(self, limits: Limits, tally: Tally, chance: Callable[[], float] = SystemRandom().random) -> None:
        self._limits = limits
        self._tally = tally
        self._chance = chance
        self.draining = False

    def refusal(self, source: str | None) -> str | None:
        """Why a new connection cannot come in; None: it can.

        :param source: None for a trusted proxy, whose clients are counted once it has named them.
        """
        return self._no_room() or (self.crowd(source) if source is not None else None)

    def crowd(self, source: str) -> str | None:
        """Why this source cannot have one more; None: it can."""
        limits, mine = self._limits, self._tally.of(source)
        if mine.connections >= limits.per_address:
            return f"more than {limits.per_address} connections of one address"
        if mine.waiting >= limits.not_logged_in_per_address:
            return f"more than {limits.not_logged_in_per_address} connections of one address not logged in"
        return None

    def _no_room(self) -> str | None:
        limits, total = self._limits, self._tally.total()
        if self.draining:
            return "shutting down"
        if total.connections >= limits.connections:
            return f"more than {limits.connections} connections"
        if total.waiting >= limits.not_logged_in:
            return f"more than {limits.not_logged_in} connections not logged in"
        # Whoever fills the places before login fills them against the same odds as everybody else, and a partner who
        # tries again gets in; with a bare cap the one who tries most often would have them all.
        if self._chance() < self.drop_chance(total.waiting):
            return "many connections not logged in: dropped at random"
        return None

    def drop_chance(self, waiting: int) -> float:
        """The share of newcomers refused while so many have not logged in: 0, then 30 % and rising to all."""
        full = self._limits.not_logged_in
        start = full * self._limits.early_drop_share
        if waiting < start or waiting >= full:
            return float(waiting >= full)
        return _FIRST_DROP + (1 - _FIRST_DROP) * (waiting - start) / (full - start)
