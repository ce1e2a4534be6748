"""What the dashboard asks of the sign-in: who has this session, and whether a form came from a page of ours."""

from __future__ import annotations

from typing import Protocol

from conch_pipe.model import Actor
from conch_pipe.web.request import Request


class Signing(Protocol):
    """See ``web/sign_in.py``."""

    async def of(self, request: Request) -> Actor | None:
        """Who has the session of this request; None: nobody."""

    def csrf(self, request: Request) -> str:
        """What every form of this session must bring along."""

    def check(self, request: Request, csrf: str) -> None:
        """:raises Refused: this form came from somewhere else."""
