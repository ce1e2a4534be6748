"""Lists too long for one answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

T = TypeVar("T")

Place = tuple[datetime, UUID | int]  # in a list that is newest first: moment and id of the one that was shown last


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list, newest first.

    :ivar more: where the next page goes on; None: there is none.
    """

    items: tuple[T, ...]
    more: Place | None = None


def page(found: Sequence[T], limit: int, place: Callable[[T], Place]) -> Page[T]:
    """A page of what was found when one more than its limit was looked for."""
    shown = tuple(found[:limit])
    return Page(shown, place(shown[-1]) if len(found) > limit else None)
