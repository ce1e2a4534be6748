"""What needs a person now, and how much came and how long it took."""

from __future__ import annotations

from conch_pipe.model import Actor
from conch_pipe.web.dashboard.pages import Pages
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route


def overview(pages: Pages, parts: Parts) -> list[Route]:
    """Its routes."""
    views = _Overview(pages, parts)
    return [pages.get("/overview", views.page)]


class _Overview:
    def __init__(self, pages: Pages, parts: Parts) -> None:
        self._pages = pages

    async def page(self, request: Request, actor: Actor) -> Response:
        return self._pages.render(request, "overview.html", actor)
