"""The HTTP door as a Twisted service: listens, drains, and looks after its certificate. Decides nothing itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.task import LoopingCall

from conch_pipe import events
from conch_pipe.web import token_keys
from conch_pipe.web.api import application
from conch_pipe.web.certificates import Certificates
from conch_pipe.web.parts import Parts
from conch_pipe.web.site import Site
from conch_pipe.web.tokens import Tokens

LOOK_S = 60.0  # between looks at the certificate
_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where one is found that listens everywhere


class WebService(Service):
    """Listens for clients that speak HTTP.

    :param endpoint: where.
    :param key_file: of the keys that sign tokens; made when it is missing.
    :param token_s: seconds a token is good for.
    :param forwarded_from: networks of proxies whose X-Forwarded-For is believed.
    :param certificate: files of the certificate and its key; None: no TLS.
    """

    name = "web"  # type: ignore[assignment]  # twisted declares None

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        parts: Parts,
        *,
        key_file: Path,
        token_s: float,
        forwarded_from: tuple[str, ...] = (),
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self._endpoint: Any = endpoint
        self._parts = parts
        self._clock: Any = parts.clock
        self._login: Any = parts.login
        self._sign_ins: Any = parts.sign_ins
        self._key_file = key_file
        self._token_s = token_s
        self._certificates = None if certificate is None else Certificates(*certificate, parts.events)
        self._forwarded_from = forwarded_from
        self._port: IListeningPort | None = None
        self._site: Site | None = None
        self._looking: LoopingCall | None = None

    @property
    def port(self) -> int:
        """The TCP port in use. :raises RuntimeError: not listening."""
        if self._port is None:
            raise RuntimeError("the HTTP service is not listening")
        address: Any = self._port.getHost()
        return int(address.port)

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it. :raises RuntimeError: not listening."""
        port = self.port
        assert self._port is not None
        address: Any = self._port.getHost()
        host = _HERE.get(address.host, address.host)
        scheme = "http" if self._certificates is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def connections(self) -> int:
        """How many there are."""
        return 0 if self._site is None else self._site.connections

    def startService(self) -> Deferred[None]:
        """Listen.

        :returns: fails with PipeError when the keys or the certificate cannot be used, CannotListenError when
            somebody else has the port.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        token_keys.make(self._key_file)
        tokens = Tokens(token_keys.read(self._key_file), self._clock.seconds, self._token_s)
        if self._certificates is not None:
            self._certificates.load()
            self._looking = LoopingCall(self._certificates.look)
            self._looking.clock = self._clock
            self._looking.start(LOOK_S, now=False)
        self._site = Site(
            application(self._parts, tokens),
            self._parts.events,
            self._clock,
            self._parts.limits,
            self._forwarded_from,
            self._certificates,
        )
        self._port = await self._endpoint.listen(self._site)
        self._login.start()
        self._sign_ins.start()
        super().startService()
        self._parts.events.note(events.WEB_STARTED, url=self.url, port=self.port)

    def stopService(self) -> Deferred[None]:
        """End all connections and stop; :meth:`drain` before it lets running requests finish."""
        return self.drain(0)

    def drain(self, seconds: float) -> Deferred[None]:
        """Take no new connections and requests.

        :param seconds: how long running requests may take at most; again with fewer hurries.
        :returns: Deferred that fires when no connection is left.
        """
        return Deferred.fromCoroutine(self._drain(seconds))

    async def _drain(self, seconds: float) -> None:
        if self._looking is not None and self._looking.running:
            self._looking.stop()
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        if self._site is not None:
            await self._site.drain(seconds)
        if self.running:
            super().stopService()
            self._login.stop()
            self._sign_ins.stop()
