"""The description of the API, OpenAPI 3.1, from the routes and the models that check their requests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from conch_pipe.web.documents import Refusal
from conch_pipe.web.problems import STATUSES
from conch_pipe.web.routes import Route

TITLE = "pipe-sftp API"
VERSION = "1"
ABOUT = (
    "Send CSV and JSON files and ask what became of them; also of files put over SFTP, with the same credentials. "
    "Operators' programs do what conch-pipe does. "
    'Errors are always {"error": {"code", "message"}}; programs go by the code.'
)
_REF = "#/components/schemas/{model}"
_CONVERTER = re.compile(r"<(?:(\w+):)?(\w+)>")


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """The document."""
    shown = [route for route in routes if not route.hidden]
    taken = {model for route in shown for model in route.bodies.values() if model is not None}
    given = {model for route in shown for model in route.answers.values()} | {Refusal}
    wanted: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in sorted(taken, key=_name)]
    wanted += [(model, "serialization") for model in sorted(given, key=_name)]
    names, definitions = models_json_schema(wanted, ref_template=_REF)
    schemas = dict(definitions.get("$defs", {}))
    schemas["Error"]["properties"]["code"]["enum"] = sorted(STATUSES)
    paths: dict[str, dict[str, Any]] = {}
    for route in shown:
        path = _CONVERTER.sub(r"{\2}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, names)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "description": ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A client's, from /api/external/auth/token.",
                },
                "operator": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An operator's, from conch-pipe token create.",
                },
            },
        },
        "security": [{"token": []}],
    }


def _operation(route: Route, names: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.view.__name__,
        "parameters": [*_in_path(route), *_in_query(route), *_in_headers(route)],
        "responses": {},
    }
    if route.detail:
        operation["description"] = route.detail
    if route.public:
        operation["security"] = []
    if route.scope is not None:
        operation["security"] = [{"operator": []}]
        needs = f"The token needs the scope {route.scope.value}."
        operation["description"] = f"{route.detail} {needs}".lstrip()
    if route.bodies:
        content = {
            kind: {"schema": _bytes(kind) if model is None else names[model, "validation"]}
            for kind, model in route.bodies.items()
        }
        operation["requestBody"] = {"required": True, "content": content}
    for status, model in route.answers.items():
        operation["responses"][str(status)] = _response(status, names[model, "serialization"])
    if route.files:
        content = {kind: {"schema": _bytes(kind)} for kind in route.files}
        operation["responses"]["200"] = {"description": "OK", "content": content}
    asked = () if route.scope is None else (401, 403)
    for status in sorted({*route.refusals, *asked, 400, 408, 413, 415, 417, 431, 500, 503}):
        operation["responses"][str(status)] = _response(status, names[Refusal, "serialization"])
    return operation


def _bytes(kind: str) -> dict[str, Any]:
    """A file as the body: JSON is described as the value it is, not as a string of JSON."""
    return {"type": ["array", "object"]} if kind == "application/json" else {"type": "string", "format": "binary"}


def _response(status: int, schema: Any) -> dict[str, Any]:
    phrase = "Request Header Fields Too Large" if status == 431 else HTTPStatus(status).phrase
    return {"description": phrase, "content": {"application/json": {"schema": schema}}}


def _in_path(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"} | ({"format": "uuid"} if converter == "uuid" else {}),
        }
        for converter, name in _CONVERTER.findall(route.path)
    ]


def _in_query(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema(ref_template=_REF)
    inlined = schema.get("$defs", {})
    parameters = []
    for name, found in schema["properties"].items():
        found = _without_null(_inline(found, inlined))
        parameter = {"name": name, "in": "query", "required": False, "schema": found}
        if "description" in found:
            parameter["description"] = found.pop("description")
        parameters.append(parameter)
    return parameters


def _in_headers(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, "description": what, "schema": {"type": "string"}}
        for name, what in route.headers
    ]


def _inline(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Parameters are small enough to say it in place."""
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref":
            found |= definitions[value.rpartition("/")[2]]
        elif isinstance(value, list):
            found[key] = [_inline(one, definitions) if isinstance(one, dict) else one for one in value]
        else:
            found[key] = value
    return found


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A field of a query is there or not; it is never null."""
    found = {key: value for key, value in schema.items() if key not in ("title",) and (key, value) != ("default", None)}
    choices = [one for one in found.pop("anyOf", []) if one.get("type") != "null"]
    return found | ({"anyOf": choices} if len(choices) > 1 else choices[0] if choices else {})


def _name(model: type[BaseModel]) -> str:
    return model.__name__
