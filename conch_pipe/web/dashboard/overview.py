"""What needs a person now, and how much came and how long it took.

The page is there at once; its two pieces are asked for again and again while somebody looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from conch_pipe.model import Actor, PushState, State
from conch_pipe.web.dashboard.kept import Kept
from conch_pipe.web.dashboard.pages import Pages
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route

DAYS = 3  # of failures that are still told
MOST = 10  # of each kind
LATE = 10  # attempts behind a push that worries: the next is 14 h after the first
# Name, what it is called, seconds of a slot, and how many there are.
RANGES = (("1h", "1 hour", 60, 60), ("6h", "6 hours", 300, 72), ("24h", "24 hours", 900, 96))


def overview(pages: Pages, parts: Parts) -> list[Route]:
    """Its routes."""
    views = _Overview(pages, parts)
    return [
        pages.get("/overview", views.page),
        pages.get("/overview/now", views.now),
        pages.get("/overview/figures", views.figures),
    ]


@dataclass(frozen=True, slots=True)
class _Traffic:
    slots: tuple[Any, ...]
    name: str
    words: str
    slot_s: int

    @property
    def received(self) -> int:
        return sum(one.received for one in self.slots)

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.slots)

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.slots)

    @property
    def failed(self) -> int:
        return sum(one.failed for one in self.slots)

    @property
    def slowest_s(self) -> float | None:
        return max((one.slowest_s for one in self.slots if one.slowest_s is not None), default=None)


class _Overview:
    def __init__(self, pages: Pages, parts: Parts) -> None:
        self._pages = pages
        self._operations: Any = parts.operations
        self._health: Any = parts.health
        self._sftp_port = parts.sftp_port
        self._clock: Any = parts.clock
        self._kept = Kept(parts.clock)

    async def page(self, request: Request, actor: Actor) -> Response:
        needs = await self._needs(actor)
        values: dict[str, Any] = {"needs": needs, "traffic": await self._traffic(request, actor), "ranges": RANGES}
        if not any(needs["counts"].values()):
            values["first"] = await self._first(request, actor)
        return self._pages.render(request, "overview.html", actor, **values)

    async def now(self, request: Request, actor: Actor) -> Response:
        return self._pages.render(request, "overview_now.html", actor, needs=await self._needs(actor))

    async def figures(self, request: Request, actor: Actor) -> Response:
        return self._pages.render(request, "overview_figures.html", actor, traffic=await self._traffic(request, actor))

    async def _needs(self, actor: Actor) -> dict[str, Any]:
        """What a person should look at, and how many uploads there are in each state."""
        organisation, operations = actor.organisation, self._operations
        since = self._pages.now - timedelta(days=DAYS)
        checks = await self._health.look() if organisation is None else ()
        found: dict[str, Any] = {
            "checks": [one for one in checks if not one.ok],
            "remotes": [one for one in await operations.remotes.list(organisation) if not one.enabled],
            "webhooks": [one for one in await operations.webhooks.list(organisation) if one.disabled_reason == "gone"],
            "failures": await operations.figures.failures(organisation, since, MOST),
            "late": await operations.figures.late(organisation, LATE, since, MOST),
        }
        total = sum(len(one) for one in found.values())
        counts = await self._kept.get(organisation, lambda: operations.uploads.counts(organisation))
        return {**found, "total": total, "counts": counts, "days": DAYS, "State": State, "PushState": PushState}

    async def _traffic(self, request: Request, actor: Actor) -> _Traffic:
        wanted = request.query.get("range")
        name, words, slot_s, count = next((one for one in RANGES if one[0] == wanted), RANGES[-1])
        until = (int(self._clock.seconds()) // slot_s + 1) * slot_s
        since = datetime.fromtimestamp(until - count * slot_s, UTC)

        async def find() -> tuple[Any, ...]:
            end = datetime.fromtimestamp(until, UTC)
            found: tuple[Any, ...] = await self._operations.figures.slots(actor.organisation, since, end, slot_s)
            return found

        return _Traffic(await self._kept.get((actor.organisation, name), find), name, words, slot_s)

    async def _first(self, request: Request, actor: Actor) -> dict[str, Any]:
        """What somebody needs who has not sent anything yet."""
        known = await self._operations.credentials.list(actor.organisation)
        active = [one for one in known if one.revoked_at is None]
        client_id = active[0].client_id if active else "CLIENT_ID"
        schema = active[0].schemas[0] if active and active[0].schemas else "SCHEMA"
        return {
            "line": f"sftp -P {self._sftp_port()} {client_id}@{_host(request)}",
            "put": f"put shifts.csv {schema}/",
            "client_id": client_id if active else "",
        }


def _host(request: Request) -> str:
    """By which name the viewer knows this machine."""
    try:
        return urlsplit(f"//{request.header('Host')}").hostname or "HOST"
    except ValueError:
        return "HOST"
