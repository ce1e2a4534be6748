"""Accepts connections within bounds, knows those that live, and ends them when asked.

What the bounds are is decided by admission.py and penalties.py. Host keys come as Key objects (see hostkeys.py); who
may log in is the portal's matter.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Any

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from conch_pipe.ssh.interfaces import IConnectionListener, Peer
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server.addresses import Networks, source
from conch_pipe.ssh.server.admission import Admission
from conch_pipe.ssh.server.announced import Announced
from conch_pipe.ssh.server.behind_proxy import BehindProxy
from conch_pipe.ssh.server.hostkeys import fingerprint
from conch_pipe.ssh.server.offers import Offers
from conch_pipe.ssh.server.penalties import Offence, Penalties
from conch_pipe.ssh.server.proxy_protocol import Header
from conch_pipe.ssh.server.quiet import Quiet, more
from conch_pipe.ssh.server.tally import OwnTally, Tally
from conch_pipe.ssh.server.transport import PutTransport
from conch_pipe.ssh.transport.algorithms import SERVER, Algorithms, NothingInCommon, shown

_REFUSALS = 10  # lines a minute about refusals of one source
_SWEEP_S = 0.25  # how often draining looks for connections that have closed their last file


@dataclass(slots=True)
class _Place:
    """What a connection was counted as."""

    source: str | None  # None: a trusted proxy's own, or one that has not named its client yet
    waiting: bool = True  # for its login
    guilty: bool = False


class PutFactory(SSHFactory):
    """One listening door.

    :param portal: its realm's avatars adapt to IPutServer; ``login`` gets an IPasswordAttempt and, as mind, a Peer.
    :param host_keys: private Ed25519 and RSA keys: the first of each kind signs, all are announced.
    :param listener: an IConnectionListener.
    :param algorithms: what is offered, as far as there are keys for it.
    :param algorithms_from: networks and what is offered to clients from there; the first one decides.
    :param retiring: those of the host keys that are to go some day.
    :param tally: a SharedTally when several processes listen; by default this one counts alone.
    :param seconds: the clock of penalties, ``time.monotonic`` with a SharedTally; by default that of ``clock``.
    :param penalty_exempt: addresses and networks that are never punished.
    :param proxy_from: trusted proxies, as addresses and networks: their connections must begin with a PROXY header,
        and all others must not.
    :param chance: numbers from 0.0 up to 1.0 for the early drop.
    :raises ValueError: no host key, or one of another type; nothing left to offer; something that is no address or
        network.
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
        *,
        algorithms: Algorithms = SERVER["default-2026"],
        algorithms_from: Sequence[tuple[str, Algorithms]] = (),
        retiring: Collection[Key] = (),
        tally: Tally | None = None,
        seconds: Callable[[], float] | None = None,
        penalty_exempt: Sequence[str] = (),
        proxy_from: Sequence[str] = (),
        chance: Callable[[], float] = SystemRandom().random,
    ) -> None:
        self.portal = portal
        self.limits = limits or Limits()
        self._listener = IConnectionListener(listener)
        self._clock = clock
        self._offers = Offers(host_keys, algorithms, algorithms_from)
        self.announced = Announced(host_keys)
        self.retiring = frozenset(map(fingerprint, retiring))
        self._live: dict[PutTransport, _Place] = {}
        self._by_session: dict[str, PutTransport] = {}
        self._nameless: dict[BehindProxy, _Place] = {}
        self._tally: Tally = OwnTally() if tally is None else tally
        self._proxies = Networks(proxy_from)
        exempt = Networks([*penalty_exempt, *proxy_from])
        self._admission = Admission(self.limits, self._tally, chance)
        self._penalties = Penalties(self.limits, self._tally, seconds or clock.seconds, exempt)
        self._draining: Deferred[None] | None = None
        self._sweeper: IDelayedCall | None = None
        self._violations = Quiet(clock.seconds, 1)
        self._punished = Quiet(clock.seconds, 1)
        self._refusals = Quiet(clock.seconds, _REFUSALS)
        self._disagreements = Quiet(clock.seconds, _REFUSALS)

    # Twisted's calls.

    def startFactory(self) -> None:
        """Nothing to load: the keys are given and there are no moduli."""

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:  # type: ignore[override]
        """A connection, or None: Twisted closes it then."""
        address, port = getattr(addr, "host", "local"), getattr(addr, "port", 0)
        proxied = address in self._proxies
        culprit = None if proxied else source(address)
        if culprit is not None and self._is_punished(address):
            return None
        reason = self._admission.refusal(culprit)
        if reason is not None:
            self.refused(address, reason)
            return None
        self._tally.add(culprit, 1, 1)
        place = _Place(culprit)
        if not proxied:
            return self._welcome(address, port, place)
        arrival = BehindProxy(self, address, port, self._clock)
        self._nameless[arrival] = place
        return arrival

    # What connections behind a proxy tell.

    def named(self, arrival: BehindProxy, header: Header) -> PutTransport | None:
        """See Arrivals."""
        place = self._nameless.pop(arrival)
        if header.address is None:
            return self._welcome(arrival.address, arrival.port, place)
        culprit = source(header.address)
        punished = self._is_punished(header.address)
        reason = None if punished else self._admission.crowd(culprit)
        if punished or reason is not None:
            self._tally.add(None, -1, -1)
            if reason is not None:
                self.refused(header.address, reason)
            return None
        self._tally.move(culprit, 1, 1)
        place.source = culprit
        return self._welcome(header.address, header.port, place)

    def nameless(self, arrival: BehindProxy, problem: str | None) -> None:
        """See Arrivals."""
        del self._nameless[arrival]
        self._tally.add(None, -1, -1)
        if problem is not None:
            self._tell_violation(arrival.address, problem)
        self._look_whether_drained()

    # What the owner asks for.

    def live(self) -> list[PutTransport]:
        """Connections at this moment; ``avatar`` is there when ``avatar_known``."""
        return list(self._live)

    def find(self, session: str) -> PutTransport | None:
        """The connection of this id; None when it is gone."""
        return self._by_session.get(session)

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
            self._admission.draining = True
            for arrival in list(self._nameless):
                arrival.abort()
            self._sweep()
        waiter: Deferred[None] = Deferred()
        self._draining.addCallback(lambda _: waiter.callback(None))
        return waiter

    def end_all(self) -> None:
        """Tell every connection that we are shutting down; each is aborted after the lingering time at the latest."""
        for connection in self.live():
            connection.sendDisconnect(DISCONNECT_BY_APPLICATION, b"shutting down")

    # What connections tell.

    def welcomed(self, connection: PutTransport) -> None:
        """A connection has logged in."""
        place = self._live.get(connection)
        if place is not None and place.waiting:
            place.waiting = False
            self._tally.add(place.source, 0, -1)

    def left(self, connection: PutTransport, seconds: float, reason: str) -> None:
        """A connection is gone."""
        place = self._live.pop(connection, None)
        self._by_session.pop(connection.peer.session, None)
        if place is not None:
            self._tally.add(place.source, -1, -int(place.waiting))
            if place.waiting and self._draining is None:
                self._judge(connection, place)
        self._listener.closed(connection.peer.session, connection.peer.address, seconds, reason)
        self._look_whether_drained()

    def refused(self, address: str, reason: str) -> None:
        """A limit refused a connection or threw one out before login: ten lines a minute for each source."""
        left_out = self._refusals.ask(source(address))
        if left_out is not None:
            self._listener.refused(address, reason + more(left_out))

    def disagreed(self, peer: Peer, error: NothingInCommon) -> None:
        """A client has no algorithm of some kind in common with us: as seldom told as refusals."""
        if self._disagreements.ask(source(peer.address)) is not None:
            self._listener.disagreed(peer.address, peer.banner, error.what, shown(error.client), shown(error.server))

    def learnt(self, peer: Peer, host_keys: list[str]) -> None:
        """A client asked whether we have host keys that are new to it, and we have."""
        self._listener.learnt(peer.session, peer.address, host_keys)

    def violated(self, connection: PutTransport, what: str) -> None:
        """A connection broke the protocol: one line a minute for each source."""
        self._tell_violation(connection.peer.address, what)
        self.offence(connection, Offence.VIOLATION)

    def offence(self, connection: PutTransport, offence: Offence) -> None:
        """Before its login a connection did something that has a price; after it nothing has."""
        place = self._live.get(connection)
        if place is not None and place.waiting:
            place.guilty = True
            self._penalties.note(connection.peer.address, offence)

    # Our own.

    def _welcome(self, address: str, port: int, place: _Place) -> PutTransport:
        peer = Peer(address, port, "", os.urandom(8).hex())
        connection = PutTransport(peer, self._offers.to(address), self.limits, self._clock)
        connection.factory = self
        self._live[connection] = place
        self._by_session[peer.session] = connection
        self._listener.opened(peer.session, peer.address, peer.port)
        return connection

    def _is_punished(self, address: str) -> bool:
        left = self._penalties.left(address)
        if left <= 0:
            return False
        left_out = self._punished.ask(source(address))
        if left_out is not None:
            self._listener.refused(address, f"punished for {left:.0f} s more{more(left_out)}")
        return True

    def _judge(self, connection: PutTransport, place: _Place) -> None:
        """It left without a login: if it did nothing that had a price, and did not even try, that has one."""
        if not place.guilty and not connection.login.attempts:
            self._penalties.note(connection.peer.address, Offence.NO_ATTEMPT)

    def _tell_violation(self, address: str, what: str) -> None:
        left_out = self._violations.ask(source(address))
        if left_out is not None:
            self._log.warn(
                "{address} broke the SSH protocol: {what}{more}", address=address, what=what, more=more(left_out)
            )

    def _sweep(self) -> None:
        self._sweeper = None
        for connection in self.live():
            if not connection.open_files:
                connection.sendDisconnect(DISCONNECT_BY_APPLICATION, b"shutting down")
        if self._live or self._nameless:
            self._sweeper = self._clock.callLater(_SWEEP_S, self._sweep)
        else:
            self._drained()

    def _look_whether_drained(self) -> None:
        if not self._live and not self._nameless:
            self._drained()

    def _drained(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if self._draining is not None and not self._draining.called:
            self._draining.callback(None)
