"""Whether the parts of the service work: each is asked in its own words, for a bounded time, and not too often.

What a part can be asked is wired in assembly/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces.health import IHealth
from conch_pipe.model.health import Check

WAIT_S = 2.0  # for the answer of one part
KEPT_S = 1.5  # answers


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question.

    :ivar problem: in words; empty: there is a ``value``.
    :ivar seconds: from asking to the answer, or to giving up.
    """

    value: Any
    problem: str
    seconds: float

    def result(self) -> Any:
        """:raises PipeError: BUSY, there is none."""
        if self.problem:
            raise PipeError(Code.BUSY, "not known just now", self.problem)
        return self.value


class Question:
    """Something that is asked of a part; however many want to know, it is asked once, and again when that has ended.

    :param ask: the answer, or a Deferred of it; fails with PipeError.
    :param wait_s: for an answer.
    :param kept_s: for which an answer is good.
    """

    _log = Logger()

    def __init__(self, ask: Callable[[], Any], clock: IReactorTime, *, wait_s: float, kept_s: float) -> None:
        self._ask = ask
        self._clock: Any = clock
        self._wait_s = wait_s
        self._kept_s = kept_s
        self._asked_at: float | None = None  # None: nothing is under way
        self._last: Answer | None = None
        self._until = 0.0  # the last answer is good
        self._waiting: list[Deferred[Answer]] = []
        self._timer: Any = None

    def answer(self) -> Deferred[Answer]:
        """:returns: fires after ``wait_s`` at the latest; never fails."""
        if self._last is not None and self._clock.seconds() < self._until:
            return succeed(self._last)
        waiting: Deferred[Answer] = Deferred()
        self._waiting.append(waiting)
        if self._timer is None:
            self._timer = self._clock.callLater(self._wait_s, self._too_long)
        if self._asked_at is None:
            self._asked_at = self._clock.seconds()
            maybeDeferred(self._ask).addBoth(self._answered)
        return waiting

    def _answered(self, result: Any) -> None:
        asked_at, self._asked_at = self._asked_at, None
        assert asked_at is not None
        problem = ""
        if isinstance(result, Failure):
            problem = str(result.value) if result.check(PipeError) else "it failed, see the log"
            if not result.check(PipeError):
                self._log.failure("a question about the service failed", result)
        self._tell(Answer(None if problem else result, problem, self._clock.seconds() - asked_at))

    def _too_long(self) -> None:
        """The question stays: it is not asked again before it has an answer."""
        self._timer = None
        assert self._asked_at is not None
        seconds = self._clock.seconds() - self._asked_at
        self._tell(Answer(None, f"no answer for {seconds:.0f} s", seconds))

    def _tell(self, answer: Answer) -> None:
        self._last = answer
        self._until = self._clock.seconds() + self._kept_s
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(answer)


@implementer(IHealth)
class Health:
    """See IHealth.

    :param checks: name → words when all is well, or a Deferred of them; PipeError when not.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Any]], clock: IReactorTime) -> None:
        self._questions = {name: Question(check, clock, wait_s=WAIT_S, kept_s=KEPT_S) for name, check in checks.items()}

    async def look(self) -> tuple[Check, ...]:
        """See IHealth."""
        asked = [(name, question.answer()) for name, question in self._questions.items()]  # all at once
        found = []
        for name, waiting in asked:
            answer = await waiting
            ok = not answer.problem
            found.append(Check(name, ok, str(answer.value) if ok else answer.problem, answer.seconds))
        return tuple(found)
