"""Who may connect, how many at a time, over TLS or not; and what every request has in common.

What is asked and answered is the application's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory

from conch_pipe import events
from conch_pipe.interfaces import IEvents
from conch_pipe.model import Peer
from conch_pipe.ssh.server.addresses import Networks, source
from conch_pipe.web.channel import Channel
from conch_pipe.web.limits import Limits
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response

BANNER = 255  # characters of a user agent that are kept
PATH = 300  # characters of a path that are told
_LOOK_S = 0.1

Answer = Callable[[Request], Awaitable[Response | None]]


class Site(ServerFactory):
    """The connections.

    :param application: answers requests; raises what ``problems.refusal`` knows.
    :param forwarded_from: networks whose X-Forwarded-For is believed; ``"192.0.2.0/24"``.
    :param creator: an IOpenSSLServerConnectionCreator; None: no TLS.
    """

    noisy = False

    def __init__(
        self,
        application: Answer,
        events: IEvents,
        clock: IReactorTime,
        limits: Limits = Limits(),
        forwarded_from: Sequence[str] = (),
        creator: Any = None,
    ) -> None:
        self.clock: Any = clock
        self.limits = limits
        self.draining = False
        self._application = application
        self._events = events
        self._trusted = Networks(forwarded_from)
        self._channels: set[Channel] = set()
        self._here: Counter[str] = Counter()
        self._refused_at: float | None = None
        inner = _Channels(self)
        self._inner: Any = inner if creator is None else TLSMemoryBIOFactory(creator, False, inner, clock)

    # Connections.

    def buildProtocol(self, addr: Any) -> Any:
        """A connection, unless there are too many; those are closed without a word, which would cost a handshake."""
        host = str(addr.host)
        if self.draining:
            return None
        if len(self._channels) >= self.limits.connections:
            self._too_many(host, "too many connections")
            return None
        if self._here[source(host)] >= self.limits.per_address and host not in self._trusted:
            self._too_many(host, "too many connections from this address")
            return None
        return self._inner.buildProtocol(addr)

    def _too_many(self, host: str, reason: str) -> None:
        now = self.clock.seconds()
        if self._refused_at is None or now - self._refused_at >= 1:  # a flood of them must not be one of lines
            self._refused_at = now
            self._events.note(events.SESSION_REFUSED, address=host, reason=f"http: {reason}", door="http")

    def came(self, channel: Channel) -> None:
        """One more."""
        self._channels.add(channel)
        self._here[source(channel.address)] += 1

    def left(self, channel: Channel) -> None:
        """One less."""
        if channel in self._channels:
            self._channels.remove(channel)
            name = source(channel.address)
            self._here[name] -= 1
            if not self._here[name]:
                del self._here[name]

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._channels)

    async def drain(self, seconds: float) -> None:
        """Take no new requests; return when all that are here are answered, or cut after so many seconds."""
        self.draining = True
        until = self.clock.seconds() + seconds
        while self._channels and self.clock.seconds() < until:
            for channel in list(self._channels):
                channel.leave()
            if self._channels:
                await deferLater(self.clock, _LOOK_S)
        for channel in list(self._channels):
            channel.transport.abortConnection()

    # Requests.

    async def answer(self, request: Request) -> Response | None:
        """The application's answer."""
        return await self._application(request)

    def peer(self, request: Request) -> Peer:
        """Who asks."""
        channel = request.channel
        agent = request.requestHeaders.getRawHeaders(b"User-Agent", [b""])[0]
        banner = agent.decode("ascii", "backslashreplace").encode("unicode_escape").decode()[:BANNER]
        return Peer(self._behind(channel.address, request), channel.port, banner, channel.session, "http")

    def _behind(self, address: str, request: Request) -> str:
        """Whom a proxy of ours forwards for: the last address that is not a proxy of ours itself."""
        if address not in self._trusted:
            return address
        told = b",".join(request.requestHeaders.getRawHeaders(b"X-Forwarded-For", [])).decode("ascii", "replace")
        for one in reversed([word.strip() for word in told.split(",") if word.strip()]):
            try:
                address = str(ip_address(one.removeprefix("[").partition("]")[0]))
            except ValueError:
                break
            if address not in self._trusted:
                break
        return address

    def secure(self, request: Request) -> bool:
        """Whether whoever asks speaks TLS: with us, or with a proxy of ours that says so."""
        channel = request.channel
        if channel.isSecure():
            return True
        told = b",".join(request.requestHeaders.getRawHeaders(b"X-Forwarded-Proto", []))
        return channel.address in self._trusted and told.split(b",")[0].strip().lower() == b"https"

    def told(self, request: Request, status: int, seconds: float) -> None:
        """A request was answered; status 0: it was not."""
        self._events.note(
            events.WEB_REQUEST,
            address=request.peer.address,
            client_id=request.client_id,
            method=request.method[:16].decode("ascii", "replace"),
            route=request.route,
            status=status,
            received=request.body.received,
            seconds=seconds,
            session=request.peer.session,
        )
        if request.more_than_a_look:
            self._events.note(
                events.OPERATION_ASKED,
                actor=request.client_id,
                address=request.peer.address,
                method=request.method[:16].decode("ascii", "replace"),
                path=request.path.decode("utf-8", "replace").encode("unicode_escape").decode()[:PATH],
                status=status,
                session=request.peer.session,
            )

    def refused(self, channel: Channel, status: int) -> None:
        """Something came that never became a request."""
        self._events.note(
            events.WEB_REQUEST,
            address=channel.address,
            client_id="",
            method="-",
            route="-",
            status=status,
            received=0,
            seconds=0.0,
            session=channel.session,
        )

    def log(self, request: object) -> None:
        """Twisted's access log, which has the query with whatever is in it; see ``told``."""


class _Channels(ServerFactory):
    """Makes them, with TLS around or without."""

    noisy = False

    def __init__(self, site: Site) -> None:
        self._site = site

    def buildProtocol(self, addr: Any) -> Channel:
        channel = Channel(self._site, str(addr.host), int(addr.port))
        self._site.came(channel)
        return channel
