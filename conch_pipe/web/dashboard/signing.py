"""What the dashboard asks of the sign-in: who has this session, and whether a form came from a page of ours."""

from __future__ import annotations

from typing import Protocol

from conch_pipe.model import Actor
from conch_pipe.web.request import Request


class Signing(Protocol):
    """See :class:`conch_pipe.web.sign_in.SignIn`."""

    async def of(self, request: Request) -> Actor | None:
        """Who has signed in."""

    def csrf(self, request: Request) -> str:
        """What every form of this session must bring along."""

    def form(self, request: Request) -> tuple[str, str]:
        """The same for the form of the sign-in, and the cookie to set with the page."""

    def check(self, request: Request, csrf: str) -> None:
        """:raises PipeError: NOT_ALLOWED, this form came from somewhere else or is too old."""

    async def sign_in(self, request: Request, name: str, password: str) -> str:
        """:returns: the cookie of a new session. :raises PipeError: UNAUTHORIZED, BUSY."""

    async def sign_out(self, request: Request) -> str:
        """The session is over. :returns: the cookie to set."""
