"""Organisations, the schemas they may use, and the credentials their partners log in with."""

from __future__ import annotations

from typing import Any

from conch_pipe.model import Actor, Credential, Organisation, Scope
from conch_pipe.web.actors import Actors
from conch_pipe.web.operations import tenant_documents as documents
from conch_pipe.web.operations.seeing import seen, whose
from conch_pipe.web.operations.taking import PageQuery, page, taken
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response, document
from conch_pipe.web.routes import Route

_JSON = "application/json"


def tenant_routes(parts: Parts, actors: Actors) -> list[Route]:
    """Their routes."""
    views = TenantViews(parts, actors)
    return [
        Route(
            "GET",
            "/api/organisations",
            views.list_organisations,
            "Organisations, by name.",
            query=PageQuery,
            answers={200: documents.Organisations},
            scope=Scope.READ,
        ),
        Route(
            "POST",
            "/api/organisations",
            views.create_organisation,
            "Make an organisation.",
            bodies={_JSON: documents.NewOrganisation},
            answers={201: documents.OrganisationGiven},
            refusals=(404, 409),
            scope=Scope.TENANTS,
        ),
        Route(
            "GET",
            "/api/organisations/<name>",
            views.show_organisation,
            "One organisation.",
            answers={200: documents.OrganisationCounted},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "PUT",
            "/api/organisations/<name>/schemas/<schema>",
            views.enable_schema,
            "Let an organisation send files of a schema.",
            "Its next login sees the folder; again is no error.",
            answers={200: documents.OrganisationGiven},
            refusals=(404,),
            scope=Scope.TENANTS,
        ),
        Route(
            "DELETE",
            "/api/organisations/<name>/schemas/<schema>",
            views.disable_schema,
            "Take a schema away from an organisation.",
            "What was uploaded stays; again is no error.",
            answers={200: documents.OrganisationGiven},
            refusals=(404,),
            scope=Scope.TENANTS,
        ),
        Route(
            "GET",
            "/api/credentials",
            views.list_credentials,
            "Credentials, oldest first.",
            query=documents.CredentialQuery,
            answers={200: documents.Credentials},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "POST",
            "/api/credentials",
            views.create_credential,
            "Make a credential.",
            "The secret is told this once; only its hash is kept.",
            bodies={_JSON: documents.NewCredential},
            answers={201: documents.CredentialWithSecret},
            refusals=(404,),
            scope=Scope.TENANTS,
        ),
        Route(
            "GET",
            "/api/credentials/<client_id>",
            views.show_credential,
            "One credential.",
            answers={200: documents.CredentialGiven},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "POST",
            "/api/credentials/<client_id>/rotate",
            views.rotate_credential,
            "Make a new secret.",
            "It is told this once. The old one goes on working for a while; at most two are alive.",
            bodies={_JSON: documents.Rotation},
            answers={200: documents.CredentialWithSecret},
            refusals=(404, 409),
            scope=Scope.TENANTS,
        ),
        Route(
            "POST",
            "/api/credentials/<client_id>/revoke",
            views.revoke_credential,
            "End a credential for good.",
            "Its access tokens and open sessions end within seconds; again keeps the first time.",
            answers={200: documents.CredentialGiven},
            refusals=(404,),
            scope=Scope.TENANTS,
        ),
    ]


class TenantViews:
    """What they answer."""

    def __init__(self, parts: Parts, actors: Actors) -> None:
        self._organisations: Any = parts.operations.organisations
        self._credentials: Any = parts.operations.credentials
        self._uploads: Any = parts.operations.uploads
        self._actors = actors

    async def list_organisations(self, request: Request) -> Response:
        """GET /api/organisations."""
        actor = await self._actors.of(request, Scope.READ)
        query = PageQuery.model_validate(request.query)
        found = [one for one in await self._organisations.list() if actor.sees(one.name)]
        shown, following = page(found, query, lambda one: (one.name,))
        told = [documents.organisation(one) for one in shown]
        return document(documents.Organisations(organisations=told, next_cursor=following))

    async def create_organisation(self, request: Request) -> Response:
        """POST /api/organisations."""
        actor = await self._actors.of(request, Scope.TENANTS)
        wanted = await taken(request, documents.NewOrganisation)
        whose(actor, wanted.name)
        made = await self._organisations.create(wanted.name, wanted.title, wanted.schemas)
        return document(documents.organisation(made), 201, {"Location": f"/api/organisations/{made.name}"})

    async def show_organisation(self, request: Request, name: str) -> Response:
        """GET /api/organisations/{name}."""
        found = await self._seen(await self._actors.of(request, Scope.READ), name)
        credentials = await self._credentials.list(name)
        counts = await self._uploads.counts(name)
        alive = sum(one.revoked_at is None for one in credentials)
        return document(documents.counted(found, counts, alive))

    async def enable_schema(self, request: Request, name: str, schema: str) -> Response:
        """PUT /api/organisations/{name}/schemas/{schema}."""
        await self._seen(await self._actors.of(request, Scope.TENANTS), name)
        return document(documents.organisation(await self._organisations.enable_schemas(name, schema)))

    async def disable_schema(self, request: Request, name: str, schema: str) -> Response:
        """DELETE /api/organisations/{name}/schemas/{schema}."""
        await self._seen(await self._actors.of(request, Scope.TENANTS), name)
        return document(documents.organisation(await self._organisations.disable_schemas(name, schema)))

    async def list_credentials(self, request: Request) -> Response:
        """GET /api/credentials."""
        actor = await self._actors.of(request, Scope.READ)
        query = documents.CredentialQuery.model_validate(request.query)
        found = await self._credentials.list(whose(actor, query.organisation))
        shown, following = page(found, query, lambda one: (one.created_at.isoformat(), one.client_id))
        told = [documents.credential(one) for one in shown]
        return document(documents.Credentials(credentials=told, next_cursor=following))

    async def create_credential(self, request: Request) -> Response:
        """POST /api/credentials."""
        actor = await self._actors.of(request, Scope.TENANTS)
        wanted = await taken(request, documents.NewCredential)
        whose(actor, wanted.organisation)
        made, secret = await self._credentials.create(wanted.organisation, wanted.label)
        place = {"Location": f"/api/credentials/{made.client_id}"}
        return document(documents.with_secret(made, secret), 201, place)

    async def show_credential(self, request: Request, client_id: str) -> Response:
        """GET /api/credentials/{client_id}."""
        actor = await self._actors.of(request, Scope.READ)
        return document(documents.credential(await self._credential(actor, client_id)))

    async def rotate_credential(self, request: Request, client_id: str) -> Response:
        """POST /api/credentials/{client_id}/rotate."""
        actor = await self._actors.of(request, Scope.TENANTS)
        wanted = await taken(request, documents.Rotation)
        await self._credential(actor, client_id)
        changed, secret = await self._credentials.rotate(client_id, wanted.overlap_days)
        return document(documents.with_secret(changed, secret))

    async def revoke_credential(self, request: Request, client_id: str) -> Response:
        """POST /api/credentials/{client_id}/revoke."""
        actor = await self._actors.of(request, Scope.TENANTS)
        await self._credential(actor, client_id)
        return document(documents.credential(await self._credentials.revoke(client_id)))

    async def _seen(self, actor: Actor, name: str) -> Organisation:
        whose(actor, name)
        found: Organisation = await self._organisations.existing(name)
        return found

    async def _credential(self, actor: Actor, client_id: str) -> Credential:
        found: Credential = await self._credentials.existing(client_id)
        return seen(actor, found, found.organisation, f"no credential {client_id}")
