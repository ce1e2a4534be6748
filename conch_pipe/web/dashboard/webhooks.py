"""Webhooks: who is told over HTTP of what happens. A signing secret is shown once, on the page after it was made."""

from __future__ import annotations

from typing import Any

from conch_pipe.errors import Code, Mistakes, PipeError
from conch_pipe.model import OF_ENVIRONMENTS, Actor, Happening, Scope, Shape, Webhook
from conch_pipe.web.dashboard import lists
from conch_pipe.web.dashboard.forms import Filled
from conch_pipe.web.dashboard.once import Once
from conch_pipe.web.dashboard.pages import Pages
from conch_pipe.web.dashboard.remote_fields import placed
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route

ADD = "/webhooks/+add"
FIELDS = {
    "url": "url",
    "event": "event",
    "shape": "shape",
    "environment": "environment",
    "organisation": "organisation",
}


def webhooks(pages: Pages, parts: Parts) -> list[Route]:
    """Its routes."""
    views = _Webhooks(pages, parts)
    one = "/webhooks/<webhook_id>"
    return [
        pages.get("/webhooks", views.page),
        pages.get(ADD, views.new, Scope.WEBHOOKS),
        pages.post(ADD, views.add, Scope.WEBHOOKS),
        pages.get("/webhooks/+made/<word>", views.made, Scope.WEBHOOKS),
        pages.get(one, views.one),
        pages.post(f"{one}/test", views.test, Scope.WEBHOOKS),
        pages.post(f"{one}/enable", views.enable, Scope.WEBHOOKS),
        pages.post(f"{one}/disable", views.disable, Scope.WEBHOOKS),
        pages.get(f"{one}/remove", views.removing, Scope.WEBHOOKS),
        pages.post(f"{one}/remove", views.remove, Scope.WEBHOOKS),
    ]


class _Webhooks:
    def __init__(self, pages: Pages, parts: Parts) -> None:
        self._pages = pages
        self._operations = parts.operations
        self._once = Once(parts.clock)

    # Looking.

    async def page(self, request: Request, actor: Actor) -> Response:
        organisation = lists.whose(actor, request)
        found: tuple[Webhook, ...] = await self._operations.webhooks.list()
        return self._pages.render(
            request,
            "webhooks.html",
            actor,
            rows=[one for one in found if organisation in (None, one.organisation)],
            organisations=await lists.organisations(self._operations, actor),
        )

    async def one(self, request: Request, actor: Actor, webhook_id: str) -> Response:
        found = await self._existing(actor, webhook_id)
        shown = await self._operations.webhooks.show(webhook_id, 1)
        log = await self._operations.webhooks.log(
            limit=lists.ROWS,
            before=lists.before(request, int),
            webhook=webhook_id,
            failed=lists.given(request, "failed") is not None,
        )
        return self._pages.render(
            request,
            "webhook.html",
            actor,
            webhook=found,
            waiting=shown.waiting,
            log=log.items,
            next_cursor=lists.following(log),
        )

    # Making one.

    async def new(self, request: Request, actor: Actor) -> Response:
        return await self._form(request, actor, Filled({"organisation": [lists.given(request, "organisation") or ""]}))

    async def add(self, request: Request, actor: Actor, form: Filled) -> Response:
        mistakes = []
        organisation, environment = form.get("organisation"), form.get("environment")
        if not organisation:
            mistakes.append("organisation: choose one")
        if form.get("shape", Shape.STANDARD.value) not in [one.value for one in Shape]:
            mistakes.append("shape: there is no such shape")
        if set(form.all("event")) - {one.value for one in Happening}:
            mistakes.append("event: there is no such event")
        if mistakes:
            return await self._form(request, actor, form, mistakes)
        try:
            made, secret = await self._operations.webhooks.add(
                organisation,
                form.get("url"),
                form.all("event"),
                environment=environment,
                shape=form.get("shape", Shape.STANDARD.value),
            )
        except PipeError as error:
            if isinstance(error, Mistakes):
                return await self._form(request, actor, form, error.mistakes)
            if error.code is Code.NOT_FOUND:
                return await self._form(request, actor, form, [f"environment: {error.message}"])
            if error.code is Code.CONFLICT:
                return await self._form(request, actor, form, [f"organisation: {error.message}"])
            raise
        return self._pages.after(request, f"/webhooks/+made/{self._once.put(actor, (made, secret))}")

    async def _form(self, request: Request, actor: Actor, form: Filled, mistakes: Any = ()) -> Response:
        environments = await self._operations.environments.list()
        return self._pages.render(
            request,
            "webhook_form.html",
            actor,
            status=400 if mistakes else 200,
            form=form,
            mistakes=mistakes,
            wrong=placed(mistakes, FIELDS),
            organisations=await lists.organisations(self._operations, actor),
            environments=sorted({one.name for one in environments}),
            events=[(one.value, one in OF_ENVIRONMENTS) for one in Happening],
            shapes=[
                (Shape.STANDARD.value, "Standard Webhooks"),
                (Shape.PIPE.value, "video_copied_ftp, for recording.pushed only"),
            ],
        )

    async def made(self, request: Request, actor: Actor, word: str) -> Response:
        """The one showing of a secret."""
        found: tuple[Webhook, str] | None = self._once.take(actor, word)
        if found is None:
            say = "The secret was shown once, and is not shown again. Add the webhook anew if it is lost."
            return self._pages.after(request, "/webhooks", say, good=False)
        one, secret = found
        return self._pages.render(request, "webhook_made.html", actor, one=one, secret=secret)

    # Using it, or not.

    async def test(self, request: Request, actor: Actor, form: Filled, webhook_id: str) -> Response:
        await self._existing(actor, webhook_id)
        _, notice = await self._operations.webhooks.test(webhook_id)
        answer = notice.answer
        if not answer.reason:
            return self._pages.after(request, f"/webhooks/{webhook_id}", "The test message was taken.")
        told = f"{answer.reason}: {answer.detail}" if answer.detail else answer.reason
        say = f"The test message was not taken: {told}"
        return self._pages.after(request, f"/webhooks/{webhook_id}", say, good=False)

    async def enable(self, request: Request, actor: Actor, form: Filled, webhook_id: str) -> Response:
        await self._existing(actor, webhook_id)
        _, waiting = await self._operations.webhooks.enable(webhook_id)
        say = f"The webhook is enabled. Messages that wait and are sent now: {waiting}."
        return self._pages.after(request, f"/webhooks/{webhook_id}", say)

    async def disable(self, request: Request, actor: Actor, form: Filled, webhook_id: str) -> Response:
        await self._existing(actor, webhook_id)
        await self._operations.webhooks.disable(webhook_id)
        say = "The webhook is disabled: it is told nothing that happens from now on."
        return self._pages.after(request, f"/webhooks/{webhook_id}", say)

    async def removing(self, request: Request, actor: Actor, webhook_id: str) -> Response:
        one = await self._existing(actor, webhook_id)
        return self._pages.render(
            request,
            "sure.html",
            actor,
            title="Remove this webhook?",
            words=[one.url, "Its signing secret and its log are deleted. Messages that wait for it are never sent."],
            action=f"/webhooks/{webhook_id}/remove",
            button="Remove it",
            back=f"/webhooks/{webhook_id}",
        )

    async def remove(self, request: Request, actor: Actor, form: Filled, webhook_id: str) -> Response:
        await self._existing(actor, webhook_id)
        waited = await self._operations.webhooks.remove(webhook_id)
        say = f"The webhook is removed. Messages that waited for it: {waited}."
        return self._pages.after(request, "/webhooks", say)

    async def _existing(self, actor: Actor, webhook_id: str) -> Webhook:
        one: Webhook = await self._operations.webhooks.existing(webhook_id)
        lists.seen(actor, one.organisation)
        return one
