"""Lists that are newest first, by pages: where the next one goes on, as a cursor for programs."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Page
from conch_pipe.web.operations.taking import PageQuery, after, cursor


def before(query: PageQuery, kind: type[UUID] | type[int]) -> tuple[datetime, Any] | None:
    """Where a page goes on. :param kind: of the ids in the list. :raises PipeError: INVALID, no cursor of this list."""
    if not query.cursor:
        return None
    at, text = after(query.cursor, 2)
    try:
        moment, last = datetime.fromisoformat(at), kind(text)
        if moment.tzinfo is None or (isinstance(last, int) and not 0 <= last < 1 << 63):
            raise ValueError("not a place in this list")
    except (ValueError, OverflowError):
        raise PipeError(Code.INVALID, "cursor: not one that was given out here") from None
    return moment, last


def following(page: Page[Any]) -> str | None:
    """The cursor of the page after this one."""
    return None if page.more is None else cursor(page.more[0].isoformat(), str(page.more[1]))
