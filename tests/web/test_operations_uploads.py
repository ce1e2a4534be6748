"""Uploads over HTTP as operators see them: all organisations, problems beside their lines, once more, as they came."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from conch_pipe.model import Problem, Scope, State
from tests.web.conftest import SCHEMA, answers
from tests.web.operators import Program
from tests.web.test_upload import CSV, UPLOAD, settle

ROW = CSV.splitlines(keepends=True)[1]
LARGE = CSV + ROW * 5000


@pytest.fixture
def program(door):
    return Program(door)


@pytest.fixture
def member(door):
    return Program(door, Scope.READ, organisation="acme")


def sent(door, name="a.csv", data=CSV, organisation="") -> str:
    """The id of a file that a client of acme, or of another organisation, has sent."""
    client = ""
    if organisation:
        door.now(door.catalog.organisations.create(organisation))
        door.now(door.catalog.organisations.enable_schema(organisation, SCHEMA))
        client = door.credential(organisation)
    headers = {"Content_Type": "text/csv", "Authorization": door.bearer(client)}
    answer = door.ask("POST", f"{UPLOAD}?schemaType={SCHEMA}&fileName={name}", data, **headers)
    door.clock.advance(1)
    return answer.json["uploadId"]


def failed(door, upload_id, *problems: Problem) -> None:
    columns = {"state": State.FAILED, "problem": "bad", "problem_count": len(problems), "rows": 0}
    settle(door, upload_id, **columns, problems=problems)


def listed(program, query="") -> list[str]:
    return [one["fileName"] for one in program.ask("GET", f"/api/uploads{query}")["uploads"]]


def test_uploads_of_all_organisations_are_listed_by_what_one_looks_for(door, program):
    sent(door, "a.csv")
    sent(door, "b.csv", organisation="rival")
    failed(door, "", Problem("bad"))

    assert listed(program) == ["b.csv", "a.csv"]
    assert listed(program, "?organisation=rival") == ["b.csv"]
    assert listed(program, "?status=FAILED") == ["a.csv"]
    assert listed(program, f"?schemaType={SCHEMA}&source=http&fileName=B.") == ["b.csv"]
    assert listed(program, f"?clientId={door.client_id}") == ["a.csv"]
    assert listed(program, "?from=2027-01-15T08:00:01Z") == ["b.csv"]
    assert listed(program, "?to=2027-01-15T08:00:01Z") == ["a.csv"]
    assert program.refused("GET", "/api/uploads?status=LOST", 400)["code"] == "invalid"


def test_uploads_come_by_pages(door, program):
    names = [sent(door, f"{number}.csv", CSV + ROW * number) and f"{number}.csv" for number in range(5)]

    pages, cursor = [], ""
    while cursor is not None:
        page = program.ask("GET", f"/api/uploads?limit=2{cursor and f'&cursor={cursor}'}")
        pages.append([one["fileName"] for one in page["uploads"]])
        cursor = page["nextCursor"]

    assert pages == [names[:2:-1], names[2:0:-1], names[:1]]
    for wrong in ("x", "WyJhIiwiYiJd", "WyIyMDI3LTAxLTE1IiwgIjEiXQ"):
        assert program.refused("GET", f"/api/uploads?cursor={wrong}", 400)["code"] == "invalid"


def test_an_upload_is_told_with_who_sent_it(door, program):
    upload_id = sent(door)

    told = program.ask("GET", f"/api/uploads/{upload_id}")

    assert (told["organisation"], told["clientId"], told["source"]) == ("acme", door.client_id, "http")
    assert (told["address"], told["rawCopy"], told["problems"], told["nextPage"]) == ("192.0.2.1", True, [], None)


def test_problems_come_by_pages_and_beside_their_lines_when_asked_for(door, program):
    upload_id = sent(door)
    problems = [Problem("not a time", line=2, row=1, column="starts_at", value="x"), Problem("cut"), Problem("bad", 3)]
    failed(door, upload_id, *problems)

    plain = program.ask("GET", f"/api/uploads/{upload_id}?pageSize=2")
    with_lines = program.ask("GET", f"/api/uploads/{upload_id}?pageSize=2&lines=true")
    last = program.ask("GET", f"/api/uploads/{upload_id}?pageSize=2&page=2&lines=true")

    assert [(one["line"], one["column"], one["text"]) for one in plain["problems"]] == [
        (2, "starts_at", None),
        (None, None, None),
    ]
    line = CSV.splitlines()[1].decode()
    assert [one["text"] for one in with_lines["problems"]] == [line, None]
    assert (with_lines["nextPage"], last["nextPage"]) == (2, None)
    assert [one["text"] for one in last["problems"]] == [None]


def test_lines_of_a_file_are_its_content_and_need_the_scope_for_that(door):
    upload_id = sent(door)
    looks = Program(door, Scope.READ)

    assert looks.ask("GET", f"/api/uploads/{upload_id}")["uploadId"] == upload_id
    assert looks.refused("GET", f"/api/uploads/{upload_id}?lines=true", 403)["code"] == "not_allowed"


def test_a_failed_upload_is_processed_again(door, program):
    upload_id = sent(door)
    assert program.refused("POST", f"/api/uploads/{upload_id}/rerun", 409)["code"] == "conflict"
    failed(door, upload_id, Problem("bad"))

    again = program.ask("POST", f"/api/uploads/{upload_id}/rerun", 202)

    assert (again["status"], again["problemCount"]) == ("PENDING", 0)
    assert door.now(door.catalog.jobs.waiting()) == {"ingest": 1}


@pytest.mark.parametrize("data", [CSV, LARGE], ids=["in the catalog", "in the store"])
def test_the_raw_copy_is_what_came(door, program, data):
    upload_id = sent(door, "a.csv", data)

    answer = program.start("GET", f"/api/uploads/{upload_id}/raw").answer

    assert (answer.status, answer.body == data) == (200, True)
    assert answer.headers["content-length"] == str(len(data))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith('attachment; filename="a.csv"')
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_raw_copy_is_read_only_as_fast_as_it_is_taken(door, program, monkeypatch):
    """It may have 100 MB, and who asks for it may be slow."""
    monkeypatch.setattr("conch_pipe.operations.pieces.PIECE", 10_000)
    upload_id = sent(door, "a.csv", LARGE)
    connection = door.connect()
    connection.channel.pauseProducing()

    connection.ask("GET", f"/api/uploads/{upload_id}/raw", Authorization=program.token)
    assert len(connection.transport.value()) < 2000

    connection.channel.resumeProducing()
    assert connection.answer.body == LARGE


def test_head_of_a_raw_copy_tells_its_length(door, program):
    upload_id = sent(door, "a.csv", LARGE)

    connection = program.start("HEAD", f"/api/uploads/{upload_id}/raw")

    (answer,) = answers(connection.transport.value(), heads=1)
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, str(len(LARGE)), b"")


def test_who_goes_while_the_raw_copy_is_looked_for_leaves_no_file_open(door, program):
    upload_id = sent(door, "a.csv", LARGE)
    waiting: Deferred[None] = Deferred()
    opened = []

    def later(function, *args):
        return waiting.addCallback(lambda _: opened.append(function(*args)) or opened[-1])

    door.operations.uploads._in_thread = later
    connection = program.start("GET", f"/api/uploads/{upload_id}/raw")
    connection.cut()
    waiting.callback(None)

    (file,) = opened
    assert file.closed


def test_a_copy_that_is_deleted_is_not_found(door, program):
    upload_id = sent(door)
    failed(door, upload_id, Problem("bad", line=2))
    door.now(door.catalog.uploads.copies_deleted([door.uploads()[0].id]))

    assert "deleted" in program.refused("GET", f"/api/uploads/{upload_id}/raw", 404)["message"]
    assert "deleted" in program.refused("POST", f"/api/uploads/{upload_id}/rerun", 409)["message"]
    told = program.ask("GET", f"/api/uploads/{upload_id}?lines=true")
    assert (told["rawCopy"], [one["text"] for one in told["problems"]]) == (False, [None])


@pytest.mark.parametrize("name", ["Schicht ä.csv", 'a"b\\c%41.csv', "日本.csv"])
def test_a_raw_copy_has_the_clients_name_whatever_that_is(name):
    from conch_pipe.web.operations.uploads import attachment

    told = attachment(name)["Content-Disposition"]

    assert told.isascii() and "\n" not in told
    plain = told.split('"')[1]
    assert "%" not in plain and "\\" not in plain
    assert told.count('"') == 2


def test_what_another_organisation_sent_does_not_exist(door, program, member):
    theirs = sent(door, "b.csv", organisation="rival")
    failed(door, theirs, Problem("bad"))
    all_of_acme = Program(door, organisation="acme")

    assert listed(member) == []
    assert member.refused("GET", "/api/uploads?organisation=rival", 404)["code"] == "not_found"
    for method, end in (("GET", ""), ("GET", "?lines=true"), ("POST", "/rerun"), ("GET", "/raw")):
        told = all_of_acme.refused(method, f"/api/uploads/{theirs}{end}", 404)
        assert told == {"code": "not_found", "message": f"no upload {theirs}"}
    assert program.ask("GET", f"/api/uploads/{theirs}")["status"] == "FAILED"
