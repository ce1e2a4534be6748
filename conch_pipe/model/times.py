"""Moments and ids that sort by moment."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    # A worker process uses these values and should not load Twisted for them (12 MB, 35 ms).
    from twisted.internet.interfaces import IReactorTime


def utc(clock: IReactorTime) -> datetime:
    """The clock's time as UTC; every record's time comes from here."""
    return datetime.fromtimestamp(clock.seconds(), UTC)


def new_id(at: datetime) -> UUID:
    """A UUIDv7: sorts by time, unguessable in its low 74 bits.

    :source: RFC 9562 section 5.7.
    """
    milliseconds = int(at.timestamp() * 1000) & (1 << 48) - 1
    noise = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | 0x7 << 76 | (noise >> 62 & 0xFFF) << 64 | 0b10 << 62 | noise & (1 << 62) - 1
    return UUID(int=value)
