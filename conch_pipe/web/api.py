"""The Upload API: its routes in one table, and the application that answers them."""

from __future__ import annotations

from collections.abc import Sequence

from conch_pipe.web import documents
from conch_pipe.web.actors import Actors
from conch_pipe.web.arrival import Arrivals
from conch_pipe.web.clients import Clients
from conch_pipe.web.dashboard import dashboard
from conch_pipe.web.health import health_routes
from conch_pipe.web.logins import LoginView
from conch_pipe.web.operations import operations_api
from conch_pipe.web.pages import Pages
from conch_pipe.web.parts import Parts
from conch_pipe.web.routes import Route, Router
from conch_pipe.web.sign_in import SignIn
from conch_pipe.web.tokens import Tokens
from conch_pipe.web.uploads import UploadViews

_HEADERS = (
    ("X-Schema-Type", "The schemaType, when it is not in the query or the form."),
    ("Idempotency-Key", "The idempotencyKey, when it is not in the query or the form."),
    ("X-File-Name", "The fileName, when it is not in the query or the form."),
)


def upload_api(parts: Parts, tokens: Tokens) -> list[Route]:
    """The requests of clients."""
    clients = Clients(parts.credentials, tokens, parts.clock)
    arrivals = Arrivals(parts.intake, parts.uploads, parts.events, parts.max_bytes)
    views = UploadViews(clients, arrivals, parts.clock, parts.limits)
    logins = LoginView(parts.login, tokens, parts.events, parts.limits)
    form = "application/x-www-form-urlencoded"
    return [
        Route(
            "POST",
            "/api/external/auth/token",
            logins.token,
            "A token for a client_id and its client_secret.",
            "It is good for expires_in seconds, and ends within a second when the credential is revoked. "
            "Wrong secrets are answered slowly, and always in the same words.",
            bodies={"application/json": documents.TokenRequest, form: documents.TokenRequest},
            answers={200: documents.Token},
            refusals=(401,),
            public=True,
        ),
        Route(
            "POST",
            "/api/external/upload",
            views.upload,
            "Send a file.",
            "As a form with schemaType, idempotencyKey and file, or as the body itself. 202: it is stored and will be "
            "processed. With wait the answer is 200 and as of then. The same idempotencyKey with the same file gives "
            "the same answer for 30 days and never a second upload; with another file 422, while the first is under "
            "way 409.",
            query=documents.UploadQuery,
            headers=_HEADERS,
            bodies={"multipart/form-data": documents.UploadForm, "text/csv": None, "application/json": None},
            answers={200: documents.Uploaded, 202: documents.Accepted},
            refusals=(401, 409, 422, 507),
        ),
        Route(
            "GET",
            "/api/external/upload/<uuid:id>/status",
            views.status,
            "How it went with one file, however it came.",
            query=documents.StatusQuery,
            answers={200: documents.Status},
            refusals=(401, 404),
        ),
        Route(
            "GET",
            "/api/external/uploads",
            views.list,
            "The files of your organisation, newest first.",
            query=documents.ListQuery,
            answers={200: documents.Uploads},
            refusals=(401,),
        ),
    ]


def application(parts: Parts, tokens: Tokens, signing: SignIn | None = None) -> Router:
    """What answers requests: all routes there are. :param signing: finds who has signed in; None: as people do."""
    actors = Actors(parts.tokens, parts.clock)
    described = [*upload_api(parts, tokens), *operations_api(parts, actors)]
    api = [*described, *_description(described), *health_routes(parts, actors)]
    people = dashboard(parts, signing or SignIn(parts))
    return Router([*api, *people.routes], people.refuse)


def _description(routes: Sequence[Route]) -> list[Route]:
    pages = Pages(routes)
    return [
        Route("GET", "/api/openapi.json", pages.openapi, public=True, hidden=True),
        Route("GET", "/api/docs", pages.docs, public=True, hidden=True),
    ]
