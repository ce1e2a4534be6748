"""Records in the catalog, written once however the answers come, and the verdict on an upload waited for.

Knows no bytes and no stage of an upload (upload.py); says what its events have in common, but tells none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Client, State, Upload, ingest_job

T = TypeVar("T")

ASK_S = 2.0  # how long one look into the catalog may take when its answers are in doubt
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5  # between two looks; doubled each time


def describe(client: Client, schema: str, name: str, door: str) -> dict[str, Any]:
    """The fields that every event of an upload has; a name that was refused may be long."""
    return {
        "client_id": client.client_id,
        "organisation": client.organisation,
        "address": client.peer.address,
        "banner": client.peer.banner,
        "session": client.peer.session,
        "schema": schema,
        "name": name[:255].encode(errors="backslashreplace").decode(),  # lone surrogates cannot be logged
        "door": door,
    }


async def accept(
    uploads: Any,
    upload: Upload,
    content: bytes | None,
    clock: IReactorTime,
    *,
    same_within_s: float,
    within_s: float,
    key: str | None = None,
) -> Upload:
    """Record an upload with its job; when the outcome is unknown, look and try again by id.

    :param uploads: IUploads.
    :param content: see IUploads.accept.
    :param within_s: how long the outcome is looked for.
    :param key: the client's idempotency key.
    :returns: the upload, or the earlier one of the same bytes.
    :raises PipeError: what IUploads.accept raises; UNKNOWN_OUTCOME when it stayed unknown.
    """
    job = ingest_job(upload, upload.received_at)
    return await certain(
        lambda: uploads.accept(upload, job, same_within_s=same_within_s, content=content, key=key),
        lambda: uploads.get(upload.id),
        clock,
        within_s=within_s,
    )


async def certain(
    accept: Callable[[], Deferred[T]], look: Callable[[], Deferred[T | None]], clock: IReactorTime, *, within_s: float
) -> T:
    """Record something; when the outcome is unknown, look and try again.

    :param accept: records it, by an id: twice is once.
    :param look: what was recorded by that id, or None.
    :param within_s: how long the outcome is looked for.
    :raises PipeError: what the first ``accept`` raises; UNKNOWN_OUTCOME when it stayed unknown.
    """
    try:
        return await accept()
    except PipeError as error:
        if error.code is not Code.UNKNOWN_OUTCOME:
            raise
        unknown = error
    until, pause = clock.seconds() + within_s, FIRST_PAUSE_S
    while (left := until - clock.seconds()) > 0:
        found: T | None = await _or_none(look(), min(left / 2, ASK_S), clock)
        # Not there now may still mean on its way; a second accept by the same id settles it either way.
        found = found or await _or_none(accept(), min(left / 2, ASK_S), clock)
        if found is not None:
            return found
        await deferLater(clock, min(pause, max(0, until - clock.seconds())), lambda: None)
        pause = min(pause * 2, LONGEST_PAUSE_S)
    raise unknown


async def verdict(
    uploads: Any, recorded: Upload, clock: IReactorTime, *, within_s: float, given_up: Callable[[], bool]
) -> Upload:
    """Look until an upload is COMPLETED or FAILED, or the time is over.

    :param given_up: nobody waits any more.
    :returns: the upload as it was seen last.
    :raises PipeError: BAD_FILE with the first problem, when it FAILED.
    """
    until, pause = clock.seconds() + within_s, FIRST_PAUSE_S
    while recorded.state in (State.PENDING, State.PROCESSING) and not given_up():
        left = until - clock.seconds()
        if left <= 0:
            break
        await deferLater(clock, min(pause, left), lambda: None)
        pause = min(pause * 2, LONGEST_PAUSE_S)
        recorded = await _or_none(uploads.get(recorded.id), ASK_S, clock) or recorded
    if recorded.state is State.FAILED:
        raise PipeError(Code.BAD_FILE, _short(recorded.problem or "the file was refused"))
    return recorded


async def _or_none(asked: Deferred[Any], within_s: float, clock: IReactorTime) -> Any:
    """An answer, or None when there is none in time."""
    try:
        return await asked.addTimeout(within_s, clock)
    except (PipeError, TimeoutError):
        return None


def _short(problem: str) -> str:
    """One line of printable ASCII, at most 200 characters."""
    return "".join(one if " " <= one <= "~" else "?" for one in problem)[:200]
