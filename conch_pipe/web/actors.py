"""Who asks for operations: the actor behind a request's bearer token, as the catalog knows it now.

What the catalog said is good for KNOWN_S, so that a program that asks often does not make it a storm of questions; a
revoked token is out within that time.
"""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.interfaces import IReactorTime

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import ITokens
from conch_pipe.model import Actor, Scope
from conch_pipe.web.request import Request

KNOWN_S = 2.0
MOST = 1000  # tokens
_LONGEST = 128  # characters; ours have 60


class Actors:
    """Finds them.

    :param tokens: an ITokens.
    """

    def __init__(self, tokens: ITokens, clock: IReactorTime) -> None:
        self._tokens: Any = tokens
        self._clock = clock
        self._known: dict[bytes, tuple[Actor, float]] = {}  # by SHA-256 of the text, until

    async def of(self, request: Request, scope: Scope) -> Actor:
        """The actor of a request's bearer token.

        :raises PipeError: UNAUTHORIZED, in the same words whatever is wrong; NOT_ALLOWED: the token has not this
            scope; BUSY, the catalog cannot be asked.
        """
        scheme, _, rest = request.header("Authorization").partition(" ")
        text = rest.strip() if scheme.lower() == "bearer" else ""
        actor = await self._actor(text) if 0 < len(text) <= _LONGEST else None
        if actor is None:
            raise PipeError(Code.UNAUTHORIZED, "the operator's token is missing, wrong or not good any more")
        request.client_id = "_".join(text.split("_", 2)[:2])  # pst_ and its id, which is not secret
        request.more_than_a_look = scope is not Scope.READ
        if not actor.may(scope):
            raise PipeError(Code.NOT_ALLOWED, f"this token has not the scope {scope.value}")
        return actor

    async def _actor(self, text: str) -> Actor | None:
        now = self._clock.seconds()
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        actor, until = self._known.pop(digest, (None, 0.0))
        if actor is not None and 0 < until - now <= KNOWN_S:
            self._known[digest] = (actor, until)
            return actor
        found: Actor | None = await self._tokens.actor(text)
        if found is not None:
            self._known[digest] = (found, now + KNOWN_S)
            if len(self._known) > MOST:
                del self._known[next(iter(self._known))]
        return found
