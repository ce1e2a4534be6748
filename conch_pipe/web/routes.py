"""Which paths there are, what each takes and answers, and who answers it: the router, and what openapi.py describes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import BaseModel
from twisted.internet.defer import CancelledError
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, RequestRedirect, Rule

from conch_pipe.model import Scope
from conch_pipe.web.problems import Gone, Refused
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response

View = Callable[..., Awaitable[Response]]
Refuse = Callable[[Request, Exception], Response | None]
API = "/api/"  # programs ask here; people everywhere else


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One method of one path.

    :param path: as werkzeug has it, ``/api/external/upload/<uuid:id>/status``.
    :param view: called with the request, and what is in the path by name.
    :param bodies: media type → model of what is taken; None: any bytes.
    :param answers: status → model of what is answered.
    :param refusals: statuses that are answered with a Refusal.
    :param files: media types of files that are answered with 200, and not a document.
    :param public: no token is needed.
    :param scope: an operator's token is needed, with this scope; None: a client's.
    :param body_bytes: of a request at most; None: as Limits has it.
    :param draining: answered while the service shuts down, too.
    :param refuse: makes the answer to what the view raises; None: a Refusal in JSON, see ``problems.refusal``.
    """

    method: str
    path: str
    view: View
    summary: str = ""
    detail: str = ""
    query: type[BaseModel] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    bodies: dict[str, type[BaseModel] | None] = field(default_factory=dict)
    answers: dict[int, type[BaseModel]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    refusals: tuple[int, ...] = ()
    public: bool = False
    scope: Scope | None = None
    hidden: bool = False  # not in the description of the API
    draining: bool = False
    body_bytes: int | None = None
    refuse: Refuse | None = None


class Router:
    """Finds the view of a request.

    :param elsewhere: as a Route's ``refuse``, for paths outside of API that lead nowhere.
    """

    def __init__(self, routes: Sequence[Route], elsewhere: Refuse | None = None) -> None:
        self._elsewhere = elsewhere
        self._routes = tuple(routes)
        self._map = _map(tuple((one.method, one.path) for one in routes))

    async def __call__(self, request: Request) -> Response | None:
        """The view's answer; None: none is right. :raises Refused: no_such_path, method_not_allowed, busy."""
        try:
            route, arguments = self._find(request)
        except Refused as error:
            if self._elsewhere is None or request.path.startswith(API.encode()):
                raise
            return self._elsewhere(request, error)
        if isinstance(route, Response):
            return route
        request.route = route.path
        try:
            request.allow(request.site.limits.body_bytes if route.body_bytes is None else route.body_bytes)
            return await route.view(request, **arguments)
        except (Gone, CancelledError):
            raise
        except Exception as error:
            if route.refuse is None:
                raise
            return route.refuse(request, error)

    def _find(self, request: Request) -> tuple[Route | Response, dict[str, Any]]:
        route, arguments = self._match(request)
        if request.site.draining and not (isinstance(route, Route) and route.draining):
            raise Refused("busy", "the service is shutting down, try again", headers={"Retry-After": "5"})
        return route, arguments

    def _match(self, request: Request) -> tuple[Route | Response, dict[str, Any]]:
        method = request.method.decode("ascii")
        found = self._map.bind("pipe-sftp")
        path = request.path.decode("utf-8", "replace")
        if "//" in path:  # the map would take //a for /a
            raise no_such_path()
        if method == "OPTIONS":
            allowed = sorted({*found.allowed_methods(path), "OPTIONS"})
            if len(allowed) > 1:
                return Response(204, headers={"Allow": ", ".join(allowed)}), {}
        try:
            number, arguments = found.match(path, method)
            return self._routes[number], dict(arguments)
        except MethodNotAllowed as error:
            allowed = sorted({*(error.valid_methods or ()), "OPTIONS"})
            raise Refused(
                "method_not_allowed", "this path has other methods", headers={"Allow": ", ".join(allowed)}
            ) from None
        except (HTTPException, RequestRedirect):
            raise no_such_path() from None


@cache
def _map(places: tuple[tuple[str, str], ...]) -> Map:
    """Methods and paths by their numbers. Made in 60 ms, and the same for all routers of these places."""
    return Map(
        [Rule(path, endpoint=number, methods=[method]) for number, (method, path) in enumerate(places)],
        strict_slashes=False,
        merge_slashes=False,
        redirect_defaults=False,
    )


def no_such_path() -> Refused:
    """What is said of a path that leads nowhere."""
    return Refused("no_such_path", "no such path: /api/docs tells which there are")
