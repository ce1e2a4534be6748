"""Organisations, credentials and schemas over HTTP: what the commands do, for programs."""

from __future__ import annotations

import csv
import io
import json

import pytest

from conch_pipe.model import Scope
from conch_pipe.web.clients import KNOWN_S
from tests.web.conftest import SCHEMA
from tests.web.operators import Program


@pytest.fixture
def program(door):
    return Program(door)


@pytest.fixture
def member(door):
    """Sees acme alone."""
    return Program(door, organisation="acme")


def test_an_organisation_is_made_shown_and_listed(door, program):
    made = program.ask("POST", "/api/organisations", 201, name="globex", title="Globex Ltd", schemas=[SCHEMA])

    assert (made["name"], made["title"], made["schemas"]) == ("globex", "Globex Ltd", [SCHEMA])
    assert program.ask("GET", "/api/organisations/globex") == made | {
        "uploads": {"PENDING": 0, "PROCESSING": 0, "COMPLETED": 0, "FAILED": 0},
        "credentials": 0,
    }
    assert [one["name"] for one in program.ask("GET", "/api/organisations")["organisations"]] == ["acme", "globex"]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"name": "Globex!"}, 400, "invalid"),
        ({"name": ""}, 400, "invalid"),
        ({"title": "nameless"}, 400, "invalid"),
        ({"name": "globex", "colour": "red"}, 400, "invalid"),
        ({"name": "acme"}, 409, "conflict"),
        ({"name": "globex", "schemas": ["nosuch"]}, 404, "not_found"),
    ],
)
def test_what_is_wrong_with_an_organisation_is_told_and_nothing_is_made(program, fields, status, code):
    assert program.refused("POST", "/api/organisations", status, **fields)["code"] == code
    assert [one["name"] for one in program.ask("GET", "/api/organisations")["organisations"]] == ["acme"]


def test_organisations_come_by_pages(program):
    for name in ("b", "c", "d"):
        program.ask("POST", "/api/organisations", 201, name=name)

    first = program.ask("GET", "/api/organisations?limit=3")
    second = program.ask("GET", f"/api/organisations?limit=3&cursor={first['nextCursor']}")

    assert [one["name"] for one in first["organisations"] + second["organisations"]] == ["acme", "b", "c", "d"]
    assert second["nextCursor"] is None
    assert program.refused("GET", "/api/organisations?cursor=nonsense", 400)["code"] == "invalid"


def test_a_schema_is_enabled_and_taken_away_and_again_is_no_error(program):
    place = "/api/organisations/acme/schemas"
    for _ in range(2):
        assert program.ask("PUT", f"{place}/orgTransactions")["schemas"] == [SCHEMA, "orgTransactions"]
    for _ in range(2):
        assert program.ask("DELETE", f"{place}/{SCHEMA}")["schemas"] == ["orgTransactions"]

    assert "orgTransactions" in program.refused("PUT", f"{place}/nosuch", 404)["message"]
    assert program.refused("PUT", f"/api/organisations/nobody/schemas/{SCHEMA}", 404)["code"] == "not_found"


def test_a_secret_is_told_once_and_works(door, program):
    door.clock.advance(1)
    made = program.ask("POST", "/api/credentials", 201, organisation="acme", label="payroll server")

    assert (made["organisation"], made["label"], len(made["clientSecret"])) == ("acme", "payroll server", 43)
    shown = program.ask("GET", f"/api/credentials/{made['clientId']}")
    assert shown == {key: value for key, value in made.items() if key != "clientSecret"}
    listed = program.ask("GET", "/api/credentials?organisation=acme")["credentials"]
    assert [one["clientId"] for one in listed] == [door.client_id, made["clientId"]]
    assert made["clientSecret"].encode() not in b"".join(program.told[1:])
    assert made["clientSecret"] not in str(door.events.heard)


def test_a_rotated_secret_leaves_the_old_one_for_a_while(program, door):
    path = f"/api/credentials/{door.client_id}"

    changed = program.ask("POST", f"{path}/rotate", overlapDays=2)

    assert [one["expiresAt"] for one in changed["secrets"]] == [None, "2027-01-17T08:00:00Z"]
    assert len(program.ask("POST", f"{path}/rotate", overlapDays=0)["secrets"]) == 1
    assert program.refused("POST", f"{path}/rotate", 400, overlapDays=-1)["code"] == "invalid"
    assert program.refused("POST", "/api/credentials/pipe_nobody/rotate", 404)["code"] == "not_found"


def test_a_revoked_credential_is_out_with_its_tokens(door, program):
    token = door.bearer()
    assert door.ask("GET", "/api/external/uploads", Authorization=token).status == 200

    revoked = program.ask("POST", f"/api/credentials/{door.client_id}/revoke")
    door.clock.advance(KNOWN_S)

    assert revoked["revokedAt"] == "2027-01-15T08:00:00Z"
    assert door.ask("GET", "/api/external/uploads", Authorization=token).status == 401
    assert program.ask("POST", f"/api/credentials/{door.client_id}/revoke")["revokedAt"] == revoked["revokedAt"]
    assert program.refused("POST", f"/api/credentials/{door.client_id}/rotate", 409)["code"] == "conflict"
    assert program.ask("GET", "/api/organisations/acme")["credentials"] == 0


def test_credentials_of_visits_that_are_over_are_not_listed(door, program):
    lent, _ = door.now(door.catalog.credentials.lend("acme", "passing: demo"))
    assert len(program.ask("GET", "/api/credentials")["credentials"]) == 2

    door.now(door.catalog.credentials.give_back(lent.client_id, lent.secrets[0]))

    assert len(program.ask("GET", "/api/credentials")["credentials"]) == 1


def test_what_another_organisation_has_does_not_exist(door, program, member):
    program.ask("POST", "/api/organisations", 201, name="rival", schemas=[SCHEMA])
    theirs = door.credential("rival")

    assert [one["name"] for one in member.ask("GET", "/api/organisations")["organisations"]] == ["acme"]
    assert [one["organisation"] for one in member.ask("GET", "/api/credentials")["credentials"]] == ["acme"]
    for method, path, fields in (
        ("GET", "/api/organisations/rival", {}),
        ("PUT", f"/api/organisations/rival/schemas/{SCHEMA}", {}),
        ("DELETE", f"/api/organisations/rival/schemas/{SCHEMA}", {}),
        ("POST", "/api/organisations", {"name": "third"}),
        ("GET", "/api/credentials?organisation=rival", {}),
        ("POST", "/api/credentials", {"organisation": "rival"}),
        ("GET", f"/api/credentials/{theirs}", {}),
        ("POST", f"/api/credentials/{theirs}/rotate", {}),
        ("POST", f"/api/credentials/{theirs}/revoke", {}),
    ):
        missing = member.refused(method, path, 404, **fields)
        # In the very words of what there is not.
        other = path.replace("rival", "nobody").replace(theirs, "pipe_nobody")
        told = member.refused(method, other, 404, **{key: fields[key].replace("rival", "nobody") for key in fields})
        assert missing["message"].replace("rival", "nobody").replace(theirs, "pipe_nobody") == told["message"]
        for connection in list(door.connections):
            connection.cut()
    assert program.ask("GET", f"/api/credentials/{theirs}")["revokedAt"] is None


def test_each_change_needs_its_scope(door):
    looks = Program(door, Scope.READ)

    for method, path, fields in (
        ("POST", "/api/organisations", {"name": "new"}),
        ("PUT", f"/api/organisations/acme/schemas/{SCHEMA}", {}),
        ("POST", "/api/credentials", {"organisation": "acme"}),
        ("POST", f"/api/credentials/{door.client_id}/revoke", {}),
    ):
        assert looks.refused(method, path, 403, **fields)["message"] == "this token has not the scope tenants"
    assert looks.ask("GET", f"/api/credentials/{door.client_id}")["revokedAt"] is None


def test_schemas_are_listed_with_who_has_them(door, program, member):
    program.ask("POST", "/api/organisations", 201, name="rival", schemas=[SCHEMA])

    found = {one["name"]: one for one in program.ask("GET", "/api/schemas")["schemas"]}

    assert set(found) == {"orgShifts", "orgTransactions", "orgTransactionDetail"}
    assert found[SCHEMA]["organisations"] == ["acme", "rival"]
    theirs = {one["name"]: one["organisations"] for one in member.ask("GET", "/api/schemas")["schemas"]}
    assert theirs == {"orgShifts": ["acme"], "orgTransactions": [], "orgTransactionDetail": []}


def test_a_schema_tells_its_columns_and_rules(program):
    shown = program.ask("GET", f"/api/schemas/{SCHEMA}")

    columns = {one["name"]: one for one in shown["columns"]}
    assert columns["shift_id"]["required"] is True
    assert (shown["name"], shown["onBadRow"], shown["organisations"]) == (SCHEMA, "reject_file", ["acme"])
    assert "orgShifts" in program.refused("GET", "/api/schemas/nosuch", 404)["message"]


def test_a_schema_whose_file_is_gone_is_listed_for_those_who_have_it(door, program, member):
    door.now(door.catalog.organisations.create("rival"))
    door.now(door.catalog.organisations.enable_schema("rival", "orgOld"))

    (gone,) = (one for one in program.ask("GET", "/api/schemas")["schemas"] if one["missing"])
    assert (gone["name"], gone["organisations"], gone["columns"]) == ("orgOld", ["rival"], None)
    assert not any(one["missing"] for one in member.ask("GET", "/api/schemas")["schemas"])


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_sample_is_a_good_file(door, program, form):
    answer = program.start("GET", f"/api/schemas/{SCHEMA}/sample?format={form}&rows=7&seed=3").answer

    rows = json.loads(answer.body) if form == "json" else list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert (answer.status, len(rows)) == (200, 7)
    assert answer.headers["content-type"] == {"csv": "text/csv; charset=utf-8", "json": "application/json"}[form]
    assert answer.headers["content-disposition"] == f'attachment; filename="{SCHEMA}.{form}"'
    again = program.start("GET", f"/api/schemas/{SCHEMA}/sample?format={form}&rows=7&seed=3").answer
    assert again.body == answer.body


def test_a_sample_has_its_bounds(program):
    for query in ("rows=10001", "rows=-1", "format=xml", "colour=red"):
        assert program.refused("GET", f"/api/schemas/{SCHEMA}/sample?{query}", 400)["code"] == "invalid"
