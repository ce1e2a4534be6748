"""Which checks go to a worker together: those of small files that come at a time, or wait while all workers are busy.

A call that comes to a bad end says nothing of its files: each is then checked by itself, so that what one of them does
to a worker is counted against nobody else. What a check finds is formats' (check.py, together.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IWorkers

CHECK = "conch_pipe.formats.check:check_file"
CHECK_MANY = "conch_pipe.formats.together:check_many"
TOGETHER = 32  # files in one call, at most: check.MOST
SMALL = 64 << 10  # bytes of a file that goes with others
GATHER_S = 0.01  # for which such a file waits for others: checked alone it costs as much as twenty of them together


@dataclass(eq=False, slots=True)
class _Check:
    """One file that waits for its verdict."""

    arguments: Mapping[str, Any]
    small: bool
    done: Deferred[dict[str, Any]] = field(init=False)

    def goes_with(self, other: _Check) -> bool:
        return self.small and other.small and self.arguments["schema_text"] == other.arguments["schema_text"]


class Checks:
    """Gives files to workers.

    :param at_once: calls at a time; more files than that wait here, and find company.
    :param wall_s: for one call.
    """

    def __init__(self, workers: IWorkers, at_once: int, wall_s: float, clock: IReactorTime) -> None:
        self._workers: Any = workers
        self._at_once = at_once
        self._wall_s = wall_s
        self._clock = clock
        self._gathering = False
        self._waiting: deque[_Check] = deque()
        self._running: dict[Deferred[dict[str, Any]], list[_Check]] = {}

    def check(self, arguments: Mapping[str, Any], size: int) -> Deferred[dict[str, Any]]:
        """The verdict on one file, as JSON values. Cancelled, it is not waited for.

        :param arguments: of ``check_file``.
        :param size: bytes of the file.
        :raises PipeError, WorkerDied: see IWorkers.
        """
        one = _Check(arguments, size <= SMALL)
        one.done = Deferred(lambda _: self._cancelled(one))
        self._waiting.append(one)
        if not one.small:
            self._begin()
        elif not self._gathering and len(self._running) < self._at_once:
            self._gathering = True
            self._clock.callLater(GATHER_S, self._gathered)
        return one.done

    def _gathered(self) -> None:
        self._gathering = False
        self._begin()

    def _cancelled(self, one: _Check) -> None:
        if one in self._waiting:
            self._waiting.remove(one)
            return
        for call, checks in list(self._running.items()):
            if one in checks and all(other is one or other.done.called for other in checks):
                call.cancel()

    def _begin(self) -> None:
        while self._waiting and len(self._running) < self._at_once:
            checks = self._next()
            if len(checks) == 1:
                call = self._workers.call(CHECK, checks[0].arguments, wall_s=self._wall_s)
            else:
                call = self._workers.call(CHECK_MANY, _asked(checks), wall_s=self._wall_s)
            self._running[call] = checks
            call.addBoth(self._ended, call)

    def _next(self) -> list[_Check]:
        checks = [self._waiting.popleft()]
        while self._waiting and len(checks) < TOGETHER and checks[0].goes_with(self._waiting[0]):
            checks.append(self._waiting.popleft())
        return checks

    def _ended(self, answer: dict[str, Any] | Failure, call: Deferred[dict[str, Any]]) -> None:
        checks = self._running.pop(call)
        alone = len(checks) == 1
        if isinstance(answer, Failure) and not alone and not answer.check(CancelledError):
            for one in checks:
                one.small = False  # from now on by itself
            self._waiting.extendleft(one for one in reversed(checks) if not one.done.called)
            checks = []
        self._begin()  # before anybody is told: the worker need not wait for that
        told = [answer] * len(checks) if alone or isinstance(answer, Failure) else map(_result, answer["results"])
        for one, result in zip(checks, told, strict=False):
            if not one.done.called:
                one.done.callback(result)


def _asked(checks: list[_Check]) -> dict[str, Any]:
    """The schema once: its text may be long."""
    each = [{name: value for name, value in one.arguments.items() if name != "schema_text"} for one in checks]
    return {"schema_text": checks[0].arguments["schema_text"], "checks": each}


def _result(told: dict[str, Any]) -> dict[str, Any] | Failure:
    if "error" not in told:
        verdict: dict[str, Any] = told["verdict"]
        return verdict
    error = told["error"]
    return Failure(PipeError(Code(error["code"]), error["message"], error["detail"]))
