"""The push log: every attempt to deliver, with the columns of the source."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Attempt, Page, Status
from conch_pipe.ssh.keys import fingerprint
from conch_pipe.web.dashboard import lists
from conch_pipe.web.dashboard.pages import Pages
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route


def pushes(pages: Pages, parts: Parts) -> list[Route]:
    """Its routes."""
    return [pages.get("/pushes", _Log(pages, parts).page)]


@dataclass(frozen=True, slots=True)
class Row:
    """An attempt, and what is told of it besides."""

    attempt: Attempt

    @property
    def bytes(self) -> int:
        """That were sent."""
        return sum(file.bytes for file in self.attempt.report.files)

    @property
    def refused(self) -> str:
        """Fingerprint of a host key that is not trusted; empty: there was none."""
        blob = self.attempt.report.refused_key
        return fingerprint(blob) if blob else ""


class _Log:
    def __init__(self, pages: Pages, parts: Parts) -> None:
        self._pages = pages
        self._operations = parts.operations

    async def page(self, request: Request, actor: Actor) -> Response:
        organisation = lists.whose(actor, request)
        problem = ""
        page: Page[Attempt] = Page(())
        try:
            page = await self._operations.pushes.log(
                organisation,
                limit=lists.ROWS,
                before=lists.before(request, int),
                recording=await self._recording(request, organisation),
                remote=lists.given(request, "remote"),
                status=lists.one_of(Status, request, "status"),
                since=lists.moment(request, "since"),
                until=lists.moment(request, "until"),
            )
        except PipeError as error:
            if error.code not in (Code.INVALID, Code.NOT_FOUND):
                raise
            problem = error.message
        return self._pages.render(
            request,
            "pushes.html",
            actor,
            rows=[Row(one) for one in page.items],
            problem=problem,
            filtered=any(request.query.values()),
            statuses=[one.value for one in Status],
            organisations=await lists.organisations(self._operations, actor),
            remotes=[one.name for one in await self._operations.remotes.list(actor.organisation)],
            next_cursor=lists.following(page),
        )

    async def _recording(self, request: Request, organisation: str | None) -> UUID | None:
        word = lists.given(request, "recording")
        if word is None:
            return None
        try:
            found = await self._operations.recordings.existing(word, organisation)
        except PipeError as error:
            if error.code is Code.INVALID:
                raise PipeError(Code.INVALID, "several organisations have a recording of that id: choose one") from None
            raise
        uid: UUID = found.uid
        return uid
