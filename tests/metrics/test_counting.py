"""What events add, and that a label is never what a client chose."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from conch_pipe import events
from conch_pipe.events import CATALOGUE, Event
from conch_pipe.metrics import catalogue as all_of
from conch_pipe.metrics.catalogue import COUNTED, Metric
from conch_pipe.metrics.counting import Counting
from conch_pipe.metrics.tally import OTHER, Tally

PACKAGE = Path(__file__).parents[2] / "conch_pipe"
EVIL = 'x"} 1\n# evil'
WHOSE = {"organisation": "acme", "schema": "shifts"}


class Counted:
    """A tally that hears events."""

    def __init__(self) -> None:
        self.tally = Tally(COUNTED)
        self.counting = Counting(self.tally)

    def tell(self, kind: events.Kind, **fields: object) -> None:
        self.counting(Event(kind, fields))

    def of(self, metric: Metric) -> dict[tuple[str, ...], object]:
        """What was counted: label values → number; of a histogram, how many."""
        cells = next(cells for cells in self.tally if cells.metric is metric).cells
        found = {labels: sum(told[:-1]) if isinstance(told, list) else told for labels, told in cells.items()}
        return {labels: number for labels, number in found.items() if number}


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_an_upload_from_the_door_to_its_rows(counted):
    timings = {"receive": 1.0, "finish": 0.1, "store": 0.1, "record": 0.1}
    counted.tell(events.UPLOAD_STORED, **WHOSE, door="sftp", bytes=1000, seconds=1.3, timings=timings, name=EVIL)
    counted.tell(
        events.UPLOAD_COMPLETED,
        **WHOSE,
        rows=7,
        rejected=2,
        seconds=3.0,
        timings={"wait": 1.0, "load": 1.0, "total": 3.0},
    )

    assert counted.of(all_of.RECEIVED) == {("acme", "shifts", "sftp"): 1}
    assert counted.of(all_of.BYTES) == {("acme", "shifts", "sftp"): 1000}
    assert counted.of(all_of.UPLOADS) == {("acme", "shifts", "completed"): 1}
    assert (counted.of(all_of.ROWS), counted.of(all_of.REJECTED)) == ({("acme", "shifts"): 7}, {("acme", "shifts"): 2})
    assert counted.of(all_of.STAGE_SECONDS) == {
        (stage,): 1 for stage in ("receive", "finish", "store", "record", "accept", "wait", "load", "total")
    }


def test_an_upload_that_failed_or_whose_rows_were_counted_by_an_attempt_that_died(counted):
    counted.tell(events.UPLOAD_FAILED, **WHOSE, problem=EVIL, timings={})
    counted.tell(events.UPLOAD_COMPLETED, **WHOSE, rows=7, rejected=None, seconds=1.0, timings={"total": 1.0})

    assert counted.of(all_of.UPLOADS) == {("acme", "shifts", "failed"): 1, ("acme", "shifts", "completed"): 1}
    assert counted.of(all_of.REJECTED) == {}


def test_what_is_refused_is_counted_without_the_folder_the_client_wrote(counted):
    counted.tell(
        events.UPLOAD_REFUSED, organisation="acme", schema=EVIL, name=EVIL, problem="no such schema", code="not_found"
    )

    assert counted.of(all_of.REFUSED) == {("acme", "not_found"): 1}


def test_logins_by_door_and_outcome(counted):
    counted.tell(events.LOGIN_SUCCEEDED, client_id="x")
    counted.tell(events.LOGIN_SUCCEEDED, client_id="x", door="http")
    counted.tell(events.LOGIN_FAILED, banner=EVIL, door="http", reason="secret")
    counted.tell(events.PERSON_SIGNED_IN, person=EVIL)
    counted.tell(events.PERSON_SIGN_IN_FAILED, person="", reason="unknown")
    counted.tell(events.SESSION_REFUSED, address="192.0.2.1", reason="too many")

    assert counted.of(all_of.LOGINS) == {
        ("sftp", "ok"): 1,
        ("http", "ok"): 1,
        ("http", "secret"): 1,
        ("dashboard", "ok"): 1,
        ("dashboard", "unknown"): 1,
    }
    assert counted.of(all_of.TURNED_AWAY) == {("sftp",): 1}


def test_a_recording_and_its_attempts(counted):
    counted.tell(events.RECORDING_ACCEPTED, organisation="acme")
    counted.tell(events.RECORDING_REFUSED, organisation=EVIL, problem=EVIL)
    counted.tell(events.PUSH_ATTEMPTED, organisation="acme", status="SFTP_LOGIN_FAILED", bytes=0, seconds=1.0)
    counted.tell(events.PUSH_ATTEMPTED, organisation="acme", status="OK", bytes=500, seconds=2.0)
    counted.tell(events.PUSH_DELIVERED, organisation="acme", seconds=120.0)
    counted.tell(events.PUSH_GIVEN_UP, organisation="acme")

    assert counted.of(all_of.RECORDINGS) == {("acme", "accepted"): 1, (OTHER, "refused"): 1}
    assert counted.of(all_of.ATTEMPTS) == {("acme", "SFTP_LOGIN_FAILED"): 1, ("acme", "OK"): 1}
    assert counted.of(all_of.PUSHED_BYTES) == {("acme",): 500}
    assert counted.of(all_of.PUSHES_ENDED) == {("acme", "delivered"): 1, ("acme", "given_up"): 1}
    assert (counted.of(all_of.ATTEMPT_SECONDS), counted.of(all_of.DELIVERY_SECONDS)) == ({(): 2}, {(): 1})


def test_webhooks_and_requests(counted):
    counted.tell(events.WEBHOOK_ATTEMPTED, reason="", seconds=0.1)
    counted.tell(events.WEBHOOK_ATTEMPTED, reason="timeout", seconds=5.0)
    for method in ("GET", "PROPFIND", "-"):
        counted.tell(events.WEB_REQUEST, method=method, route="/x/<uuid:id>", status=200, received=10, seconds=0.1)

    assert counted.of(all_of.NOTICES) == {("ok",): 1, ("failed",): 1}
    route = "/x/<uuid:id>"
    assert counted.of(all_of.REQUESTS) == {(route, one, "200"): 1 for one in ("GET", OTHER, "-")}
    assert counted.of(all_of.REQUEST_BYTES) == {(): 30}


def test_the_certificate_in_use_is_the_last_one_told(counted):
    assert counted.counting.certificate_until is None
    counted.tell(events.WEB_CERTIFICATE, names="a.example", until="2026-01-01T00:00:00+00:00")

    assert counted.counting.certificate_until == 1767225600


def test_every_event_is_counted_by_its_name(counted):
    counted.tell(events.DOOR_DIED, pid=1, reason="x")

    assert counted.of(all_of.EVENTS) == {("door.died",): 1}
    assert {labels for labels in counted.tally.sum(all_of.EVENTS).cells} == {(name,) for name in CATALOGUE}


def test_every_metric_that_is_counted_is_added_to_somewhere():
    text = "".join((PACKAGE / "metrics" / name).read_text() for name in ("counting.py", "lag.py"))
    constants = {name for name, value in vars(all_of).items() if isinstance(value, Metric) and value in COUNTED}

    assert [name for name in constants if f"all_of.{name})" not in text and f"({name})" not in text] == []


def test_every_gauge_is_told_by_somebody():
    """And by its constant, so that the catalogue stays the only place with names."""
    used = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for path in (PACKAGE / "assembly" / "watching.py", PACKAGE / "metrics" / "machine.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Attribute, ast.Name))
    }
    constants = {name for name, value in vars(all_of).items() if isinstance(value, Metric) and value not in COUNTED}

    assert constants - used == set()
