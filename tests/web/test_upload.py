"""Files come in as forms and as bodies, and what became of them is told."""

from __future__ import annotations

import hashlib
from uuid import UUID, uuid4

import pytest

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Outcome, Problem, State
from tests.web.conftest import FORM, MAX_BYTES, SCHEMA, form

UPLOAD = "/api/external/upload"
CSV = b"shift_id,store_id,employee_id,starts_at,ends_at\ns1,S001,e1,2026-02-01T08:00:00Z,2026-02-01T16:00:00Z\n"
HELLO = (("schemaType", SCHEMA), ("file", CSV, "a.csv"))


def settle(door, upload_id, **columns):
    (job,) = door.now(door.catalog.jobs.claim(["ingest"], 1, 60))
    problems = columns.pop("problems", ())
    door.now(door.catalog.jobs.settle(job, Outcome(done=True, upload=columns, problems=problems)))


def completed(door, upload_id=None):
    settle(door, upload_id, state=State.COMPLETED, rows=1, rejected=0)


def test_a_form_becomes_an_upload_with_its_job(door):
    answer = door.ask("POST", UPLOAD, form(*HELLO), Content_Type=FORM)

    assert answer.status == 202
    (upload,) = door.uploads()
    assert answer.json == {
        "uploadId": str(upload.id),
        "status": "PENDING",
        "schemaType": SCHEMA,
        "fileName": "a.csv",
        "bytes": len(CSV),
        "sha256": hashlib.sha256(CSV).hexdigest(),
        "receivedAt": "2027-01-15T08:00:00Z",
        "statusUrl": f"/api/external/upload/{upload.id}/status",
    }
    assert (upload.door, upload.organisation, upload.peer) == ("http", "acme", "192.0.2.1")
    assert door.now(door.catalog.jobs.waiting()) == {"ingest": 1}


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_form_may_come_in_pieces_of_any_size(door, cut):
    body = form(("schemaType", SCHEMA), ("idempotencyKey", "k"), ("file", CSV, "a.csv"))
    connection = door.connect().ask(
        "POST", UPLOAD, Content_Type=FORM, Content_Length=str(len(body)), Authorization=door.bearer()
    )

    for start in range(0, len(body), cut):
        connection.send(body[start : start + cut])

    assert connection.answer.status == 202
    assert door.uploads()[0].sha256 == hashlib.sha256(CSV).hexdigest()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"{UPLOAD}?schemaType={SCHEMA}", {"Content_Type": "text/csv"}),
        (f"{UPLOAD}?schemaType={SCHEMA}&fileName=upload.csv", {"Content_Type": "application/octet-stream"}),
        (UPLOAD, {"X_Schema_Type": SCHEMA, "Content_Type": "text/csv; charset=utf-8"}),
        (UPLOAD, {"X_Schema_Type": SCHEMA, "X_File_Name": "upload.csv"}),
    ],
)
def test_the_body_may_be_the_file(door, path, headers):
    answer = door.ask("POST", path, CSV, **headers)

    assert (answer.status, answer.json["fileName"]) == (202, "upload.csv")


def test_a_body_in_chunks_is_the_same(door):
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(CSV[at : at + 7]), CSV[at : at + 7]) for at in range(0, len(CSV), 7))
    headers = {"Transfer_Encoding": "chunked", "Content_Type": "text/csv"}

    answer = door.ask("POST", f"{UPLOAD}?schemaType={SCHEMA}", chunks + b"0\r\n\r\n", **headers)

    assert answer.json["sha256"] == hashlib.sha256(CSV).hexdigest()


def test_a_small_file_may_come_before_its_schema(door):
    body = form(("file", CSV, "a.csv"), ("idempotencyKey", "k"), ("schemaType", SCHEMA))

    assert door.ask("POST", UPLOAD, body, Content_Type=FORM).status == 202


def test_a_large_file_before_its_schema_is_refused_in_words_that_help(door):
    body = form(("file", CSV + b"x" * 100_000, "a.csv"), ("schemaType", SCHEMA))

    answer = door.ask("POST", UPLOAD, body, Content_Type=FORM)

    assert (answer.status, answer.json["error"]["message"]) == (400, "put the field schemaType before file")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (form(("schemaType", SCHEMA)), "bad_request"),
        (form(("file", CSV, "a.csv")), "bad_request"),
        (form(("schemaType", "nobody"), ("file", CSV, "a.csv")), "unknown_schema"),
        (form(("schemaType", "orgTransactions"), ("file", CSV, "a.csv")), "unknown_schema"),
        (form(*HELLO, ("file", CSV, "b.csv")), "bad_request"),
        (form(("schemaType", SCHEMA), ("schemaType", "other"), ("file", CSV, "a.csv")), "bad_request"),
        (form(("schemaType", SCHEMA), ("idempotencyKey", "k" * 256), ("file", CSV, "a.csv")), "invalid"),
        (form(("schemaType", SCHEMA), ("idempotencyKey", "caf\u00e9"), ("file", CSV, "a.csv")), "invalid"),
        (form(("schemaType", SCHEMA), ("file", CSV, "a.txt")), "invalid"),
        (form(("schemaType", SCHEMA), ("file", b"\xff\xfe", "a.csv")), "bad_file"),
        (form(("schemaType", SCHEMA), ("file", b"", "a.csv")), "bad_file"),
        (form(*HELLO)[:-6], "bad_request"),
        (b"nonsense", "bad_request"),
        (form(*((f"x{number}", "v") for number in range(30))), "bad_request"),
        (form(("other", b"x" * 70_000), *HELLO), "bad_request"),
    ],
)
def test_what_is_wrong_with_a_form_is_told_and_leaves_nothing(door, body, code):
    answer = door.ask("POST", UPLOAD, body, Content_Type=FORM)

    assert answer.code == code
    assert (door.uploads(), door.spooled(), door.intake.live) == ((), [], 0)


def test_the_file_name_of_a_form_is_never_a_path(door):
    body = form(("schemaType", SCHEMA), ("file", CSV, r"C:\exports\..\a.csv"))

    assert door.ask("POST", UPLOAD, body, Content_Type=FORM).json["fileName"] == "a.csv"


def test_too_large_is_said_before_the_body_when_the_length_says_so(door):
    connection = door.connect().ask(
        "POST",
        f"{UPLOAD}?schemaType={SCHEMA}",
        Content_Length=str(MAX_BYTES + 1),
        Content_Type="text/csv",
        Authorization=door.bearer(),
        Expect="100-continue",
    )

    assert (connection.answer.status, connection.answer.code) == (413, "too_large")
    assert connection.answer.headers["connection"] == "close"


def test_too_large_is_said_at_the_byte_too_many_when_nothing_told_before(door):
    connection = door.connect().ask(
        "POST",
        f"{UPLOAD}?schemaType={SCHEMA}",
        Transfer_Encoding="chunked",
        Content_Type="text/csv",
        Authorization=door.bearer(),
    )

    connection.send(b"%x\r\n" % (MAX_BYTES + 1) + b"x" * (MAX_BYTES + 1))

    assert connection.answer.status == 413
    assert (door.spooled(), door.intake.live) == ([], 0)


def test_a_connection_cut_in_the_body_leaves_nothing(door):
    body = form(*HELLO)
    connection = door.connect().ask(
        "POST", UPLOAD, body[:-30], Content_Type=FORM, Content_Length=str(len(body)), Authorization=door.bearer()
    )
    assert door.intake.live == 1

    connection.cut()

    assert (door.uploads(), door.spooled(), door.intake.live) == ((), [], 0)
    assert [fields["reason"] for fields in door.events.of(events.UPLOAD_ABORTED)] == ["the connection was lost"]


def test_an_outcome_nobody_knows_is_answered_by_dropping_the_connection(door, monkeypatch):
    """Yes and no might both be wrong; the client tries again, and its key decides."""
    unknown = PipeError(Code.UNKNOWN_OUTCOME, "the catalog's answer is unknown")
    accept = door.catalog.uploads.accept

    def lost(*args, **named):
        accept(*args, **named)
        raise unknown

    monkeypatch.setattr(door.catalog.uploads, "accept", lost)
    monkeypatch.setattr(door.catalog.uploads, "get", lambda upload_id: (_ for _ in ()).throw(unknown))
    body = form(("idempotencyKey", "k"), *HELLO)
    connection = door.connect().ask("POST", UPLOAD, body, Content_Type=FORM, Authorization=door.bearer())
    door.advance(60)
    monkeypatch.undo()

    assert (connection.answers, connection.transport.aborting) == ([], True)
    again = door.ask("POST", UPLOAD, body, Content_Type=FORM)
    assert (again.status, len(door.uploads())) == (202, 1)


# Waiting for the verdict


def test_wait_gives_the_verdict_as_soon_as_there_is_one(door):
    connection = door.connect().ask(
        "POST", f"{UPLOAD}?wait=30", form(*HELLO), Content_Type=FORM, Authorization=door.bearer()
    )
    door.advance(5)
    assert connection.answers == []

    completed(door)
    door.advance(1)

    assert connection.answer.status == 200
    assert (connection.answer.json["status"], connection.answer.json["rows"]) == ("COMPLETED", 1)


def test_wait_ends_when_the_time_is_over(door):
    connection = door.connect().ask(
        "POST", f"{UPLOAD}?wait=2", form(*HELLO), Content_Type=FORM, Authorization=door.bearer()
    )

    door.advance(2.5)

    assert (connection.answer.status, connection.answer.json["status"]) == (200, "PENDING")


@pytest.mark.parametrize("wait", ["61", "-1", "nan", "soon"])
def test_wait_has_its_bounds(door, wait):
    answer = door.ask("POST", f"{UPLOAD}?wait={wait}", form(*HELLO), Content_Type=FORM)

    assert (answer.status, answer.code) == (400, "invalid")


# Status


def sent(door, name="a.csv", content=CSV, **headers):
    answer = door.ask("POST", UPLOAD, form(("schemaType", SCHEMA), ("file", content, name)), Content_Type=FORM)
    return answer.json["uploadId"]


def status(door, upload_id, query="", **headers):
    return door.ask("GET", f"/api/external/upload/{upload_id}/status{query}", **headers)


def test_the_status_tells_state_rows_rejects_and_times(door):
    upload_id = sent(door)
    door.clock.advance(3)
    settle(door, upload_id, state=State.COMPLETED, rows=7, rejected=2, seconds={"check": 0.25})

    found = status(door, upload_id)

    assert found.status == 200
    assert found.json["status"] == "COMPLETED"
    assert (found.json["rows"], found.json["rejected"], found.json["seconds"]["check"]) == (7, 2, 0.25)
    assert found.json["finishedAt"] == "2027-01-15T08:00:03Z"
    assert (found.json["problems"], found.json["nextPage"]) == ([], None)


def test_problems_come_by_page(door):
    upload_id = sent(door)
    problems = tuple(Problem("not an integer", line=number, column="id", value="x") for number in range(1, 26))
    settle(door, upload_id, state=State.FAILED, problem="not an integer", problem_count=25, problems=problems)
    lines, page = [], 1

    while page:
        found = status(door, upload_id, f"?page={page}&pageSize=10").json
        lines += [problem["line"] for problem in found["problems"]]
        page = found["nextPage"]

    assert lines == list(range(1, 26))
    assert found["problemCount"] == 25


def test_uploads_made_over_sftp_have_a_status_too(door):
    client = door.login._check(door.client_id.encode(), b"kanarek-0123456789012345678901234567890123456", None, bool)
    upload = door.intake.begin(
        type(client)(
            client.client_id, "acme", client.schemas, peer=__import__("conch_pipe.model").model.Peer("::1", 1)
        ),
        SCHEMA,
        "b.csv",
        door="sftp",
    )
    upload.write(0, CSV)
    recorded = door.now(upload.finish())

    found = status(door, recorded.id).json

    assert (found["source"], found["fileName"]) == ("sftp", "b.csv")


def test_another_organisations_upload_is_not_found_like_one_that_never_was(door):
    upload_id = sent(door)
    door.now(door.catalog.organisations.create("others"))
    stranger = door.bearer(door.credential("others"))

    foreign = status(door, upload_id, Authorization=stranger)
    never = status(door, uuid4(), Authorization=stranger)

    assert (foreign.status, foreign.body) == (never.status, never.body) == (404, never.body)


def test_what_is_no_id_is_not_found(door):
    assert {status(door, one).status for one in ("UPLOAD_ID", "1", "..%2f..%2fetc")} == {404}


def test_the_status_may_be_waited_for(door):
    upload_id = sent(door)
    connection = door.connect().ask(
        "GET", f"/api/external/upload/{upload_id}/status?wait=30", Authorization=door.bearer()
    )
    door.advance(1)
    assert connection.answers == []

    completed(door)
    door.advance(1)

    assert connection.answer.json["status"] == "COMPLETED"


# The list


def listed(door, query=""):
    return door.ask("GET", f"/api/external/uploads{query}").json


def test_the_list_has_the_organisations_uploads_newest_first_by_pages(door):
    ids = []
    for number in range(5):
        ids.append(sent(door, f"{number}.csv"))
        door.clock.advance(1)
    seen, query = [], "?limit=2"

    while True:
        page = listed(door, query)
        seen += [one["uploadId"] for one in page["uploads"]]
        if page["nextCursor"] is None:
            break
        query = f"?limit=2&cursor={page['nextCursor']}"

    assert seen == ids[::-1]


def test_the_list_is_filtered(door):
    first = sent(door, "first.csv")
    completed(door)
    door.clock.advance(60)
    second = sent(door, "second.csv")

    def ids(query):
        return [one["uploadId"] for one in listed(door, query)["uploads"]]

    assert ids("?status=COMPLETED") == [first]
    assert ids("?fileName=SECOND") == [second]
    assert ids("?from=2027-01-15T08:00:30Z") == [second]
    assert ids("?to=2027-01-15T08:00:30Z") == [first]
    assert ids("?source=sftp") == ids("?schemaType=other") == ids("?clientId=nobody") == []
    assert ids(f"?source=http&schemaType={SCHEMA}&clientId={door.client_id}") == [second, first]


@pytest.mark.parametrize(
    "query",
    [
        "?limit=0",
        "?limit=201",
        "?status=DONE",
        "?from=yesterday",
        "?from=1800000000.5",
        "?from=2027-01-15T08:00:30",
        "?cursor=abc",
        "?what=1",
    ],
)
def test_a_list_that_cannot_be_is_refused(door, query):
    answer = door.ask("GET", f"/api/external/uploads?{query}")

    assert (answer.status, answer.code) == (400, "invalid")


def test_the_list_shows_nothing_of_others(door):
    sent(door)
    door.now(door.catalog.organisations.create("others"))

    answer = door.ask("GET", "/api/external/uploads", Authorization=door.bearer(door.credential("others")))

    assert answer.json == {"uploads": [], "nextCursor": None}


def test_an_upload_that_outlives_its_credential_is_not_recorded(door):
    body = form(*HELLO)
    connection = door.connect().ask(
        "POST", UPLOAD, body[:-30], Content_Type=FORM, Content_Length=str(len(body)), Authorization=door.bearer()
    )
    door.now(door.catalog.credentials.revoke(door.client_id))
    door.advance(3)

    connection.send(body[-30:])

    assert (connection.answer.status, door.uploads()) == (401, ())


def test_no_answer_names_a_place_on_this_machine(door):
    assert str(door.folder).encode() not in door.ask("GET", f"/api/external/upload/{UUID(int=1)}/status").body
