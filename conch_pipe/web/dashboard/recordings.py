"""Recordings: where each is on its way, what is still to come, and to try one once more."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Page, PushState, Scope, Shown
from conch_pipe.web.dashboard import lists
from conch_pipe.web.dashboard.forms import Filled
from conch_pipe.web.dashboard.pages import Pages
from conch_pipe.web.dashboard.pushes import Row
from conch_pipe.web.dashboard.timeline import line
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route

LOG = 100  # rows of the log on a recording's page: more than 13 attempts at each of a few remotes


def recordings(pages: Pages, parts: Parts) -> list[Route]:
    """Its routes."""
    views = _Recordings(pages, parts)
    return [
        pages.get("/recordings", views.page),
        pages.get("/recordings/<uuid:uid>", views.one),
        pages.get("/recordings/<uuid:uid>/now", views.now),
        pages.post("/recordings/<uuid:uid>/retry", views.retry, Scope.RECORDINGS),
    ]


class _Recordings:
    def __init__(self, pages: Pages, parts: Parts) -> None:
        self._pages = pages
        self._operations = parts.operations

    async def page(self, request: Request, actor: Actor) -> Response:
        organisation = lists.whose(actor, request)
        if (uid := await self._ours(actor, lists.given(request, "id"))) is not None:
            return self._pages.to(request, f"/recordings/{uid}")
        page: Page[Shown] = await self._operations.recordings.page(
            organisation,
            limit=lists.ROWS,
            before=lists.before(request, UUID),
            environment=lists.given(request, "environment"),
            recording_id=lists.given(request, "id"),
            state=lists.one_of(PushState, request, "state"),
            remote=lists.given(request, "remote"),
            since=lists.moment(request, "since"),
            until=lists.moment(request, "until"),
        )
        environments = await self._operations.environments.list(actor.organisation)
        return self._pages.render(
            request,
            "recordings.html",
            actor,
            rows=page.items,
            filtered=any(request.query.values()),
            states=[one.value for one in PushState],
            organisations=await lists.organisations(self._operations, actor),
            environments=sorted({one.name for one in environments}),
            next_cursor=lists.following(page),
        )

    async def _ours(self, actor: Actor, word: str | None) -> UUID | None:
        """The recording whose uid that is, when it is one."""
        try:
            uid = UUID(word or "")
            await self._existing(actor, uid)
        except ValueError:
            return None
        except PipeError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            return None
        return uid

    async def one(self, request: Request, actor: Actor, uid: UUID) -> Response:
        return self._pages.render(request, "recording.html", actor, **await self._found(actor, uid))

    async def now(self, request: Request, actor: Actor, uid: UUID) -> Response:
        return self._pages.render(request, "recording_now.html", actor, **await self._found(actor, uid))

    async def retry(self, request: Request, actor: Actor, form: Filled, uid: UUID) -> Response:
        found = await self._existing(actor, uid)
        back = f"/recordings/{uid}"
        try:
            pushes = await self._operations.recordings.retry(uid, form.get("remote") or None)
        except PipeError as error:
            if error.code is not Code.CONFLICT:
                raise
            return self._pages.after(request, back, f"Nothing is tried: {error.message}.", good=False)
        names = ", ".join(one.remote for one in pushes)
        return self._pages.after(request, back, f"Recording {found.recording.id} is tried now: {names}.")

    async def _existing(self, actor: Actor, uid: UUID) -> Shown:
        found: Shown = await self._operations.recordings.show(uid)
        lists.seen(actor, found.recording.organisation)
        return found

    async def _found(self, actor: Actor, uid: UUID) -> dict[str, Any]:
        """What both the page and the piece of it that refreshes itself show."""
        found = await self._existing(actor, uid)
        log = await self._operations.pushes.log(found.recording.organisation, limit=LOG, recording=uid)
        moving = await self._operations.pushes.moving()
        deliveries = []
        for one in found.deliveries:
            under_way = moving.get(str(one.push.id))
            drawn = line(one, found.recording.saved_at, log.items, now=under_way is not None)
            deliveries.append((one, drawn, under_way))
        return {
            "recording": found.recording,
            "shown": found,
            "deliveries": deliveries,
            "log": [Row(one) for one in log.items],
            "more": log.more is not None,
            "lively": any(_lively(one, under_way) for one, _, under_way in deliveries),
        }


def _lively(delivery: Any, under_way: Any) -> bool:
    """Whether something may still change by itself."""
    return delivery.push.final_at is None or delivery.push.manual or under_way is not None
