"""Seconds for which an address is refused after what it did, as sshd's PerSourcePenalties has them.

Every offence adds seconds; they run off as time passes. Once ``penalty_from_s`` of them are outstanding, the address is
refused until all have run off. A refused attempt adds nothing, nor does a login.

Unlike sshd (srclimit.c), which sees how a child ended and so counts connections: every wrong password adds, and the
bound is reached, not passed, at 15 s. Wrong passwords of a known and of an unknown user cost the same: the answer to
which is which must not be had here either.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server.addresses import Networks, source
from conch_pipe.ssh.server.tally import Sentence, Tally

_EXACT = 1e-6  # three times 5 s are 15 s, whatever the clock's fractions say


class Offence(Enum):
    """What an address can do before login; the value is the name of its price in Limits."""

    WRONG = "penalty_password_s"  # a password was refused, whether or not there is such a user
    NO_ATTEMPT = "penalty_no_attempt_s"  # gone without having tried to log in
    LATE = "penalty_late_s"  # not logged in in time
    VIOLATION = "penalty_violation_s"  # broke the protocol


class Penalties:
    """Who is refused now.

    :param seconds: a clock; when processes share the tally, ``time.monotonic`` in all of them.
    :param exempt: never punished: offices behind one address, monitoring.
    """

    def __init__(
        self, limits: Limits, tally: Tally, seconds: Callable[[], float], exempt: Networks | None = None
    ) -> None:
        self._limits = limits
        self._tally = tally
        self._seconds = seconds
        self._exempt = exempt or Networks()

    def note(self, address: str, offence: Offence) -> None:
        """Add the price of an offence."""
        limits = self._limits
        price: float = getattr(limits, offence.value)
        if not limits.penalty_longest_s or not price or address in self._exempt:
            return
        now, culprit = self._seconds(), source(address)
        before = self._tally.sentence(culprit)
        owed = min(max(before.owed_until, now) + price, now + limits.penalty_longest_s)
        shut = before.shut_until > now or owed - now >= limits.penalty_from_s - _EXACT
        self._tally.punish(culprit, Sentence(owed, owed if shut else 0.0))

    def left(self, address: str) -> float:
        """Seconds for which connections of this address are refused; 0.0: none."""
        if not self._limits.penalty_longest_s:
            return 0.0
        left = self._tally.sentence(source(address)).shut_until - self._seconds()
        return left if left > 0 and address not in self._exempt else 0.0
