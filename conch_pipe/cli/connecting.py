"""A command that connects to somebody: a reactor of its own for one piece of work."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.cli.session import Session
    from conch_pipe.operations.together import Operations

T = TypeVar("T")


def run(session: Session, work: Callable[[Operations], Coroutine[Any, Any, T]]) -> T:
    """Do something that connects, with the limits of the settings. :raises: what it raises."""
    from twisted.internet.threads import deferToThreadPool

    def over(reactor: Any) -> Coroutine[Any, Any, T]:
        pool = reactor.getThreadPool()
        return work(
            session.operations_over(reactor, lambda function, *args: deferToThreadPool(reactor, pool, function, *args))
        )

    return in_reactor(over)


def in_reactor(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Do it and stop the reactor: the command has no other.

    :param work: is given the reactor, and has closed its connections when it ends.
    :raises: what it raises.
    """
    from twisted.internet.defer import Deferred
    from twisted.internet.selectreactor import SelectReactor
    from twisted.python.failure import Failure

    reactor = SelectReactor()
    results: list[Any] = []

    async def begun() -> T:
        return await work(reactor)  # here, so that what fails at once ends the reactor as well

    def start() -> None:
        Deferred.fromCoroutine(begun()).addBoth(results.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)  # Ctrl-C stays Python's
    if not results:
        raise PipeError(Code.FAILED, "the visit was interrupted")
    if isinstance(results[0], Failure):
        results[0].raiseException()
    result: T = results[0]
    return result
