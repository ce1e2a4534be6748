"""One signed message to a webhook's address: one POST over a new connection to an address that was judged.

No redirect is followed, no proxy asked, nothing kept between messages, and of the answer no more read than is shown.
Whether a message is tried again is said in ``processing/notify.py``.

:source: the Standard Webhooks specification, 1.0: headers, signatures, 410.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Network
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from standardwebhooks import Webhook as Signature
from twisted.internet import error, ssl
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from conch_pipe.interfaces import ISender
from conch_pipe.model import Answer
from conch_pipe.remotes.addresses import AddressRefused, RemoteEndpoint
from conch_pipe.ssh.client.errors import ClientError

CONNECT_S = 10.0
SEND_S = 30.0  # all in all, the name included
BODY_S = 5.0  # for what comes after the status
BODY = 4_096  # bytes of an answer that are read
ANSWER = 65_536  # bytes of an answer that are taken in, its head included
SHOWN = 1_000  # characters of it that are kept
LONGEST_WAIT_S = 3_600.0  # that a receiver may ask for
NETWORKS = "webhooks.networks_allowed"

_CONNECTING = (
    (error.ConnectionRefusedError, "refused", "nobody listens there"),
    ((error.TimeoutError, error.TCPTimedOutError), "timeout", f"no connection within {CONNECT_S:g} s"),
    (error.ConnectError, "unreachable", "there is no way to the host"),
)

_LOST = (error.ConnectionLost, error.ConnectionDone, error.ConnectionAborted)


@implementer(ISender)
class Sender:
    """See ISender.

    :param allowed: networks in which everything is reached, also without TLS.
    :param trust: whose certificates are taken; None: those of the authorities the system trusts.
    :param resolver: an IHostnameResolver; None: the reactor's.
    """

    def __init__(
        self, reactor: Any, allowed: Sequence[IPv4Network] = (), *, trust: Any = None, resolver: Any = None
    ) -> None:
        self.reactor = reactor
        self.allowed = tuple(allowed)
        self.trust = trust
        self.resolver = resolver

    def send(self, url: str, message: str, body: str, secrets: Sequence[str], at: datetime) -> Deferred[Answer]:
        """See ISender."""
        return Deferred.fromCoroutine(self._send(url, _headers(message, body, secrets, at), body.encode(), at))

    async def _send(self, url: str, headers: Headers, body: bytes, at: datetime) -> Answer:
        began = self.reactor.seconds()
        way = _Way(self)
        agent = Agent.usingEndpointFactory(self.reactor, way)
        asking = agent.request(b"POST", url.encode("ascii"), headers, _Body(body))
        asking.addTimeout(SEND_S, self.reactor, lambda result, _: _too_late(result))
        try:
            response = await asking
            text = await self._read(response, SEND_S - (self.reactor.seconds() - began))
        except CancelledError:
            raise
        except Exception as problem:  # noqa: BLE001 - the edge of the HTTP client, whose errors are of many kinds
            if any(isinstance(cause, CancelledError) for cause in _causes(problem)):
                raise CancelledError from problem
            reason, detail = _told(problem, way)
            return Answer(None, reason, detail, seconds=self.reactor.seconds() - began)
        finally:
            way.end()
        return judged(response.code, response.headers, text, self.reactor.seconds() - began, at)

    async def _read(self, response: IResponse, left_s: float) -> bytes:
        """The beginning of an answer, as far as it comes soon: what counts is the status."""
        beginning = _Beginning()
        response.deliverBody(beginning)
        beginning.done.addTimeout(max(0.0, min(BODY_S, left_s)), self.reactor, lambda *_: None)
        await beginning.done
        return bytes(beginning.data[:BODY])


def judged(status: int, headers: Headers, body: bytes, seconds: float, at: datetime) -> Answer:
    """What an answer means: pure.

    :param at: when it was asked for.
    """
    text = "".join(one if one.isprintable() else " " for one in body.decode("utf-8", "replace")).strip()[:SHOWN]
    if 200 <= status < 300:
        return Answer(status, body=text, seconds=seconds)
    if status == 410:
        return Answer(status, "gone", "the receiver says that it wants nothing more", text, seconds)
    if 300 <= status < 400:
        return Answer(status, "redirect", "redirects are not followed: change the webhook's URL", text, seconds)
    wait_s = _wait(headers, at) if status in (429, 503) else 0.0
    return Answer(status, "status", f"the receiver answered {status}", text, seconds, wait_s)


def _wait(headers: Headers, at: datetime) -> float:
    """What Retry-After asks for, in seconds; 0: nothing that can be understood."""
    (value,) = (headers.getRawHeaders("retry-after") or ["0"])[:1]
    try:
        seconds = float(value) if value.isdecimal() else (parsedate_to_datetime(value) - at).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(LONGEST_WAIT_S, max(0.0, seconds))


def _headers(message: str, body: str, secrets: Sequence[str], at: datetime) -> Headers:
    signatures = [Signature(secret).sign(message, at, body) for secret in secrets]
    return Headers(
        {
            "content-type": ["application/json"],
            "user-agent": ["pipe-sftp"],
            "webhook-id": [message],
            "webhook-timestamp": [str(int(at.timestamp()))],
            "webhook-signature": [" ".join(signatures)],
        }
    )


class _TooLate(Exception):
    """The time for one message is over."""


def _too_late(result: Any) -> Any:
    raise _TooLate


def _told(problem: BaseException, way: _Way) -> tuple[str, str]:
    """The word and the sentence of what went wrong."""
    causes = _causes(problem)
    for cause in causes:
        if isinstance(cause, ClientError):
            return cause.reason, str(cause)
        if isinstance(cause, (SSL.Error, VerificationError)):
            return "tls", _tls(cause)
        for kinds, reason, detail in _CONNECTING:
            if isinstance(cause, kinds):
                return reason, detail
    if any(isinstance(cause, _TooLate) for cause in causes):
        waited = "no answer" if way.connected else "no connection"
        return "timeout", f"{waited} within {SEND_S:g} s"
    if way.overflowed:
        return "too_much", f"the head of the answer is longer than {ANSWER} bytes"
    if any(
        isinstance(cause, (error.ConnectionLost, error.ConnectionDone, error.ConnectionAborted)) for cause in causes
    ):
        return "connection_lost", "the connection ended before an answer came"
    return "not_http", f"what was answered is not HTTP: {type(causes[-1]).__name__}"


def _causes(problem: BaseException) -> list[BaseException]:
    """An error of the HTTP client and all that it was made of."""
    found = [problem]
    reasons = getattr(problem, "reasons", None) if isinstance(problem, Exception) else None
    for one in reasons or ():
        found += _causes(one.value if isinstance(one, Failure) else one)
    return found


def _tls(cause: Exception) -> str:
    if isinstance(cause, VerificationError):
        return "the certificate is for another host"
    words = [reason for _, _, reason in cause.args[0]] if cause.args and isinstance(cause.args[0], list) else []
    return "TLS: " + (", ".join(words) or "the handshake failed")


@implementer(IAgentEndpointFactory)
class _Way:
    """How one message gets there; remembers the connection, so that it can be ended whatever the receiver does."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.transports: list[_Bounded] = []

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802 - Twisted calls it
        """See IAgentEndpointFactory."""
        sender, host = self.sender, uri.host.decode("ascii")
        remote = _Judged(sender, host, uri.port, plain=uri.scheme == b"http")
        if uri.scheme == b"http":
            return _Remembered(self, remote)
        options = ssl.optionsForClientTLS(host, **({} if sender.trust is None else {"trustRoot": sender.trust}))
        return _Remembered(self, wrapClientTLS(options, remote))

    @property
    def connected(self) -> bool:
        return bool(self.transports)

    @property
    def overflowed(self) -> bool:
        return any(one.taken > ANSWER for one in self.transports)

    def end(self) -> None:
        for one in self.transports:
            one.abort()


@implementer(IStreamClientEndpoint)
class _Judged:
    """As RemoteEndpoint; without TLS only into networks that are allowed."""

    def __init__(self, sender: Sender, host: str, port: int, *, plain: bool) -> None:
        self.sender = sender
        self.plain = plain
        self.endpoint = RemoteEndpoint(
            sender.reactor,
            host,
            port,
            sender.allowed,
            timeout_s=CONNECT_S,
            resolver=sender.resolver,
            setting=NETWORKS,
        )

    def connect(self, protocolFactory: Any) -> Deferred[Any]:  # noqa: N803 - Twisted's name
        """See IStreamClientEndpoint."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: Any) -> Any:
        addresses = await self.endpoint.resolve()
        if self.plain and not all(any(one in network for network in self.sender.allowed) for one in addresses):
            raise AddressRefused(f"without TLS only networks in {NETWORKS} are reached")
        return await self.endpoint.connect(factory)


@implementer(IStreamClientEndpoint)
class _Remembered:
    def __init__(self, way: _Way, endpoint: Any) -> None:
        self.way = way
        self.endpoint = endpoint

    def connect(self, protocolFactory: Any) -> Deferred[Any]:  # noqa: N803 - Twisted's name
        """See IStreamClientEndpoint."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: Any) -> Any:
        bounded = WrappingFactory(factory)
        bounded.protocol = _Bounded
        protocol = await self.endpoint.connect(bounded)
        self.way.transports.append(protocol)
        return protocol.wrappedProtocol


class _Bounded(ProtocolWrapper):
    """Ends a connection over which too much comes."""

    taken = 0

    def dataReceived(self, data: bytes) -> None:
        self.taken += len(data)
        if self.taken > ANSWER:
            self.abort()
            return
        super().dataReceived(data)

    def abort(self) -> None:
        """End the connection at once, whether or not the other side agrees."""
        transport: Any = self.transport
        transport.abortConnection()


@implementer(IBodyProducer)
class _Body:
    """A message, written at once: it is a few thousand bytes."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        """See IBodyProducer."""
        consumer.write(self.body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to be written."""

    resumeProducing = stopProducing = pauseProducing


class _Beginning(Protocol):
    """The first bytes of an answer; ``done`` fires when there are enough of them or no more come."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.done: Deferred[None] = Deferred(lambda _: None)

    def dataReceived(self, data: bytes) -> None:
        self.data += data[: BODY - len(self.data)]
        if len(self.data) >= BODY:
            self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end()

    def _end(self) -> None:
        if not self.done.called:
            self.done.callback(None)
