"""Operators' tokens at the door: whose a request is, and what it may do."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Scope
from conch_pipe.web.actors import KNOWN_S, Actors
from conch_pipe.web.api import application
from conch_pipe.web.request import Request
from tests.web.conftest import Door, every_path


class Asked:
    """A request, as far as Actors looks at it."""

    def __init__(self, authorization: str) -> None:
        self.authorization = authorization
        self.client_id = ""

    def header(self, name: str) -> str:
        assert name == "Authorization"
        return self.authorization


class Desk:
    """Actors over a real catalog, with everything its questions did."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.catalog = door.catalog
        self.actors = Actors(self.catalog.tokens, door.clock)

    def of(self, authorization: str, scope: Scope = Scope.READ) -> Actor:
        self.request: Request = Asked(authorization)  # type: ignore[assignment]
        return self.door.now(Deferred.fromCoroutine(self.actors.of(self.request, scope)))

    def refused(self, authorization: str, scope: Scope = Scope.READ) -> PipeError:
        with pytest.raises(PipeError) as caught:
            self.of(authorization, scope)
        return caught.value


@pytest.fixture
def desk(door) -> Desk:
    return Desk(door)


def test_a_token_says_who_asks_and_the_access_event_has_its_id(desk, door):
    token, text = door.now(desk.catalog.tokens.create("reports", [Scope.READ, Scope.REMOTES]))

    actor = desk.of(f"bearer {text}", Scope.REMOTES)

    assert actor == Actor("reports", frozenset({Scope.READ, Scope.REMOTES}), None)
    assert desk.request.client_id == f"pst_{token.token_id}"
    assert text.startswith(desk.request.client_id + "_")


def test_who_did_more_than_look_is_told_with_what_it_was_done_to(desk, door):
    """Also when it was refused; a look is not told."""
    token, text = door.now(desk.catalog.tokens.create("reports", [Scope.READ, Scope.REMOTES]))
    bearer = f"Bearer {text}"

    door.ask("GET", "/api/remotes", Authorization=bearer)
    door.ask("POST", "/api/remotes/acme-eu%0a/enable", Authorization=bearer)
    door.ask("PUT", "/api/organisations/acme/schemas/orgShifts", Authorization=bearer)

    told = [(one["actor"], one["method"], one["path"], one["status"]) for one in door.events.of(events.OPERATION_ASKED)]
    assert told == [
        (f"pst_{token.token_id}", "POST", "/api/remotes/acme-eu\\n/enable", 404),
        (f"pst_{token.token_id}", "PUT", "/api/organisations/acme/schemas/orgShifts", 403),
    ]


def test_a_token_of_an_organisation_sees_only_that(desk, door):
    actor = desk.of(door.operator(organisation="acme"))

    assert actor.sees("acme") and not actor.sees("rival")


def test_a_missing_scope_is_named(desk, door):
    error = desk.refused(door.operator(Scope.READ), Scope.TENANTS)

    assert (error.code, error.message) == (Code.NOT_ALLOWED, "this token has not the scope tenants")


def test_whatever_is_wrong_with_a_token_is_said_in_the_same_words(desk, door):
    good = door.operator()
    token, revoked = door.now(desk.catalog.tokens.create("old", [Scope.READ]))
    door.now(desk.catalog.tokens.revoke(token.token_id))
    _, expired = door.now(desk.catalog.tokens.create("short", [Scope.READ], days=1))
    door.clock.advance(86_400)

    wrong = [
        "",
        "Bearer",
        good.replace("Bearer", "Basic"),
        good.removeprefix("Bearer "),
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        good + "A",
        good.replace("_", "-", 1),
        f"Bearer {revoked}",
        f"Bearer {expired}",
        "Bearer " + "x" * 10_000,
        "Bearer p\u00e4\u00df",
        door.bearer(),
    ]
    told = {(error.code, error.message) for error in map(desk.refused, wrong)}

    assert [code for code, _ in told] == [Code.UNAUTHORIZED]
    assert desk.request.client_id == ""
    desk.of(good)


def test_a_token_is_not_asked_for_at_every_request_and_a_revoked_one_is_out_within_seconds(desk, door):
    token, text = door.now(desk.catalog.tokens.create("reports", [Scope.READ]))
    desk.of(f"Bearer {text}")
    door.now(desk.catalog.tokens.revoke(token.token_id))

    desk.of(f"Bearer {text}")
    door.clock.advance(KNOWN_S)

    assert KNOWN_S <= 2
    assert desk.refused(f"Bearer {text}").code is Code.UNAUTHORIZED


def test_every_operation_asks_for_a_token_with_the_scope_it_needs(door):
    """Whatever operations there are: none of them forgets to ask."""
    operations = [
        (route.method, path)
        for route, path in every_path(application(door.parts, door.tokens))
        if path.startswith("/api/") and not path.startswith("/api/external/") and not route.public
    ]
    looks = door.operator(Scope.READ)
    only_changes = door.operator(*set(Scope) - {Scope.READ})

    wrong = []
    for method, path in operations:
        look = method == "GET" and not path.endswith("/raw")  # the content of a file is more than a look
        for who, authorization, expected in [
            ("nobody", "", 401),
            ("a client", door.bearer(), 401),
            ("who looks", looks, None if look else 403),
            ("who only changes", only_changes, 403 if look else None),
        ]:
            asked = door.connect().ask(method, path, Authorization=authorization)
            status = asked.answer.status
            asked.cut()
            if expected is not None and status != expected:
                wrong.append((method, path, who, status))

    assert wrong == []
    assert operations
