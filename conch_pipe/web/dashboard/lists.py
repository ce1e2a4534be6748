"""What the pages with lists share: whose it is, filters as they stand in an address, and how pages go on."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IOperations
from conch_pipe.model import Actor
from conch_pipe.model.pages import Page, Place
from conch_pipe.web.operations.taking import after, cursor
from conch_pipe.web.request import Request

ROWS = 50  # of a page

E = TypeVar("E", bound=enum.Enum)


def given(request: Request, name: str) -> str | None:
    """What a filter asks for; None: any."""
    return request.query.get(name, "").strip() or None


def whose(actor: Actor, request: Request) -> str | None:
    """The organisation to list; None: all. A member's own, whatever is asked for."""
    return actor.organisation or given(request, "organisation")


def one_of(kind: type[E], request: Request, name: str) -> E | None:
    """A choice. :raises PipeError: INVALID, there is none such."""
    text = given(request, name)
    try:
        return None if text is None else kind(text)
    except ValueError:
        raise PipeError(Code.INVALID, f"{name}: there is no such choice") from None


def moment(request: Request, name: str) -> datetime | None:
    """A time, in UTC unless it says otherwise. :raises PipeError: INVALID, it is none."""
    text = given(request, name)
    try:
        at = None if text is None else datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
    except ValueError:
        raise PipeError(Code.INVALID, f"{name}: a time as 2026-11-21T09:30, in UTC") from None


def before(request: Request, kind: type[int] | type[UUID]) -> Place | None:
    """Where a list goes on. :param kind: of the ids in its cursors. :raises PipeError: INVALID."""
    text = given(request, "cursor")
    if text is None:
        return None
    at, one = after(text, 2)
    try:
        when = datetime.fromisoformat(at)
        if when.tzinfo is not None:
            return when, kind(one)
    except ValueError:
        pass
    raise PipeError(Code.INVALID, "cursor: not one that was given out here")


def following(page: Page[Any]) -> str:
    """The cursor of the next page; empty: there is none."""
    return cursor(page.more[0].isoformat(), str(page.more[1])) if page.more else ""


def seen(actor: Actor, organisation: str) -> None:
    """:raises PipeError: NOT_FOUND: what is of that organisation does not exist for this actor."""
    if not actor.sees(organisation):
        raise PipeError(Code.NOT_FOUND, "no such page")


async def organisations(operations: IOperations, actor: Actor) -> list[str]:
    """Those that can be chosen from; none when there is nothing to choose."""
    if actor.organisation is not None:
        return []
    return [one.name for one in await operations.organisations.list()]
