"""Who asks: the client behind a request's token, as the catalog knows it now.

What the catalog said is good for KNOWN_S, so that a client that asks often does not make it a storm of questions; a
revoked credential is out within that time.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import ICredentials
from conch_pipe.model import Client, Credential
from conch_pipe.web.request import Request
from conch_pipe.web.tokens import Tokens

KNOWN_S = 1.0  # as of a known login; asking at each request made uploads three times as dear
MOST = 1000  # credentials


class Clients:
    """Finds them.

    :param credentials: an ICredentials.
    """

    def __init__(self, credentials: ICredentials, tokens: Tokens, clock: IReactorTime) -> None:
        self._credentials: Any = credentials
        self._tokens = tokens
        self._clock = clock
        self._known: dict[str, tuple[Credential | None, float]] = {}

    async def of(self, request: Request) -> Client:
        """The client of a request's bearer token; also while it is under way, to see whether it may go on.

        :raises PipeError: UNAUTHORIZED; BUSY, the catalog cannot be asked.
        """
        scheme, _, token = request.header("Authorization").partition(" ")
        client_id = self._tokens.client_id(token.strip() if scheme.lower() == "bearer" else "")
        credential = await self._credential(client_id)
        if credential is None:
            raise PipeError(Code.UNAUTHORIZED, "this credential was revoked")
        request.client_id = client_id
        return Client(client_id, credential.organisation, frozenset(credential.schemas), request.peer)

    async def _credential(self, client_id: str) -> Credential | None:
        now = self._clock.seconds()
        credential, until = self._known.get(client_id, (None, 0.0))
        if not 0 < until - now <= KNOWN_S:
            credential = (await self._credentials.active([client_id])).get(client_id)
            self._known.pop(client_id, None)
            self._known[client_id] = (credential, now + KNOWN_S)
            if len(self._known) > MOST:
                del self._known[next(iter(self._known))]
        return credential
