"""One direction of a connection with something wrong with it. Sans-IO: bytes in, bytes out, perhaps later.

Used by the network in memory (net.py) and by the proxy for real connections (faults.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True)
class Trouble:
    """What is wrong with one direction.

    :param delay_s: of every byte.
    :param rate: bytes a second; 0: as fast as can be.
    :param after: bytes that pass before ``then``; None: all do.
    :param then: "reset", "close", "half_close" or "stall" (nothing more passes, and nobody is told).
    """

    delay_s: float = 0.0
    rate: int = 0
    after: int | None = None
    then: str = "reset"


class Line:
    """Bytes on their way.

    :param deliver: gets them.
    :param end: told ``then``, once.
    :ivar passed: bytes that were delivered.
    """

    def __init__(
        self, clock: Any, trouble: Trouble, deliver: Callable[[bytes], object], end: Callable[[str], object]
    ) -> None:
        self._clock = clock
        self._trouble = trouble
        self._deliver = deliver
        self._end = end
        self._free_at = 0.0  # when the last byte accepted so far will have passed
        self._taken = 0
        self._waiting: deque[tuple[float, Callable[[], object]]] = deque()  # when it is due, in order
        self._timer: Any = None
        self.passed = 0
        self.over = False

    def feed(self, data: bytes) -> None:
        """Some bytes."""
        trouble = self._trouble
        if self.over or not data:
            return
        if trouble.after is not None:
            data = data[: max(0, trouble.after - self._taken)]
        self._taken += len(data)
        if data:
            self._pass(data)
        if trouble.after is not None and self._taken >= trouble.after:
            self.over = True
            self._later(lambda: self._end(trouble.then))

    def _pass(self, data: bytes) -> None:
        trouble, now = self._trouble, self._clock.seconds()
        self._free_at = max(self._free_at, now)
        piece = max(1, trouble.rate // 10) if trouble.rate else len(data)
        for at in range(0, len(data), piece):
            some = data[at : at + piece]
            if trouble.rate:
                self._free_at += len(some) / trouble.rate
            self._later(partial(self._arrive, some))

    def _later(self, what: Callable[[], object]) -> None:
        due = max(self._free_at, self._clock.seconds()) + self._trouble.delay_s
        if not self._waiting and due <= self._clock.seconds():
            what()
            return
        self._waiting.append((due, what))
        if self._timer is None:
            self._wait()

    def _wait(self) -> None:
        """One timer for all: with one each, two that are due together might come in the wrong order."""
        due, _ = self._waiting[0]
        self._timer = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._come)

    def _come(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        while self._waiting and self._waiting[0][0] <= now + 1e-6:
            _, what = self._waiting.popleft()
            what()
        if self._waiting and self._timer is None:
            self._wait()

    def _arrive(self, data: bytes) -> None:
        self.passed += len(data)
        self._deliver(data)

    def stop(self) -> None:
        """Nothing more arrives."""
        self.over = True
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
