"""Which paths there are, what each takes and answers, and who answers it: the router, and what openapi.py describes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, RequestRedirect, Rule

from conch_pipe.web.problems import Refused
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response

View = Callable[..., Awaitable[Response]]


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One method of one path.

    :param path: as werkzeug has it, ``/api/external/upload/<uuid:id>/status``.
    :param view: called with the request, and what is in the path by name.
    :param bodies: media type → model of what is taken; None: any bytes.
    :param answers: status → model of what is answered.
    :param refusals: statuses that are answered with a Refusal.
    :param public: no token is needed.
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
    refusals: tuple[int, ...] = ()
    public: bool = False
    hidden: bool = False  # not in the description of the API


class Router:
    """Finds the view of a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._map = Map(
            [Rule(one.path, endpoint=one, methods=[one.method]) for one in routes],
            strict_slashes=False,
            merge_slashes=False,
            redirect_defaults=False,
        )

    async def __call__(self, request: Request) -> Response:
        """The view's answer. :raises Refused: no_such_path, method_not_allowed, busy."""
        if request.site.draining:
            raise Refused("busy", "the service is shutting down, try again", headers={"Retry-After": "5"})
        method = request.method.decode("ascii")
        found = self._map.bind("pipe-sftp")
        path = request.path.decode("utf-8", "replace")
        if "//" in path:  # the map would take //a for /a
            raise no_such_path()
        if method == "OPTIONS":
            allowed = sorted({*found.allowed_methods(path), "OPTIONS"})
            if len(allowed) > 1:
                return Response(204, headers={"Allow": ", ".join(allowed)})
        route: Route
        arguments: dict[str, Any]
        try:
            route, arguments = found.match(path, method)  # type: ignore[assignment]
        except MethodNotAllowed as error:
            allowed = sorted({*(error.valid_methods or ()), "OPTIONS"})
            raise Refused(
                "method_not_allowed", "this path has other methods", headers={"Allow": ", ".join(allowed)}
            ) from None
        except (HTTPException, RequestRedirect):
            raise no_such_path() from None
        request.route = route.path
        return await route.view(request, **arguments)


def no_such_path() -> Refused:
    """What is said of a path that leads nowhere."""
    return Refused("no_such_path", "no such path: /api/docs tells which there are")
