"""/api/openapi.json, and /api/docs: the same for people, made here, without script and without network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from conch_pipe.web.openapi import describe
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route

# What was made of the routes of before: it takes a quarter of a second, and tests have hundreds of doors.
_before: tuple[tuple[tuple[str, ...], ...], tuple[bytes, bytes, str]] = ((), (b"", b"", ""))


class Pages:
    """Both, made once. :param routes: what is described."""

    def __init__(self, routes: Sequence[Route]) -> None:
        global _before
        these = tuple((one.method, one.path, one.view.__qualname__, one.summary, one.detail) for one in routes)
        if _before[0] != these:
            _before = these, _made(routes)
        self._document, self._page, self._policy = _before[1]

    async def openapi(self, request: Request) -> Response:
        """The document for programs."""
        return Response(body=self._document, headers={"Cache-Control": "no-cache"})

    async def docs(self, request: Request) -> Response:
        """The page for people."""
        return Response(
            body=self._page,
            media_type="text/html; charset=utf-8",
            headers={"Content-Security-Policy": self._policy, "Cache-Control": "no-cache"},
        )


def _made(routes: Sequence[Route]) -> tuple[bytes, bytes, str]:
    document = describe(routes)
    jinja = Environment(
        loader=PackageLoader("conch_pipe.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = jinja.get_template("docs.css").render()
    page = jinja.get_template("docs.html").render(api=document, style=style, kind=kind_of, parts=_parts(document))
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; frame-ancestors 'none'; base-uri 'none'"
    return json.dumps(document, separators=(",", ":")).encode(), page.encode(), policy


def _parts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The operations in the order of the routes."""
    return [
        {"path": path, "method": method.upper()} | operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def kind_of(schema: dict[str, Any]) -> str:
    """A schema in a few words: "string, uuid", "integer or null", "list of ProblemFound"."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(kind_of(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(str(one) for one in schema["enum"])
    if "const" in schema:
        return f'"{schema["const"]}"'
    kinds = schema.get("type", "any")
    kind = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    if kind == "array":
        return f"list of {kind_of(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {kind_of(schema['additionalProperties'])}"
    return f"{kind}, {schema['format']}" if "format" in schema else kind
