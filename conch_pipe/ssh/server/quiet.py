"""At most so many lines a minute about one address, and then how many were left out: a flood must not fill the log."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

_MINUTE_S = 60.0
_REMEMBERED = 4096  # keys, the ones told of last


class Quiet:
    """:param lines: for each key in a minute."""

    def __init__(self, seconds: Callable[[], float], lines: int) -> None:
        self._seconds = seconds
        self._lines = lines
        self._told: OrderedDict[str, tuple[float, int]] = OrderedDict()  # since when, how often

    def ask(self, key: str) -> int | None:
        """:returns: how many were left out since the last line; None: leave this one out as well."""
        now = self._seconds()
        since, asked = self._told.get(key, (now, 0))
        left_out = 0
        if now - since >= _MINUTE_S:
            left_out = max(0, asked - self._lines)
            since, asked = now, 0
        self._told[key] = (since, asked + 1)
        self._told.move_to_end(key)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return left_out if asked < self._lines else None


def more(left_out: int) -> str:
    """The end of a sentence that says so."""
    return f" ({left_out} more)" if left_out else ""
