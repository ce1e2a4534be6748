"""Answers that many share: asked for once in a while, however many look and however long it takes."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from conch_pipe.web.dashboard.kept import GOOD_FOR_S, MOST, SHARE, Kept


class Questions:
    """Counts how often something was looked for, which takes a while."""

    def __init__(self, takes_s: float = 0) -> None:
        self.clock = Clock()
        self.kept = Kept(self.clock)
        self.takes_s = takes_s
        self.times = 0

    async def _find(self) -> int:
        self.times += 1
        self.clock.advance(self.takes_s)
        return self.times

    def ask(self, asked: object = "a") -> int:
        fired: list[int] = []
        Deferred.fromCoroutine(self.kept.get(asked, self._find)).addCallback(fired.append)
        return fired[0]


@pytest.mark.parametrize(("takes_s", "good_for_s"), [(0, GOOD_FOR_S), (0.5, 0.5 * SHARE)])
def test_an_answer_is_good_for_a_while_that_goes_by_what_it_cost(takes_s, good_for_s):
    questions = Questions(takes_s)

    assert [questions.ask(), questions.ask(), questions.ask("b")] == [1, 1, 2]

    questions.clock.advance(good_for_s - takes_s - 0.1)
    assert questions.ask() == 1
    questions.clock.advance(0.2)
    assert questions.ask() == 3


def test_only_so_many_are_kept():
    questions = Questions()
    for number in range(MOST + 1):
        questions.ask(number)

    assert questions.ask(MOST) == MOST + 1
    assert questions.ask(0) == MOST + 2
