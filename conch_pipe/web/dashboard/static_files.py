"""What pages need besides themselves: style, script, icon; from this service, under names that change with them."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files

from conch_pipe.errors import Code, PipeError
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


@dataclass(frozen=True, slots=True)
class _File:
    digest: str
    media_type: str
    body: bytes
    packed: bytes


class StaticFiles:
    """All of them, in memory."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        for file in (files("conch_pipe.web.dashboard") / "static").iterdir():
            media_type = _TYPES.get(file.name.rpartition(".")[2])
            if media_type is not None:
                body = file.read_bytes()
                digest = hashlib.sha256(body).hexdigest()[:16]
                self._files[file.name] = _File(digest, media_type, body, gzip.compress(body, mtime=0))

    def path(self, name: str) -> str:
        """Where a file is found. :raises KeyError: there is none of that name."""
        return f"/static/{self._files[name].digest}/{name}"

    async def serve(self, request: Request, digest: str, name: str) -> Response:
        """GET /static/<digest>/<file>."""
        found = self._files.get(name)
        if found is None or found.digest != digest:
            raise PipeError(Code.NOT_FOUND, "no such file")
        accepted = {word.partition(";")[0].strip() for word in request.header("Accept-Encoding").split(",")}
        if "gzip" in accepted:
            return Response(200, found.packed, found.media_type, {**_FOR_EVER, "Content-Encoding": "gzip"})
        return Response(200, found.body, found.media_type, _FOR_EVER)
