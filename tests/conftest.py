"""What every test is held to: no timer left behind, no error unseen, no secret in any log line.

Test secrets contain CANARY. Trial test cases look after timers and errors themselves.
"""

from __future__ import annotations

import gc

import pytest
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

CANARY = "kanarek"


def pytest_collection_finish():
    """What the imports left lives as long as the run: not looking at it again makes each test's gc.collect cheap."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    """Frozen objects are never freed, and DuckDB's binding reports them as leaks when the process ends."""
    gc.unfreeze()


class LoggedErrors(list):
    """Failures logged during one test; a test that means to cause one flushes it."""

    def flush(self, *types: type[BaseException]) -> list:
        """Take out the failures of these types (all, without any) and return them."""
        taken = [failure for failure in self if not types or failure.check(*types)]
        self[:] = [failure for failure in self if failure not in taken]
        return taken


@pytest.fixture
def logged_errors() -> LoggedErrors:
    """The errors logged so far: ``logged_errors.flush(ZeroDivisionError)``."""
    return LoggedErrors()


@pytest.fixture(autouse=True, scope="module")
def _left_behind():
    """What a module's tests left, pytest's reports above all, need not be looked at after each test of the next one.

    It is torn down after all else that the module had.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _clean(request, logged_errors):
    """Fail a test that leaks a timer, an unhandled Deferred error or a secret."""
    from twisted.internet import reactor

    leaks: list[str] = []

    def observe(event):
        if event.get("log_failure") is not None:
            logged_errors.append(event["log_failure"])
        text = formatEvent(event) + repr({k: v for k, v in event.items() if not k.startswith("log_")})
        if CANARY in text:
            leaks.append(text[:400])

    before = set(reactor.getDelayedCalls())
    globalLogPublisher.addObserver(observe)
    try:
        yield
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not leaks, f"a log line carries a secret: {leaks}"
    if isinstance(request.instance, SynchronousTestCase):
        return
    timers = [call for call in reactor.getDelayedCalls() if call not in before and call.active()]
    for call in timers:
        call.cancel()
    assert not timers, f"timers left behind: {timers}"
    errors = [failure.getTraceback() for failure in logged_errors]
    assert not errors, "errors nobody handled:\n" + "\n".join(errors)
