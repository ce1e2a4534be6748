"""A command that connects to a remote: a reactor of its own for one piece of work, with the limits of the settings."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING, Any, TypeVar

from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.remotes.session import Surroundings
    from conch_pipe.settings import Settings

T = TypeVar("T")


def networks_allowed(settings: Settings) -> tuple[IPv4Network, ...]:
    """Where remotes may be although the addresses are private; IPv6 is not used."""
    return networks(settings.push.networks_allowed)


def networks(allowed: Iterable[str]) -> tuple[IPv4Network, ...]:
    """Of a setting."""
    return tuple(one for one in map(ip_network, allowed) if isinstance(one, IPv4Network))


def run(settings: Settings, work: Callable[[Surroundings], Coroutine[Any, Any, T]]) -> T:
    """Do it and stop the reactor: the command has no other.

    :param work: connects by what it is given, and has closed its connections when it ends.
    :raises: what it raises.
    """
    from twisted.internet.defer import Deferred
    from twisted.internet.selectreactor import SelectReactor
    from twisted.internet.threads import deferToThreadPool
    from twisted.python.failure import Failure

    from conch_pipe.remotes.session import Surroundings
    from conch_pipe.ssh.client.limits import ClientLimits

    reactor = SelectReactor()
    push = settings.push
    around = Surroundings(
        reactor,
        lambda function, *args: deferToThreadPool(reactor, reactor.getThreadPool(), function, *args),
        networks_allowed(settings),
        ClientLimits(
            connect_s=push.connect_s, login_s=push.login_s, request_s=push.request_s, progress_s=push.progress_s
        ),
    )
    results: list[Any] = []

    def start() -> None:
        Deferred.fromCoroutine(work(around)).addBoth(results.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)  # Ctrl-C stays Python's
    if not results:
        raise PipeError(Code.FAILED, "the visit was interrupted")
    if isinstance(results[0], Failure):
        results[0].raiseException()
    result: T = results[0]
    return result
