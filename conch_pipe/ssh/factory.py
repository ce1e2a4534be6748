"""Accepts connections within bounds, knows those that live, and ends them when asked.

Host keys come as Key objects (see hostkeys.py); who may log in is the portal's matter.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Any

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger

from conch_pipe.ssh.algorithms import SERVER, Algorithms, restricted
from conch_pipe.ssh.hostkeys import Signer, signers
from conch_pipe.ssh.interfaces import IConnectionListener, Peer
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server_transport import PutTransport

_QUIET_S = 60.0  # one line about an address's violations in this time
_REMEMBERED = 4096  # addresses
_SWEEP_S = 0.25  # how often draining looks for connections that have closed their last file


class PutFactory(SSHFactory):
    """One listening door.

    :param portal: its realm's avatars adapt to IPutServer; ``login`` gets an IPasswordAttempt and, as mind, a Peer.
    :param host_keys: private Ed25519 and RSA keys, one of each at most, in order of preference.
    :param listener: an IConnectionListener.
    :param algorithms: what is offered, as far as there are keys for it.
    :raises ValueError: no host key, or one of another type.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        portal: Portal,
        host_keys: Sequence[Key],
        listener: Any,
        clock: IReactorTime,
        limits: Limits | None = None,
        algorithms: Algorithms = SERVER["default-2026"],
    ) -> None:
        self.portal = portal
        self.limits = limits or Limits()
        self._listener = IConnectionListener(listener)
        self._clock = clock
        self._signers = signers(host_keys)
        self._offered = restricted(algorithms, list(self._signers))
        self._live: set[PutTransport] = set()
        self._draining: Deferred[None] | None = None
        self._sweeper: IDelayedCall | None = None
        self._told: OrderedDict[str, float] = OrderedDict()

    # Twisted's calls.

    def startFactory(self) -> None:
        """Nothing to load: the keys are given and there are no moduli."""

    def buildProtocol(self, addr: IAddress | None) -> PutTransport | None:  # type: ignore[override]
        """A connection, or None: Twisted closes it then."""
        address = getattr(addr, "host", "local")
        reason = self._no_room(address)
        if reason is not None:
            self.refused(address, reason)
            return None
        peer = Peer(address, getattr(addr, "port", 0), "", os.urandom(8).hex())
        connection = PutTransport(peer, self._offered, self.limits, self._clock)
        connection.factory = self
        self._live.add(connection)
        self._listener.opened(peer.session, peer.address, peer.port)
        return connection

    # What the owner asks for.

    def live(self) -> list[PutTransport]:
        """Connections at this moment; ``avatar`` is there when ``avatar_known``."""
        return list(self._live)

    def end_where(self, matches: Callable[[Any], bool], reason: str) -> int:
        """End the connections whose avatar matches (a credential was revoked).

        :param reason: printable ASCII; the client is told.
        :returns: how many.
        """
        chosen = [each for each in self._live if each.avatar_known and matches(each.avatar)]
        for connection in chosen:
            connection.sendDisconnect(DISCONNECT_BY_APPLICATION, reason.encode())
        return len(chosen)

    def drain(self) -> Deferred[None]:
        """Take no more connections; end those that put nothing now, the others when their last file is closed.

        :returns: fires when none is left. :meth:`end_all` hurries.
        """
        if self._draining is None:
            self._draining = Deferred()
            self._sweep()
        waiter: Deferred[None] = Deferred()
        self._draining.addCallback(lambda _: waiter.callback(None))
        return waiter

    def end_all(self) -> None:
        """Tell every connection that we are shutting down; each is aborted after the lingering time at the latest."""
        for connection in self.live():
            connection.sendDisconnect(DISCONNECT_BY_APPLICATION, b"shutting down")

    # What connections tell.

    def left(self, connection: PutTransport, seconds: float, reason: str) -> None:
        """A connection is gone."""
        self._live.discard(connection)
        self._listener.closed(connection.peer.session, connection.peer.address, seconds, reason)
        if not self._live:
            self._drained()

    def refused(self, address: str, reason: str) -> None:
        """A limit refused a connection or threw one out before login."""
        self._listener.refused(address, reason)

    def disagreed(self, peer: Peer, what: str) -> None:
        """A client has no algorithm of some kind in common with us."""
        self._listener.refused(peer.address, what)

    def host_key(self, algorithm: bytes) -> Signer:
        """The key that signs by an algorithm that was offered."""
        return self._signers[algorithm]

    def violated(self, address: str, what: str) -> None:
        """A connection broke the protocol: one line a minute for each address."""
        now = self._clock.seconds()
        told = self._told.get(address)
        if told is not None and now - told < _QUIET_S:
            return
        self._told[address] = now
        self._told.move_to_end(address)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        self._log.warn("{address} broke the SSH protocol: {what}", address=address, what=what)

    # Our own.

    def _sweep(self) -> None:
        self._sweeper = None
        for connection in self.live():
            if not connection.open_files:
                connection.sendDisconnect(DISCONNECT_BY_APPLICATION, b"shutting down")
        if self._live:
            self._sweeper = self._clock.callLater(_SWEEP_S, self._sweep)
        else:
            self._drained()

    def _drained(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if self._draining is not None and not self._draining.called:
            self._draining.callback(None)

    def _no_room(self, address: str) -> str | None:
        limits, source = self.limits, _source(address)
        mine = [each for each in self._live if _source(each.peer.address) == source]
        if self._draining is not None:
            return "shutting down"
        if len(self._live) >= limits.connections:
            return f"more than {limits.connections} connections"
        if sum(not each.avatar_known for each in self._live) >= limits.not_logged_in:
            return f"more than {limits.not_logged_in} connections not logged in"
        if len(mine) >= limits.per_address:
            return f"more than {limits.per_address} connections of one address"
        if sum(not each.avatar_known for each in mine) >= limits.not_logged_in_per_address:
            return f"more than {limits.not_logged_in_per_address} connections of one address not logged in"
        return None


def _source(address: str) -> str:
    """Whom an address counts for: itself, or an IPv6 /64, which one customer has as a rule."""
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    # A socket for both protocols shows IPv4 clients as ::ffff:192.0.2.1, all of them in one /64.
    return str(parsed.ipv4_mapped or int(parsed) >> 64)
