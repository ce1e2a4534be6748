"""A multipart/form-data body, part after part, as it comes; what the parts mean is said by who reads them."""

from __future__ import annotations

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
)

from conch_pipe.web.problems import Refused
from conch_pipe.web.request import Request

PARTS = 20


class FormParts:
    """One body; the last three methods are called in turn, and the next bytes come when they return."""

    def __init__(self, request: Request, boundary: str) -> None:
        self._request = request
        self._boundary = boundary

    async def read(self) -> None:
        """All of it. :raises Refused: it is no such form. :raises: what the methods raise."""
        try:
            # Its strict mode refuses the line end after the last boundary when that comes in a piece of its own.
            parser = PushMultipartParser(self._boundary, max_segment_count=PARTS)
            while data := await self._request.body.read():
                for event in parser.parse(data):
                    if isinstance(event, MultipartSegment):
                        # Browsers of old send whole paths.
                        filename = (event.filename or "").replace("\\", "/").rpartition("/")[2]
                        await self.part(event.name or "", filename, (event.content_type or "").lower())
                    elif event is None:
                        await self.part_ends()
                    else:
                        await self.data(bytes(event))
            parser.close()
        except ParserLimitReached as error:
            raise Refused("bad_request", f"the form has too many parts or too long headers: {error}") from error
        except MultipartError as error:
            raise Refused("bad_request", f"the body is not multipart/form-data: {_ascii(str(error))}") from error

    async def part(self, name: str, filename: str, media_type: str) -> None:
        """A part begins.

        :param filename: without folders; empty: it has none.
        :param media_type: in lower case; empty: it has none.
        """
        raise NotImplementedError

    async def data(self, data: bytes) -> None:
        """The next bytes of it."""
        raise NotImplementedError

    async def part_ends(self) -> None:
        """There are no more of it."""
        raise NotImplementedError


def _ascii(text: str) -> str:
    return "".join(one if " " <= one <= "~" else "?" for one in text)[:200]
