"""What hostile bytes cost: lines of the log, work, memory. Counts, never seconds."""

from __future__ import annotations

import gc
import re
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.conch.ssh.transport import SSHClientTransport
from twisted.logger import LogLevel, formatEvent, globalLogBeginner, globalLogPublisher

from tests.conftest import CANARY

LONGEST_LINE = 400
_FAULT = re.compile(r"\w+ at \S+\.py:\d+")


class Lines:
    """What our side logs while it is watched."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []

    def __enter__(self) -> Lines:
        globalLogPublisher.addObserver(self._events.append)
        return self

    def __exit__(self, *raised: object) -> None:
        globalLogPublisher.removeObserver(self._events.append)

    def take(self) -> list[str]:
        """The lines above debug since the last look.

        :raises AssertionError: one has a traceback or tells of an exception, has the canary, a line end or too many
            characters.
        """
        taken = []
        for event in self._events:
            if isinstance(event.get("log_source"), SSHClientTransport):
                continue  # the tests' own client
            text = formatEvent(event)
            told = text + repr({name: value for name, value in event.items() if not name.startswith("log_")})
            assert event.get("log_failure") is None, f"a traceback: {event['log_failure'].getTraceback()}"
            assert CANARY not in told, f"a payload is in the log: {told[:200]}"
            assert not _FAULT.search(text), f"a fault of ours, caught at the door's edge: {text}"
            assert text.isprintable(), f"a line that is not one line: {text!r}"
            assert len(text) <= LONGEST_LINE, f"a long line: {text[:200]}"
            if event["log_level"] > LogLevel.debug:
                taken.append(text)
        self._events.clear()
        return taken


def forget_history() -> None:
    """Until logging begins, which in tests it never does, Twisted keeps thousands of events with what sent them."""
    globalLogBeginner._initialBuffer._buffer.clear()


def calls(function: Callable[[], object]) -> int:
    """Calls of functions, Python's and C's, while ``function`` runs: work that does not depend on the machine."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def peak(function: Callable[[], object]) -> int:
    """Bytes held at most while ``function`` runs, above what was held before."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def growth(once: Callable[[], object], times: int, warm: int) -> int:
    """Bytes still held after ``times`` runs, above those after ``warm`` runs that fill caches."""
    for _ in range(warm):
        once()
    forget_history()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(times):
            once()
        forget_history()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@contextmanager
def nothing_stays() -> Iterator[Callable[[object], None]]:
    """Give it objects; at the end none of them may be alive."""
    watched: list[weakref.ref[object]] = []
    yield lambda thing: watched.append(weakref.ref(thing))
    forget_history()
    gc.collect()
    alive = [thing for reference in watched if (thing := reference()) is not None]
    assert not alive, f"{len(alive)} of {len(watched)} stay in memory, such as {alive[0]!r}"
