"""One file on its way from a request to the intake, whatever shape the request has.

With a key that is known already the bytes are only compared: nothing is stored twice. Knows no multipart.
"""

from __future__ import annotations

import hashlib
from typing import Any

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IEvents, IIntake, IUploads
from conch_pipe.model import Client, Upload
from conch_pipe.web.problems import RETRY_S, Refused

NO_SCHEMA = "schemaType is missing: one of your enabled schemas"


class Arrivals:
    """Starts them.

    :param max_bytes: of a file.
    """

    def __init__(self, intake: IIntake, uploads: IUploads, events: IEvents, max_bytes: int) -> None:
        self.intake: Any = intake
        self.uploads: Any = uploads
        self.events = events
        self.max_bytes = max_bytes
        # Keys of requests that are not answered yet. All of them are in this process.
        self.under_way: set[tuple[str, str]] = set()


class Arrival:
    """One file. Call ``keyed`` and ``begin`` in any order, then ``write``, ``finish``; and ``end`` in any case."""

    def __init__(self, arrivals: Arrivals, client: Client) -> None:
        self._all = arrivals
        self._client = client
        self._key = ""
        self._known: Upload | None = None  # what was recorded under the key before
        self._schema = ""
        self._upload: Any = None  # an IUpload
        self._hash: Any = None
        self._size = 0

    @property
    def begun(self) -> bool:
        """Bytes can be taken."""
        return self._upload is not None or self._hash is not None

    async def keyed(self, key: str) -> None:
        """The client gave a key. :raises Refused: in_flight."""
        if key == self._key:
            return
        if self._key:
            raise Refused("bad_request", "two different idempotency keys were given")
        pair = (self._client.client_id, key)
        if pair in self._all.under_way:
            raise Refused(
                "in_flight", "a request with this idempotencyKey is under way", headers={"Retry-After": str(RETRY_S)}
            )
        self._all.under_way.add(pair)
        self._key = key
        if self._upload is not None:
            self._upload.keyed(key)
        else:
            self._known = await self._all.uploads.answered(self._client.client_id, key)

    def begin(self, schema: str, name: str, size: int | None) -> None:
        """The client said what the file is.

        :param size: of the file, when it is known.
        :raises PipeError: INVALID, TOO_LARGE and others of IIntake.begin. :raises Refused: no such schema.
        """
        self._schema = schema
        if self._known is not None:
            self._hash = hashlib.sha256()
            return
        if schema not in self._client.schemas:
            self._tell_refused(schema, name)
            enabled = ", ".join(sorted(self._client.schemas)) or "none"
            raise Refused("unknown_schema", f"this schemaType is not enabled for you; enabled: {enabled}")
        self._upload = self._all.intake.begin(self._client, schema, name, door="http", size=size)
        if self._key:
            self._upload.keyed(self._key)

    async def write(self, data: bytes) -> None:
        """The next bytes; returns when storage can take more. :raises PipeError: as IUpload.write."""
        if self._upload is None:
            self._size += len(data)
            if self._size > self._all.max_bytes:
                raise PipeError(Code.TOO_LARGE, "the file is too large")
            self._hash.update(data)
            return
        written = self._upload.write(self._size, data)
        self._size += len(data)
        if written is not None:
            await written
        if self._upload.lagging:
            await self._upload.caught_up()

    async def finish(self) -> Upload:
        """All bytes are here.

        :returns: the upload that is recorded; of a known key, as it was recorded then.
        :raises PipeError: as IUpload.finish. :raises Refused: key_reused.
        """
        if self._known is not None:
            if (self._known.schema, self._known.sha256) != (self._schema, self._hash.hexdigest()):
                raise _reused()
            return self._known
        upload, self._upload = self._upload, None
        try:
            recorded: Upload = await upload.finish()
        except PipeError as error:
            if error.code is Code.CONFLICT and self._key:  # the key was said after the file had begun to come
                raise _reused() from error
            raise
        return recorded

    def end(self, why: str) -> None:
        """The request is over; what is not finished is dropped. Again is no error."""
        if self._upload is not None:
            upload, self._upload = self._upload, None
            upload.abort(why)
        self._all.under_way.discard((self._client.client_id, self._key) if self._key else ("", ""))
        self._key = ""

    def _tell_refused(self, schema: str, name: str) -> None:
        client = self._client
        self._all.events.note(
            events.UPLOAD_REFUSED,
            client_id=client.client_id,
            organisation=client.organisation,
            address=client.peer.address,
            session=client.peer.session,
            schema=_label(schema),
            name=_label(name),
            door="http",
            problem="no such schema",
            code=Code.NOT_FOUND.value,
        )


def _reused() -> Refused:
    return Refused("key_reused", "this idempotencyKey was used for another file or schema")


def _label(text: str) -> str:
    return text[:255].encode(errors="backslashreplace").decode()
