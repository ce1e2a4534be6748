"""POST /api/external/auth/token: a client_id and its secret for a token. Who may come in is the login core's matter."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from pydantic import ValidationError

from conch_pipe import events
from conch_pipe.interfaces import IEvents, ILogin
from conch_pipe.web import documents
from conch_pipe.web.documents import TokenRequest
from conch_pipe.web.forms import content_type
from conch_pipe.web.limits import Limits
from conch_pipe.web.problems import Refused, mistakes_of
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response, document
from conch_pipe.web.tokens import Tokens

_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"


class LoginView:
    """The one view that needs no token."""

    def __init__(self, login: ILogin, tokens: Tokens, events: IEvents, limits: Limits) -> None:
        self._login: Any = login
        self._tokens = tokens
        self._events = events
        self._limits = limits

    async def token(self, request: Request) -> Response:
        """A token for some minutes."""
        asked = await self._asked(request)
        client = await self._login.check(
            asked.client_id.encode("utf-8", "surrogatepass"),
            asked.client_secret.encode("utf-8", "surrogatepass"),
            request.peer,
            lambda: not request.gone,
        )
        request.client_id = client.client_id
        peer = client.peer
        self._events.note(
            events.LOGIN_SUCCEEDED,
            client_id=client.client_id,
            organisation=client.organisation,
            address=peer.address,
            banner=peer.banner,
            session=peer.session,
            door="http",
        )
        return document(
            documents.Token(access_token=self._tokens.issue(client.client_id), expires_in=self._tokens.life_s)
        )

    async def _asked(self, request: Request) -> TokenRequest:
        kind, _ = content_type(request)
        if kind not in (_FORM, _JSON):
            raise Refused("unsupported_media_type", f"send {_JSON}")
        body = await request.body.whole(self._limits.document_bytes)
        try:
            if kind == _JSON:
                return TokenRequest.model_validate_json(body)
            return TokenRequest.model_validate(dict(parse_qsl(body.decode(), max_num_fields=20)))
        except ValidationError as error:
            # Without the error itself: what it is about holds the secret.
            mistakes = mistakes_of(error)
        except ValueError:
            mistakes = ("body: not a form of UTF-8",)
        raise Refused("invalid", mistakes[0], mistakes=mistakes)
