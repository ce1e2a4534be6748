"""People at the door: how little a failure tells, whose a session is, and that forms come from pages of ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from twisted.internet.defer import Deferred

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.login import secrets
from conch_pipe.login.people import SignIns
from conch_pipe.login.slowness import FLOOR_S, JITTER_S, Slowness
from conch_pipe.model import Actor, Scope
from conch_pipe.web.api import application
from conch_pipe.web.problems import Refused
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response, document
from conch_pipe.web.sign_in import KNOWN_S, SignIn
from conch_pipe.web.site import Site
from tests.conftest import CANARY
from tests.web.conftest import Answer, Connection, Door, Inline, every_path

PASSWORD = f"a long word of ann, {CANARY}"
WRONG = f"a wrong word, {CANARY}"
HOST = "pipe.example"
PROXY = "192.0.2.200"
FREE = 3


class Counted(Inline):
    """Counts the hashes compared."""

    def __init__(self) -> None:
        self.hashed = 0
        self.held: list[Deferred[None]] | None = None

    def __call__(self, function: Any, *args: Any) -> Deferred[Any]:
        if function is secrets.matches:
            self.hashed += len(args[1])
            if self.held is not None:
                self.held.append(Deferred())
                return self.held[-1].addCallback(lambda _: function(*args))
        return super().__call__(function, *args)


class House:
    """A site of which only the sign-in is real."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.people = door.catalog.people
        self.threads = Counted()
        self.slowness = Slowness(door.clock, FREE, 20)
        object.__setattr__(
            door.parts,
            "sign_ins",
            SignIns(self.people, self.threads, self.slowness, door.events, door.clock, cost=4),
        )
        self.sign_in = SignIn(door.parts)
        self.done: list[str] = []
        door.site = Site(self.answer, door.events, door.clock, door.limits, (PROXY,))
        door.now(self.people.create("ann", PASSWORD))

    async def who(self, request: Request, scope: Scope) -> Actor:
        """As the dashboard's pages ask it."""
        actor = await self.sign_in.of(request)
        if actor is None:
            raise PipeError(Code.UNAUTHORIZED, "sign in first")
        if not actor.may(scope):
            raise PipeError(Code.NOT_ALLOWED, "you may look at this, but not change it")
        return actor

    async def answer(self, request: Request) -> Response:
        if request.method == b"GET" and request.path == b"/sign-in":
            csrf, cookie = self.sign_in.form(request)
            return Response(200, csrf.encode(), headers={"Set-Cookie": cookie} if cookie else {})
        if request.method == b"GET":
            actor = await self.who(request, Scope.READ)
            return document(
                {"name": actor.name, "organisation": actor.organisation, "csrf": self.sign_in.csrf(request)}
            )
        fields = {name: values[0] for name, values in parse_qs((await request.body.whole(10_000)).decode()).items()}
        token = request.header("X-CSRF-Token") or fields.get("csrf", "")
        if request.path == b"/do":
            actor = await self.who(request, Scope.REMOTES)
            self.sign_in.check(request, token)
            self.done.append(actor.name)
            return Response(204)
        self.sign_in.check(request, token)
        if request.path == b"/sign-in":
            cookie = await self.sign_in.sign_in(request, fields.get("name", ""), fields.get("password", ""))
        elif request.path == b"/sign-out":
            cookie = await self.sign_in.sign_out(request)
        else:
            raise Refused("no_such_path", "no such path")
        return Response(204, headers={"Set-Cookie": cookie})

    def told(self) -> str:
        """Everything any event had."""
        return repr([(kind.name, fields) for kind, fields in self.door.events.heard])

    def sessions(self) -> int:
        query = "SELECT count(*) FROM web_sessions"
        return self.door.now(self.door.database.read(lambda connection: connection.exec_driver_sql(query).scalar_one()))


class Browser:
    """Keeps cookies, and sends with a form what its page had."""

    def __init__(self, house: House, address: str = "192.0.2.1", **headers: str) -> None:
        self.house = house
        self.address = address
        self.headers = headers
        self.cookies: dict[str, str] = {}
        self.set: list[str] = []

    def send(self, method: str, path: str, fields: dict[str, str] | None = None, **headers: str) -> Connection:
        headers = {**self.headers, **headers}
        if self.cookies:
            headers.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        body = urlencode(fields).encode() if fields is not None else b""
        return self.house.door.connect(self.address).ask(method, path, body, **headers)

    def take(self, connection: Connection) -> Answer:
        answer = connection.answer
        connection.cut()
        if cookie := answer.headers.get("set-cookie"):
            self.set.append(cookie)
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.take(self.send("GET", path, **headers))

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        return self.take(self.send("POST", path, fields, **headers))

    def begin(self, name: str = "ann", password: str = PASSWORD, **headers: str) -> Connection:
        """Open the page and send its form."""
        csrf = self.get("/sign-in").body.decode()
        return self.send("POST", "/sign-in", {"csrf": csrf, "name": name, "password": password}, **headers)

    def sign_in(self, name: str = "ann", password: str = PASSWORD) -> Browser:
        assert self.take(self.begin(name, password)).status == 204
        return self

    @property
    def csrf(self) -> str:
        return self.get("/").json["csrf"]


@pytest.fixture
def house(door) -> House:
    return House(door)


@pytest.fixture
def browser(house) -> Browser:
    return Browser(house)


# Signing in.


def test_who_knows_the_password_has_a_session(house, browser):
    browser.sign_in()

    assert browser.get("/").json["name"] == "ann"
    assert [fields["person"] for fields in house.door.events.of(events.PERSON_SIGNED_IN)] == ["ann"]
    assert house.door.events.of(events.WEB_REQUEST)[-1]["client_id"] == "ann"
    assert house.door.now(house.people.get("ann")).last_sign_in_at is not None


def test_the_name_may_be_typed_with_capitals_and_space(browser):
    browser.sign_in(" Ann ")

    assert browser.get("/").json["name"] == "ann"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(browser):
    browser.sign_in()

    before, after = browser.set
    assert before.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Lax"]
    assert after.split("; ")[1:] == ["Path=/", "Max-Age=604800", "HttpOnly", "SameSite=Lax"]
    assert set(browser.cookies) == {"pipe"}


def test_behind_a_proxy_that_speaks_tls_the_cookie_is_bound_to_the_host_and_to_tls(house):
    browser = Browser(house, PROXY, X_Forwarded_Proto="https", X_Forwarded_For="198.51.100.7").sign_in()

    assert set(browser.cookies) == {"__Host-pipe"}
    assert all("Secure" in one.split("; ") and "Domain" not in one for one in browser.set)
    assert browser.get("/").status == 200


def test_who_is_no_proxy_of_ours_cannot_say_that_it_speaks_tls(house):
    browser = Browser(house, X_Forwarded_Proto="https").sign_in()

    assert set(browser.cookies) == {"pipe"}


def test_over_tls_the_cookie_anybody_could_have_set_without_is_not_looked_at(house):
    plain = Browser(house).sign_in()

    secure = Browser(house, PROXY, X_Forwarded_Proto="https")
    secure.cookies = plain.cookies

    assert secure.get("/").status == 401


# Failures.


def test_whatever_is_wrong_is_told_in_the_same_words_after_the_same_time_for_the_same_work(house, door):
    door.now(house.people.create("bob", PASSWORD))
    door.now(house.people.disable("bob"))
    tries = [
        ("ann", WRONG),
        ("ann", ""),
        ("ann", "x" * 5000),
        ("ann", PASSWORD + "\0"),
        ("bob", PASSWORD),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("../\u00e4\0'" * 30, PASSWORD),
        (door.client_id, PASSWORD),
    ]
    told = []
    for number, (name, password) in enumerate(tries):
        before = house.threads.hashed
        asked = Browser(house, f"198.51.100.{number}").begin(name, password)
        door.advance(FLOOR_S - 0.01, FLOOR_S - 0.01)
        assert asked.answers == []
        door.advance(JITTER_S + 0.02, 0.01)
        told.append((asked.answer.status, asked.answer.body, house.threads.hashed - before))
        door.advance(60)

    assert set(told) == {(401, told[0][1], 1)}
    assert house.sessions() == 0


def test_a_name_that_was_tried_is_told_only_if_it_is_somebodys(house, door):
    """People type their passwords into the field of the name."""
    for name in ("ann", PASSWORD, "nobody"):
        Browser(house).begin(name, WRONG)
        door.advance(2)

    failed = door.events.of(events.PERSON_SIGN_IN_FAILED)
    assert [(fields["person"], fields["reason"]) for fields in failed] == [
        ("ann", "password"),
        ("", "unknown"),
        ("", "unknown"),
    ]


def test_no_event_has_a_secret(house, door, browser):
    Browser(house).begin("ann", WRONG)
    door.advance(2)
    browser.sign_in()
    texts = [*browser.cookies.values(), browser.csrf, CANARY]
    browser.post("/sign-out", {"csrf": browser.csrf})

    assert not [text for text in texts if text in house.told()]


@pytest.mark.parametrize("one", ["address", "name"])
def test_after_some_failures_the_next_try_of_that_address_or_name_waits(house, door, one):
    for number in range(FREE + 1):
        name, address = ("ann", f"198.51.100.{number}") if one == "name" else (f"n{number}", "192.0.2.1")
        Browser(house, address).begin(name, WRONG)
        door.advance(0.1)
    door.advance(2)

    name, address = ("ann", "203.0.113.1") if one == "name" else ("zoe", "192.0.2.1")
    asked = Browser(house, address).begin(name, WRONG)
    door.advance(FLOOR_S + JITTER_S)

    assert asked.answers == []
    door.advance(10)
    assert asked.answer.status == 401


def test_a_password_that_was_right_minutes_ago_waits_for_nobody_elses_failures(house, door):
    Browser(house).sign_in()
    for number in range(30):
        Browser(house, f"198.51.100.{number}").begin("ann", WRONG)
    before = house.threads.hashed

    Browser(house).sign_in()

    assert house.threads.hashed == before
    door.advance(30)


def test_a_new_password_ends_what_was_remembered_of_the_old(house, door):
    Browser(house).sign_in()
    door.now(house.people.set_password("ann", "quite another one"))

    asked = Browser(house).begin("ann", PASSWORD)
    door.advance(2)

    assert asked.answer.status == 401
    Browser(house).sign_in("ann", "quite another one")


def test_who_is_disabled_while_the_password_is_checked_does_not_come_in(house, door):
    house.threads.held = []
    asked = Browser(house).begin()
    door.now(house.people.disable("ann"))

    house.threads.held[0].callback(None)
    assert asked.answers == []
    door.advance(2)

    assert (asked.answer.status, house.sessions()) == (401, 0)


def test_who_does_not_wait_for_the_answer_has_no_session(house, door):
    house.threads.held = []
    asked = Browser(house).begin()

    asked.cut()
    house.threads.held[0].callback(None)

    assert house.sessions() == 0
    assert door.events.of(events.PERSON_SIGNED_IN) == []


def test_the_work_that_waits_is_bounded(house, door):
    """Without a bound, strangers keep a whole processor busy, and people waiting."""
    house.threads.held = []
    asked = [Browser(house, f"198.51.100.{number}").begin(f"n{number}", WRONG) for number in range(40)]

    busy = [one.answer for one in asked if one.answers]

    assert {(answer.status, answer.code) for answer in busy} == {(503, "busy")}
    assert len(busy) == 40 - 1 - secrets.QUEUE_LENGTH
    house.threads.held, held = None, house.threads.held
    held[0].callback(None)
    door.advance(10)


# Sessions.


def test_a_session_begins_with_a_new_text_whatever_the_browser_had(house, door):
    """Else who plants a text in somebody's browser has the session as well."""
    planted = Browser(house)
    csrf = planted.get("/sign-in").body.decode()
    victim = Browser(house)
    victim.cookies = dict(planted.cookies)

    victim.post("/sign-in", {"csrf": csrf, "name": "ann", "password": PASSWORD})

    assert victim.get("/").status == 200
    assert planted.get("/").status == 401
    assert victim.cookies["pipe"] != planted.cookies["pipe"]


def test_who_signs_in_again_has_one_session(house, browser):
    old = dict(browser.sign_in().cookies)

    fields = {"csrf": browser.csrf, "name": "ann", "password": PASSWORD}
    assert browser.post("/sign-in", fields).status == 204

    assert browser.get("/").status == 200
    assert house.sessions() == 1
    browser.cookies = old
    assert browser.get("/").status == 401


def test_a_session_that_is_signed_out_is_over_for_every_copy_of_its_text(house, browser):
    copied = dict(browser.sign_in().cookies)

    assert browser.post("/sign-out", {"csrf": browser.csrf}).status == 204

    assert browser.set[-1].startswith("pipe=; Path=/; Max-Age=0; ")
    browser.cookies = copied
    assert browser.get("/").status == 401
    assert house.sessions() == 0
    assert [fields["person"] for fields in house.door.events.of(events.PERSON_SIGNED_OUT)] == ["ann"]


def test_who_is_disabled_gone_or_has_a_new_password_is_out_within_seconds(house, door, browser):
    ends = [
        lambda: house.people.disable("ann"),
        lambda: house.people.set_password("bob", "quite another one"),
        lambda: house.people.remove("mia"),
    ]
    for name in ("bob", "mia"):
        door.now(house.people.create(name, PASSWORD))
    browsers = [Browser(house).sign_in(name) for name in ("ann", "bob", "mia")]
    assert [one.get("/").status for one in browsers] == [200] * 3
    for end in ends:
        door.now(end())

    door.advance(KNOWN_S)

    assert KNOWN_S <= 2
    assert [one.get("/").status for one in browsers] == [401] * 3


def test_a_session_is_over_after_12_hours_without_a_request_and_after_7_days(house, door, browser):
    browser.sign_in()
    for _ in range(7 * 2):
        door.clock.advance(12 * 3600 - 1)
        assert browser.get("/").status == 200
    door.clock.advance(60)

    assert browser.get("/").status == 401
    idle = Browser(house).sign_in()
    door.clock.advance(12 * 3600)
    assert idle.get("/").status == 401


def test_a_member_sees_one_organisation_and_changes_nothing(house, door):
    door.now(house.people.create("mia", PASSWORD, "acme"))
    browser = Browser(house).sign_in("mia")

    found = browser.get("/").json

    assert found["organisation"] == "acme"
    assert browser.post("/do", {"csrf": found["csrf"]}).status == 403
    assert house.done == []


def test_a_cookie_that_is_none_of_ours_is_nobodys(house, browser):
    odd = ["", "x", "A" * 43, "\u00e4", "a; pipe=b", "A" * 9000, "before." + "A" * 43]
    lines = [f"pipe={one}" for one in odd] + ["=;;pipe", ";", "x" * 5000]

    assert {browser.get("/", Cookie=line).status for line in lines} == {401}


def test_of_two_cookies_of_our_name_neither_is_taken(house, browser):
    """Who can set cookies for a neighbouring host must not choose the session."""
    text = browser.sign_in().cookies["pipe"]

    assert browser.get("/", Cookie=f"pipe={text}; pipe={'A' * 43}").status == 401
    assert browser.get("/", Cookie=f"theme=dark; pipe={text}; other=1").status == 200


# Forms.


def test_a_form_of_this_session_is_taken_and_so_is_its_header(house, browser):
    browser.sign_in()

    assert browser.post("/do", {"csrf": browser.csrf}).status == 204
    assert browser.post("/do", {}, X_CSRF_Token=browser.csrf).status == 204
    assert house.done == ["ann", "ann"]


def test_a_form_without_the_token_of_this_very_session_does_nothing(house, browser):
    other = Browser(house).sign_in().csrf
    before = Browser(house).get("/sign-in").body.decode()
    browser.sign_in()

    for csrf in (
        "",
        "x",
        other,
        before,
        browser.csrf[:-1],
        "\u00e4\ud83d\ude80".encode("utf-16", "surrogatepass").hex(),
    ):
        assert browser.post("/do", {"csrf": csrf}).status == 403
        assert browser.post("/sign-out", {"csrf": csrf}).status == 403
    assert browser.post("/do", {}).status == 403

    assert house.done == []
    assert browser.get("/").status == 200


def test_the_form_of_the_sign_in_is_bound_to_its_browser(house):
    """Else somebody else's page signs its visitors in as whom it likes."""
    theirs = Browser(house).get("/sign-in").body.decode()
    fields = {"name": "ann", "password": PASSWORD}
    browser = Browser(house)
    browser.get("/sign-in")

    assert browser.post("/sign-in", {"csrf": theirs, **fields}).status == 403
    assert browser.post("/sign-in", fields).status == 403
    assert Browser(house).post("/sign-in", {"csrf": theirs, **fields}).status == 403
    assert house.sessions() == 0


def test_the_form_of_the_sign_in_may_be_open_in_two_tabs(house, browser):
    first = browser.get("/sign-in").body
    second = browser.get("/sign-in")

    assert second.body == first and "set-cookie" not in second.headers


def test_the_token_of_a_form_does_not_tell_the_session(browser):
    browser.sign_in()

    assert browser.cookies["pipe"] not in browser.csrf


OURS = [
    {"Sec_Fetch_Site": "same-origin"},
    {"Sec_Fetch_Site": "none"},
    {"Sec_Fetch_Site": "same-origin", "Origin": "https://behind.a.proxy.example"},
    {"Origin": f"http://{HOST}"},
    {"Origin": f"http://{HOST.upper()}"},
    {"Origin": f"http://{HOST}:80"},
    {"Origin": f"https://{HOST}"},
    {"Origin": "http://127.0.0.1:8022", "Host": "127.0.0.1:8022"},
    {},
]
THEIRS = [
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site", "Origin": f"http://{HOST}"},
    {"Sec_Fetch_Site": "something new"},
    {"Origin": "null"},
    {"Origin": "http://evil.example"},
    {"Origin": f"http://{HOST}.evil.example"},
    {"Origin": f"http://{HOST}:8080"},
    {"Origin": f"file://{HOST}"},
    {"Origin": f"http://evil.example@{HOST}"},
    {"Origin": "http://["},
    {"Origin": HOST},
]


def test_a_form_from_a_page_of_ours_is_taken(house, browser):
    csrf = browser.sign_in().csrf

    refused = [headers for headers in OURS if browser.post("/do", {"csrf": csrf}, **headers).status != 204]

    assert refused == []


def test_a_form_from_another_site_does_nothing_even_with_the_token(house, browser):
    csrf = browser.sign_in().csrf

    forms = [(path, headers) for headers in THEIRS for path in ("/do", "/sign-out")]
    taken = [form for form in forms if browser.post(form[0], {"csrf": csrf}, **form[1]).status != 403]

    assert taken == []
    assert house.done == [] and browser.get("/").status == 200


def test_over_tls_a_form_from_a_page_without_is_refused(house):
    browser = Browser(house, PROXY, X_Forwarded_Proto="https").sign_in()

    assert browser.post("/do", {"csrf": browser.csrf}, Origin=f"http://{HOST}").status == 403
    assert browser.post("/do", {"csrf": browser.csrf}, Origin=f"https://{HOST}").status == 204


# Together with the logins of clients.


def test_failed_logins_and_failed_sign_ins_of_an_address_count_together(house, door):
    for number in range(FREE):
        house.slowness.failed(b"client %d" % number, "192.0.2.1")

    asked = Browser(house).begin("ann", WRONG)
    door.advance(FLOOR_S + JITTER_S)

    assert asked.answers == []
    door.advance(2)
    assert asked.answer.status == 401


def test_a_person_and_a_client_of_one_name_are_two(house, door):
    for number in range(FREE + 1):
        house.slowness.failed(b"ann", f"198.51.100.{number}")

    asked = Browser(house).begin("ann", WRONG)
    door.advance(FLOOR_S + JITTER_S)

    assert asked.answer.status == 401


def test_the_catalog_that_cannot_be_asked_is_told_as_such(house, door, browser):
    browser.sign_in()
    door.clock.advance(KNOWN_S)
    read, door.database.read = door.database.read, lambda *_, **__: _fail()
    try:
        assert browser.get("/").status == 503
    finally:
        door.database.read = read


# The dashboard itself.


def test_no_page_opens_and_no_form_does_anything_for_who_has_not_signed_in_or_brings_no_token(house, door):
    """Whatever pages there are: none of them forgets to ask."""
    door.site = Site(application(door.parts, door.tokens), door.events, door.clock, door.limits)
    pages = [
        (route.method, path)
        for route, path in every_path(application(door.parts, door.tokens))
        if not path.startswith(("/api/", "/static/", "/healthz", "/readyz", "/metrics"))
    ]
    open_to_all = {("GET", "/"), ("GET", "/sign-in"), ("POST", "/sign-in")}
    stranger, member = Browser(house), Browser(house)
    door.now(house.people.create("mia", PASSWORD, "acme"))
    page = member.get("/sign-in").body.decode()
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    assert member.post("/sign-in", {"csrf": csrf, "name": "mia", "password": PASSWORD}).status == 303
    own = {"/sign-out", "/theme"}

    wrong = []
    for method, path in pages:
        if (method, path) in open_to_all:
            continue
        answer = stranger.take(stranger.send(method, path, {} if method == "POST" else None))
        if (answer.status, answer.headers.get("location", "").partition("?")[0]) != (303, "/sign-in"):
            wrong.append((method, path, "a stranger", answer.status))
        if method == "POST":
            answer = member.post(path, {})
            if answer.status != 403:
                wrong.append((method, path, "without a token", answer.status))
            csrf = member.get("/overview").body.decode().partition('name="csrf" value="')[2].partition('"')[0]
            if path not in own and member.post(path, {"csrf": csrf}).status != 403:
                wrong.append((method, path, "a member", answer.status))

    assert wrong == []
    assert len(pages) > 10 and member.get("/overview").status == 200


def _fail() -> Deferred[Any]:
    done: Deferred[Any] = Deferred()
    done.errback(PipeError(Code.BUSY, "the catalog is busy"))
    return done
