"""The sessions of people: the cookie, who has it, and that forms come from pages of ours.

Whether a name and a password are right is the login's matter, how it all looks the dashboard's. A cookie holds the text
of a session, or before the sign-in a text that stands for nothing and only ties the form to the browser.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Any
from urllib.parse import urlsplit

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request

KNOWN_S = 2.0  # for so long the catalog is not asked again: one that is disabled is out within that time
MOST = 1000  # sessions
COOKIE_S = 604_800  # a session is over then, whatever the browser keeps
_SESSION = re.compile(r"[A-Za-z0-9_-]{43}")
_BEFORE = re.compile(r"before\.[A-Za-z0-9_-]{43}")
_PORTS = {"http": ":80", "https": ":443"}


class FormExpired(PipeError):
    """A form does not belong to the session it came with: it is older, or the browser keeps no cookies."""

    def __init__(self) -> None:
        super().__init__(Code.NOT_ALLOWED, "this page was too old, or cookies are off: load it again and repeat")


class SignIn:
    """Begins and ends sessions, and finds whose they are."""

    def __init__(self, parts: Parts) -> None:
        self._people: Any = parts.people
        self._sign_ins: Any = parts.sign_ins
        self._events = parts.events
        self._clock = parts.clock
        self._known: dict[bytes, tuple[Actor, float]] = {}  # by SHA-256 of the text, until

    # Who it is.

    async def of(self, request: Request) -> Actor | None:
        """Who has signed in. :raises PipeError: BUSY, the catalog cannot be asked."""
        text = _text(request)
        actor = await self._actor(text) if _SESSION.fullmatch(text) else None
        if actor is not None:
            request.client_id = actor.name
        return actor

    async def _actor(self, text: str) -> Actor | None:
        now = self._clock.seconds()
        digest = _digest(text)
        actor, until = self._known.get(digest, (None, 0.0))
        if actor is not None and 0 < until - now <= KNOWN_S:
            return actor
        self._known.pop(digest, None)
        found: Actor | None = await self._people.session(text)
        if found is not None:
            self._known[digest] = (found, now + KNOWN_S)
            if len(self._known) > MOST:
                del self._known[next(iter(self._known))]
        return found

    # Forms.

    def csrf(self, request: Request) -> str:
        """What every form of this session brings along, as ``csrf`` or in X-CSRF-Token; empty without a cookie."""
        return _csrf(_text(request))

    def form(self, request: Request) -> tuple[str, str]:
        """The same for the form of the sign-in.

        :returns: the token, and the cookie to set with the page; empty when the browser has it already.
        """
        text = _text(request)
        if _BEFORE.fullmatch(text):  # one for all tabs
            return _csrf(text), ""
        text = f"before.{secrets.token_urlsafe(32)}"
        return _csrf(text), _cookie(request, text, None)

    def check(self, request: Request, csrf: str) -> None:
        """Before anything is done that a form asks for.

        :param csrf: what it brought along.
        :raises PipeError: NOT_ALLOWED: a page of somebody else's sent it.
        :raises FormExpired: the token is not this session's.
        """
        if _foreign(request):
            raise PipeError(Code.NOT_ALLOWED, "this form did not come from a page of this service")
        expected = self.csrf(request)
        if not expected or not hmac.compare_digest(expected.encode(), csrf.encode("utf-8", "surrogatepass")):
            raise FormExpired

    # In and out.

    async def sign_in(self, request: Request, name: str, password: str) -> str:
        """A new session, always with a new text; the one there was ends. Call ``check`` before.

        :returns: the cookie to set.
        :raises PipeError: UNAUTHORIZED, in the same words whatever is wrong; BUSY.
        """
        name = name.strip().lower()
        text = await self._sign_ins.check(name, password, request.peer, lambda: not request.gone)
        await self._end(_text(request))
        request.client_id = name
        return _cookie(request, text, COOKIE_S)

    async def sign_out(self, request: Request) -> str:
        """The session is over, for whoever else may have its text, too. Call ``check`` before.

        :returns: the cookie to set.
        """
        actor = await self.of(request)
        await self._end(_text(request))
        if actor is not None:
            self._events.note(events.PERSON_SIGNED_OUT, person=actor.name, address=request.peer.address)
        return _cookie(request, "", 0)

    async def _end(self, text: str) -> None:
        self._known.pop(_digest(text), None)
        if _SESSION.fullmatch(text):
            await self._people.end(text)


def _text(request: Request) -> str:
    text = request.cookie(_name(request))
    return text if _SESSION.fullmatch(text) or _BEFORE.fullmatch(text) else ""


def _name(request: Request) -> str:
    # Of this prefix browsers see to it that nobody else, on a neighbouring host or without TLS, sets the cookie.
    return "__Host-pipe" if request.secure else "pipe"


def _cookie(request: Request, text: str, seconds: int | None) -> str:
    age = "" if seconds is None else f"; Max-Age={seconds}"
    secure = "; Secure" if request.secure else ""
    return f"{_name(request)}={text}; Path=/{age}; HttpOnly; SameSite=Lax{secure}"


def _csrf(text: str) -> str:
    # The text is as secret as a key, and the token does not tell it.
    return hmac.new(text.encode(), b"csrf", "sha256").hexdigest() if text else ""


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _foreign(request: Request) -> bool:
    """Whether the browser says that another site's page sent this.

    Browsers of today tell in Sec-Fetch-Site, unless over plain HTTP; those and older ones name the Origin. What tells
    neither is no browser, and has the token to show all the same.

    :source: Fetch Metadata Request Headers, section 2.3; RFC 6454 section 7.
    """
    site = request.header("Sec-Fetch-Site").lower()
    if site:
        return site not in ("same-origin", "none")
    origin = request.header("Origin")
    if not origin:
        return False
    try:
        scheme, host, *_ = urlsplit(origin.lower())
    except ValueError:
        return True
    port = _PORTS.get(scheme)
    if port is None or (request.secure and scheme != "https"):
        return True
    return host.removesuffix(port) != request.header("Host").lower().removesuffix(port)
