"""Uploads of all organisations: found, looked at beside their lines, processed again, had as they came."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import UUID

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Page, Problem, Scope, Upload
from conch_pipe.web.actors import Actors
from conch_pipe.web.operations import upload_documents as documents
from conch_pipe.web.operations.lists import before, following
from conch_pipe.web.operations.seeing import seen, whose
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response, document
from conch_pipe.web.routes import Route

RAW = "application/octet-stream"  # whatever a partner sent: no browser may take it for a page


def upload_routes(parts: Parts, actors: Actors) -> list[Route]:
    """Their routes."""
    views = UploadsViews(parts, actors)
    return [
        Route(
            "GET",
            "/api/uploads",
            views.list_uploads,
            "Uploads of all organisations, newest first.",
            query=documents.UploadsQuery,
            answers={200: documents.UploadsReceived},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "GET",
            "/api/uploads/<uuid:id>",
            views.show_upload,
            "One upload with its problems.",
            query=documents.ProblemsQuery,
            answers={200: documents.UploadWithProblems},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "POST",
            "/api/uploads/<uuid:id>/rerun",
            views.rerun_upload,
            "Process a FAILED upload once more.",
            "After the schema or the disk was put right. Rows are never loaded twice.",
            answers={202: documents.UploadReceived},
            refusals=(404, 409),
            scope=Scope.UPLOADS,
        ),
        Route(
            "GET",
            "/api/uploads/<uuid:id>/raw",
            views.raw_upload,
            "The very bytes that were received.",
            files=(RAW,),
            refusals=(404,),
            scope=Scope.UPLOADS,
        ),
    ]


class UploadsViews:
    """What they answer."""

    def __init__(self, parts: Parts, actors: Actors) -> None:
        self._uploads: Any = parts.operations.uploads
        self._actors = actors

    async def list_uploads(self, request: Request) -> Response:
        """GET /api/uploads."""
        actor = await self._actors.of(request, Scope.READ)
        query = documents.UploadsQuery.model_validate(request.query)
        found: Page[Upload] = await self._uploads.page(
            whose(actor, query.organisation),
            limit=query.limit,
            before=before(query, UUID),
            client_id=query.client_id,
            door=query.source,
            schema=query.schema_type,
            state=query.status,
            since=query.since,
            until=query.until,
            name=query.file_name,
        )
        told = [documents.received(one) for one in found.items]
        return document(documents.UploadsReceived(uploads=told, next_cursor=following(found)))

    async def show_upload(self, request: Request, id: UUID) -> Response:  # noqa: A002 - as in the path
        """GET /api/uploads/{id}."""
        actor = await self._actors.of(request, Scope.READ)
        query = documents.ProblemsQuery.model_validate(request.query)
        if query.lines and not actor.may(Scope.UPLOADS):
            raise PipeError(Code.NOT_ALLOWED, f"this token has not the scope {Scope.UPLOADS.value}")
        upload = await self._seen(actor, id)
        found: tuple[Problem, ...] = ()
        if upload.problem_count:
            found = await self._uploads.problems(id, (query.page - 1) * query.page_size, query.page_size + 1)
        shown = found[: query.page_size]
        texts: tuple[str | None, ...] = (None,) * len(shown)
        if query.lines:
            texts = await self._uploads.passages(upload, shown)
        more = query.page + 1 if len(found) > query.page_size else None
        return document(documents.with_problems(upload, shown, texts, more))

    async def rerun_upload(self, request: Request, id: UUID) -> Response:  # noqa: A002
        """POST /api/uploads/{id}/rerun."""
        await self._seen(await self._actors.of(request, Scope.UPLOADS), id)
        return document(documents.received(await self._uploads.rerun(id)), 202)

    async def raw_upload(self, request: Request, id: UUID) -> Response:  # noqa: A002
        """GET /api/uploads/{id}/raw."""
        upload = await self._seen(await self._actors.of(request, Scope.UPLOADS), id)
        copy = await self._uploads.raw(upload)
        return Response(200, media_type=RAW, headers=attachment(upload.name), pieces=copy.pieces)

    async def _seen(self, actor: Actor, upload_id: UUID) -> Upload:
        found: Upload = await self._uploads.existing(upload_id)
        return seen(actor, found, found.organisation, f"no upload {upload_id}")


def attachment(name: str) -> dict[str, str]:
    """The header that gives a file its name, whatever the name is.

    :source: RFC 6266 appendix D; RFC 8187.
    """
    plain = "".join(one if " " <= one <= "~" and one not in '"\\%/' else "_" for one in name)
    return {"Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"}
