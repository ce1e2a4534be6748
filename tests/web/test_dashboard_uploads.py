"""The overview and the uploads: what is told, to whom, and that nothing a partner wrote becomes part of a page."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Problem, State, Status, utc
from conch_pipe.web.dashboard.uploads import marked
from tests.web.conftest import MEMBER, OPERATOR
from tests.web.dashboard import failed, judged, received, text
from tests.web.outflow import OTHER, Outflow

SCRIPT = "<script>alert(1)</script>.csv"
TEMPLATE = "{{ 7 * 7 }}.csv"
HOSTILE = [SCRIPT, '"><img src=x onerror=alert(1)>.csv', "\u202egnp.csv", "\x1b[31m.csv", TEMPLATE, "n" * 200]


def rows(page: str) -> int:
    return page.count('<th scope="row"')


def test_before_the_first_file_a_page_tells_how_to_send_one(door):
    overview, uploads = text(door.page("/overview")), text(door.page("/uploads"))

    assert f"sftp -P 2222 {door.client_id}@pipe.example" in overview
    assert "put shifts.csv orgShifts/" in overview
    assert "conch-pipe demo" in overview
    assert "sftp -P 2222" in uploads
    assert "conch-pipe demo" not in text(door.page("/overview", MEMBER))


@pytest.mark.parametrize(
    ("host", "shown"), [("[2001:db8::1]:8443", "2001:db8::1"), ("[::1]", "::1"), ("pipe.example", "pipe.example")]
)
def test_the_line_to_paste_names_the_host_as_the_viewer_knows_it(door, host, shown):
    assert f"{door.client_id}@{shown}</code>" in text(door.page("/overview", Host=host))


def test_what_failed_is_told_until_it_is_sent_again_or_processed_again(door):
    assert "Nothing. No failed file" in text(door.page("/overview/now"))

    failed(door, "a.csv", "line 3, column n: not an integer")
    upload = failed(door, "b.csv", "line 7, column n: not an integer")

    told = text(door.page("/overview/now"))
    assert "2 files" in told
    assert 'data-says="1 thing needs you now."' in told
    assert "column n: not an integer" in told
    door.clock.advance(1)
    judged(door, received(door, "a.csv"))
    door.fill(f"/uploads/{upload.id}/rerun")
    assert "Nothing. No failed file" in text(door.page("/overview/now"))


def test_a_part_that_does_not_work_is_told_to_operators_alone(door):
    def broken():
        raise PipeError(Code.FAILED, "the disk is gone")

    door.checks["disk"] = broken

    assert "the disk is gone" in text(door.page("/overview/now"))
    assert "disk" not in text(door.page("/overview/now", MEMBER))


def test_remotes_that_are_off_and_recordings_that_are_late_are_told(door):
    made = Outflow(door.catalog, door.now, lambda: utc(door.clock))
    for name in ("changed", "off", "deaf"):
        made.remote(name)
    made.environment("production", "changed", "deaf")
    late, lost = made.recording("late"), made.recording("lost")
    door.clock.advance(100 * 3600)
    door.now(door.catalog.remotes.disable("off"))
    for _ in range(10):
        made.attempt(late, "deaf", Status.SFTP_CONNECTION_TIMEOUT, "refused")
    made.give_up(lost, "deaf", Status.SFTP_CONNECTION_TIMEOUT, "refused")
    made.attempt(lost, "changed", Status.HOST_KEY_MISMATCH, "host_key", refused=OTHER)

    told = text(door.page("/overview/now"))

    assert 'data-says="4 things need you now."' in told
    assert re.search(r"Remote changed</a>.*\s.*shows another host key", told)
    assert re.search(r"Remote off</a>.*\s.*An operator switched it off", told)
    assert "10 of 13 attempts were in vain" in told
    assert re.search(r"given up</span>.*>Recording <bdi>lost</bdi>", told)
    stranger = Actor("nora", MEMBER.scopes, "beta")
    door.now(door.catalog.organisations.create("beta"))
    assert "Nothing. No failed file" in text(door.page("/overview/now", stranger))


def test_figures_are_of_what_one_may_see(door):
    door.now(door.catalog.organisations.create("beta"))
    for organisation in ("acme", "beta", "beta"):
        judged(door, received(door, organisation=organisation))

    def files(actor, path="/overview/figures?range=1h"):
        return re.search(r"<b>(\d+) files?</b>", text(door.page(path, actor)))[1]

    assert (files(OPERATOR), files(MEMBER)) == ("3", "1")
    assert files(OPERATOR, "/overview/figures?range=never") == "3"
    page = text(door.page("/overview/figures?range=1h"))
    assert rows(page) == 60
    assert '<data value="3">3</data>' in page


@pytest.mark.parametrize("name", HOSTILE)
def test_the_name_of_a_file_is_text_and_nothing_else(door, name):
    upload = failed(door, name, reason=name[:80])

    for path in ("/uploads", f"/uploads/{upload.id}", "/overview", f"/uploads?name={upload.id}"):
        page = door.page(path).body.decode()
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert name != TEMPLATE or path.startswith("/uploads?") or TEMPLATE in page
        assert not re.search("[\x00-\x09\x0b-\x1f\u202a-\u202e\u2066-\u2069]", page)


def test_the_list_is_filtered_and_goes_on(door):
    for number in range(52):
        judged(door, received(door, f"a{number:02}.csv"))
        door.clock.advance(1)
    failed(door, "wrong.csv")
    received(door, "waits.csv")

    first = text(door.page("/uploads"))
    following = re.search(r'href="(/uploads\?cursor=[^"]+)"', first)[1].replace("&amp;", "&")
    second = text(door.page(following))

    assert (rows(first), rows(second)) == (50, 4)
    assert "a51.csv" in first
    assert "a00.csv" in second
    for query, number in (
        ("state=FAILED", 1), ("state=PENDING", 1), ("name=A1", 10), ("schema=orgShifts&name=wrong", 1),
        ("organisation=acme&door=http", 0), ("until=2027-01-15T08:00:03Z", 3), ("since=2027-01-15T08:00:52", 2),
        ("since=2027-01-15T13:45:52%2B05:45", 2),
    ):  # fmt: skip
        assert rows(text(door.page(f"/uploads?{query}"))) == number, query
    assert "No upload is like that" in text(door.page("/uploads?name=nowhere"))


@pytest.mark.parametrize("query", ["state=GONE", "since=yesterday", "cursor=abc", "until=2027-13-01T00:00"])
def test_a_filter_that_cannot_be_is_told_in_the_page(door, query):
    answer = door.page(f"/uploads?{query}")

    assert answer.status == 200
    assert 'role="alert"' in text(answer)


def test_an_id_in_the_search_leads_to_its_upload(door):
    upload = received(door)

    answer = door.page(f"/uploads?name={upload.id}&state=FAILED")

    assert (answer.status, answer.headers["location"]) == (303, f"/uploads/{upload.id}")


def test_problems_stand_beside_their_lines_for_those_who_may_see_the_file(door):
    content = b"id,name\n1,<b>x</b>\n2,nobody\n"
    problems = [Problem("not known", 3, 2, "name", "nobody"), Problem("too short", 2, 1, "name", "<b>x</b>")]
    upload = judged(door, received(door, content=content), problems, count=3000)

    page = text(door.page(f"/uploads/{upload.id}"))

    assert "<bdi>2,<mark>nobody</mark></bdi>" in page
    assert "1,<mark>&lt;b&gt;x&lt;/b&gt;</mark>" in page
    assert "3,000 problems" in page
    assert "The first 2 are kept and shown." in page
    members = text(door.page(f"/uploads/{upload.id}", MEMBER))
    assert "not known" in members
    assert "<mark>" not in members


@pytest.mark.parametrize(
    ("line", "value", "shown"),
    [
        (None, "x", None),
        ("a,b", None, "a,b"),
        ("a,b", "", "a,b"),
        ("a,<", "<", "a,<mark>&lt;</mark>"),
        ("<a>", "c", "&lt;a&gt;"),
    ],
)
def test_what_is_wrong_is_marked_where_it_is_found(line, value, shown):
    assert marked(line, value) == shown


def test_a_member_sees_his_own_and_changes_nothing(door):
    door.now(door.catalog.organisations.create("beta"))
    own, other = failed(door, "own.csv"), failed(door, "other.csv", organisation="beta")

    assert rows(text(door.page("/uploads?organisation=beta", MEMBER))) == 1
    assert "other.csv" not in text(door.page("/overview", MEMBER))
    page = text(door.page(f"/uploads/{own.id}", MEMBER))
    assert "own.csv" in page
    assert "/rerun" not in page
    assert "/raw" not in page
    assert door.page(f"/uploads/{other.id}", MEMBER).status == 404
    assert door.page(f"/uploads/{own.id}/raw", MEMBER).status == 403
    assert door.fill(f"/uploads/{own.id}/rerun", MEMBER).status == 403
    assert door.now(door.catalog.uploads.get(own.id)).state is State.FAILED


def test_it_is_processed_again_only_by_a_form_of_ours(door):
    upload = failed(door)

    assert door.fill(f"/uploads/{upload.id}/rerun", csrf="other").status == 403
    assert door.now(door.catalog.uploads.get(upload.id)).state is State.FAILED

    assert door.fill(f"/uploads/{upload.id}/rerun").status == 303
    assert door.now(door.catalog.uploads.get(upload.id)).state is State.PENDING
    assert door.fill(f"/uploads/{upload.id}/rerun").status == 409


def test_while_it_is_not_final_the_page_follows(door):
    upload = received(door)

    assert f'hx-get="/uploads/{upload.id}"' in text(door.page(f"/uploads/{upload.id}"))
    judged(door, upload)
    piece = text(door.page(f"/uploads/{upload.id}", HX_Request="true"))

    assert "<html" not in piece
    assert "hx-get" not in piece
    assert "1 row loaded" in piece


def test_the_raw_copy_is_a_file_to_keep_and_never_a_page(door):
    upload = received(door, '<script>"é\r\n.html', b"<script>alert(1)</script>")

    answer = door.page(f"/uploads/{upload.id}/raw")

    assert (answer.status, answer.body) == (200, b"<script>alert(1)</script>")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == ("attachment; filename*=UTF-8''%3Cscript%3E%22%C3%A9%0D%0A.html")


def test_what_does_not_exist_is_told_as_such(door):
    for path in (f"/uploads/{uuid4()}", "/uploads/nothing", f"/uploads/{uuid4()}/raw"):
        assert door.page(path).status == 404
