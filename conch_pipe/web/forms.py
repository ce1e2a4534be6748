"""The shapes in which a file comes: multipart/form-data, or the body as it is. Both are read as they come.

A form's fields may come in any order. What must be known before the file can be taken is its schema: a file that comes
before that is held in memory, as far as that goes.
"""

from __future__ import annotations

from dataclasses import dataclass

from multipart import parse_options_header  # type: ignore[import-untyped]
from pydantic import TypeAdapter, ValidationError

from conch_pipe.errors import Code, PipeError
from conch_pipe.web.arrival import NO_SCHEMA, Arrival
from conch_pipe.web.documents import Key
from conch_pipe.web.parts_of_forms import FormParts
from conch_pipe.web.problems import Refused
from conch_pipe.web.request import Request

FIELD_BYTES = 1024  # of a field of ours
OTHER_BYTES = 65_536  # of fields that are not ours, together
_ENDINGS = {"text/csv": "csv", "application/csv": "csv", "application/json": "json"}
_key = TypeAdapter(Key)


@dataclass(slots=True)
class Said:
    """What the client says of its file, in the query, in headers or in fields; twice only if it is the same."""

    schema: str = ""
    key: str = ""
    name: str = ""

    def say(self, what: str, value: str) -> None:
        """:param what: schema, key or name. :raises Refused: it was said otherwise before."""
        before = getattr(self, what)
        if before and value and before != value:
            word = {"schema": "schemaType", "key": "idempotencyKey", "name": "fileName"}[what]
            raise Refused("bad_request", f"{word} is given twice, and differently")
        if what == "key" and value:
            try:
                _key.validate_python(value)
            except ValidationError:
                raise PipeError(Code.INVALID, "idempotencyKey: 1 to 255 printable ASCII characters") from None
        setattr(self, what, value or before)


async def plain_body(request: Request, said: Said, media_type: str, arrival: Arrival) -> None:
    """The body is the file. :raises PipeError: what IIntake and IUpload say. :raises Refused: something is missing."""
    name = said.name
    if not name:
        if media_type not in _ENDINGS:
            what = "say text/csv or application/json as Content-Type, or give a fileName, or send multipart/form-data"
            raise Refused("unsupported_media_type", what)
        name = f"upload.{_ENDINGS[media_type]}"
    if not said.schema:
        raise Refused("bad_request", NO_SCHEMA)
    if said.key:
        await arrival.keyed(said.key)
    arrival.begin(said.schema, name, request.body.length)
    while data := await request.body.read():
        await arrival.write(data)


class Form(FormParts):
    """A multipart/form-data body.

    :param held_bytes: of a file that comes before its schema is known.
    """

    def __init__(self, request: Request, said: Said, boundary: str, arrival: Arrival, held_bytes: int) -> None:
        super().__init__(request, boundary)
        self._said = said
        self._arrival = arrival
        self._most_held = held_bytes
        self._held = bytearray()
        self._field = ""  # the name of the part that comes
        self._value = bytearray()
        self._other = 0
        self._has_file = False
        self._ending = "csv"

    async def read(self) -> None:
        """All of it. :raises PipeError: as plain_body. :raises Refused: it is no such form, or something is missing."""
        if self._said.key:
            await self._arrival.keyed(self._said.key)
        await super().read()
        if not self._has_file:
            raise Refused("bad_request", "the field file is missing")
        if not self._arrival.begun:
            if not self._said.schema:
                raise Refused("bad_request", NO_SCHEMA)
            await self._begin()

    async def part(self, name: str, filename: str, media_type: str) -> None:
        """See FormParts."""
        self._field = name
        self._value.clear()
        if self._field != "file":
            return
        if self._has_file:
            raise Refused("bad_request", "a request has one file")
        self._has_file = True
        self._said.name = self._said.name or filename
        self._ending = _ENDINGS.get(media_type, "csv")

    async def data(self, data: bytes) -> None:
        """See FormParts."""
        if self._field == "file":
            await self._file(data)
        elif self._field in ("schemaType", "idempotencyKey", "fileName"):
            self._value += data
            if len(self._value) > FIELD_BYTES:
                raise Refused("bad_request", f"{self._field} is too long")
        else:
            self._other += len(data)
            if self._other > OTHER_BYTES:
                raise Refused("bad_request", "the form has more than schemaType, idempotencyKey and file")

    async def _file(self, data: bytes) -> None:
        if not self._arrival.begun:
            if not self._said.schema:
                self._held += data
                if len(self._held) > self._most_held:
                    raise Refused("bad_request", "put the field schemaType before file")
                return
            await self._begin()
        await self._arrival.write(data)

    async def part_ends(self) -> None:
        """See FormParts."""
        if self._field == "file":
            if self._said.schema and not self._arrival.begun:  # an empty file
                await self._begin()
            return
        what = {"schemaType": "schema", "idempotencyKey": "key", "fileName": "name"}.get(self._field)
        if what is None:
            return
        try:
            value = self._value.decode()
        except UnicodeDecodeError:
            raise Refused("bad_request", f"{self._field} is not UTF-8") from None
        if what == "name" and self._has_file:
            return  # the file's own name is known, and has perhaps been used
        self._said.say(what, value)
        if what == "key" and value:
            await self._arrival.keyed(value)

    async def _begin(self) -> None:
        self._arrival.begin(self._said.schema, self._said.name or f"upload.{self._ending}", None)
        if self._held:
            held, self._held = bytes(self._held), bytearray()
            await self._arrival.write(held)


def content_type(request: Request) -> tuple[str, str]:
    """:returns: the media type in lower case, and its boundary."""
    kind, options = parse_options_header(request.header("Content-Type"))
    return kind, options.get("boundary", "")
