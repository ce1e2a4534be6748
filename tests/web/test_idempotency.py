"""One idempotency key, one upload: again, in parallel, with another file, after a month, after a crash."""

from __future__ import annotations

import pytest

from conch_pipe.web.api import application
from tests.web.conftest import FORM, SCHEMA, form
from tests.web.test_upload import CSV, UPLOAD, completed

OTHER = CSV.replace(b"s1", b"s2")
DAY = 86_400


def body(content=CSV, key="k", name="a.csv", first=True):
    said, file = (("idempotencyKey", key),), (("schemaType", SCHEMA), ("file", content, name))
    return form(*said, *file) if first else form(*file, *said)


def send(door, *args, **named):
    return door.ask("POST", UPLOAD, body(*args, **named), Content_Type=FORM)


def test_the_same_key_and_file_give_the_same_answer_for_thirty_days(door):
    first = send(door)
    completed(door)
    door.clock.advance(30 * DAY - 1)

    again = send(door)

    assert (again.status, again.body) == (first.status, first.body) == (202, first.body)
    assert len(door.uploads()) == 1
    assert door.spooled() == []


def test_after_thirty_days_a_key_is_a_new_one(door):
    first = send(door)
    door.clock.advance(30 * DAY)

    again = send(door)

    assert again.status == 202
    assert again.json["uploadId"] != first.json["uploadId"]


def test_the_same_key_with_another_file_is_refused(door):
    send(door)

    answer = send(door, OTHER)

    assert (answer.status, answer.code) == (422, "key_reused")
    assert (len(door.uploads()), door.spooled()) == (1, [])


def test_the_same_key_with_another_file_is_refused_also_when_it_is_said_after_the_file(door):
    send(door)

    answer = send(door, OTHER, first=False)

    assert (answer.status, answer.code) == (422, "key_reused")
    assert (len(door.uploads()), door.spooled(), door.intake.live) == (1, [], 0)


def test_a_key_said_after_the_file_gives_the_same_answer(door):
    first = send(door)

    assert send(door, first=False).body == first.body


def test_the_same_key_in_a_header_and_in_the_query_is_the_same_key(door):
    first = send(door)
    raw = {"Content_Type": "text/csv"}

    assert door.ask("POST", f"{UPLOAD}?schemaType={SCHEMA}&idempotencyKey=k", CSV, **raw).body == first.body
    assert door.ask("POST", f"{UPLOAD}?schemaType={SCHEMA}", CSV, Idempotency_Key="k", **raw).body == first.body


def test_two_different_keys_in_one_request_are_refused(door):
    answer = door.ask("POST", f"{UPLOAD}?idempotencyKey=other", body(), Content_Type=FORM)

    assert (answer.status, answer.code) == (400, "bad_request")


def test_while_a_request_is_under_way_another_with_its_key_is_sent_back(door):
    data = body()
    first = door.connect().ask(
        "POST", UPLOAD, data[:-30], Content_Type=FORM, Content_Length=str(len(data)), Authorization=door.bearer()
    )

    meanwhile = send(door)
    first.send(data[-30:])

    assert (meanwhile.status, meanwhile.code) == (409, "in_flight")
    assert int(meanwhile.headers["retry-after"]) > 0
    assert send(door).body == first.answer.body


def test_fifty_requests_with_one_key_at_the_same_time_make_one_upload(make):
    door = make(per_address=100)
    data = body()
    head = {"Content_Type": FORM, "Content_Length": str(len(data)), "Authorization": door.bearer()}
    crowd = [door.connect() for _ in range(50)]

    for one in crowd:
        one.ask("POST", UPLOAD, data[:150], **head)
    for one in crowd:
        if not one.answers:
            one.send(data[150:])

    assert sorted(one.answer.status for one in crowd) == [202] + [409] * 49
    assert len(door.uploads()) == 1
    assert send(door).status == 202
    assert len(door.uploads()) == 1


@pytest.mark.parametrize("end", ["cut", "refused"])
def test_a_request_that_came_to_nothing_leaves_its_key_free(door, end):
    data = body()
    if end == "cut":
        door.connect().ask(
            "POST", UPLOAD, data[:-30], Content_Type=FORM, Content_Length=str(len(data)), Authorization=door.bearer()
        ).cut()
    else:
        assert send(door, b"").status == 422

    assert send(door).status == 202


def test_another_clients_key_is_another_key(door):
    first = send(door)
    other = door.bearer(door.credential("acme"))

    answer = door.ask("POST", UPLOAD, body(), Content_Type=FORM, Authorization=other)

    assert answer.status == 202
    assert answer.json["uploadId"] != first.json["uploadId"]


def test_the_key_of_one_schema_does_not_do_for_another(door):
    send(door)
    door.now(door.catalog.organisations.enable_schema("acme", "orgTransactions"))
    door.clock.advance(3)
    data = form(("idempotencyKey", "k"), ("schemaType", "orgTransactions"), ("file", CSV, "a.csv"))

    assert door.ask("POST", UPLOAD, data, Content_Type=FORM).code == "key_reused"


def test_a_repeat_may_wait_for_the_verdict_too(door):
    send(door)
    completed(door)

    answer = door.ask("POST", f"{UPLOAD}?wait=5", body(), Content_Type=FORM)

    assert (answer.status, answer.json["status"]) == (200, "COMPLETED")


def test_a_crash_between_the_record_and_the_answer_gives_the_same_upload_afterwards(door):
    """The key is in the transaction of the upload; what a process knew of requests under way dies with it."""
    first = send(door)
    door.site._application = application(door.parts, door.tokens)

    assert send(door).body == first.body
    assert len(door.uploads()) == 1
