"""Receivers of webhooks on 127.0.0.1, good and bad, with certificates of an authority of their own."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import ssl
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer


class Authority:
    """Signs certificates for hosts."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        made = self._builder(self.name, self.key, x509.BasicConstraints(ca=True, path_length=0))
        self.certificate = made.sign(self.key, hashes.SHA256())

    @property
    def trust(self) -> Any:
        pem = self.certificate.public_bytes(serialization.Encoding.PEM)
        return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(pem)])

    def options(self, host: str, days: int = 1) -> Any:
        """What a server for a host listens with. :param days: negative: it is over."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: Any = x509.IPAddress(ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        builder = self._builder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")]),
            key,
            x509.BasicConstraints(ca=False, path_length=None),
            days,
        )
        made = builder.add_extension(x509.SubjectAlternativeName([name]), False).sign(self.key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return ssl.PrivateCertificate.loadPEM(private + made.public_bytes(serialization.Encoding.PEM)).options()

    def _builder(self, subject: Any, key: Any, constraints: Any, days: int = 1) -> Any:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=3))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(constraints, True)
        )


@dataclass
class Received:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver(Resource):
    """An HTTP server; ``answer`` gets each request and returns its body, or writes by itself and returns None."""

    answer: Callable[[Any], bytes | None] = lambda request: b"thanks"
    received: list[Received] = field(default_factory=list)
    isLeaf = True

    def __post_init__(self) -> None:
        Resource.__init__(self)

    def render(self, request: Any) -> Any:
        headers = {
            name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self.received.append(Received(request.method.decode(), request.uri.decode(), headers, request.content.read()))
        answer = self.answer(request)
        return NOT_DONE_YET if answer is None else answer

    def factory(self) -> Any:
        """What listens."""
        return Site(self)


class Open(WrappingFactory):
    """Knows when no connection is left."""

    def unregisterProtocol(self, protocol: Any) -> None:
        super().unregisterProtocol(protocol)
        if not self.protocols and self.waiting is not None:
            self.waiting.callback(None)

    waiting: Deferred[None] | None = None

    async def closed(self) -> None:
        """Wait for the last one."""
        if self.protocols:
            self.waiting = Deferred()
            await self.waiting


class Listening:
    """Ports of one test."""

    def __init__(self) -> None:
        self._ports: list[Any] = []
        self._open: list[Open] = []

    def __call__(self, factory: Any, options: Any = None) -> int:
        """:returns: the number of the port."""
        from twisted.internet import reactor as installed

        reactor: Any = installed
        opened = Open(factory)
        opened.noisy = factory.noisy = False
        if options is None:
            port = reactor.listenTCP(0, opened, interface="127.0.0.1")
        else:
            port = reactor.listenSSL(0, opened, options, interface="127.0.0.1")
        self._ports.append(port)
        self._open.append(opened)
        number: int = port.getHost().port
        return number

    async def stop(self) -> None:
        """Nothing is left of them."""
        for port in self._ports:
            await port.stopListening()
        for opened in self._open:
            await opened.closed()


@implementer(IHostnameResolver)
class Names:
    """A resolver that knows every name: 127.0.0.1."""

    def resolveHostName(self, receiver: Any, name: str, port: int = 0, *others: Any, **more: Any) -> None:
        receiver.resolutionBegan(None)
        receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", port))
        receiver.resolutionComplete()
