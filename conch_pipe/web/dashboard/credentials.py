"""Credentials: what partners log in with. A secret is shown once, on the page after it was made."""

from __future__ import annotations

from typing import Any

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Credential, Scope
from conch_pipe.web.dashboard import lists
from conch_pipe.web.dashboard.forms import Filled
from conch_pipe.web.dashboard.once import Once
from conch_pipe.web.dashboard.pages import Pages
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route

ADD = "/credentials/+add"
OVERLAP_DAYS = "7"


def credentials(pages: Pages, parts: Parts) -> list[Route]:
    """Its routes."""
    views = _Credentials(pages, parts)
    one = "/credentials/<client_id>"
    return [
        pages.get("/credentials", views.page),
        pages.get(ADD, views.new, Scope.TENANTS),
        pages.post(ADD, views.add, Scope.TENANTS),
        pages.get("/credentials/+made/<word>", views.made, Scope.TENANTS),
        pages.get(f"{one}/rotate", views.rotating, Scope.TENANTS),
        pages.post(f"{one}/rotate", views.rotate, Scope.TENANTS),
        pages.get(f"{one}/revoke", views.revoking, Scope.TENANTS),
        pages.post(f"{one}/revoke", views.revoke, Scope.TENANTS),
    ]


class _Credentials:
    def __init__(self, pages: Pages, parts: Parts) -> None:
        self._pages = pages
        self._operations = parts.operations
        self._port = parts.sftp_port
        self._once = Once(parts.clock)

    async def page(self, request: Request, actor: Actor) -> Response:
        organisation = lists.whose(actor, request)
        found: tuple[Credential, ...] = await self._operations.credentials.list()
        return self._pages.render(
            request,
            "credentials.html",
            actor,
            rows=[one for one in found if organisation in (None, one.organisation)],
            organisations=await lists.organisations(self._operations, actor),
        )

    async def new(self, request: Request, actor: Actor) -> Response:
        return await self._form(request, actor, lists.given(request, "organisation") or "", "")

    async def add(self, request: Request, actor: Actor, form: Filled) -> Response:
        organisation, label = form.get("organisation"), form.get("label")
        if not organisation:
            return await self._form(request, actor, "", label, "choose one")
        try:
            made, secret = await self._operations.credentials.create(organisation, label)
        except PipeError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            return await self._form(request, actor, organisation, label, error.message)
        return self._told(request, actor, made, secret)

    async def _form(self, request: Request, actor: Actor, organisation: str, label: str, problem: str = "") -> Response:
        return self._pages.render(
            request,
            "credential_form.html",
            actor,
            status=400 if problem else 200,
            organisations=await lists.organisations(self._operations, actor),
            organisation=organisation,
            label=label,
            problem=problem,
        )

    def _told(self, request: Request, actor: Actor, made: Credential, secret: str) -> Response:
        return self._pages.after(request, f"/credentials/+made/{self._once.put(actor, (made, secret))}")

    async def made(self, request: Request, actor: Actor, word: str) -> Response:
        """The one showing of a secret."""
        found: tuple[Credential, str] | None = self._once.take(actor, word)
        if found is None:
            say = "The secret was shown once, and is not kept. Rotate the credential to have another one."
            return self._pages.after(request, "/credentials", say, good=False)
        one, secret = found
        return self._pages.render(
            request, "credential_made.html", actor, one=one, secret=secret, **self._address(request)
        )

    def _address(self, request: Request) -> dict[str, Any]:
        """Where partners go, as far as it can be told from where this page is."""
        host = request.header("Host")
        bare = host[: host.rindex("]") + 1] if host.startswith("[") else host.partition(":")[0]
        return {
            "host": bare.strip("[]") or "HOST",
            "port": self._port() or "PORT",
            "base": f"{'https' if request.secure else 'http'}://{host}",
        }

    async def rotating(self, request: Request, actor: Actor, client_id: str) -> Response:
        one = await self._existing(actor, client_id)
        return self._pages.render(
            request,
            "sure.html",
            actor,
            title=f"A new secret for {client_id}?",
            words=[
                f"{one.label or 'This credential'} of {one.organisation} gets a new secret, which is shown once.",
                "The old one goes on working for some days, so that the partner can change over; 0 ends it at once.",
            ],
            field=("days", "Days that the old secret goes on working", OVERLAP_DAYS),
            action=f"/credentials/{client_id}/rotate",
            button="Make a new secret",
            back="/credentials",
        )

    async def rotate(self, request: Request, actor: Actor, form: Filled, client_id: str) -> Response:
        await self._existing(actor, client_id)
        try:
            days = float(form.get("days", OVERLAP_DAYS))
        except ValueError:
            days = -1.0
        if not 0 <= days <= 366:
            say = "No new secret was made: the days are a number from 0 to 366."
            return self._pages.after(request, f"/credentials/{client_id}/rotate", say, good=False)
        try:
            changed, secret = await self._operations.credentials.rotate(client_id, days)
        except PipeError as error:
            if error.code is not Code.CONFLICT:
                raise
            return self._pages.after(request, "/credentials", f"No new secret was made: {error.message}.", good=False)
        return self._told(request, actor, changed, secret)

    async def revoking(self, request: Request, actor: Actor, client_id: str) -> Response:
        one = await self._existing(actor, client_id)
        return self._pages.render(
            request,
            "sure.html",
            actor,
            title=f"Revoke {client_id}?",
            words=[
                f"{one.label or 'This credential'} of {one.organisation} is ended for good. It cannot be brought back.",
                "Its open sessions and its tokens end within seconds. What it has uploaded stays.",
            ],
            action=f"/credentials/{client_id}/revoke",
            button="Revoke it",
            back="/credentials",
        )

    async def revoke(self, request: Request, actor: Actor, form: Filled, client_id: str) -> Response:
        await self._existing(actor, client_id)
        await self._operations.credentials.revoke(client_id)
        return self._pages.after(request, "/credentials", f"{client_id} is revoked.")

    async def _existing(self, actor: Actor, client_id: str) -> Credential:
        one: Credential = await self._operations.credentials.existing(client_id)
        lists.seen(actor, one.organisation)
        return one
