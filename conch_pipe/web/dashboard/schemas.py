"""Schemas: what files must look like, with samples to try."""

from __future__ import annotations

from typing import Any

from conch_pipe.errors import Code, PipeError
from conch_pipe.formats.columns import Column
from conch_pipe.model import Actor
from conch_pipe.web.dashboard.pages import HEADERS, Pages
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route

ROWS, MOST_ROWS = 20, 1000  # of a sample
_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def schemas(pages: Pages, parts: Parts) -> list[Route]:
    """Its routes."""
    views = _Schemas(pages, parts)
    return [
        pages.get("/schemas", views.page),
        pages.get("/schemas/<name>", views.one),
        pages.get("/schemas/<name>/sample.<form>", views.sample),
    ]


class _Schemas:
    def __init__(self, pages: Pages, parts: Parts) -> None:
        self._pages = pages
        self._operations = parts.operations

    async def page(self, request: Request, actor: Actor) -> Response:
        found = [one for one in await self._operations.schemas.list() if _has(actor, one.organisations)]
        return self._pages.render(request, "schemas.html", actor, rows=found)

    async def one(self, request: Request, actor: Actor, name: str) -> Response:
        users = await self._seen(actor, name)
        schema = self._operations.schemas.existing(name)
        return self._pages.render(
            request,
            "schema.html",
            actor,
            schema=schema,
            columns=[(one, rules(one)) for one in schema.columns],
            users=users if actor.organisation is None else (),
            rows=ROWS,
        )

    async def sample(self, request: Request, actor: Actor, name: str, form: str) -> Response:
        await self._seen(actor, name)
        if form not in _TYPES:
            raise PipeError(Code.NOT_FOUND, "a sample is csv or json")
        rows = request.query.get("rows", str(ROWS))
        if not rows.isascii() or not rows.isdigit() or int(rows[:9]) > MOST_ROWS:
            raise PipeError(Code.INVALID, f"rows: a number from 0 to {MOST_ROWS}")
        text: str = await self._operations.schemas.sample(name, int(rows), form)
        headers = HEADERS | {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
        return Response(200, text.encode(), _TYPES[form], headers)

    async def _seen(self, actor: Actor, name: str) -> tuple[str, ...]:
        """:returns: the organisations that have it. :raises PipeError: NOT_FOUND."""
        users: tuple[str, ...] = await self._operations.schemas.users(name)
        if not _has(actor, users):
            raise PipeError(Code.NOT_FOUND, "no such schema")
        self._operations.schemas.existing(name)  # so its name is also one for a header
        return users


def _has(actor: Actor, organisations: Any) -> bool:
    return actor.organisation is None or actor.organisation in organisations


def rules(column: Column) -> list[tuple[str, str]]:
    """What the values of a column must be, in words; each with a text that is to be read literally."""
    found = []
    for words, value in (
        ("at least", column.minimum),
        ("at most", column.maximum),
        ("at most this many characters:", column.max_length),
        ("matches", column.pattern),
        ("default", column.default),
        ("becomes the column", column.rename),
    ):
        if value is not None:
            found.append((words, str(value)))
    if column.values:
        found.append(("one of", ", ".join(column.values)))
    if column.zone is not None:
        zone = {"required": ("has a zone", ""), "utc": ("without a zone it is UTC", "")}
        found.append(zone.get(column.zone, ("without a zone it is in", column.zone)))
    if column.aliases:
        found.append(("also called", ", ".join(column.aliases)))
    return found
