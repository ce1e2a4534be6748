"""Webhooks over HTTP: what the command does, for programs; a secret is in the answer that makes it and in no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from conch_pipe.interfaces import ISender
from conch_pipe.model import Answer, Happening, Notice, Scope, utc
from tests.web.operators import Program

URL = "https://hooks.acme.example/pipe"


@implementer(ISender)
class Sending:
    """Answers at once, or not before it is told to.

    :ivar sent: arguments of each send.
    """

    def __init__(self) -> None:
        self.answer: Answer | None = Answer(200, body="thanks", seconds=0.25)
        self.sent: list[tuple[Any, ...]] = []
        self.cancelled = 0

    def send(self, *arguments: Any) -> Deferred[Answer]:
        """See ISender."""
        self.sent.append(arguments)
        if self.answer is not None:
            return succeed(self.answer)
        return Deferred(self._cancel)

    def _cancel(self, _: Deferred[Any]) -> None:
        self.cancelled += 1


@pytest.fixture
def sender(door):
    door.sender = Sending()
    return door.sender


@pytest.fixture
def program(door):
    return Program(door)


def add(program, **fields):
    return program.ask("POST", "/api/webhooks", 201, **({"organisation": "acme", "url": URL} | fields))


def test_a_webhook_is_made_and_its_secret_told_once(program):
    made = add(program, events=["upload.failed"])
    secret = made.pop("secret")
    one = f"/api/webhooks/{made['id']}"

    assert secret.startswith("whsec_")
    assert (made["events"], made["environment"], made["shape"]) == (["upload.failed"], None, "standard")
    assert program.ask("GET", one) == made | {"waiting": 0}
    assert program.ask("GET", "/api/webhooks?organisation=acme")["webhooks"] == [made]
    program.ask("POST", f"{one}/disable")
    program.ask("POST", f"{one}/enable")
    assert secret.encode() not in b"".join(program.told[1:])


def test_without_events_it_is_told_all_that_fit(door, program):
    door.now(door.catalog.environments.create("acme", "production"))

    assert len(add(program)["events"]) == len(Happening)
    assert add(program, shape="pipe")["events"] == ["recording.pushed"]
    of_one = add(program, environment="production")["events"]
    assert of_one == ["recording.pushed", "recording.given_up", "remote.disabled"]


def test_all_mistakes_are_told_at_once(program):
    error = program.refused(
        "POST",
        "/api/webhooks",
        400,
        organisation="acme",
        url="ftp://user:word@hooks.example/#part",
        events=["upload.failed"],
        shape="pipe",
    )

    assert [one.partition(":")[0] for one in error["mistakes"]] == ["url", "url", "url", "shape"]
    wrong = program.refused("POST", "/api/webhooks", 400, url=7, events=["upload.eaten"], colour="red")["mistakes"]
    assert sorted({one.partition(":")[0].partition(".")[0] for one in wrong}) == [
        *("colour", "events", "organisation", "url"),
    ]


def test_a_webhook_for_nobody_or_nowhere_is_not_made(program):
    program.refused("POST", "/api/webhooks", 404, organisation="nobody", url=URL)
    program.refused("POST", "/api/webhooks", 404, organisation="acme", url=URL, environment="nowhere")


def test_a_test_is_sent_now_signed_and_logged(door, program, sender):
    made = add(program)
    one = f"/api/webhooks/{made['id']}"

    told = program.ask("POST", f"{one}/test")

    ((url, message, body, secrets, _),) = sender.sent
    assert (url, list(secrets)) == (URL, [made["secret"]])
    assert '"webhook.test"' in body and made["id"] in body
    assert (told["ok"], told["status"], told["answer"], told["message"]) == (True, 200, "thanks", message)
    (logged,) = program.ask("GET", f"{one}/log")["attempts"]
    assert (logged["message"], logged["event"], logged["number"]) == (message, "webhook.test", 0)


def test_a_test_that_is_not_taken_says_why(program, sender):
    one = f"/api/webhooks/{add(program)['id']}"
    sender.answer = Answer(None, "address", "10.0.0.1 is private")

    told = program.ask("POST", f"{one}/test")

    assert (told["ok"], told["status"], told["reason"]) == (False, None, "address")
    assert [one["reason"] for one in program.ask("GET", f"{one}/log?failed=true")["attempts"]] == ["address"]


def test_a_test_ends_when_nobody_waits_for_it(program, sender):
    one = f"/api/webhooks/{add(program)['id']}"
    sender.answer = None

    program.start("POST", f"{one}/test").cut()

    assert sender.cancelled == 1
    assert program.ask("GET", f"{one}/log")["attempts"] == []


def test_after_a_rotation_both_secrets_sign(program, sender):
    made = add(program)
    one = f"/api/webhooks/{made['id']}"

    fresh = program.ask("POST", f"{one}/rotate", overlapHours=1)["secret"]
    program.ask("POST", f"{one}/test")
    last = program.ask("POST", f"{one}/rotate", overlapHours=0)["secret"]
    program.ask("POST", f"{one}/test")

    assert [list(secrets) for _, _, _, secrets, _ in sender.sent] == [[fresh, made["secret"]], [last]]
    program.refused("POST", f"{one}/rotate", 400, overlapHours=721)


def test_disabled_enabled_removed(program):
    one = f"/api/webhooks/{add(program)['id']}"

    disabled = program.ask("POST", f"{one}/disable")
    assert (disabled["enabled"], disabled["disabledReason"]) == (False, "operator")
    enabled = program.ask("POST", f"{one}/enable")
    assert (enabled["enabled"], enabled["waiting"]) == (True, 0)
    assert program.ask("DELETE", one)["dropped"] == 0
    assert program.refused("GET", one, 404)["code"] == "not_found"


def test_the_log_comes_by_pages_newest_first(door, program):
    webhook = add(program)["id"]
    began = utc(door.clock)
    for number in range(1, 6):
        notice = Notice(webhook, f"msg_{number // 2}", "upload.failed", number, began, Answer(500, "status"))
        door.now(door.catalog.webhooks.tested(replace(notice, answer=Answer(200)) if number == 5 else notice))
    log = f"/api/webhooks/{webhook}/log"

    first = program.ask("GET", f"{log}?limit=3")
    second = program.ask("GET", f"{log}?limit=3&cursor={first['nextCursor']}")

    assert [one["number"] for one in first["attempts"] + second["attempts"]] == [5, 4, 3, 2, 1]
    assert second["nextCursor"] is None
    assert [one["number"] for one in program.ask("GET", f"{log}?failed=true&message=msg_2")["attempts"]] == [4]
    program.refused("GET", f"{log}?cursor=nonsense", 400)


def test_lists_come_by_pages(door, program):
    made = []
    for _ in range(3):
        made.append(add(program)["id"])
        door.clock.advance(0.5)

    first = program.ask("GET", "/api/webhooks?limit=2")
    second = program.ask("GET", f"/api/webhooks?cursor={first['nextCursor']}")

    assert [one["id"] for one in first["webhooks"] + second["webhooks"]] == made
    assert second["nextCursor"] is None


ALL = (
    ("GET", "", {}),
    ("GET", "/log", {}),
    ("DELETE", "", {}),
    ("POST", "/test", {}),
    ("POST", "/enable", {}),
    ("POST", "/disable", {}),
    ("POST", "/rotate", {"overlapHours": 0}),
)


@pytest.mark.parametrize(("method", "path", "fields"), ALL)
def test_what_another_organisation_has_is_not_there(door, program, sender, method, path, fields):
    door.now(door.catalog.organisations.create("umbrella"))
    made = add(program)
    other = Program(door, organisation="umbrella")
    one = f"/api/webhooks/{made['id']}"

    assert other.refused(method, f"{one}{path}", 404, **fields)["message"] == f"no webhook {made['id']}"

    assert other.ask("GET", "/api/webhooks")["webhooks"] == []
    other.refused("POST", "/api/webhooks", 404, organisation="acme", url=URL)
    assert program.ask("GET", one)["enabled"] is True
    assert sender.sent == []


@pytest.mark.parametrize(("method", "path", "fields"), ALL)
def test_each_request_needs_its_scope(door, program, method, path, fields):
    one = f"/api/webhooks/{add(program)['id']}"
    needed = Scope.READ if method == "GET" else Scope.WEBHOOKS
    without = Program(door, *(scope for scope in Scope if scope is not needed))

    assert without.refused(method, f"{one}{path}", 403, **fields)["code"] == "not_allowed"
    assert without.refused("GET" if method == "GET" else "POST", "/api/webhooks", 403)["code"] == "not_allowed"
