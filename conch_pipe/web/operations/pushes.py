"""The push log: every attempt to deliver a recording, with the columns of the source."""

from __future__ import annotations

from typing import Any

from conch_pipe.model import Attempt, Page, Scope
from conch_pipe.ssh.keys import fingerprint
from conch_pipe.web.actors import Actors
from conch_pipe.web.operations import push_documents as documents
from conch_pipe.web.operations.lists import before, following
from conch_pipe.web.operations.seeing import whose
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response, document
from conch_pipe.web.routes import Route


def push_routes(parts: Parts, actors: Actors) -> list[Route]:
    """Its route."""
    return [
        Route(
            "GET",
            "/api/pushes",
            PushViews(parts, actors).list_pushes,
            "The push log: every attempt, newest first.",
            query=documents.LogQuery,
            answers={200: documents.PushLog},
            refusals=(404,),
            scope=Scope.READ,
        )
    ]


class PushViews:
    """What it answers."""

    def __init__(self, parts: Parts, actors: Actors) -> None:
        self._pushes: Any = parts.operations.pushes
        self._actors = actors

    async def list_pushes(self, request: Request) -> Response:
        """GET /api/pushes."""
        actor = await self._actors.of(request, Scope.READ)
        query = documents.LogQuery.model_validate(request.query)
        found: Page[Attempt] = await self._pushes.log(
            whose(actor, query.organisation),
            limit=query.limit,
            before=before(query, int),
            recording=query.recording,
            remote=query.remote,
            status=query.status,
            since=query.since,
            until=query.until,
        )
        told = [documents.attempt(one, _fingerprint(one.report.refused_key)) for one in found.items]
        return document(documents.PushLog(pushes=told, next_cursor=following(found)))


def _fingerprint(blob: bytes | None) -> str:
    return fingerprint(blob) if blob else ""
