"""``conch-pipe token`` and ``conch-pipe person``: made, listed, ended; texts shown once, passwords never."""

from __future__ import annotations

import bcrypt
import pytest

from conch_pipe.catalog.access import People
from conch_pipe.catalog.queries.people import COST as STORED_COST
from conch_pipe.catalog.queries.tokens import DAYS, MOST_DAYS
from conch_pipe.cli import people
from conch_pipe.cli.session import now
from conch_pipe.login.people import COST as CHECKED_COST
from conch_pipe.model import Actor, Scope, password_digest
from tests.cli.test_remotes import at_a_terminal
from tests.conftest import CANARY

PASSWORD = f"a long word, {CANARY}"
OTHER = f"another long word, {CANARY}"


@pytest.fixture
def acme(installed, monkeypatch):
    monkeypatch.setattr(People, "cost", 4)  # of bcrypt
    now(installed.catalog().organisations.create("acme"))
    return installed


def stored(acme, name: str) -> bytes | None:
    return now(acme.catalog().people.password(name))


def test_the_words_and_numbers_are_those_of_the_model():
    assert tuple(one.value for one in Scope) == people.SCOPES
    assert (DAYS, MOST_DAYS) == (people.DAYS, people.MOST_DAYS)
    assert STORED_COST == CHECKED_COST


# Tokens.


def test_a_token_is_made_and_its_text_shown_once(acme):
    made = acme.json("token", "create", "nightly report", "--scope", "remotes", "--scope", "read", "--days", "730")
    text = made.pop("token")
    acme.said.pop()

    assert text.startswith(f"pst_{made['id']}_")
    assert (made["scopes"], made["organisation"], made["revoked_at"]) == (["read", "remotes"], None, None)
    assert acme.json("token", "list") == [made]
    assert made["id"] in acme.run("token", "list").out
    assert not [said for said in acme.said if text in said or text.rpartition("_")[2] in said]
    actor = now(acme.catalog().tokens.actor(text))
    assert actor == Actor("nightly report", frozenset({Scope.READ, Scope.REMOTES}))


def test_without_more_words_a_token_only_looks(acme):
    assert acme.json("token", "create", "report")["scopes"] == ["read"]
    assert acme.json("token", "create", "deploy", "--scope", "all")["scopes"] == list(people.SCOPES)


def test_a_token_is_told_to_people_with_what_it_may_do(acme):
    ran = acme.run("token", "create", "report", "--organisation", "acme")

    assert ran.out.count("pst_") == 1
    assert "acme" in ran.out and "shown this once" in ran.out


def test_a_token_of_an_organisation_is_listed_there(acme):
    made = acme.json("token", "create", "report", "--organisation", "acme")
    acme.json("token", "create", "other")
    del made["token"]

    assert acme.json("token", "list", "acme") == [made]


def test_a_revoked_token_stays_listed(acme):
    made = acme.json("token", "create", "report")

    revoked = acme.json("token", "revoke", made["id"])

    assert revoked["revoked_at"] is not None
    assert acme.json("token", "list") == [revoked]
    assert acme.json("token", "revoke", made["id"]) == revoked
    assert f"{made['id']} (report) is revoked since" in acme.run("token", "revoke", made["id"]).out


# People.


def add(acme, name: str, *words: str, password: str = PASSWORD):
    return acme.run("person", "add", name, "--password-stdin", *words, input=password + "\n")


def test_an_operator_and_a_member_are_added_and_listed(acme):
    operator = add(acme, "olga", "--json").json
    assert add(acme, "mia@acme.example", "--organisation", "acme").out == (
        "mia@acme.example may sign in now, a member of acme\n"
    )

    assert (operator["name"], operator["position"], operator["organisation"]) == ("olga", "operator", None)
    member, same = acme.json("person", "list")
    assert (member["position"], member["organisation"]) == ("member", "acme")
    assert same == operator
    assert acme.json("person", "list", "acme") == [member]
    assert "never" in acme.run("person", "list").out
    assert bcrypt.checkpw(password_digest(PASSWORD), stored(acme, "olga"))


def test_a_password_comes_from_a_file_too(acme, tmp_path):
    (tmp_path / "word").write_text(OTHER + "\n")

    assert acme.run("person", "add", "olga", "--password-file", "word").status == 0

    assert bcrypt.checkpw(password_digest(OTHER), stored(acme, "olga"))


def test_at_a_terminal_a_password_is_asked_for_twice_and_not_seen(acme):
    status, shown = at_a_terminal(acme, ["person", "add", "olga"], [PASSWORD, PASSWORD])
    assert status == 0, shown
    assert bcrypt.checkpw(password_digest(PASSWORD), stored(acme, "olga"))

    status, shown = at_a_terminal(acme, ["person", "passwd", "olga"], [OTHER, PASSWORD])
    assert status == 1 and "not the same" in shown

    assert bcrypt.checkpw(password_digest(PASSWORD), stored(acme, "olga"))


def test_a_new_password_replaces_the_old(acme):
    add(acme, "olga")
    before = stored(acme, "olga")
    session = now(acme.catalog().people.begin("olga", before))

    ran = acme.run("person", "passwd", "olga", "--password-stdin", input=OTHER)

    assert ran.out == "olga has a new password; all sessions have ended\n"
    assert bcrypt.checkpw(password_digest(OTHER), stored(acme, "olga"))
    assert now(acme.catalog().people.session(session)) is None


def test_a_person_is_disabled_enabled_and_removed(acme):
    add(acme, "olga")

    assert acme.json("person", "disable", "olga")["disabled_at"] is not None
    assert stored(acme, "olga") is None
    assert acme.json("person", "enable", "olga")["disabled_at"] is None
    assert "all sessions have ended" in acme.run("person", "disable", "olga").out
    assert "may sign in, an operator" in acme.run("person", "enable", "olga").out
    assert acme.run("person", "remove", "olga", input="no\n").status == 1
    assert stored(acme, "olga") is not None
    assert acme.run("person", "remove", "olga", input="yes\n").status == 0
    assert acme.json("person", "list") == []


def test_refusals_have_a_code(acme):
    add(acme, "olga")
    refusals = [
        (("token", "create", " "), "", 1, "invalid"),
        (("token", "create", "x", "--organisation", "nobody"), "", 3, "not_found"),
        (("token", "create", "x", "--days", "731"), "", 2, "usage"),
        (("token", "create", "x", "--scope", "root"), "", 2, "usage"),
        (("token", "list", "nobody"), "", 3, "not_found"),
        (("token", "revoke", "nothing"), "", 3, "not_found"),
        (("person", "add", "olga", "--password-stdin"), PASSWORD, 1, "conflict"),
        (("person", "add", "Olga!", "--password-stdin"), PASSWORD, 1, "invalid"),
        (("person", "add", "nina", "--password-stdin"), "short", 1, "invalid"),
        (("person", "add", "nina", "--password-stdin"), "x" * 201, 1, "invalid"),
        (("person", "add", "nina", "--password-stdin"), "x" * 5000, 1, "invalid"),
        (("person", "add", "nina.is.long", "--password-stdin"), "NINA.is.long", 1, "invalid"),
        (("person", "add", "nina", "--password-stdin", "--organisation", "nobody"), PASSWORD, 3, "not_found"),
        (("person", "add", "nina"), PASSWORD, 2, "usage"),
        (("person", "add", "nina", "--password-stdin", "--password-file", "x"), PASSWORD, 2, "usage"),
        (("person", "list", "nobody"), "", 3, "not_found"),
        (("person", "passwd", "nobody", "--password-stdin"), PASSWORD, 3, "not_found"),
        (("person", "disable", "nobody"), "", 3, "not_found"),
        (("person", "enable", "nobody"), "", 3, "not_found"),
        (("person", "remove", "nobody", "--yes"), "", 3, "not_found"),
    ]

    for words, given, status, code in refusals:
        ran = acme.run(*words, "--json", input=given)
        assert (ran.status, ran.json["error"]["code"]) == (status, code), words

    assert [one["name"] for one in acme.json("person", "list")] == ["olga"]
    assert acme.json("token", "list") == []


def test_no_password_is_ever_said(acme):
    add(acme, "olga")
    add(acme, "olga")
    add(acme, "nina", password=CANARY[:5])
    acme.run("person", "passwd", "olga", "--password-stdin", input=OTHER)
    acme.run("person", "list")
    acme.json("person", "list")

    assert not [said for said in acme.said if CANARY in said]
