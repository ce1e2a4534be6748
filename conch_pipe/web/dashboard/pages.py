"""How a page of the dashboard is made: who may see it, what every page knows, and what is said when it goes wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Scope, utc
from conch_pipe.web.dashboard import shown
from conch_pipe.web.dashboard.forms import filled
from conch_pipe.web.dashboard.static_files import StaticFiles
from conch_pipe.web.parts import Parts
from conch_pipe.web.problems import Fault, fault
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route
from conch_pipe.web.sign_in import SignIn

HTML = "text/html; charset=utf-8"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    # The browser tells where a form comes from, which it would not with no-referrer.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
HOME, SIGN_IN = "/overview", "/sign-in"
THEMES = ("auto", "light", "dark")
_SAID, _THEME = "pipe_said", "pipe_theme"
_YEAR_S = 31_536_000

# Address, label, and whether an organisation's own people have it.
NAVIGATION = (
    ("/overview", "Overview", True),
    ("/uploads", "Uploads", True),
    ("/recordings", "Recordings", True),
    ("/pushes", "Push log", True),
    ("/remotes", "Remotes", True),
    ("/webhooks", "Webhooks", True),
    ("/credentials", "Credentials", True),
    ("/schemas", "Schemas", True),
    ("/organisations", "Organisations", False),
)

View = Callable[..., Awaitable[Response]]


class Pages:
    """Makes pages, and the routes that lead to them."""

    def __init__(self, parts: Parts, signing: SignIn, files: StaticFiles) -> None:
        self._clock = parts.clock
        self._limit = parts.limits.document_bytes
        self._signing = signing
        self._jinja = Environment(
            loader=PackageLoader("conch_pipe.web.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.filters |= {
            "bytes": shown.size,
            "count": shown.count,
            "counted": shown.counted,
            "duration": shown.duration,
            "time": shown.time,
            "away": lambda at: shown.away(at, self.now),
            "text": shown.text,
            "printable": shown.printable,
        }
        self._jinja.globals |= {"static": files.path, "nothing": shown.NOTHING, "Scope": Scope, "themes": THEMES}

    @property
    def now(self) -> datetime:
        """The time of the service."""
        return utc(self._clock)

    # Routes. A view is called with the request, the actor, for POST the form, and by name what is in the path.

    def get(self, path: str, view: View, scope: Scope = Scope.READ) -> Route:
        """A page for those who have signed in and may do that."""

        async def answer(request: Request, **arguments: Any) -> Response:
            return await view(request, await self._actor(request, scope), **arguments)

        return self._route("GET", path, answer)

    def post(self, path: str, view: View, scope: Scope) -> Route:
        """A form of such a page. The view mostly ends with :meth:`after`."""

        async def answer(request: Request, **arguments: Any) -> Response:
            actor = await self._actor(request, scope)
            form = await filled(request, self._limit)
            self._signing.check(request, request.header("X-CSRF-Token") or form.get("csrf"))
            return await view(request, actor, form, **arguments)

        return self._route("POST", path, answer)

    def open(self, method: str, path: str, view: View) -> Route:
        """A page for everybody. The view is called with the request, and what is in the path."""
        return self._route(method, path, view)

    def _route(self, method: str, path: str, view: View) -> Route:
        return Route(method, path, view, public=True, hidden=True, refuse=self.refuse)

    async def _actor(self, request: Request, scope: Scope) -> Actor:
        actor = await self._signing.of(request)
        if actor is None:
            raise PipeError(Code.UNAUTHORIZED, "sign in first")
        request.actor = actor
        request.more_than_a_look = scope is not Scope.READ
        if not actor.may(scope):
            raise PipeError(Code.NOT_ALLOWED, "you may look at this, but not change it")
        return actor

    # Answers.

    def render(
        self,
        request: Request,
        template: str,
        actor: Actor | None,
        *,
        status: int = 200,
        cookie: str = "",
        **values: Any,
    ) -> Response:
        """A page from a template, or a piece of one: every piece knows what a page knows.

        :param cookie: to be set with it.
        """
        theme, said = request.cookie(_THEME), request.cookie(_SAID)
        page = self._jinja.get_template(template).render(
            actor=actor,
            csrf=self._signing.csrf(request) if actor is not None else "",
            navigation=[(path, label) for path, label, member in NAVIGATION if self._has(actor, member)],
            path=request.path.decode("utf-8", "replace"),
            query=dict(request.query),
            now=self.now,
            theme=theme if theme in THEMES else THEMES[0],
            said=_read(said),
            linked=linked,
            **values,
        )
        headers = dict(HEADERS)
        if said and not request.header("HX-Request"):
            headers["Set-Cookie"] = self._cookie(request, _SAID, "", 0)
        if cookie:
            headers["Set-Cookie"] = cookie
        return Response(status, page.encode("utf-8", "replace"), HTML, headers)

    def _has(self, actor: Actor | None, member: bool) -> bool:
        return actor is not None and (member or actor.organisation is None)

    def after(self, request: Request, to: str, say: str = "", *, good: bool = True) -> Response:
        """Something was done: go on to a page of ours, which says so once.

        :param to: its path.
        """
        cookie = self._cookie(request, _SAID, _written(say, good), 60) if say else ""
        return self.to(request, to, cookie)

    def to(self, request: Request, path: str, cookie: str = "") -> Response:
        """Go on to another page."""
        headers = {**HEADERS, ("HX-Redirect" if request.header("HX-Request") else "Location"): path}
        if cookie:
            headers["Set-Cookie"] = cookie
        return Response(200 if request.header("HX-Request") else 303, b"", HTML, headers)

    def themed(self, request: Request, theme: str, to: str) -> Response:
        """From now on in light, in dark, or as the viewer's system."""
        value = theme if theme in THEMES else "auto"
        return self.to(request, to, self._cookie(request, _THEME, value, _YEAR_S))

    def refuse(self, request: Request, error: Exception) -> Response | None:
        """What is said instead of a page."""
        found = fault(error)
        if found is None:
            return None
        headers = {name: value for name, value in found.headers.items() if name != "WWW-Authenticate"}
        if found.status == 401:
            return self.to(request, self._sign_in(request))
        answer = self.render(
            request, "error.html", request.actor, status=found.status, fault=found, words=_words(found)
        )
        return Response(answer.status, answer.body, HTML, {**headers, **answer.headers})

    def _sign_in(self, request: Request) -> str:
        """The way to the sign-in and back again."""
        here = request.uri.decode("ascii", "replace")
        if request.header("HX-Request"):  # of a page whose address is not this request's
            here = _path_of(request.header("HX-Current-URL"))
        elif request.method != b"GET" or request.path == b"/":
            here = HOME
        return SIGN_IN if local(here) == HOME else f"{SIGN_IN}?next={quote(here, safe='')}"

    def _cookie(self, request: Request, name: str, value: str, seconds: int) -> str:
        secure = "; Secure" if request.secure else ""
        return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def local(path: str) -> str:
    """A path of ours that somebody else may have written: never another host. HOME when it is not one."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isascii() and path.isprintable()
    return path if plain and " " not in path else HOME


def _path_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return HOME
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def linked(path: str, query: dict[str, Any], **changes: Any) -> str:
    """A path with a query: what is there already, changed; empty values are left out."""
    wanted = {name: value for name, value in (query | changes).items() if value not in (None, "")}
    return f"{path}?{urlencode(wanted)}" if wanted else path


def _written(say: str, good: bool) -> str:
    return base64.urlsafe_b64encode(json.dumps([good, say[:500]]).encode()).decode().rstrip("=")


def _read(value: str) -> tuple[bool, str] | None:
    """What is to be said once: whether it is good, and the words."""
    try:
        good, say = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    except (ValueError, TypeError):
        return None
    return (bool(good), str(say)) if say else None


def _words(found: Fault) -> tuple[str, str]:
    """A heading and what to do."""
    return {
        400: ("This cannot be done as asked", "Go back, mend what is named here, and try again."),
        403: ("You may not do this", "Somebody who runs this service can, or can allow it to you."),
        404: ("There is nothing here", "It may have been deleted, or be another organisation's."),
        405: ("This address takes no such request", "Go back and use the buttons of the page."),
        409: ("It has changed meanwhile", "Look at it again: somebody else, or the service itself, was quicker."),
        413: ("This is too much", "Send less at a time."),
        503: ("The service is busy", "Try again in a few seconds."),
    }.get(found.status, ("This went wrong", "The service's log tells more. Try again, then tell who runs it."))
