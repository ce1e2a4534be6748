"""The door of the dashboard, and in which colours it is shown."""

from __future__ import annotations

from conch_pipe.model import Actor, Scope
from conch_pipe.web.dashboard.forms import Filled
from conch_pipe.web.dashboard.pages import HOME, Pages, local
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route


def entry(pages: Pages) -> list[Route]:
    """Its routes."""
    views = _Entry(pages)
    return [
        pages.open("GET", "/", views.home),
        pages.post("/theme", views.theme, Scope.READ),
    ]


class _Entry:
    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def home(self, request: Request) -> Response:
        return self._pages.to(request, HOME)

    async def theme(self, request: Request, actor: Actor, form: Filled) -> Response:
        return self._pages.themed(request, form.get("theme"), local(form.get("next")))
