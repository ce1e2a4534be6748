"""The frame of the dashboard: who comes in, what every page carries, and what is said when something is wrong."""

from __future__ import annotations

import gzip
import re
from urllib.parse import urlencode

import pytest
from twisted.internet.defer import Deferred

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Page
from conch_pipe.web.api import application
from conch_pipe.web.dashboard.pages import local
from tests.web.conftest import CSRF, MEMBER, OPERATOR, Answer
from tests.web.dashboard import failed, text

PASSWORD = "kanarek, twelve of them at least"
FORM = "application/x-www-form-urlencoded"


def test_who_has_not_signed_in_is_sent_there_and_back_again(door):
    answer = door.page("/overview?range=6h", actor=None)

    assert answer.status == 303
    assert answer.headers["location"] == "/sign-in?next=%2Foverview%3Frange%3D6h"


def test_a_piece_of_a_page_leads_the_whole_page_to_the_sign_in(door):
    """What htmx fetched would be put into the page that has waited too long."""

    def sent(url):
        answer = door.page("/overview/now", None, HX_Request="true", HX_Current_URL=url)
        assert (answer.status, answer.body) == (200, b"")
        return answer.headers["hx-redirect"]

    assert sent("https://pipe.example/uploads?state=FAILED") == "/sign-in?next=%2Fuploads%3Fstate%3DFAILED"
    assert sent("https://pipe.example/overview") == sent("//[") == sent("x://y//z") == sent("") == "/sign-in"


def test_every_page_lets_only_our_own_script_and_style_in(door):
    for answer in (door.page("/overview"), door.page("/nothing"), House(door).get("/sign-in")):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        page = text(answer)
        assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:", page)
        assert re.findall(r'(?:src|href|action|hx-get)="(?!/|#)([^"]*)"', page) == []


def test_what_pages_need_besides_may_be_kept_for_ever(door):
    page = text(door.page("/overview"))
    files = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))
    assert {path.rpartition(".")[2] for path in files} == {"js", "css", "svg"}

    for path in files:
        whole, packed = door.page(path, actor=None), door.page(path, actor=None, Accept_Encoding="br, gzip;q=0.8")
        assert whole.status == packed.status == 200
        assert whole.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert gzip.decompress(packed.body) == whole.body

    path = files.pop()
    assert door.page(re.sub("/static/.", "/static/_", path), actor=None).status == 404


def test_a_path_that_leads_nowhere_is_a_page_for_people_and_json_for_programs(door):
    page, document = door.page("/nothing"), door.ask("GET", "/api/nothing")

    assert (page.status, document.status) == (404, 404)
    assert "There is nothing here" in text(page)
    assert document.code == "no_such_path"


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (PipeError(Code.BUSY, "the catalog is busy"), 503, "Try again in a few seconds."),
        (PipeError(Code.CONFLICT, "<b>moved</b>"), 409, "&lt;b&gt;moved&lt;/b&gt;"),
        (PipeError(Code.FAILED, "it broke", "the secret detail"), 500, "This went wrong"),
    ],
)
def test_what_goes_wrong_is_said_in_words(door, error, status, words, logged_errors):
    async def fail(*_, **__):
        raise error

    object.__setattr__(door.operations.uploads, "page", fail)

    answer = door.page("/uploads")

    assert answer.status == status
    assert words in text(answer)
    assert "secret detail" not in text(answer)
    assert (answer.headers.get("retry-after") is not None) is (status == 503)


def test_a_form_from_elsewhere_changes_nothing(door):
    assert door.fill("/theme", csrf="another", theme="dark", next="/uploads").status == 403
    assert door.fill("/theme", actor=None, theme="dark").headers["location"] == "/sign-in"

    answer = door.fill("/theme", MEMBER, theme="dark", next="/uploads")

    assert (answer.status, answer.headers["location"]) == (303, "/uploads")
    assert answer.headers["set-cookie"].startswith("pipe_theme=dark; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax")
    assert 'data-theme="dark"' in text(door.page("/overview", Cookie="pipe_theme=dark"))
    assert 'data-theme="auto"' in text(door.page("/overview", Cookie='pipe_theme="><script>'))


def test_over_tls_every_cookie_is_bound_to_it(make):
    door = make(forwarded_from=("192.0.2.0/24",))
    door.signing.actor = OPERATOR
    body = urlencode({"csrf": CSRF, "theme": "dark", "next": "/uploads"}).encode()

    answer = door.connect().ask("POST", "/theme", body, Content_Type=FORM, X_Forwarded_Proto="https").answer

    assert answer.headers["set-cookie"].endswith("; HttpOnly; SameSite=Lax; Secure")


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/uploads?state=FAILED", "/uploads?state=FAILED"),
        ("//evil.example/", "/overview"),
        ("/\\evil.example", "/overview"),
        ("https://evil.example", "/overview"),
        ("/a\r\nSet-Cookie: x=y", "/overview"),
        ("/a b", "/overview"),
        ("", "/overview"),
    ],
)
def test_the_way_on_never_leads_to_another_host(path, there):
    assert local(path) == there


def test_what_was_done_is_said_once(door):
    upload = failed(door)

    done = door.fill(f"/uploads/{upload.id}/rerun")
    said = done.headers["set-cookie"].partition(";")[0]
    page = door.page(done.headers["location"], Cookie=said)
    again = door.page(f"/uploads/{upload.id}", Cookie=said, HX_Request="true")

    assert "It is processed once more." in text(page)
    assert "pipe_said=; Path=/; Max-Age=0" in page.headers["set-cookie"]
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize("cookie", ["pipe_said=%%%", "pipe_said=bnVsbA", "pipe_said=WzFd", "pipe_said=W10=", "a;;=b"])
def test_a_cookie_of_somebody_else_is_no_error(door, cookie):
    assert door.page("/overview", Cookie=cookie).status == 200


def test_a_member_is_not_shown_the_way_to_what_is_not_his(door):
    assert 'href="/organisations"' in text(door.page("/overview", OPERATOR))
    assert 'href="/organisations"' not in text(door.page("/overview", MEMBER))


# The sign-in, over the real one.


class House:
    """A door where people sign in as people do."""

    def __init__(self, door):
        self.door = door
        door.site._application = application(door.parts, door.tokens)
        door.now(door.catalog.people.create("olga", PASSWORD))

    def get(self, path: str, cookie: str = "") -> Answer:
        return self.door.connect().ask("GET", path, **({"Cookie": cookie} if cookie else {})).answer

    def post(self, path: str, cookie: str = "", **fields: str) -> Answer:
        asked = self.door.connect().ask("POST", path, urlencode(fields).encode(), Content_Type=FORM, Cookie=cookie)
        self.door.advance(10)
        return asked.answer

    def sign_in(self, password: str, way: str = "/uploads?state=FAILED") -> Answer:
        form = self.get("/sign-in?" + urlencode({"next": way}))
        cookie = form.headers["set-cookie"].partition(";")[0]
        return self.post("/sign-in", cookie, name="Olga ", password=password, next=way, csrf=csrf(form))


def csrf(answer: Answer) -> str:
    return re.search(r'name="csrf" value="(\w+)"', text(answer))[1]


def test_somebody_signs_in_goes_on_and_out_again(door):
    house = House(door)

    came = house.sign_in(PASSWORD)
    cookie = came.headers["set-cookie"].partition(";")[0]

    assert (came.status, came.headers["location"]) == (303, "/uploads?state=FAILED")
    page = house.get("/uploads", cookie)
    assert page.status == 200
    assert house.get("/sign-in?next=/uploads", cookie).headers["location"] == "/uploads"

    gone = house.post("/sign-out", cookie, csrf=csrf(page))
    assert gone.headers["location"] == "/sign-in"
    assert house.get("/uploads", cookie).status == 303


def test_a_wrong_password_is_told_in_the_form_which_keeps_the_name_alone(door):
    house = House(door)

    answer = house.sign_in("<wrong>, quite wrong")

    assert answer.status == 401
    assert "do not belong together" in text(answer)
    assert 'value="Olga"' in text(answer)
    assert "quite wrong" not in text(answer)


def test_who_leaves_before_the_page_is_made_is_no_error(door, logged_errors):
    """As each page that refreshes itself is left."""
    house = House(door)
    cookie = house.sign_in(PASSWORD).headers["set-cookie"].partition(";")[0]
    held: Deferred = Deferred()
    object.__setattr__(door.operations.uploads, "page", lambda *_, **__: held)

    asked = door.connect().ask("GET", "/uploads", Cookie=cookie)
    asked.cut()
    held.callback(Page(()))

    assert logged_errors == []
    assert asked.answers == []


def test_a_sign_in_form_from_elsewhere_is_shown_again(door):
    house = House(door)

    answer = house.post("/sign-in", name="olga", password=PASSWORD, csrf="f" * 64)

    assert answer.status == 403
    assert 'role="alert"' in text(answer)
    assert house.get("/overview").status == 303
