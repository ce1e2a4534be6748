"""The Upload API's views: a file is taken, and what became of files is told. Foreign ids are unknown ones."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Client, State, Upload
from conch_pipe.web import documents
from conch_pipe.web.arrival import Arrival, Arrivals
from conch_pipe.web.clients import Clients
from conch_pipe.web.documents import ListQuery, StatusQuery, UploadQuery
from conch_pipe.web.forms import Form, Said, content_type, plain_body
from conch_pipe.web.limits import Limits
from conch_pipe.web.problems import Gone, Refused
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response, document

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5  # between two looks for a verdict; doubled each time
_FINAL = (State.COMPLETED, State.FAILED)


class UploadViews:
    """What clients with a token may ask.

    :param draining: whether the service is about to end: nobody is kept waiting then.
    """

    def __init__(self, clients: Clients, arrivals: Arrivals, clock: IReactorTime, limits: Limits) -> None:
        self._clients = clients
        self._arrivals = arrivals
        self._uploads = arrivals.uploads
        self._clock = clock
        self._limits = limits

    async def upload(self, request: Request) -> Response:
        """POST /api/external/upload."""
        client = await self._clients.of(request)
        query = UploadQuery.model_validate(request.query)
        said = Said()
        for what, in_query, in_header in (
            ("schema", query.schema_type, "X-Schema-Type"),
            ("key", query.idempotency_key, "Idempotency-Key"),
            ("name", query.file_name, "X-File-Name"),
        ):
            said.say(what, in_query or "")
            said.say(what, request.header(in_header))
        recorded = await self._receive(request, client, said)
        if not query.wait:
            return document(documents.accepted(recorded), 202)
        found = await self._verdict(recorded.id, query.wait, request)
        return document(documents.uploaded(found or recorded), 200)

    async def _receive(self, request: Request, client: Client, said: Said) -> Upload:
        media_type, boundary = content_type(request)
        arrival = Arrival(self._arrivals, client)
        why = "the request failed"
        try:
            if media_type == "multipart/form-data":
                if not boundary:
                    raise Refused("bad_request", "multipart/form-data needs a boundary")
                await Form(request, said, boundary, arrival, self._limits.held_bytes).read()
            else:
                await plain_body(request, said, media_type, arrival)
            await self._clients.of(request)  # a long upload must not outlive its credential
            return await arrival.finish()
        except (PipeError, Refused, Gone) as error:
            why = error.args[0]
            raise
        finally:
            arrival.end(why)

    async def status(self, request: Request, id: UUID) -> Response:  # noqa: A002 - as in the path
        """GET /api/external/upload/{id}/status."""
        client = await self._clients.of(request)
        query = StatusQuery.model_validate(request.query)
        upload = await self._own(client, id)
        if query.wait and upload.state not in _FINAL:
            upload = await self._verdict(id, query.wait, request) or upload
        offset = (query.page - 1) * query.page_size
        problems: tuple[Any, ...] = ()
        if upload.problem_count:
            problems = await self._uploads.problems(id, offset, query.page_size + 1)
        more = query.page + 1 if len(problems) > query.page_size else None
        return document(documents.status(upload, problems[: query.page_size], more))

    async def list(self, request: Request) -> Response:
        """GET /api/external/uploads."""
        client = await self._clients.of(request)
        query = ListQuery.model_validate(request.query)
        found = await self._uploads.page(
            client.organisation,
            limit=query.limit + 1,
            before=documents.after(query.cursor) if query.cursor else None,
            client_id=query.client_id,
            door=query.source,
            schema=query.schema_type,
            state=query.status,
            since=query.since,
            until=query.until,
            name=query.file_name,
        )
        shown = found[: query.limit]
        return document(
            documents.Uploads(
                uploads=[documents.uploaded(one) for one in shown],
                next_cursor=documents.cursor(shown[-1]) if len(found) > query.limit else None,
            )
        )

    async def _own(self, client: Client, upload_id: UUID) -> Upload:
        upload: Upload | None = await self._uploads.get(upload_id)
        if upload is None or upload.organisation != client.organisation:
            raise PipeError(Code.NOT_FOUND, "no such upload")
        return upload

    async def _verdict(self, upload_id: UUID, within_s: float, request: Request) -> Upload | None:
        """Look until an upload has ended, the time is over, or nobody waits."""
        until, pause = self._clock.seconds() + min(within_s, self._limits.wait_s), FIRST_PAUSE_S
        while True:
            found: Upload | None = await self._uploads.get(upload_id)
            left = until - self._clock.seconds()
            if found is None or found.state in _FINAL or left <= 0 or request.gone or request.site.draining:
                return found
            await deferLater(self._clock, min(pause, left), lambda: None)
            pause = min(pause * 2, LONGEST_PAUSE_S)
