"""What the operations API takes and how its lists go on: bodies of JSON held to a model, cursors of pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from conch_pipe.errors import Code, PipeError
from conch_pipe.web.documents import Taken
from conch_pipe.web.forms import content_type
from conch_pipe.web.problems import Refused, mistakes_of
from conch_pipe.web.request import Request

MOST_BYTES = 65_536  # of a body: private keys are the longest that is in one
JSON = "application/json"

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class PageQuery(Taken):
    """Which part of a list is wanted."""

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=400, description="nextCursor of the page before.")


async def taken(request: Request, model: type[M]) -> M:
    """The body of a request.

    :raises Refused: it is no such document; nothing of it is repeated, as it may hold secrets.
    """
    found = await fields(request)
    try:
        # As JSON and strictly: 0 is not false. Else Pydantic takes what the description does not say.
        return model.model_validate_json(json.dumps(found), strict=True)
    except ValidationError as error:
        mistakes = mistakes_of(error)
    raise Refused("invalid", mistakes[0], mistakes=mistakes)


async def fields(request: Request) -> dict[str, Any]:
    """The body of a request as an object, whatever is in it. :raises Refused: it is none."""
    kind, _ = content_type(request)
    if kind != JSON:
        raise Refused("unsupported_media_type", f"send {JSON}")
    body = await request.body.whole(MOST_BYTES)
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused("invalid", "body: not an object of JSON in UTF-8")
    return found


def cursor(*words: str) -> str:
    """Where the next page goes on; opaque to programs."""
    return base64.urlsafe_b64encode(json.dumps(words).encode()).decode().rstrip("=")


def after(text: str, count: int) -> tuple[str, ...]:
    """What a cursor says, in so many words. :raises PipeError: INVALID, it is none of ours."""
    try:
        words = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        words = None
    if not isinstance(words, list) or len(words) != count or not all(isinstance(one, str) for one in words):
        raise PipeError(Code.INVALID, "cursor: not one that was given out here")
    return tuple(words)


def page(found: Sequence[T], query: PageQuery, place: Callable[[T], tuple[str, ...]]) -> tuple[list[T], str | None]:
    """Some of a list that is in the order of its places, all of it at hand; and the cursor of the next page."""
    if query.cursor and found:
        last = after(query.cursor, len(place(found[0])))
        found = [one for one in found if place(one) > last]
    shown = list(found[: query.limit])
    return shown, cursor(*place(shown[-1])) if len(found) > query.limit else None
