"""Remotes over HTTP: what the command does, for programs; no secret comes back, and no key is trusted unseen."""

from __future__ import annotations

import pytest

from conch_pipe.catalog.queries import remotes
from conch_pipe.model import Scope, utc
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.keys import fingerprint, generate, read
from conch_pipe.web.operations.remote_documents import RemoteForm
from tests.conftest import CANARY
from tests.remotes.pushing import ADDRESS, World, pin
from tests.ssh.memory import PASSWORD
from tests.ssh.pair import host_key
from tests.web.operators import Program

SECRET = PASSWORD.decode()
SHOWN = fingerprint(pin().blob)
STEPS = ["address", "connection", "host key", "login", "folder", "probe file"]
FORM = {"name": "acme-eu", "organisation": "acme", "host": ADDRESS, "username": "ann", "password": SECRET}


@pytest.fixture
def program(door):
    assert CANARY in SECRET
    return Program(door)


@pytest.fixture
def world(door, tmp_path):
    """A server in memory where the remote is."""
    return within(door, tmp_path)


def within(door, tmp_path, limits: ClientLimits | None = None, **lies) -> World:
    made = World(tmp_path, limits=limits, **lies)
    door.around = made.around
    return made


def add(program, **fields):
    return program.ask("POST", "/api/remotes", 201, **(FORM | {"folder": "in"} | fields))


def line() -> str:
    return generate("ed25519").public_line()


def stored(door, name="acme-eu"):
    return door.now(door.catalog.remotes.secrets(name))


def test_a_remote_is_added_shown_and_listed_without_its_secrets(door, program):
    key = line()
    made = add(program, hostKeys=[key], maxConnections=3, temporaryNames=True, marker="{NAME}.done")

    assert (made["port"], made["maxConnections"], made["temporaryNames"]) == (22, 3, True)
    assert (made["password"], made["publicKey"], made["enabled"]) == (True, "", True)
    assert [(one["type"], one["origin"]) for one in made["hostKeys"]] == [("ssh-ed25519", "given")]
    assert [one["code"] for one in made["warnings"]] == ["address"], "the address is one for documentation"
    assert program.ask("GET", "/api/remotes/acme-eu") == made
    assert program.ask("GET", "/api/remotes")["remotes"] == [made]
    assert stored(door).password == SECRET


def test_all_mistakes_are_told_at_once_in_the_names_of_the_document(program):
    error = program.refused(
        "POST",
        "/api/remotes",
        400,
        **(FORM | {"name": "Acme EU", "host": "sftp://acme.example", "sourceAddress": "nowhere", "marker": "a/b"}),
        privateKey="not a key",
        hostKeys=["SHA256:n4bQgYhMfWWaL"],
    )

    assert error["code"] == "invalid"
    assert [one.partition(":")[0] for one in error["mistakes"]] == [
        *("name", "host", "sourceAddress", "marker", "privateKey", "hostKeys.0"),
    ]


def test_no_mistake_repeats_what_was_sent_in_the_wrong_field(program):
    """Program looks for the canary in every answer."""
    for field in ("name", "organisation", "host", "username", "folder", "sourceAddress", "marker", "privateKey"):
        program.refused("POST", "/api/remotes", 400, **(FORM | {field: f"{SECRET}\x07{{/"}))
    program.refused("POST", "/api/remotes", 400, **FORM, hostKeys=[SECRET], passphrase=SECRET)
    program.refused("POST", "/api/remotes", 400, **(FORM | {"password": SECRET * 100}))


def test_what_was_taken_shows_no_secret_in_a_traceback():
    form = RemoteForm(**FORM, privateKey=SECRET, passphrase=SECRET)

    assert CANARY not in repr(form) + str(form)


def test_a_field_of_the_wrong_type_does_not_hide_the_other_mistakes(program):
    error = program.refused(
        "POST", "/api/remotes", 400, name="acme-eu", organisation="acme", port=0, host="a b", password=[SECRET], color=1
    )

    wrong = [one.partition(":")[0] for one in error["mistakes"]]
    assert sorted(wrong) == ["color", "host", "password", "port", "username"]


def test_a_remote_needs_something_to_log_in_with(program):
    form = {name: value for name, value in FORM.items() if name != "password"}

    assert "needed to log in" in program.refused("POST", "/api/remotes", 400, **form)["mistakes"][0]


def test_a_body_that_is_no_object_of_json_is_refused(door, program):
    for body in (b"[]", b"{", b"\xff", b"[" * 60_000):
        answer = door.ask("POST", "/api/remotes", body, Authorization=program.token, Content_Type="application/json")
        assert (answer.status, answer.code) == (400, "invalid")
    answer = door.ask("POST", "/api/remotes", b"{}", Authorization=program.token, Content_Type="text/plain")
    assert answer.status == 415


def test_only_what_is_given_is_changed_and_null_takes_a_secret_away(door, program):
    before = add(program)

    after = program.ask("PATCH", "/api/remotes/acme-eu", folder="elsewhere", host=None)
    assert after | {"folder": "in", "changedAt": None} == before
    gone = program.ask("PATCH", "/api/remotes/acme-eu", password=None)
    assert (gone["password"], gone["enabled"], gone["disabledReason"]) == (False, False, "credentials")
    assert stored(door).password is None
    assert program.refused("PATCH", "/api/remotes/acme-eu", 400)["message"] == "nothing to change"
    assert program.refused("PATCH", "/api/remotes/acme-eu", 400, name="other")["mistakes"]


def test_a_key_is_made_and_only_its_public_half_told(door, program):
    add(program)

    made = program.ask("POST", "/api/remotes/acme-eu/key", type="ed25519")

    assert made["publicKey"].startswith("ssh-ed25519 ") and made["publicKey"].endswith(" acme-eu")
    assert made["fingerprint"].startswith("SHA256:")
    assert b"PRIVATE KEY" in stored(door).private_key
    assert program.ask("GET", "/api/remotes/acme-eu")["publicKey"] == made["publicKey"]
    assert b"PRIVATE KEY" not in b"".join(program.told)


def test_a_key_can_come_with_the_form_or_be_made_by_it(door, program):
    text = generate("ed25519").openssh().decode()

    given = add(program, name="given", password=None, privateKey=text)
    made = add(program, name="made", password=None, generateKey="ed25519")

    assert given["publicKey"].endswith(" given") and made["publicKey"].endswith(" made")
    assert given["password"] is False
    assert read(stored(door, "given").private_key).public_line("given") == given["publicKey"]
    both = FORM | {"name": "both", "privateKey": text, "generateKey": "ed25519"}
    assert "exclude each other" in program.refused("POST", "/api/remotes", 400, **both)["mistakes"][0]
    replaced = program.ask("PATCH", "/api/remotes/given", privateKey=None, generateKey="ed25519")
    assert replaced["publicKey"] not in ("", given["publicKey"])


def test_any_host_key_needs_its_word_and_is_warned_of(program):
    error = program.refused("POST", "/api/remotes", 400, **FORM, anyHostKey="yes")
    made = add(program, anyHostKey="yes-i-know")

    assert error["mistakes"][0].startswith("anyHostKey:")
    assert "any_host_key" in [one["code"] for one in made["warnings"]]
    assert program.ask("PATCH", "/api/remotes/acme-eu", anyHostKey="no")["anyHostKey"] is False


def test_a_remote_is_disabled_enabled_and_removed_with_its_secrets(door, program):
    add(program)

    disabled = program.ask("POST", "/api/remotes/acme-eu/disable")
    assert (disabled["enabled"], disabled["disabledReason"]) == (False, "operator")
    assert program.ask("POST", "/api/remotes/acme-eu/enable")["enabled"] is True
    assert program.ask("DELETE", "/api/remotes/acme-eu") == {"name": "acme-eu", "givenUp": 0}
    assert program.refused("GET", "/api/remotes/acme-eu", 404)["code"] == "not_found"


def test_a_remote_is_not_made_twice_nor_for_nobody(program):
    add(program)

    assert program.refused("POST", "/api/remotes", 409, **FORM)["code"] == "conflict"
    nobody = FORM | {"name": "other", "organisation": "nobody"}
    assert program.refused("POST", "/api/remotes", 404, **nobody)["message"] == "no organisation nobody"


def test_lists_come_by_pages(program):
    for name in ("c", "a", "b"):
        add(program, name=name)

    first = program.ask("GET", "/api/remotes?limit=2&organisation=acme")
    second = program.ask("GET", f"/api/remotes?limit=2&cursor={first['nextCursor']}")

    assert [one["name"] for one in first["remotes"] + second["remotes"]] == ["a", "b", "c"]
    assert second["nextCursor"] is None
    for cursor in ("x", "WzFd", first["nextCursor"][:-2]):
        assert program.refused("GET", f"/api/remotes?cursor={cursor}", 400)["code"] == "invalid"


ALL = (
    ("GET", "", Scope.READ, {}),
    ("PATCH", "", Scope.REMOTES, {"folder": "elsewhere"}),
    ("DELETE", "", Scope.REMOTES, {}),
    ("POST", "/test", Scope.REMOTES, {}),
    ("POST", "/trust", Scope.REMOTES, {"fingerprint": SHOWN}),
    ("POST", "/enable", Scope.REMOTES, {}),
    ("POST", "/disable", Scope.REMOTES, {}),
    ("POST", "/key", Scope.REMOTES, {"type": "ed25519"}),
)


@pytest.mark.parametrize(("method", "path", "scope", "fields"), ALL)
def test_what_another_organisation_has_is_not_there(door, program, method, path, scope, fields):
    door.now(door.catalog.organisations.create("umbrella"))
    before = add(program)
    other = Program(door, organisation="umbrella")

    error = other.refused(method, f"/api/remotes/acme-eu{path}", 404, **fields)

    assert error == other.refused(method, f"/api/remotes/nothing{path}", 404, **fields) | {
        "message": "no remote acme-eu"
    }
    assert program.ask("GET", "/api/remotes/acme-eu") == before
    assert other.ask("GET", "/api/remotes")["remotes"] == []
    assert other.refused("GET", "/api/remotes?organisation=acme", 404)["message"] == "no organisation acme"
    assert other.refused("POST", "/api/remotes", 404, **(FORM | {"name": "more"}))["code"] == "not_found"


@pytest.mark.parametrize(("method", "path", "scope", "fields"), ALL)
def test_each_request_needs_its_scope(door, program, method, path, scope, fields):
    add(program)
    without = Program(door, *(one for one in Scope if one is not scope))

    assert without.refused(method, f"/api/remotes/acme-eu{path}", 403, **fields)["code"] == "not_allowed"
    assert without.refused("GET" if scope is Scope.READ else "POST", "/api/remotes", 403)["code"] == "not_allowed"
    client = door.ask(method, f"/api/remotes/acme-eu{path}", Authorization=door.bearer())
    assert (client.status, client.code) == (401, "unauthorized")


def tried(program, world, within_s: float = 30.0):
    """The answer to a test."""
    testing = program.start("POST", "/api/remotes/acme-eu/test")
    while not testing.answers and within_s > 0:
        world.net.pass_s(1.0)
        within_s -= 1.0
    world.quiet()
    told = program.read(testing)
    assert [one["step"] for one in told["steps"]] == STEPS
    return told


def asked(program, world, fingerprint, status=200, **fields):
    """The answer to a request for trust."""
    trusting = program.start("POST", "/api/remotes/acme-eu/trust", fingerprint=fingerprint, **fields)
    world.quiet()
    return program.read(trusting, status)


def test_at_first_a_test_shows_the_host_key_and_nothing_is_sent_to_log_in(program, world):
    add(program)

    told = tried(program, world)

    assert told["ok"] is False
    assert [one["level"] for one in told["steps"]] == ["ok", "ok", "warn", "skip", "skip", "skip"]
    assert told["steps"][2]["hostKey"] == SHOWN
    assert not world.liar.logins


def test_a_key_is_trusted_by_its_fingerprint_and_then_every_step_goes_well(program, world):
    add(program)

    trusted = asked(program, world, SHOWN)
    told = tried(program, world)

    assert [(one["fingerprint"], one["origin"]) for one in trusted["hostKeys"]] == [(SHOWN, "trusted")]
    assert told["ok"] is True, told
    assert world.liar.files == {}, "the probe is gone"
    assert asked(program, world, SHOWN, 409)["error"]["message"].endswith("is trusted already")


def test_another_key_than_the_one_that_is_shown_is_not_trusted_and_the_shown_one_is_told(program, world):
    add(program)
    other = "SHA256:" + "A" * 43

    error = asked(program, world, other, 409)["error"]

    assert (error["code"], error["shown"], error["shownType"]) == ("conflict", SHOWN, "ssh-ed25519")
    assert program.ask("GET", "/api/remotes/acme-eu")["hostKeys"] == []
    assert program.refused("POST", "/api/remotes/acme-eu/trust", 400, fingerprint="MD5:00")["mistakes"]
    assert program.refused("POST", "/api/remotes/acme-eu/trust", 400)["mistakes"]


def test_the_key_that_disabled_a_remote_is_trusted_without_a_connection(door, program, world):
    old = line()
    add(program, hostKeys=[old])
    at = utc(door.clock)
    door.now(door.database.write(remotes.disable, "acme-eu", "host_key", pin().blob, at, at))
    assert program.ask("GET", "/api/remotes/acme-eu")["refusedHostKey"] == SHOWN

    trusted = asked(program, world, SHOWN, keepOld=True)

    assert (trusted["enabled"], trusted["refusedHostKey"]) == (True, None)
    assert len(trusted["hostKeys"]) == 2
    assert world.net.connected == []


def test_when_no_key_can_be_seen_nothing_is_trusted(program, world):
    add(program, port=23)

    error = asked(program, world, SHOWN, 409)["error"]

    assert error["message"].startswith("no host key could be seen:")


def test_one_test_of_a_remote_at_a_time(program, world):
    add(program, hostKeys=[host_key_line()])
    world.liar.silent.add("close")
    first = program.start("POST", "/api/remotes/acme-eu/test")
    world.net.settle()

    assert program.refused("POST", "/api/remotes/acme-eu/test", 409)["message"] == "remote acme-eu is being tested"
    assert len(world.net.connected) == 1
    first.cut()
    world.quiet()


def test_a_test_ends_when_nobody_waits_for_it(program, world):
    add(program, hostKeys=[host_key_line()])
    world.liar.silent.add("close")
    testing = program.start("POST", "/api/remotes/acme-eu/test")
    world.net.settle()
    assert len(world.net.links) == 1

    testing.cut()

    world.quiet()
    world.liar.silent.clear()
    assert tried(program, world)["ok"] is True


def test_a_test_ends_after_a_minute_whatever_the_settings_allow(door, program, tmp_path):
    world = within(door, tmp_path, ClientLimits(connect_s=600, login_s=600, request_s=600, progress_s=600))
    add(program, hostKeys=[host_key_line()])
    world.liar.silent.add("realpath")

    told = tried(program, world, 61)

    assert [one["level"] for one in told["steps"]] == ["ok", "ok", "ok", "ok", "fail", "skip"]
    assert (told["steps"][4]["reason"], "60 s" in told["steps"][4]["words"]) == ("stalled", True)


def test_a_password_that_the_server_refuses_is_told_in_the_words_of_the_push_log(door, program, tmp_path):
    world = within(door, tmp_path, login="refuse")
    add(program, hostKeys=[host_key_line()])

    step = tried(program, world)["steps"][3]

    assert (step["level"], step["status"]) == ("fail", "SFTP_LOGIN_FAILED")


def host_key_line() -> str:
    """Of the server in memory."""
    return host_key().public().toString("OPENSSH").decode()
