"""/healthz, /readyz and /metrics: for probes and for Prometheus.

Anybody may ask the first two and learns whether, not why. Why, and the numbers, are for those who are near
(``http.metrics_from``) or have an operator's token with READ.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces.health import IHealth, IMetrics
from conch_pipe.model import Actor, Scope
from conch_pipe.ssh.server.addresses import Networks
from conch_pipe.web.actors import Actors
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response, document
from conch_pipe.web.routes import Route

PROOF_S = 2.0  # that the catalog may take for a token: it may be what is wrong
TEXT = "text/plain; version=0.0.4; charset=utf-8"
# A proxy on this machine is near, those it forwards for are not. When we are not told to believe it, nobody is.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


class HealthViews:
    """The three.

    :param near: addresses whose people need no token; ``"127.0.0.0/8"``.
    """

    def __init__(
        self, health: IHealth, metrics: IMetrics, actors: Actors, near: tuple[str, ...], clock: IReactorTime
    ) -> None:
        self._clock = clock
        self._health: Any = health
        self._metrics: Any = metrics
        self._actors = actors
        self._near = Networks(near)

    async def healthz(self, request: Request) -> Response:
        """The process lives, and its event loop turns: this is an answer."""
        return Response(body=b"ok\n", media_type="text/plain; charset=utf-8")

    async def readyz(self, request: Request) -> Response:
        """Whether it is to be sent work: 200, or 503."""
        draining = request.site.draining
        closer = await self._may_look_closer(request)  # first: later the connection may be gone
        checks = await self._health.look()
        told: list[dict[str, Any]] = []
        for check in checks:
            one = {"name": check.name, "ok": check.ok}
            told.append(one | {"words": check.words, "seconds": round(check.seconds, 3)} if closer else one)
        ready = not draining and all(check.ok for check in checks)
        return document({"ready": ready, "draining": draining, "checks": told}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Numbers for Prometheus. :raises PipeError: UNAUTHORIZED, NOT_ALLOWED, BUSY."""
        if not self._is_near(request):
            await self._prove(request)
        return Response(body=await self._metrics.text(), media_type=TEXT)

    async def _may_look_closer(self, request: Request) -> bool:
        if self._is_near(request):
            return True
        if not request.header("Authorization"):
            return False
        try:
            await self._prove(request)
        except PipeError as error:
            if error.code not in (Code.UNAUTHORIZED, Code.NOT_ALLOWED, Code.BUSY):
                raise
            return False  # the catalog that would know the token may be what is wrong
        return True

    async def _prove(self, request: Request) -> None:
        """:raises PipeError: UNAUTHORIZED, NOT_ALLOWED; BUSY, also when the catalog says nothing."""
        proof: Deferred[Actor] = Deferred.fromCoroutine(self._actors.of(request, Scope.READ))
        try:
            actor = await proof.addTimeout(PROOF_S, self._clock)
        except TimeoutError:
            raise PipeError(Code.BUSY, "the token cannot be looked up just now") from None
        if actor.organisation is not None:
            raise PipeError(Code.NOT_ALLOWED, "the numbers are of all organisations")

    def _is_near(self, request: Request) -> bool:
        if request.peer.address not in self._near:
            return False
        forwarded = any(request.requestHeaders.hasHeader(name.encode()) for name in _FORWARDED)
        return not forwarded or request.peer.address != request.channel.address


def health_routes(parts: Parts, actors: Actors) -> list[Route]:
    """They are answered while the service drains, too, and are not part of the API."""
    views = HealthViews(parts.health, parts.metrics, actors, parts.metrics_from, parts.clock)
    return [
        Route("GET", "/healthz", views.healthz, public=True, hidden=True, draining=True),
        Route("GET", "/readyz", views.readyz, public=True, hidden=True, draining=True),
        Route("GET", "/metrics", views.metrics, hidden=True, draining=True),
    ]
