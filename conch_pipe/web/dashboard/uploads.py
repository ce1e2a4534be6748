"""Files received: those one looks for, and all there is to know of one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

from markupsafe import Markup, escape

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Page, Scope, State, Upload
from conch_pipe.web.dashboard import lists
from conch_pipe.web.dashboard.forms import Filled
from conch_pipe.web.dashboard.pages import Pages
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route

PROBLEMS = 100  # that are kept of an upload
DOORS = ("sftp", "http", "cli")
FINAL = (State.COMPLETED, State.FAILED)


def uploads(pages: Pages, parts: Parts) -> list[Route]:
    """Their routes."""
    views = _Uploads(pages, parts)
    return [
        pages.get("/uploads", views.listing),
        pages.get("/uploads/<uuid:upload_id>", views.show),
        pages.get("/uploads/<uuid:upload_id>/raw", views.raw, Scope.UPLOADS),
        pages.post("/uploads/<uuid:upload_id>/rerun", views.rerun, Scope.UPLOADS),
    ]


class _Uploads:
    def __init__(self, pages: Pages, parts: Parts) -> None:
        self._pages = pages
        self._operations: Any = parts.operations
        self._uploads: Any = parts.operations.uploads
        self._sftp_port = parts.sftp_port

    async def listing(self, request: Request, actor: Actor) -> Response:
        wanted = lists.given(request, "name")
        if wanted and (upload_id := _id(wanted)):
            return self._pages.to(request, f"/uploads/{upload_id}")
        problem = ""
        page: Page[Upload] = Page(())
        try:
            page = await self._uploads.page(
                lists.whose(actor, request),
                limit=lists.ROWS,
                before=lists.before(request, UUID),
                door=lists.given(request, "door"),
                schema=lists.given(request, "schema"),
                state=lists.one_of(State, request, "state"),
                since=lists.moment(request, "since"),
                until=lists.moment(request, "until"),
                name=wanted,
            )
        except PipeError as error:
            if error.code is not Code.INVALID:
                raise
            problem = error.message
        refreshed = bool(request.header("HX-Request"))
        values: dict[str, Any] = {
            "uploads": page.items,
            "problem": problem,
            "filtered": any(request.query.values()),
            "next_cursor": lists.following(page),
            "port": self._sftp_port(),
        }
        if not refreshed:
            values |= {
                "states": [one.value for one in State],
                "doors": DOORS,
                "organisations": await lists.organisations(self._operations, actor),
                "schemas": await self._schemas(actor),
            }
        return self._pages.render(request, "uploads_list.html" if refreshed else "uploads.html", actor, **values)

    async def _schemas(self, actor: Actor) -> list[str]:
        """Those an upload can be of."""
        known = await self._operations.organisations.list()
        return sorted({name for one in known if actor.sees(one.name) for name in one.schemas})

    async def show(self, request: Request, actor: Actor, upload_id: UUID) -> Response:
        upload = await self._own(actor, upload_id)
        problems = await self._uploads.problems(upload_id, 0, PROBLEMS) if upload.problem_count else ()
        # A line is content of the file, which is for those who may have all of it.
        lines: tuple[str | None, ...] = (None,) * len(problems)
        if actor.may(Scope.UPLOADS):
            lines = await self._uploads.passages(upload, problems)
        refreshed = bool(request.header("HX-Request"))
        return self._pages.render(
            request,
            "upload_now.html" if refreshed else "upload.html",
            actor,
            upload=upload,
            final=upload.state in FINAL,
            problems=[(one, marked(line, one.value)) for one, line in zip(problems, lines, strict=True)],
            waited_s=(upload.finished_at - upload.received_at) / timedelta(seconds=1) if upload.finished_at else None,
        )

    async def rerun(self, request: Request, actor: Actor, form: Filled, upload_id: UUID) -> Response:
        await self._own(actor, upload_id)
        await self._uploads.rerun(upload_id)
        return self._pages.after(request, f"/uploads/{upload_id}", "It is processed once more.")

    async def raw(self, request: Request, actor: Actor, upload_id: UUID) -> Response:
        copy = await self._uploads.raw(await self._own(actor, upload_id))
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(copy.upload.name, safe='')}",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return Response(200, media_type="application/octet-stream", headers=headers, pieces=copy.pieces)

    async def _own(self, actor: Actor, upload_id: UUID) -> Upload:
        upload: Upload = await self._uploads.existing(upload_id)
        lists.seen(actor, upload.organisation)
        return upload


def marked(line: str | None, value: str | None) -> Markup | None:
    """A line of a file with what is wrong in it marked, where it can be found."""
    if line is None:
        return None
    place = line.find(value) if value else -1
    if not value or place < 0:
        return escape(line)
    return escape(line[:place]) + Markup("<mark>{}</mark>").format(value) + escape(line[place + len(value) :])


def _id(text: str) -> UUID | None:
    """An upload's id that somebody has typed or pasted."""
    if len(text) < 32:
        return None
    try:
        return UUID(text)
    except ValueError:
        return None
