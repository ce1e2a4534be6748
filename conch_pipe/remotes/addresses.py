"""Where a remote's host is, and whether we may go there: a name is resolved once, and what was judged is connected to.

IPv4 only. Looks at addresses and never at what a name or a number seems to mean: ``127.1`` and ``2130706433`` are what
a resolver makes of them, and are refused before it is asked.

:source: IANA's registry of special-purpose IPv4 addresses (RFC 6890) for what is not the public internet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Any

from twisted.internet import error
from twisted.internet.address import IPv4Address as Place
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from conch_pipe.ssh.client.errors import ClientError, NameNotFound, Unreachable

_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_LONGEST = 253  # characters of a name, RFC 1035 section 2.3.4
_TRIED = 4  # addresses of one name

_REFUSED = {
    IPv4Network(network): what
    for network, what in (
        ("0.0.0.0/8", "of this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a provider's customers"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
}


class AddressRefused(ClientError):
    """We do not connect there, by our own rules."""

    reason = "address"


def host_mistake(host: str) -> str | None:
    """What is wrong with a remote's host as it is written; None: it is an IPv4 address or could be a domain name.

    A name whose last part is a number would be an address to a resolver, in octal say.
    """
    if _literal(host) is not None:
        return None
    if ":" in host:
        return "is an IPv6 address; IPv4 addresses and domain names are taken"
    if len(host.rstrip(".")) > _LONGEST or not _NAME.fullmatch(host):
        return "is neither an IPv4 address nor a domain name"
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return "ends in a number and is no IPv4 address of four decimal numbers"
    return None


def _literal(host: str) -> IPv4Address | None:
    try:
        return IPv4Address(host)
    except AddressValueError:
        return None


def refusal(address: IPv4Address, allowed: Iterable[IPv4Network] = ()) -> str | None:
    """Why we do not connect to an address; None: we do.

    :param allowed: networks in which everything is reached, whatever they are.
    """
    for network, what in _REFUSED.items():
        if address in network:
            return None if any(address in one for one in allowed) else what
    return None


class RemoteEndpoint:
    """An IStreamClientEndpoint to a remote: resolves, judges, connects to what was judged.

    :param reactor: an IReactorTCP; without ``resolver`` its ``nameResolver`` is asked.
    :param allowed: networks that remotes may be in although they are private or otherwise not public.
    :param source: an IPv4 address of ours to connect from.
    :param timeout_s: for all addresses together; the time that a name takes is not counted.
    :param setting: which setting ``allowed`` is from.
    :ivar addresses: those that were found and may be connected to.
    :ivar connected: TCP has come about.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        allowed: Sequence[IPv4Network] = (),
        source: str = "",
        timeout_s: float = 10.0,
        resolver: Any = None,
        setting: str = "push.networks_allowed",
    ) -> None:
        self._setting = setting
        self._reactor = reactor
        self._host = host
        self._port = port
        self._allowed = tuple(allowed)
        self._source = source
        self._timeout_s = timeout_s
        self._resolver = resolver
        self.addresses: tuple[IPv4Address, ...] = ()
        self.connected = False

    def connect(self, factory: Any) -> Deferred[Any]:
        """See IStreamClientEndpoint.

        :raises AddressRefused: no address, or none that we go to.
        :raises NameNotFound: the name has no IPv4 address.
        """
        return Deferred.fromCoroutine(self._connect(factory))

    async def resolve(self) -> tuple[IPv4Address, ...]:
        """The addresses that may be connected to, at most 4; asked for once.

        :raises: as ``connect`` does.
        """
        if not self.addresses:
            mistake = host_mistake(self._host)
            if mistake is not None:
                raise AddressRefused(f"the host {mistake}")
            literal = _literal(self._host)
            self.addresses = self._judged([literal] if literal is not None else await self._asked())
        return self.addresses

    async def _asked(self) -> list[IPv4Address]:
        receiver = _Receiver()
        resolver = self._resolver or self._reactor.nameResolver
        resolver.resolveHostName(receiver, self._host, self._port, addressTypes=[Place])
        return await receiver.found

    def _judged(self, found: list[IPv4Address]) -> tuple[IPv4Address, ...]:
        if not found:
            raise NameNotFound("the host's name has no IPv4 address")
        judged = [(address, refusal(address, self._allowed)) for address in found]
        good = tuple(address for address, why in judged if why is None)
        if not good:
            address, why = judged[0]
            raise AddressRefused(f"the host's address {address} is {why}, and {self._setting} has it not")
        return good[:_TRIED]

    async def _connect(self, factory: Any) -> Any:
        addresses = await self.resolve()
        bind = (self._source, 0) if self._source else None
        patience = self._timeout_s / len(addresses)
        last: Exception | None = None
        for address in addresses:
            try:
                protocol = await TCP4ClientEndpoint(self._reactor, str(address), self._port, patience, bind).connect(
                    factory
                )
            except error.ConnectBindError as problem:
                raise Unreachable(f"nothing can be sent from the address {self._source}") from problem
            except error.ConnectError as problem:
                last = problem
            else:
                self.connected = True
                return protocol
        assert last is not None
        raise last


@implementer(IResolutionReceiver)
class _Receiver:
    """Keeps the IPv4 addresses of a name; ``found`` fires with them, each once and in the resolver's order."""

    def __init__(self) -> None:
        self._some: dict[IPv4Address, None] = {}
        self.found: Deferred[list[IPv4Address]] = Deferred()

    def resolutionBegan(self, resolution: object) -> None:
        """See IResolutionReceiver."""

    def addressResolved(self, address: Any) -> None:
        """See IResolutionReceiver."""
        literal = _literal(getattr(address, "host", "")) if isinstance(address, Place) else None
        if literal is not None:
            self._some[literal] = None

    def resolutionComplete(self) -> None:
        """See IResolutionReceiver."""
        self.found.callback(list(self._some))
