"""The reactor of a command lives as long as its work, however that ends."""

from __future__ import annotations

import pytest
from twisted.internet.task import deferLater

from conch_pipe.cli.connecting import in_reactor


def test_the_result_is_what_the_work_returns():
    async def work(reactor):
        return await deferLater(reactor, 0, lambda: 4711)

    assert in_reactor(work) == 4711


def test_work_that_fails_before_it_begins_ends_the_reactor_too():
    def work(reactor):
        raise KeyError("nothing like that")

    with pytest.raises(KeyError):
        in_reactor(work)
