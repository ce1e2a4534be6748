"""Environments over HTTP: what the command does, for programs."""

from __future__ import annotations

import pytest

from conch_pipe.model import Remote, RemoteSecrets, Scope, utc
from tests.web.operators import Program


@pytest.fixture
def program(door):
    for name in ("archive", "studio"):
        remote = Remote(name, "acme", f"{name}.example", "pipe", utc(door.clock))
        door.now(door.catalog.remotes.add(remote, RemoteSecrets("secret")))
    return Program(door)


def create(program, name="production", **fields):
    return program.ask("POST", "/api/environments", 201, organisation="acme", name=name, **fields)


def test_an_environment_is_made_shown_and_listed(program):
    made = create(program, remotes=["studio", "archive"])

    assert (made["remotes"], made["deleteDelivered"]) == (["archive", "studio"], False)
    assert program.ask("GET", "/api/environments/acme/production") == made
    assert program.ask("GET", "/api/environments?organisation=acme")["environments"] == [made]


def test_what_is_not_named_stays(program):
    made = create(program, remotes=["archive"])
    one = "/api/environments/acme/production"

    assert program.ask("PATCH", one, deleteDelivered=True) == made | {"deleteDelivered": True}
    assert program.ask("PATCH", one, remotes=[])["remotes"] == []
    assert program.refused("PATCH", one, 400)["message"] == "nothing to change"


def test_refusals_have_a_code(program):
    create(program)

    for status, fields in (
        (409, {"organisation": "acme", "name": "production"}),
        (400, {"organisation": "acme", "name": "Production"}),
        (404, {"organisation": "acme", "name": "other", "remotes": ["nowhere"]}),
        (404, {"organisation": "nobody", "name": "other"}),
        (400, {"organisation": "acme"}),
        (400, {"organisation": "acme", "name": "other", "colour": "red"}),
        (400, {"organisation": "acme", "name": "other", "deleteDelivered": 0}),
    ):
        program.refused("POST", "/api/environments", status, **fields)


def test_a_removed_environment_is_gone(program):
    create(program)

    gone = program.ask("DELETE", "/api/environments/acme/production")

    assert gone == {"organisation": "acme", "name": "production"}
    program.refused("GET", "/api/environments/acme/production", 404)
    program.refused("DELETE", "/api/environments/acme/production", 404)


def test_lists_come_by_pages(program):
    for name in ("c", "a", "b"):
        create(program, name)

    first = program.ask("GET", "/api/environments?limit=2")
    second = program.ask("GET", f"/api/environments?cursor={first['nextCursor']}")

    assert [one["name"] for one in first["environments"] + second["environments"]] == ["a", "b", "c"]
    assert second["nextCursor"] is None


def test_what_another_organisation_has_is_not_there(door, program):
    door.now(door.catalog.organisations.create("umbrella"))
    made = create(program)
    other = Program(door, organisation="umbrella")
    one = "/api/environments/acme/production"

    for method, fields in (("GET", {}), ("PATCH", {"remotes": []}), ("DELETE", {})):
        assert other.refused(method, one, 404, **fields)["message"] == "no environment production of acme"
    other.refused("POST", "/api/environments", 404, organisation="acme", name="more")
    other.refused("POST", "/api/environments", 404, organisation="umbrella", name="more", remotes=["archive"])
    assert other.ask("GET", "/api/environments")["environments"] == []
    assert program.ask("GET", one) == made


def test_each_request_needs_its_scope(door, program):
    create(program)
    reader = Program(door, Scope.READ)
    writer = Program(door, Scope.REMOTES)
    one = "/api/environments/acme/production"

    for method, path in (("POST", "/api/environments"), ("PATCH", one), ("DELETE", one)):
        assert reader.refused(method, path, 403)["code"] == "not_allowed"
    for path in ("/api/environments", one):
        assert writer.refused("GET", path, 403)["code"] == "not_allowed"
