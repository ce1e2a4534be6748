"""The door of the dashboard: in, out, and in which colours it is shown."""

from __future__ import annotations

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Scope
from conch_pipe.web.dashboard.forms import Filled, filled
from conch_pipe.web.dashboard.pages import HOME, SIGN_IN, Pages, local
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route
from conch_pipe.web.sign_in import SignIn

FORM_BYTES = 4096


def entry(pages: Pages, signing: SignIn) -> list[Route]:
    """Its routes."""
    views = _Entry(pages, signing)
    return [
        pages.open("GET", "/", views.home),
        pages.open("GET", SIGN_IN, views.form),
        pages.open("POST", SIGN_IN, views.sign_in),
        pages.post("/sign-out", views.sign_out, Scope.READ),
        pages.post("/theme", views.theme, Scope.READ),
    ]


class _Entry:
    def __init__(self, pages: Pages, signing: SignIn) -> None:
        self._pages = pages
        self._signing = signing

    async def home(self, request: Request) -> Response:
        return self._pages.to(request, HOME)

    async def form(self, request: Request) -> Response:
        to = local(request.query.get("next", HOME))
        if await self._signing.of(request) is not None:
            return self._pages.to(request, to)
        return self._form(request, to)

    async def sign_in(self, request: Request) -> Response:
        form = await filled(request, FORM_BYTES)
        name, to = form.get("name"), local(form.get("next"))
        try:
            self._signing.check(request, form.get("csrf"))
            cookie = await self._signing.sign_in(request, name, form.exact("password"))
        except PipeError as error:
            if error.code is Code.UNAUTHORIZED:
                return self._form(request, to, name, "This name and this password do not belong together.", 401)
            if error.code in (Code.NOT_ALLOWED, Code.BUSY):
                return self._form(request, to, name, error.message, 403 if error.code is Code.NOT_ALLOWED else 503)
            raise
        return self._pages.to(request, to, cookie)

    def _form(self, request: Request, to: str, name: str = "", problem: str = "", status: int = 200) -> Response:
        token, cookie = self._signing.form(request)
        return self._pages.render(
            request, "sign_in.html", None, status=status, cookie=cookie, token=token, to=to, name=name, problem=problem
        )

    async def sign_out(self, request: Request, actor: Actor, form: Filled) -> Response:
        return self._pages.to(request, SIGN_IN, await self._signing.sign_out(request))

    async def theme(self, request: Request, actor: Actor, form: Filled) -> Response:
        return self._pages.themed(request, form.get("theme"), local(form.get("next")))
