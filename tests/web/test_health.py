"""/healthz and /readyz: whether, for anybody; why, for those who may know."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from conch_pipe.errors import Code, PipeError
from conch_pipe.health import KEPT_S, WAIT_S
from conch_pipe.model import Scope
from conch_pipe.web.health import PROOF_S
from tests.web.conftest import Answer, Door

NEAR = "127.0.0.1"


ALL_BUT_WORDS = [{"name": "catalog", "ok": True}, {"name": "disk", "ok": False}]


def ask(door: Door, path: str, address: str = "192.0.2.1", **headers: str) -> Answer:
    return door.connect(address).ask("GET", path, **headers).answer


def broken() -> str:
    raise PipeError(Code.FAILED, "the disk is gone", "/srv/objects")


def test_it_lives(door):
    answer = ask(door, "/healthz")

    assert (answer.status, answer.body) == (200, b"ok\n")


def test_ready_says_which_parts_are_well_and_nothing_else(door):
    answer = ask(door, "/readyz")

    assert answer.status == 200
    assert answer.json == {
        "ready": True,
        "draining": False,
        "checks": [{"name": "catalog", "ok": True}, {"name": "disk", "ok": True}],
    }


def test_one_part_that_is_not_well_is_enough_for_503(door):
    door.checks["disk"] = broken

    answer = ask(door, "/readyz")

    assert answer.status == 503
    assert [check["ok"] for check in answer.json["checks"]] == [True, False]
    assert b"disk is gone" not in answer.body


def test_why_is_told_to_who_is_near_or_has_a_token_that_reads(door):
    door.checks["disk"] = broken
    reading, other = door.operator(Scope.READ), door.operator(Scope.UPLOADS)
    member = door.operator(Scope.READ, organisation="acme")

    near, with_token = ask(door, "/readyz", NEAR), ask(door, "/readyz", Authorization=reading)
    without = [
        ask(door, "/readyz", Authorization=one) for one in (other, member, "Bearer nonsense", "Basic x", door.bearer())
    ]

    for answer in (near, with_token):
        assert answer.json["checks"][1]["words"] == "the disk is gone (/srv/objects)"
    for answer in without:
        assert (answer.status, answer.json["checks"]) == (503, ALL_BUT_WORDS)


def test_who_comes_through_a_proxy_on_this_machine_is_not_near(make):
    door, trusting = make(), make(forwarded_from=(NEAR,))

    for headers in ({"X_Forwarded_For": "198.51.100.1"}, {"Via": "1.1 proxy"}, {"Forwarded": "for=198.51.100.1"}):
        assert "words" not in ask(door, "/readyz", NEAR, **headers).json["checks"][0]
    assert "words" not in ask(trusting, "/readyz", NEAR, X_Forwarded_For="198.51.100.1").json["checks"][0]
    assert "words" in ask(trusting, "/readyz", NEAR, X_Forwarded_For="127.0.0.2").json["checks"][0]


def test_a_part_that_hangs_does_not_hang_the_probe_and_is_asked_once(door):
    asked: list[Deferred[str]] = []

    def hanging() -> Deferred[str]:
        asked.append(Deferred())
        return asked[-1]

    door.checks["catalog"] = hanging
    probes = [door.connect(f"192.0.2.{number}").ask("GET", "/readyz") for number in range(1, 40)]
    assert probes[0].answers == []
    door.clock.advance(WAIT_S)

    assert {probe.answer.status for probe in probes} == {503}
    assert len(asked) == 1
    asked[0].callback("at last")
    door.clock.advance(KEPT_S)
    assert len(asked) == 1


def test_a_catalog_that_does_not_know_tokens_any_more_hangs_nobody(door, monkeypatch):
    """Who probes with a token must learn just then that something is wrong."""
    monkeypatch.setattr(type(door.catalog.tokens), "actor", lambda *_: Deferred())
    door.checks["catalog"] = broken
    token = "Bearer pst_unknown"
    ready = door.connect().ask("GET", "/readyz", Authorization=token)
    numbers = door.connect().ask("GET", "/metrics", Authorization=token)
    assert (ready.answers, numbers.answers) == ([], [])
    door.clock.advance(PROOF_S)

    assert (ready.answer.status, ready.answer.json["checks"][0]) == (503, {"name": "catalog", "ok": False})
    assert (numbers.answer.status, numbers.answer.code) == (503, "busy")


def test_while_it_drains_it_lives_and_is_not_ready(door):
    connection = door.connect()
    held = door.connect().send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")  # keeps the drain from being over
    door.site.draining = True

    assert connection.ask("GET", "/readyz").answers[0].status == 503
    assert held.send(b"\r\n").answer.status == 200
    other = ask_later(door)
    assert (other.status, other.code) == (503, "busy")


def ask_later(door: Door) -> Answer:
    """A request of the API on a connection that was there before."""
    door.site.draining = False
    connection = door.connect()
    door.site.draining = True
    return connection.ask("GET", "/api/external/uploads", Authorization=door.bearer()).answer


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_they_are_told_as_requests_like_all_others(door, path):
    ask(door, path, NEAR)

    ((_, told),) = [(kind, fields) for kind, fields in door.events.heard if kind.name == "web.request"]
    assert (told["route"], told["status"]) == (path, 200)


def test_they_are_not_part_of_the_api(door):
    described = ask(door, "/api/openapi.json").json["paths"]

    assert not {"/healthz", "/readyz", "/metrics"} & set(described)
