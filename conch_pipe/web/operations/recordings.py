"""Recordings: told by paths or brought as they are, found, followed, tried once more."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from conch_pipe.model import Actor, Page, Scope, Shown, Submitted
from conch_pipe.web.actors import Actors
from conch_pipe.web.forms import content_type
from conch_pipe.web.operations import recording_documents as documents
from conch_pipe.web.operations.lists import before, following
from conch_pipe.web.operations.recording_form import RecordingForm
from conch_pipe.web.operations.seeing import seen, whose
from conch_pipe.web.operations.taking import JSON, taken
from conch_pipe.web.parts import Parts
from conch_pipe.web.problems import Refused
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response, document
from conch_pipe.web.routes import Route

FORM = "multipart/form-data"


def recording_routes(parts: Parts, actors: Actors) -> list[Route]:
    """Their routes."""
    views = RecordingViews(parts, actors)
    return [
        Route(
            "POST",
            "/api/recordings",
            views.submit_recording,
            "Record a group of files for delivery.",
            "By paths on the service's machine, or with the files themselves as a form. 201: it is recorded and "
            "delivered from now on; 200: it was known already, with the same files.",
            bodies={JSON: documents.NewRecording, FORM: documents.RecordingForm},
            answers={200: documents.RecordingTold, 201: documents.RecordingTold},
            refusals=(404, 409, 507),
            scope=Scope.RECORDINGS,
            body_bytes=parts.limits.recording_bytes,
        ),
        Route(
            "GET",
            "/api/recordings",
            views.list_recordings,
            "Recordings, newest first.",
            query=documents.RecordingsQuery,
            answers={200: documents.Recordings},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "GET",
            "/api/recordings/<uuid:uid>",
            views.show_recording,
            "One recording, and its way to each remote.",
            answers={200: documents.RecordingGiven},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "POST",
            "/api/recordings/<uuid:uid>/retry",
            views.retry_recording,
            "Try once more now, besides the 13 attempts.",
            "Also after they have been in vain, while the files are there.",
            bodies={JSON: documents.Again},
            answers={202: documents.RecordingGiven},
            refusals=(404, 409),
            scope=Scope.RECORDINGS,
        ),
    ]


class RecordingViews:
    """What they answer."""

    def __init__(self, parts: Parts, actors: Actors) -> None:
        self._recordings: Any = parts.operations.recordings
        self._actors = actors

    async def submit_recording(self, request: Request) -> Response:
        """POST /api/recordings."""
        actor = await self._actors.of(request, Scope.RECORDINGS)
        kind, boundary = content_type(request)
        if kind == FORM:
            if not boundary:
                raise Refused("bad_request", f"{FORM} needs a boundary")
            submitted = await self._received(request, actor, boundary)
        else:
            wanted = await taken(request, documents.NewRecording)
            whose(actor, wanted.organisation)
            name = wanted.id if wanted.name is None else wanted.name
            submitted = await self._recordings.submit(
                wanted.organisation, wanted.environment, wanted.id, name, wanted.files.paths()
            )
        shown = await self._recordings.show(submitted.recording.uid)
        place = {"Location": f"/api/recordings/{submitted.recording.uid}"}
        return document(documents.told(shown, actor, submitted.again), 200 if submitted.again else 201, place)

    async def _received(self, request: Request, actor: Actor, boundary: str) -> Submitted:
        arrival = self._recordings.arrival()
        try:
            form = RecordingForm(request, boundary, arrival, lambda organisation: whose(actor, organisation))
            await form.read()
            await self._actors.of(request, Scope.RECORDINGS)  # a long one must not outlive its token
            submitted: Submitted = await form.submit()
        finally:
            await arrival.end()
        return submitted

    async def list_recordings(self, request: Request) -> Response:
        """GET /api/recordings."""
        actor = await self._actors.of(request, Scope.READ)
        query = documents.RecordingsQuery.model_validate(request.query)
        found: Page[Shown] = await self._recordings.page(
            whose(actor, query.organisation),
            limit=query.limit,
            before=before(query, UUID),
            environment=query.environment,
            recording_id=query.id,
            state=query.state,
            remote=query.remote,
            since=query.since,
            until=query.until,
        )
        told = [documents.recording(one, actor) for one in found.items]
        return document(documents.Recordings(recordings=told, next_cursor=following(found)))

    async def show_recording(self, request: Request, uid: UUID) -> Response:
        """GET /api/recordings/{uid}."""
        actor = await self._actors.of(request, Scope.READ)
        return document(documents.recording(await self._seen(actor, uid), actor))

    async def retry_recording(self, request: Request, uid: UUID) -> Response:
        """POST /api/recordings/{uid}/retry."""
        actor = await self._actors.of(request, Scope.RECORDINGS)
        wanted = await taken(request, documents.Again)
        await self._seen(actor, uid)
        await self._recordings.retry(uid, wanted.remote)
        return document(documents.recording(await self._recordings.show(uid), actor), 202)

    async def _seen(self, actor: Actor, uid: UUID) -> Shown:
        found: Shown = await self._recordings.show(uid)
        return seen(actor, found, found.recording.organisation, f"no recording {uid}")
