"""Webhooks over HTTP: what ``conch-pipe webhook`` does, through the same functions."""

from __future__ import annotations

from typing import Any

from conch_pipe.model import Scope, Webhook
from conch_pipe.web.actors import Actors
from conch_pipe.web.operations import webhook_documents as documents
from conch_pipe.web.operations.lists import before, following
from conch_pipe.web.operations.seeing import seen, while_asked, whose
from conch_pipe.web.operations.taking import JSON, page, taken
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response, document
from conch_pipe.web.routes import Route


class WebhookViews:
    """See the module."""

    def __init__(self, parts: Parts, actors: Actors) -> None:
        operations: Any = parts.operations
        self._webhooks: Any = operations.webhooks
        self._actors = actors

    async def list_webhooks(self, request: Request) -> Response:
        """GET /api/webhooks."""
        actor = await self._actors.of(request, Scope.READ)
        query = documents.WebhooksQuery.model_validate(request.query)
        found = await self._webhooks.list(whose(actor, query.organisation))
        shown, cursor = page(found, query, _place)
        webhooks = [documents.Webhook(**documents.told(one)) for one in shown]
        return document(documents.Webhooks(webhooks=webhooks, next_cursor=cursor))

    async def add_webhook(self, request: Request) -> Response:
        """POST /api/webhooks."""
        actor = await self._actors.of(request, Scope.WEBHOOKS)
        asked = await taken(request, documents.WebhookForm)
        whose(actor, asked.organisation)
        added, secret = await self._webhooks.add(
            asked.organisation,
            asked.url,
            [one.value for one in asked.events],
            environment=asked.environment,
            shape=asked.shape.value,
        )
        made = documents.WebhookMade(**documents.told(added), secret=secret)
        return document(made, 201, {"Location": f"/api/webhooks/{added.id}"})

    async def show_webhook(self, request: Request, id: str) -> Response:  # noqa: A002 - as in the path
        """GET /api/webhooks/{id}."""
        await self._found(request, Scope.READ, id)
        shown = await self._webhooks.show(id, 1)
        return document(documents.WebhookStanding(**documents.told(shown.webhook), waiting=shown.waiting))

    async def remove_webhook(self, request: Request, id: str) -> Response:  # noqa: A002
        """DELETE /api/webhooks/{id}."""
        await self._found(request, Scope.WEBHOOKS, id)
        return document(documents.WebhookRemoved(id=id, dropped=await self._webhooks.remove(id)))

    async def test_webhook(self, request: Request, id: str) -> Response:  # noqa: A002
        """POST /api/webhooks/{id}/test."""
        await self._found(request, Scope.WEBHOOKS, id)
        _, notice = await while_asked(request, self._webhooks.test(id))
        answered = documents.answered(notice.answer)
        return document(documents.WebhookTest(message=notice.message, ok=not notice.answer.reason, **answered))

    async def log_webhook(self, request: Request, id: str) -> Response:  # noqa: A002
        """GET /api/webhooks/{id}/log."""
        await self._found(request, Scope.READ, id)
        query = documents.LogQuery.model_validate(request.query)
        found = await self._webhooks.log(
            webhook=id, limit=query.limit, before=before(query, int), message=query.message, failed=query.failed
        )
        attempts = [documents.attempt(one) for one in found.items]
        return document(documents.WebhookLog(attempts=attempts, next_cursor=following(found)))

    async def enable_webhook(self, request: Request, id: str) -> Response:  # noqa: A002
        """POST /api/webhooks/{id}/enable."""
        await self._found(request, Scope.WEBHOOKS, id)
        enabled, waiting = await self._webhooks.enable(id)
        return document(documents.WebhookStanding(**documents.told(enabled), waiting=waiting))

    async def disable_webhook(self, request: Request, id: str) -> Response:  # noqa: A002
        """POST /api/webhooks/{id}/disable."""
        await self._found(request, Scope.WEBHOOKS, id)
        return document(documents.Webhook(**documents.told(await self._webhooks.disable(id))))

    async def rotate_webhook(self, request: Request, id: str) -> Response:  # noqa: A002
        """POST /api/webhooks/{id}/rotate."""
        await self._found(request, Scope.WEBHOOKS, id)
        asked = await taken(request, documents.RotateRequest)
        rotated, secret = await self._webhooks.rotate(id, asked.overlap_hours)
        return document(documents.WebhookMade(**documents.told(rotated), secret=secret))

    async def _found(self, request: Request, scope: Scope, webhook_id: str) -> Webhook:
        actor = await self._actors.of(request, scope)
        found: Webhook | None = await self._webhooks.get(webhook_id)
        return seen(actor, found, found.organisation if found else "", f"no webhook {webhook_id}")


def _place(one: Webhook) -> tuple[str, ...]:
    return one.organisation, one.created_at.isoformat(timespec="microseconds"), one.id


def webhook_routes(parts: Parts, actors: Actors) -> list[Route]:
    """Its part of the table."""
    views = WebhookViews(parts, actors)
    one = "/api/webhooks/<id>"
    return [
        Route(
            "GET",
            "/api/webhooks",
            views.list_webhooks,
            "Who is told of what happens, by organisation, oldest first.",
            query=documents.WebhooksQuery,
            answers={200: documents.Webhooks},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "POST",
            "/api/webhooks",
            views.add_webhook,
            "Tell an address what happens in an organisation.",
            "The signing secret is in this answer and in no other.",
            bodies={JSON: documents.WebhookForm},
            answers={201: documents.WebhookMade},
            refusals=(404, 409),
            scope=Scope.WEBHOOKS,
        ),
        Route(
            "GET",
            one,
            views.show_webhook,
            "One webhook, with what waits for it.",
            answers={200: documents.WebhookStanding},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "DELETE",
            one,
            views.remove_webhook,
            "Forget a webhook, its secret and its log.",
            answers={200: documents.WebhookRemoved},
            refusals=(404,),
            scope=Scope.WEBHOOKS,
        ),
        Route(
            "POST",
            f"{one}/test",
            views.test_webhook,
            "Send a message of type webhook.test now, once.",
            "It takes at most 30 s, and ends when you close the connection.",
            answers={200: documents.WebhookTest},
            refusals=(404,),
            scope=Scope.WEBHOOKS,
        ),
        Route(
            "GET",
            f"{one}/log",
            views.log_webhook,
            "Attempts to tell it, newest first.",
            query=documents.LogQuery,
            answers={200: documents.WebhookLog},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "POST",
            f"{one}/enable",
            views.enable_webhook,
            "Tell it again, whatever it was disabled for.",
            "Messages that still wait for it are sent at once.",
            answers={200: documents.WebhookStanding},
            refusals=(404,),
            scope=Scope.WEBHOOKS,
        ),
        Route(
            "POST",
            f"{one}/disable",
            views.disable_webhook,
            "Tell it nothing that happens from now on.",
            answers={200: documents.Webhook},
            refusals=(404,),
            scope=Scope.WEBHOOKS,
        ),
        Route(
            "POST",
            f"{one}/rotate",
            views.rotate_webhook,
            "A new signing secret, in this answer and in no other.",
            "The old one signs as well for overlapHours.",
            bodies={JSON: documents.RotateRequest},
            answers={200: documents.WebhookMade},
            refusals=(404,),
            scope=Scope.WEBHOOKS,
        ),
    ]
