"""Schemas: what files must look like, who may send them, and good files made up."""

from __future__ import annotations

from typing import Any

from conch_pipe.model import Actor, Scope
from conch_pipe.web.actors import Actors
from conch_pipe.web.operations import schema_documents as documents
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response, document
from conch_pipe.web.routes import Route

_KINDS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def schema_routes(parts: Parts, actors: Actors) -> list[Route]:
    """Their routes."""
    views = SchemaViews(parts, actors)
    return [
        Route(
            "GET",
            "/api/schemas",
            views.list_schemas,
            "All schemas, and who may use each.",
            answers={200: documents.Schemas},
            scope=Scope.READ,
        ),
        Route(
            "GET",
            "/api/schemas/<name>",
            views.show_schema,
            "One schema: its columns with their rules.",
            answers={200: documents.SchemaGiven},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "GET",
            "/api/schemas/<name>/sample",
            views.sample_schema,
            "A good file of a schema, made up.",
            query=documents.SampleQuery,
            files=("text/csv", "application/json"),
            refusals=(404,),
            scope=Scope.READ,
        ),
    ]


class SchemaViews:
    """What they answer. Schemas are everybody's; who else uses them is the operators'."""

    def __init__(self, parts: Parts, actors: Actors) -> None:
        self._schemas: Any = parts.operations.schemas
        self._actors = actors

    async def list_schemas(self, request: Request) -> Response:
        """GET /api/schemas."""
        actor = await self._actors.of(request, Scope.READ)
        told = [
            documents.brief(use, _seen(actor, use.organisations))
            for use in await self._schemas.list()
            if use.schema is not None or _seen(actor, use.organisations)
        ]
        return document(documents.Schemas(schemas=told))

    async def show_schema(self, request: Request, name: str) -> Response:
        """GET /api/schemas/{name}."""
        actor = await self._actors.of(request, Scope.READ)
        found = self._schemas.existing(name)
        return document(documents.whole(found, _seen(actor, await self._schemas.users(name))))

    async def sample_schema(self, request: Request, name: str) -> Response:
        """GET /api/schemas/{name}/sample."""
        await self._actors.of(request, Scope.READ)
        query = documents.SampleQuery.model_validate(request.query)
        text = await self._schemas.sample(name, query.rows, query.format, query.seed)
        name = f'attachment; filename="{name}.{query.format}"'
        return Response(200, text.encode(), _KINDS[query.format], {"Content-Disposition": name})


def _seen(actor: Actor, organisations: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one for one in organisations if actor.sees(one))
