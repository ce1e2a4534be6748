"""Faults of the HTTP door that the other modules here leave out: lengths and chunks that lie, tokens of another kind.

Requests that servers may read in two ways, floods of headers, slow bodies and packed ones are in test_site.py, forged
tokens in test_tokens.py, keys in test_idempotency.py.
"""

from __future__ import annotations

import jwt
import pytest

from conch_pipe.web import tokens
from tests.web.conftest import FORM, SCHEMA, form
from tests.web.test_tokens import claims, listed, part
from tests.web.test_upload import CSV, UPLOAD

RAW = f"{UPLOAD}?schemaType={SCHEMA}"
GET = b"GET /api/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"


def raw(door, **headers):
    """The head of a request whose body is the file."""
    return door.connect().ask("POST", RAW, Content_Type="text/csv", Authorization=door.bearer(), **headers)


def nothing_is_left(door):
    return (door.uploads(), door.spooled(), door.intake.live) == ((), [], 0)


# Lengths


def test_a_length_that_is_longer_than_the_file_never_makes_an_upload(door):
    connection = raw(door, Content_Length=str(len(CSV) + 1)).send(CSV)
    door.advance(120)

    assert (connection.answer.status, connection.answer.code) == (408, "timeout")
    assert nothing_is_left(door)


def test_a_length_that_is_longer_than_the_file_and_a_cut_connection_make_none_either(door):
    raw(door, Content_Length=str(len(CSV) + 1)).send(CSV).cut()

    assert nothing_is_left(door)


def test_of_a_length_that_is_shorter_than_the_file_the_rest_is_no_request_of_anybody(door):
    connection = raw(door, Content_Length=str(len(CSV))).send(CSV + b"s2,S001,e1,,\r\n" + GET)

    assert [one.status for one in connection.answers] == [202, 400]
    assert connection.answers[1].headers["connection"] == "close"


def test_a_form_that_is_cut_by_its_length_is_refused(door):
    body = form(("schemaType", SCHEMA), ("file", CSV, "a.csv"))
    short = str(len(body) - 10)
    connection = door.connect().ask(
        "POST", UPLOAD, body[:-10], Content_Type=FORM, Content_Length=short, Authorization=door.bearer()
    )

    assert (connection.answer.status, connection.answer.code) == (400, "bad_request")
    assert nothing_is_left(door)


@pytest.mark.parametrize(
    ("length", "status"), [("9" * 18, 413), ("9" * 40, 413), ("9" * 5000, 413), ("-1", 400), ("0x10", 400), ("", 400)]
)
def test_a_length_beyond_all_measure_or_none_at_all_is_refused_before_the_body(length, status, door):
    connection = raw(door, Content_Length=length)

    assert connection.answer.status == status
    assert nothing_is_left(door)


# Chunks


@pytest.mark.parametrize("size", [b"F" * 16, b"7FFFFFFFFFFFFFFF", b"3FFFFFFF"])
def test_a_chunk_that_claims_to_be_huge_is_counted_as_it_comes(size, make):
    door = make(body_bytes=10_000)
    connection = raw(door, Transfer_Encoding="chunked").send(size + b"\r\n")
    for _ in range(20):
        connection.send(b"a" * 1000)

    assert connection.answer.status in (400, 413)
    assert nothing_is_left(door)


def test_trailers_without_end_are_refused(door):
    connection = raw(door, Transfer_Encoding="chunked").send(b"%x\r\n%s\r\n0\r\n" % (len(CSV), CSV))
    for _ in range(100):
        connection.send(b"X: y\r\n" * 1000)

    assert connection.answer.status == 400
    assert nothing_is_left(door)


def test_what_trailers_say_counts_for_nothing(door):
    """A proxy looks at headers; what it did not see must not change who asks or what is asked."""
    connection = raw(door, Transfer_Encoding="chunked").send(
        b"%x\r\n%s\r\n0\r\nIdempotency-Key: k\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n" % (len(CSV), CSV) + GET
    )

    assert [one.status for one in connection.answers] == [202, 200]
    assert door.now(door.catalog.uploads.answered(door.client_id, "k")) is None


# Paths


@pytest.mark.parametrize(
    "path",
    [
        "/api/external/upload/..%2f..%2f..%2fetc%2fpasswd/status",
        "/api/external/upload/%2e%2e/status",
        "/api/external/..;/uploads",
        "/api/external/uploads%00",
        "/api\\external\\uploads",
        "/API/EXTERNAL/UPLOADS",
    ],
)
def test_a_path_of_the_api_has_one_way_to_be_written(path, door):
    assert door.ask("GET", path).status == 404


# Tokens


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "PS256", "HS512"])
def test_a_token_whose_head_names_another_algorithm_is_none_though_our_key_made_it(algorithm, door):
    """A checker that believes the head can be told to take a public key for a secret."""
    content = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims(door))}"
    hs256 = jwt.get_algorithm_by_name("HS256")
    signature = hs256.sign(content.encode(), hs256.prepare_key(b"k" * 32))
    good = f"{part({'alg': tokens.ALGORITHM, 'typ': 'JWT'})}.{part(claims(door))}"

    assert listed(door, f"{content}.{_text(signature)}").status == 401
    assert listed(door, f"{good}.{_text(hs256.sign(good.encode(), b'k' * 32))}").status == 200


def test_a_token_of_a_client_that_never_was_is_refused_as_a_revoked_one_is(door):
    other = door.credential("acme")
    door.now(door.catalog.credentials.revoke(other))

    revoked, unknown = (listed(door, door.tokens.issue(one)) for one in (other, "pipe_nobody"))

    assert (revoked.status, revoked.body) == (unknown.status, unknown.body) == (401, revoked.body)


def _text(data: bytes) -> str:
    return jwt.utils.base64url_encode(data).decode()
