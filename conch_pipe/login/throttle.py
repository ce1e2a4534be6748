"""How long an answer to a login waits, after failures of the same account or address. Pure but for the clock.

Slows down and never locks out: an account that anybody can lock is one that an attacker locks (OWASP ASVS 5.0, 6.3.1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from ipaddress import ip_address, ip_network

WINDOW_S = 60.0
TABLE_LENGTH = 65_536  # keys remembered, the ones that failed last


def network(address: str) -> str:
    """Whom an address counts for: itself, or an IPv6 /64, within which one customer takes any address it likes."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address


class Throttle:
    """Failures per key in the last minute.

    :param clock: seconds, never going back.
    :param free: failures in a minute that cost nothing.
    :param longest_s: the longest delay.
    """

    def __init__(self, clock: Callable[[], float], *, free: int = 10, longest_s: float = 30.0) -> None:
        self._clock = clock
        self._free = free
        self._longest_s = longest_s
        self._failures: dict[str, deque[float]] = {}

    def __len__(self) -> int:
        return len(self._failures)

    def delay(self, key: str) -> float:
        """Seconds the next try of this key waits: 0 for the first failures, then 1, 2, 4 … up to the longest."""
        failures = self._failures.get(key)
        if failures is None:
            return 0.0
        while failures and failures[0] <= self._clock() - WINDOW_S:
            failures.popleft()
        if not failures:
            del self._failures[key]
            return 0.0
        excess = len(failures) - self._free
        return min(2.0 ** min(excess, 32), self._longest_s) if excess >= 0 else 0.0

    def failed(self, key: str) -> None:
        """Count a failure."""
        # More than these cannot make the delay longer.
        failures = self._failures.pop(key, None) or deque(maxlen=self._free + 32)
        failures.append(self._clock())
        self._failures[key] = failures
        if len(self._failures) > TABLE_LENGTH:
            del self._failures[next(iter(self._failures))]
