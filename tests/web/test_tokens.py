"""Tokens: only ours, only for minutes, and only while the credential stands."""

from __future__ import annotations

import base64
import json
import stat
import warnings

import jwt
import pytest
from twisted.internet.defer import Deferred

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.web import token_keys
from tests.web.conftest import SECRET

TOKEN = "/api/external/auth/token"
KEY = b"k" * 32


def claims(door, **changes):
    now = int(door.clock.seconds())
    ours = {
        "iss": "pipe-sftp",
        "aud": "upload-api",
        "sub": door.client_id,
        "iat": now,
        "exp": now + 900,
        "jti": "j",
    }
    return {name: value for name, value in (ours | changes).items() if value is not None}


def signed(door, key=KEY, algorithm="HS256", headers=None, **changes):
    with warnings.catch_warnings():  # of keys that are too short
        warnings.simplefilter("ignore")
        return jwt.encode(claims(door, **changes), key, algorithm=algorithm, headers=headers)


def listed(door, token):
    return door.ask("GET", "/api/external/uploads", Authorization=f"Bearer {token}")


def part(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def ask_token(door, body, kind="application/json"):
    return door.connect().ask("POST", TOKEN, body, Content_Type=kind).answer


def json_login(door, **changes):
    return json.dumps({"client_id": door.client_id, "client_secret": SECRET} | changes).encode()


# Getting one


def test_a_client_id_and_its_secret_give_a_token_that_works(door):
    answer = ask_token(door, json_login(door))

    assert answer.status == 200
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 900)
    assert listed(door, answer.json["access_token"]).status == 200
    assert door.events.of(events.LOGIN_SUCCEEDED)[0]["client_id"] == door.client_id


def test_a_form_will_do_as_oauth_has_it(door):
    body = f"grant_type=client_credentials&client_id={door.client_id}&client_secret={SECRET}".encode()

    assert ask_token(door, body, "application/x-www-form-urlencoded").status == 200


def test_whatever_is_wrong_with_a_login_has_the_same_answer(door):
    wrong = [
        json_login(door, client_secret="kanarek-wrong"),
        json_login(door, client_id="nobody"),
        json_login(door, client_id="x" * 5000),
        json_login(door, client_secret="\x00"),
        json_login(door, client_id="", client_secret=""),
    ]

    found = {(answer.status, answer.body) for answer in (ask_token(door, body) for body in wrong)}

    assert len(found) == 1
    assert found.pop()[0] == 401


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"client_id": "kanarek"}', "application/json", 400),
        (b'{"client_id": 7, "client_secret": ["kanarek"]}', "application/json", 400),
        (b"client_id=a", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"client_id: kanarek", "text/yaml", 415),
        (b'{"client_id": "' + b"x" * 20_000 + b'"}', "application/json", 413),
    ],
)
def test_what_is_no_login_is_told_without_what_was_sent(door, body, kind, status):
    answer = ask_token(door, body, kind)

    assert answer.status == status
    assert b"kanarek" not in answer.body
    assert door.login.asked == []


def test_when_nobody_can_tell_the_client_is_told_to_come_back(door):
    door.login.broken = PipeError(Code.BUSY, "too many logins at once; try again")

    answer = ask_token(door, json_login(door))

    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


def test_a_login_nobody_waits_for_any_more_is_known_to_be_one(door):
    door.login.held = []
    connection = door.connect().ask("POST", TOKEN, json_login(door), Content_Type="application/json")
    connection.cut()

    door.login.held[0].callback(None)

    assert door.login.waits == [False]


def test_two_tokens_are_never_the_same(door):
    assert len({door.tokens.issue("a") for _ in range(100)}) == 100


# Fault rows: JWT


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda door: f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims(door))}.", id="alg none"),
        pytest.param(lambda door: f"{part({'alg': 'NONE'})}.{part(claims(door))}.", id="alg NONE"),
        pytest.param(lambda door: f"{part({'alg': ''})}.{part(claims(door))}.", id="no alg"),
        pytest.param(lambda door: signed(door, algorithm="HS384"), id="another HMAC"),
        pytest.param(lambda door: signed(door, key=b"x" * 32), id="another key"),
        pytest.param(lambda door: signed(door, key=b"x" * 32, exp=10**12), id="forged, for ever"),
        pytest.param(lambda door: signed(door, exp=10**12), id="longer than we give"),
        pytest.param(lambda door: signed(door, exp="soon"), id="exp is text"),
        pytest.param(lambda door: signed(door, exp=1e400), id="exp is infinite"),
        pytest.param(lambda door: signed(door, iat=1_800_000_100), id="from the future"),
        pytest.param(lambda door: signed(door, iat=1_799_990_000, exp=1_799_990_900), id="expired"),
        pytest.param(lambda door: signed(door, aud="other-api"), id="another audience"),
        pytest.param(lambda door: signed(door, iss="other"), id="another issuer"),
        *(pytest.param(lambda door, one=one: signed(door, **{one: None}), id=f"no {one}")
          for one in ("iss", "aud", "sub", "exp", "iat", "jti")),
        pytest.param(lambda door: signed(door, key=b"\n", headers={"kid": "/dev/null"}), id="kid is a path"),
        pytest.param(lambda door: signed(door, key=b"x" * 32, headers={"jku": "http://192.0.2.1/"}), id="jku"),
        pytest.param(lambda door: signed(door)[:-2], id="signature cut"),
        pytest.param(lambda door: signed(door) + "A", id="signature longer"),
        pytest.param(lambda door: signed(door).replace(".", "..", 1), id="four parts"),
        pytest.param(lambda door: f"{part({'alg': 'HS256', 'crit': ['x']})}.{part(claims(door))}.AA", id="crit"),
        pytest.param(lambda door: "." * 3000, id="dots"),
        pytest.param(lambda door: "a" * 10_000, id="long"),
        pytest.param(lambda door: "[" * 3000, id="brackets"),
        pytest.param(lambda door: "", id="empty"),
    ],
)  # fmt: skip
def test_a_token_that_is_not_ours_is_refused_in_the_same_words(door, forge):
    answer = listed(door, forge(door))

    assert (answer.status, answer.code) == (401, "unauthorized")
    assert answer.json["error"]["message"].startswith("the access token is missing, wrong or has expired")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["", "Basic YTpi", "Bearer", "bearer  ", "Token abc"])
def test_without_a_bearer_token_nothing_is_told(door, header):
    assert door.ask("GET", "/api/external/uploads", Authorization=header).status == 401


def test_two_authorizations_are_none(door):
    connection = door.connect().send(
        f"GET /api/external/uploads HTTP/1.1\r\nHost: a\r\nAuthorization: {door.bearer()}\r\n"
        f"Authorization: {door.bearer()}\r\n\r\n".encode()
    )

    assert connection.answer.status == 400


def test_a_token_is_good_for_its_time_and_some_leeway_between_clocks(door):
    token = door.tokens.issue(door.client_id)

    door.clock.advance(925)
    assert listed(door, token).status == 200
    door.clock.advance(10)
    assert listed(door, token).status == 401


def test_revoking_a_credential_ends_its_tokens_within_a_second(door):
    token = door.tokens.issue(door.client_id)
    assert listed(door, token).status == 200

    door.now(door.catalog.credentials.revoke(door.client_id))
    door.clock.advance(1.01)

    answer = listed(door, token)
    assert (answer.status, answer.code) == (401, "unauthorized")


def test_what_the_catalog_says_of_a_client_is_not_asked_for_at_each_request(door, monkeypatch):
    asked = []
    active = door.catalog.credentials.active
    monkeypatch.setattr(door.catalog.credentials, "active", lambda ids: asked.append(ids) or active(ids))
    token = door.tokens.issue(door.client_id)

    for _ in range(10):
        listed(door, token)
        door.clock.advance(0.1)

    assert len(asked) == 1


def test_a_catalog_that_cannot_be_asked_is_no_revocation(door, monkeypatch):
    broken = PipeError(Code.BUSY, "the catalog is in use elsewhere, try again later")

    def active(ids):
        failed: Deferred = Deferred()
        failed.errback(broken)
        return failed

    monkeypatch.setattr(door.catalog.credentials, "active", active)

    answer = listed(door, door.tokens.issue(door.client_id))

    assert (answer.status, answer.code) == (503, "busy")


# Keys


def test_a_key_is_made_once_and_open_to_nobody_else(tmp_path):
    path = tmp_path / "keys" / "tokens.key"

    assert (token_keys.make(path), token_keys.make(path)) == (True, False)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (key,) = token_keys.read(path)
    assert len(key) == 32


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", b"!" * 44, b"A" * 43])
def test_what_is_no_key_stops_the_start(tmp_path, content):
    path = tmp_path / "tokens.key"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(PipeError):
        token_keys.read(path)


def test_a_key_others_can_read_stops_the_start(tmp_path):
    path = tmp_path / "tokens.key"
    token_keys.make(path)
    path.chmod(0o640)

    with pytest.raises(PipeError, match="chmod 600"):
        token_keys.read(path)


def test_an_older_key_still_checks_while_the_first_one_signs(door):
    from conch_pipe.web.tokens import Tokens

    old = Tokens([KEY], door.clock.seconds, 900).issue("a")
    both = Tokens([b"n" * 32, KEY], door.clock.seconds, 900)

    assert both.client_id(old) == "a"
    with pytest.raises(PipeError):
        Tokens([KEY], door.clock.seconds, 900).client_id(both.issue("a"))
