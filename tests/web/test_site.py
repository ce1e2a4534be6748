"""Raw HTTP: what is too much, too slow, too odd or too early is answered or cut, and nothing is held in memory."""

from __future__ import annotations

import pytest

from conch_pipe import events
from tests.web.conftest import FORM, MAX_BYTES, SCHEMA, form
from tests.web.test_upload import CSV, HELLO, UPLOAD

GET = b"GET /api/external/uploads HTTP/1.1\r\nHost: a\r\n"
RAW = f"{UPLOAD}?schemaType={SCHEMA}"


def lines(*more: bytes, first: bytes = b"GET /api/openapi.json HTTP/1.1") -> bytes:
    return b"\r\n".join([first, b"Host: a", *more, b"", b""])


# Requests that cannot be


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(lines(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", id="length and chunks"),
        pytest.param(lines(b"Content-Length: 3", b"Content-Length: 4") + b"abcd", id="two lengths"),
        pytest.param(lines(b"Content-Length: 3, 3") + b"abc", id="a list of lengths"),
        pytest.param(lines(b"Content-Length: +3") + b"abc", id="a length with a sign"),
        pytest.param(lines(b"Content-Length: 3 ", b"Content-Length : 4") + b"abc", id="a space before the colon"),
        pytest.param(lines(b"Transfer-Encoding: gzip, chunked"), id="another coding"),
        pytest.param(lines(b"Transfer-Encoding: identity", b"Content-Length: 3") + b"abc", id="identity"),
        pytest.param(lines(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), id="chunked twice"),
        pytest.param(lines(b"Transfer-Encoding: \x0bchunked"), id="chunked after a vertical tab"),
        pytest.param(lines(b"X: a", b" folded"), id="a folded line"),
        pytest.param(lines(b"X: a\x00b"), id="NUL in a value"),
        pytest.param(lines(b"X: a\rb"), id="CR in a value"),
        pytest.param(lines(b"X: a\nb"), id="LF in a value"),
        pytest.param(lines(b"no colon"), id="a line without a colon"),
        pytest.param(lines(b": empty"), id="a header without a name"),
        pytest.param(lines(b"Host: b"), id="two hosts"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(lines(first=b"GET / HTTP/2.0"), id="HTTP 2"),
        pytest.param(lines(first=b"GET /"), id="HTTP 0.9"),
        pytest.param(lines(first=b"GET  / HTTP/1.1"), id="two spaces"),
        pytest.param(lines(first=b"G\x00T / HTTP/1.1"), id="NUL in the method"),
        pytest.param(lines(first=b"GET nowhere HTTP/1.1"), id="a target that is no path"),
        pytest.param(lines(first=b"GET /\xc3\xa4 HTTP/1.1"), id="a target beyond ASCII"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS on a plain port"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", id="SSH"),
    ],
)
def test_a_request_that_servers_may_read_in_two_ways_is_refused_and_the_connection_ends(door, request_):
    """What follows it must never be taken for a request: that is how requests are smuggled past a proxy."""
    connection = door.connect().send(request_ + lines())

    assert (connection.answer.status, connection.answer.code) == (400, "bad_request")
    assert connection.answer.headers["connection"] == "close"
    door.advance(3)
    assert connection.closed


@pytest.mark.parametrize(
    "chunks",
    [b"x\r\n", b"-1\r\n", b"0x3\r\nabc\r\n", b"3\r\nabcd\r\n", b"3;\x00\r\nabc\r\n", b"1" * 2000, b"3 \nabc\r\n"],
)
def test_chunks_that_are_none_end_the_request(door, chunks):
    connection = door.connect().ask(
        "POST", RAW, Transfer_Encoding="chunked", Content_Type="text/csv", Authorization=door.bearer()
    )

    connection.send(chunks)

    assert (connection.answer.status, connection.answer.code) == (400, "bad_request")
    assert (door.uploads(), door.spooled(), door.intake.live) == ((), [], 0)


def test_a_hundred_thousand_header_lines_are_too_many(door):
    connection = door.connect().send(GET)

    for _ in range(100):
        connection.send(b"X: y\r\n" * 1000)

    assert (connection.answer.status, connection.answer.code) == (431, "headers_too_large")


@pytest.mark.parametrize("header", [b"X: " + b"y" * 16_384, b"X" * 20_000, b"X: y\r\n" * 101])
def test_headers_have_their_bounds(door, header):
    connection = door.connect().send(GET + header + b"\r\n\r\n")

    assert (connection.answer.status, connection.answer.code) == (431, "headers_too_large")


def test_a_hundred_header_lines_are_taken(door):
    assert door.connect().send(lines(*[b"X: y"] * 99)).answer.status == 200


def test_a_body_that_is_packed_is_refused(door):
    """A bomb of a few bytes would be unpacked into gigabytes."""
    answer = door.ask("POST", RAW, b"\x1f\x8b", Content_Type="text/csv", Content_Encoding="gzip")

    assert (answer.status, answer.code) == (415, "unsupported_media_type")


def test_chunks_of_next_to_nothing_are_cut_short(make):
    door = make(body_bytes=10_000)
    connection = door.connect().ask(
        "POST", RAW, Transfer_Encoding="chunked", Content_Type="text/csv", Authorization=door.bearer()
    )

    for _ in range(50):
        connection.send(b"1;" + b"x" * 1000 + b"\r\na\r\n")

    assert connection.answer.status == 400
    assert door.intake.live == 0


@pytest.mark.parametrize(
    "path", ["/..%2f..%2fetc/passwd", "/api/../etc", "/%2e%2e/", "/api//docs", "//api/docs", "/%00"]
)
def test_paths_that_lead_elsewhere_lead_nowhere(door, path):
    answer = door.ask("GET", path)

    assert answer.status == 404
    assert b"root:" not in answer.body


# Expect, early answers, keep-alive


def upload_head(door, length, **headers):
    return door.connect().ask(
        "POST", RAW, Content_Length=str(length), Content_Type="text/csv", Authorization=door.bearer(), **headers
    )


def test_a_client_that_waits_for_a_word_gets_it_when_its_body_is_wanted(door):
    connection = upload_head(door, len(CSV), Expect="100-continue")
    assert connection.transport.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.transport.clear()

    connection.send(CSV)

    assert connection.answer.status == 202


def test_a_client_without_a_token_is_not_asked_for_its_body(door):
    connection = door.connect().ask("POST", RAW, Content_Length="90000", Expect="100-continue")

    assert (connection.answer.status, connection.answer.headers["connection"]) == (401, "close")


def test_only_100_continue_can_be_expected(door):
    assert upload_head(door, 3, Expect="the-unexpected").answer.status == 417


def test_after_an_early_answer_what_still_comes_is_thrown_away_for_a_while(door):
    """Closed at once, the client would see a reset instead of the answer."""
    connection = door.connect().ask("POST", RAW, Content_Length="900000", Content_Type="text/csv")
    for _ in range(10):
        connection.send(b"x" * 10_000)
    assert (connection.answer.status, connection.closed) == (401, False)

    door.advance(door.limits.linger_s + 0.5)

    assert connection.closed
    assert door.uploads() == ()


def test_requests_follow_each_other_on_one_connection(door):
    connection = door.connect()
    for _ in range(3):
        connection.ask("POST", UPLOAD, form(*HELLO), Content_Type=FORM, Authorization=door.bearer())
        connection.ask("GET", "/api/external/uploads", Authorization=door.bearer())

    assert [one.status for one in connection.answers] == [202, 200] * 3
    assert not connection.closed


def test_requests_sent_ahead_are_answered_in_their_order(door):
    one = lines(b"Authorization: " + door.bearer().encode(), first=b"GET /api/external/uploads HTTP/1.1")

    connection = door.connect().send(one * 3 + lines() + lines(b"Connection: close"))

    assert [answer.status for answer in connection.answers] == [200] * 5
    assert connection.closed


def test_requests_sent_ahead_wait_and_are_not_read_without_end(door):
    connection = door.connect().ask(
        "POST", f"{UPLOAD}?wait=30", form(*HELLO), Content_Type=FORM, Authorization=door.bearer()
    )

    while connection.transport.producerState == "producing":
        connection.send(lines() * 10)

    assert connection.answers == []
    assert sum(map(len, connection.channel._dataBuffer)) < 20_000
    door.advance(31)
    assert {answer.status for answer in connection.answers} == {200}


def test_a_connection_has_its_number_of_requests(make):
    door = make(requests=3)

    connection = door.connect().send(lines() * 5)

    assert [answer.headers.get("connection") for answer in connection.answers] == [None, None, "close"]
    assert connection.closed


def test_http_1_0_is_answered_and_closed(door):
    connection = door.connect().send(b"GET /api/openapi.json HTTP/1.0\r\n\r\n")

    assert (connection.answer.status, connection.closed) == (200, True)


# Time


def test_a_header_that_drips_is_answered_with_timeout(door):
    connection = door.connect()
    for _ in range(10):
        connection.send(b"G")
        door.advance(1.1)

    assert (connection.answer.status, connection.answer.code) == (408, "timeout")


def test_a_connection_that_says_nothing_is_cut(door):
    connection = door.connect()

    door.advance(door.limits.header_s + 0.5)

    assert connection.transport.aborting
    assert connection.answers == []


def test_a_connection_between_requests_is_cut_later(door):
    connection = door.connect().send(lines())
    door.advance(door.limits.idle_s - 1)
    assert not connection.closed

    door.advance(2)

    assert connection.closed


def test_a_body_that_drips_is_ended(door):
    """Half the least rate for a minute: it would hold its connection for a day."""
    connection = upload_head(door, MAX_BYTES)
    for _ in range(31):
        connection.send(b"x" * 512)
        door.advance(1)

    assert (connection.answer.status, connection.answer.code) == (408, "timeout")
    assert (door.intake.live, door.spooled()) == (0, [])


def test_a_slow_body_at_the_least_rate_arrives(door):
    body = CSV + CSV.splitlines(keepends=True)[1] * 800
    connection = upload_head(door, len(body))
    for start in range(0, len(body), 1100):
        connection.send(body[start : start + 1100])
        door.advance(1)

    assert connection.answer.status == 202


def test_a_client_that_does_not_take_its_answers_is_cut(door):
    connection = door.connect().send(lines())
    connection.channel.pauseProducing()  # as the transport says when its buffer is full

    door.advance(door.limits.unread_s + 0.5)

    assert connection.transport.aborting


def test_a_client_that_takes_its_answers_late_is_not(door):
    connection = door.connect().send(lines())
    connection.channel.pauseProducing()
    door.advance(door.limits.unread_s - 1)

    connection.channel.resumeProducing()
    door.advance(2)

    assert not connection.closed


def test_while_storage_lags_the_client_is_held_back_and_not_blamed(door, monkeypatch):
    from twisted.internet.defer import Deferred

    from conch_pipe.intake.upload import UploadInProgress

    caught_up = Deferred()
    monkeypatch.setattr(UploadInProgress, "lagging", property(lambda self: not caught_up.called))
    monkeypatch.setattr(UploadInProgress, "caught_up", lambda self: caught_up)
    body = CSV + CSV.splitlines(keepends=True)[1] * 9000
    connection = upload_head(door, len(body))
    sent = 0
    while connection.transport.producerState == "producing":
        connection.send(body[sent : sent + 10_000])
        sent += 10_000
    assert sent < 400_000
    door.advance(100)
    assert connection.answers == []

    caught_up.callback(None)
    connection.send(body[sent:])

    assert connection.transport.producerState == "producing"
    assert connection.answer.status == 202


# Connections


def test_connections_of_one_address_have_their_number(door):
    here = [door.connect("192.0.2.9") for _ in range(door.limits.per_address)]

    assert door.connect("192.0.2.9").channel is None
    assert door.connect("192.0.2.10").channel is not None
    here[0].cut()
    assert door.connect("192.0.2.9").channel is not None
    assert door.events.of(events.SESSION_REFUSED)[0]["address"] == "192.0.2.9"


def test_connections_of_one_ipv6_network_count_together_and_those_of_ipv4_do_not(make):
    door = make(per_address=1)
    door.connect("2001:db8::1")

    assert door.connect("2001:db8::2").channel is None
    assert door.connect("2001:db8:0:1::1").channel is not None
    assert door.connect("::ffff:192.0.2.1").channel is not None
    assert door.connect("::ffff:192.0.2.2").channel is not None


def test_all_connections_together_have_their_number(make):
    door = make(connections=3)
    for number in range(3):
        door.connect(f"192.0.2.{number}")

    assert door.connect("192.0.2.99").channel is None


# Whom a proxy forwards for


def address_seen(door, peer, *headers):
    door.connect(peer).send(lines(*headers))
    return door.events.of(events.WEB_REQUEST)[-1]["address"]


def test_x_forwarded_for_is_believed_from_ones_own_proxies_only(make):
    door = make(forwarded_from=("10.0.0.0/8",))

    assert address_seen(door, "10.0.0.1", b"X-Forwarded-For: 203.0.113.7") == "203.0.113.7"
    assert address_seen(door, "192.0.2.1", b"X-Forwarded-For: 203.0.113.7") == "192.0.2.1"
    assert address_seen(door, "10.0.0.1") == "10.0.0.1"


def test_what_a_client_wrote_into_x_forwarded_for_itself_counts_for_nothing(make):
    door = make(forwarded_from=("10.0.0.0/8",))

    forged = b"X-Forwarded-For: 1.1.1.1, 203.0.113.7, 10.9.9.9"
    assert address_seen(door, "10.0.0.1", forged) == "203.0.113.7"
    assert address_seen(door, "10.0.0.1", b"X-Forwarded-For: nonsense") == "10.0.0.1"


def test_a_proxy_may_have_more_connections_than_a_client(make):
    door = make(forwarded_from=("10.0.0.0/8",), per_address=1)
    door.connect("10.0.0.1")

    assert door.connect("10.0.0.1").channel is not None


# What every answer has, and what is told of it


@pytest.mark.parametrize("path", ["/api/openapi.json", "/api/docs", "/api/nowhere", "/api/external/uploads"])
def test_every_answer_has_the_headers_that_keep_browsers_in_check(door, path):
    headers = door.ask("GET", path, Authorization="").headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert "strict-transport-security" not in headers


def test_requests_are_told_without_what_is_secret_in_them(door):
    answer = door.ask("GET", "/api/external/uploads?fileName=kanarek", Authorization=door.bearer(), User_Agent="me/1")
    door.ask("GET", "/kanarek/in/the/path")

    told, odd = door.events.of(events.WEB_REQUEST)

    assert (told["method"], told["route"], told["status"]) == ("GET", "/api/external/uploads", 200)
    assert (told["client_id"], told["address"]) == (door.client_id, "192.0.2.1")
    assert (odd["route"], odd["status"]) == ("-", 404)
    assert "kanarek" not in repr(told) + repr(odd)
    assert answer.headers["x-request-id"].startswith(told["session"])


def test_a_head_has_no_body(door):
    connection = door.connect().ask("HEAD", "/api/openapi.json")

    head, _, body = connection.transport.value().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""


def test_options_tells_the_methods_of_a_path(door):
    answer = door.ask("OPTIONS", UPLOAD)

    assert (answer.status, answer.headers["allow"]) == (204, "OPTIONS, POST")


def test_another_method_is_refused_with_those_there_are(door):
    answer = door.ask("DELETE", UPLOAD)

    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "method_not_allowed", "OPTIONS, POST")


def test_what_nobody_foresaw_is_answered_with_failed_and_told_to_the_log_alone(door, monkeypatch, logged_errors):
    monkeypatch.setattr(door.catalog.uploads, "page", lambda *_, **__: 1 / 0)

    answer = door.ask("GET", "/api/external/uploads")

    assert (answer.status, answer.code) == (500, "failed")
    assert b"division" not in answer.body
    assert len(logged_errors.flush(ZeroDivisionError)) == 1


# Draining


def test_while_draining_new_requests_are_sent_away_and_running_uploads_finish(door):
    body = form(*HELLO)
    running = door.connect().ask(
        "POST", UPLOAD, body[:-30], Content_Type=FORM, Content_Length=str(len(body)), Authorization=door.bearer()
    )
    idle = door.connect().send(lines())
    half = door.connect().send(b"GET /api/openapi.json HTTP/1.1\r\n")
    over = []
    from twisted.internet.defer import Deferred

    Deferred.fromCoroutine(door.site.drain(30)).addBoth(over.append)

    assert idle.closed
    half.send(b"Host: a\r\n\r\n")
    assert (half.answer.status, half.answer.headers["retry-after"]) == (503, "5")
    assert half.answer.headers["connection"] == "close"
    running.send(body[-30:])
    assert (running.answer.status, running.answer.headers["connection"]) == (202, "close")
    for one in (running, idle, half):
        one.cut()
    door.advance(1)
    assert over == [None]


def test_what_is_not_done_when_draining_is_over_is_cut(door):
    connection = upload_head(door, 1000).send(b"x")
    from twisted.internet.defer import Deferred

    over = Deferred.fromCoroutine(door.site.drain(5))
    door.advance(6)

    assert connection.transport.aborting
    assert over.called
