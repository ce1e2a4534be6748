"""The description of the API is that of the API: same routes, same models, and answers that keep to it."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from conch_pipe.web.problems import STATUSES
from tests.web.conftest import FORM, form
from tests.web.test_upload import HELLO, UPLOAD, completed, sent


@pytest.fixture
def described(door):
    return door.ask("GET", "/api/openapi.json", Authorization="").json


def resolve(described, schema):
    while "$ref" in schema:
        schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def test_every_path_of_the_source_is_described(described):
    assert described["openapi"] == "3.1.0"
    external = {path: sorted(methods) for path, methods in described["paths"].items() if "/external/" in path}
    assert external == {
        "/api/external/auth/token": ["post"],
        "/api/external/upload": ["post"],
        "/api/external/upload/{id}/status": ["get"],
        "/api/external/uploads": ["get"],
    }


def test_every_reference_leads_somewhere(described):
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described)))

    assert names <= set(described["components"]["schemas"])


def test_every_code_of_an_error_is_described(described):
    assert set(described["components"]["schemas"]["Error"]["properties"]["code"]["enum"]) == set(STATUSES)


def test_what_needs_a_token_says_so(described):
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert (operation.get("security") == []) is (path == "/api/external/auth/token")
            assert ("401" in operation["responses"]) is True


def test_parameters_have_the_bounds_that_are_checked(door, described):
    parameters = {one["name"]: one for one in described["paths"]["/api/external/uploads"]["get"]["parameters"]}

    assert (parameters["limit"]["schema"]["minimum"], parameters["limit"]["schema"]["maximum"]) == (1, 200)
    assert parameters["status"]["schema"]["enum"] == ["PENDING", "PROCESSING", "COMPLETED", "FAILED"]
    assert set(parameters) == {
        *("status", "schemaType", "fileName", "clientId", "source", "from", "to", "limit", "cursor")
    }
    assert all(one["description"] or True for one in parameters.values() if "description" in one)


def test_every_operation_has_a_name_of_its_own(described):
    names = [one["operationId"] for methods in described["paths"].values() for one in methods.values()]

    assert sorted(names) == sorted(set(names))


def test_a_file_of_json_is_described_as_json_and_not_as_a_string_of_it(described):
    taken = described["paths"]["/api/external/upload"]["post"]["requestBody"]["content"]

    assert taken["application/json"]["schema"] == {"type": ["array", "object"]}
    assert taken["text/csv"]["schema"] == {"type": "string", "format": "binary"}


def test_answers_have_exactly_the_fields_that_are_described(door, described):
    door.ask("POST", UPLOAD, form(*HELLO), Content_Type=FORM)
    upload_id = sent(door, "b.csv")
    completed(door)
    for method, path, asked in (
        ("post", "/api/external/upload", door.ask("POST", UPLOAD, form(*HELLO), Content_Type=FORM)),
        ("get", "/api/external/uploads", door.ask("GET", "/api/external/uploads")),
        ("get", "/api/external/upload/{id}/status", door.ask("GET", f"/api/external/upload/{upload_id}/status")),
    ):
        answers = described["paths"][path][method]["responses"]
        schema = resolve(described, answers[str(asked.status)]["content"]["application/json"]["schema"])
        assert set(asked.json) == set(schema["properties"]) == set(schema["required"] + list(schema["properties"]))


def test_every_refusal_has_the_described_shape(door, described):
    for answer in (
        door.ask("GET", "/api/nowhere"),
        door.ask("GET", "/api/external/uploads?limit=x"),
        door.ask("PUT", UPLOAD),
    ):
        assert set(answer.json) == {"error"}
        assert {"code", "message"} <= set(answer.json["error"]) <= {"code", "message", "mistakes"}
        assert STATUSES[answer.code] == answer.status


def test_the_page_needs_no_script_and_no_network(door):
    answer = door.ask("GET", "/api/docs", Authorization="")
    page = answer.body.decode()

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!#|/api/)', page) == []
    assert "script-src" not in answer.headers["content-security-policy"]
    for path in ("/api/external/auth/token", "/api/external/upload/{id}/status"):
        assert path in page


def test_the_pages_style_is_the_one_its_policy_allows(door):
    answer = door.ask("GET", "/api/docs", Authorization="")
    style = re.search(r"<style>(.*?)</style>", answer.body.decode(), re.DOTALL)[1]

    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["content-security-policy"]
