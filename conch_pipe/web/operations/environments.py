"""Environments over HTTP: to which remotes the recordings of an application go, and whether their files stay."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Environment as Found
from conch_pipe.model import Scope
from conch_pipe.web.actors import Actors
from conch_pipe.web.documents import Given, Taken
from conch_pipe.web.operations.seeing import seen, whose
from conch_pipe.web.operations.taking import JSON, PageQuery, page, taken
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response, document
from conch_pipe.web.routes import Route

_REMOTES = "Names of remotes of the organisation."
_DELETE = "Delete the files of a recording once every remote has all of them."


class EnvironmentsQuery(PageQuery):
    """Which environments are wanted."""

    organisation: str | None = Field(None, max_length=63)


class EnvironmentForm(Taken):
    """A new environment."""

    organisation: str = Field(examples=["acme"])
    name: str = Field(description="1 to 63 of a-z, 0-9 and -.", examples=["production"])
    remotes: list[str] = Field([], max_length=100, description=_REMOTES)
    delete_delivered: bool = Field(False, description=_DELETE)


class EnvironmentChanges(Taken):
    """What to change of an environment; what is not there stays."""

    remotes: list[str] | None = Field(None, max_length=100, description=f"{_REMOTES} They alone are its remotes then.")
    delete_delivered: bool | None = Field(None, description=_DELETE)


class Environment(Given):
    """An environment."""

    organisation: str
    name: str
    created_at: datetime
    remotes: list[str]
    delete_delivered: bool


class Environments(Given):
    """Environments, by organisation and name."""

    environments: list[Environment]
    next_cursor: str | None = Field(None, description="For the next page; null: there is none.")


class EnvironmentRemoved(Given):
    """It is gone; its recordings and their log stay."""

    organisation: str
    name: str


class EnvironmentViews:
    """See the module."""

    def __init__(self, parts: Parts, actors: Actors) -> None:
        operations: Any = parts.operations
        self._environments: Any = operations.environments
        self._actors = actors

    async def list_environments(self, request: Request) -> Response:
        """GET /api/environments."""
        actor = await self._actors.of(request, Scope.READ)
        query = EnvironmentsQuery.model_validate(request.query)
        found = await self._environments.list(whose(actor, query.organisation))
        shown, cursor = page(found, query, lambda one: (one.organisation, one.name))
        return document(Environments(environments=[_environment(one) for one in shown], next_cursor=cursor))

    async def create_environment(self, request: Request) -> Response:
        """POST /api/environments."""
        actor = await self._actors.of(request, Scope.REMOTES)
        asked = await taken(request, EnvironmentForm)
        whose(actor, asked.organisation)
        made = await self._environments.create(asked.organisation, asked.name, asked.remotes, asked.delete_delivered)
        place = f"/api/environments/{made.organisation}/{made.name}"
        return document(_environment(made), 201, {"Location": place})

    async def show_environment(self, request: Request, organisation: str, name: str) -> Response:
        """GET /api/environments/{organisation}/{name}."""
        return document(_environment(await self._found(request, Scope.READ, organisation, name)))

    async def edit_environment(self, request: Request, organisation: str, name: str) -> Response:
        """PATCH /api/environments/{organisation}/{name}."""
        await self._found(request, Scope.REMOTES, organisation, name)
        asked = await taken(request, EnvironmentChanges)
        if asked.remotes is None and asked.delete_delivered is None:
            raise PipeError(Code.INVALID, "nothing to change")
        edited = await self._environments.edit(
            organisation, name, remotes=asked.remotes, delete_delivered=asked.delete_delivered
        )
        return document(_environment(edited))

    async def remove_environment(self, request: Request, organisation: str, name: str) -> Response:
        """DELETE /api/environments/{organisation}/{name}."""
        await self._found(request, Scope.REMOTES, organisation, name)
        await self._environments.remove(organisation, name)
        return document(EnvironmentRemoved(organisation=organisation, name=name))

    async def _found(self, request: Request, scope: Scope, organisation: str, name: str) -> Found:
        actor = await self._actors.of(request, scope)
        found: Found | None = await self._environments.get(organisation, name)
        return seen(actor, found, organisation, f"no environment {name} of {organisation}")


def _environment(found: Found) -> Environment:
    return Environment(
        organisation=found.organisation,
        name=found.name,
        created_at=found.created_at,
        remotes=list(found.remotes),
        delete_delivered=found.delete_delivered,
    )


def environment_routes(parts: Parts, actors: Actors) -> list[Route]:
    """Its part of the table."""
    views = EnvironmentViews(parts, actors)
    one = "/api/environments/<organisation>/<name>"
    return [
        Route(
            "GET",
            "/api/environments",
            views.list_environments,
            "Where the recordings of each application go.",
            query=EnvironmentsQuery,
            answers={200: Environments},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "POST",
            "/api/environments",
            views.create_environment,
            "Make an environment.",
            bodies={JSON: EnvironmentForm},
            answers={201: Environment},
            refusals=(404, 409),
            scope=Scope.REMOTES,
        ),
        Route(
            "GET",
            one,
            views.show_environment,
            "One environment with its remotes.",
            answers={200: Environment},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "PATCH",
            one,
            views.edit_environment,
            "Change what is given of an environment.",
            "Recordings accepted before keep the remotes they had.",
            bodies={JSON: EnvironmentChanges},
            answers={200: Environment},
            refusals=(404,),
            scope=Scope.REMOTES,
        ),
        Route(
            "DELETE",
            one,
            views.remove_environment,
            "Remove an environment; 409 while recordings of it are on their way.",
            answers={200: EnvironmentRemoved},
            refusals=(404, 409),
            scope=Scope.REMOTES,
        ),
    ]
