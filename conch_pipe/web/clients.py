"""Who asks: the client behind a request's token, as the catalog knows it at this moment.

It is asked at each request: a credential that is revoked is out at once, with all its tokens.
"""

from __future__ import annotations

from typing import Any

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import ICredentials
from conch_pipe.model import Client
from conch_pipe.web.request import Request
from conch_pipe.web.tokens import Tokens


class Clients:
    """Finds them.

    :param credentials: an ICredentials.
    """

    def __init__(self, credentials: ICredentials, tokens: Tokens) -> None:
        self._credentials: Any = credentials
        self._tokens = tokens

    async def of(self, request: Request) -> Client:
        """The client of a request's bearer token; also while it is under way, to see whether it may go on.

        :raises PipeError: UNAUTHORIZED; BUSY, the catalog cannot be asked.
        """
        scheme, _, token = request.header("Authorization").partition(" ")
        client_id = self._tokens.client_id(token.strip() if scheme.lower() == "bearer" else "")
        credential = (await self._credentials.active([client_id])).get(client_id)
        if credential is None:
            raise PipeError(Code.UNAUTHORIZED, "this credential was revoked")
        request.client_id = client_id
        return Client(client_id, credential.organisation, frozenset(credential.schemas), request.peer)
