"""Tokens of programs, people and their sessions: what lets in, what ends it, and that no text is kept."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import timedelta

import bcrypt
import pytest

from conch_pipe.catalog.queries import people
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Position, Scope, password_digest, utc
from tests.conftest import CANARY

PASSWORD = f"a long word, {CANARY}"
DAY_S = 86_400


@pytest.fixture
def acme(in_memory):
    return _with_acme(in_memory)


def _with_acme(bench):
    bench.catalog.people.cost = 4  # of bcrypt
    bench.result(bench.catalog.organisations.create("acme"))
    bench.tokens, bench.people = bench.catalog.tokens, bench.catalog.people
    return bench


def everything(bench) -> str:
    """All that the database has."""

    def dump(connection):
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
        return repr([connection.exec_driver_sql(f"SELECT * FROM {name}").all() for name in names])  # noqa: S608

    return bench.result(bench.database.read(dump))


def refused(bench, asked) -> Code:
    with pytest.raises(PipeError) as caught:
        bench.result(asked)
    return caught.value.code


def begin(bench, name: str = "ann") -> str:
    return bench.result(bench.people.begin(name, bench.result(bench.people.password(name))))


# Tokens.


def test_a_token_says_who_shows_it_on_every_database(bench):
    _with_acme(bench)
    made, text = bench.result(bench.tokens.create("report", {Scope.REMOTES, Scope.READ}, "acme"))

    actor = bench.result(bench.tokens.actor(text))

    assert actor == Actor("report", frozenset({Scope.READ, Scope.REMOTES}), "acme")
    assert bench.result(bench.tokens.list())[0].last_used_at == utc(bench.clock)
    assert bench.result(bench.tokens.revoke(made.token_id)).revoked_at == utc(bench.clock)
    assert bench.result(bench.tokens.actor(text)) is None


def test_the_text_of_a_token_begins_with_its_id_and_cannot_be_guessed(acme):
    made = [acme.result(acme.tokens.create("report", [Scope.READ])) for _ in range(20)]

    for token, text in made:
        assert re.fullmatch(rf"pst_{token.token_id}_[A-Za-z0-9_-]{{43}}", text)
        assert re.fullmatch(r"[a-z0-9]{12}", token.token_id)
    assert len({text[17:] for _, text in made}) == 20


def test_of_texts_only_the_sha256_is_kept(acme):
    _, token = acme.result(acme.tokens.create("report", [Scope.READ]))
    acme.result(acme.people.create("ann", PASSWORD))
    session = begin(acme)

    kept = everything(acme)

    for text in (token, session):
        assert hashlib.sha256(text.encode()).hexdigest() in kept
        assert text not in kept and text[17:] not in kept
    assert CANARY not in kept and password_digest(PASSWORD).decode() not in kept


def test_only_the_whole_text_is_the_token(acme):
    _, text = acme.result(acme.tokens.create("report", [Scope.READ]))
    _, other = acme.result(acme.tokens.create("report", [Scope.READ]))

    wrong = [
        "",
        text[:-1],
        text + "A",
        text[:17] + other[17:],
        text.upper(),
        f" {text}",
        text + "\n",
        "p\u00e4st" * 999,
    ]

    assert [acme.result(acme.tokens.actor(one)) for one in wrong] == [None] * len(wrong)
    assert acme.result(acme.tokens.actor(text)) is not None


def test_a_token_ends_after_its_days(acme):
    usual, text = acme.result(acme.tokens.create("report", [Scope.READ]))
    _, short = acme.result(acme.tokens.create("visit", [Scope.READ], days=1))
    assert usual.expires_at - usual.created_at == timedelta(days=90)

    acme.clock.advance(DAY_S - 1)
    assert acme.result(acme.tokens.actor(short)) is not None
    acme.clock.advance(1)

    assert acme.result(acme.tokens.actor(short)) is None
    assert acme.result(acme.tokens.actor(text)) is not None


def test_a_token_has_a_name_a_scope_and_at_most_two_years(acme):
    create = acme.tokens.create
    invalid = [
        create("", [Scope.READ]),
        create(" report", [Scope.READ]),
        create("re\nport", [Scope.READ]),
        create("x" * 101, [Scope.READ]),
        create("report", []),
        create("report", [Scope.READ], days=0),
        create("report", [Scope.READ], days=731),
    ]

    assert [refused(acme, one) for one in invalid] == [Code.INVALID] * len(invalid)
    assert refused(acme, create("report", [Scope.READ], "nobody")) is Code.NOT_FOUND
    made, _ = acme.result(create("report", [Scope.READ], days=730))
    assert acme.result(acme.tokens.list()) == (made,)


def test_a_revoked_token_keeps_its_first_time_and_stays_listed(acme):
    made, _ = acme.result(acme.tokens.create("report", [Scope.READ]))
    first = acme.result(acme.tokens.revoke(made.token_id))
    acme.clock.advance(60)

    assert acme.result(acme.tokens.revoke(made.token_id)) == first
    assert acme.result(acme.tokens.list()) == (first,)
    assert refused(acme, acme.tokens.revoke("nothing")) is Code.NOT_FOUND


def test_tokens_are_listed_by_organisation_oldest_first(acme):
    all_of_it, _ = acme.result(acme.tokens.create("all", [Scope.READ]))
    acme.clock.advance(1)
    bound, _ = acme.result(acme.tokens.create("bound", [Scope.READ], "acme"))

    assert acme.result(acme.tokens.list()) == (all_of_it, bound)
    assert acme.result(acme.tokens.list("acme")) == (bound,)
    assert refused(acme, acme.tokens.list("nobody")) is Code.NOT_FOUND


def test_that_a_token_is_used_is_written_once_an_hour(acme):
    """A program that asks every second must not write every second."""
    _, text = acme.result(acme.tokens.create("report", [Scope.READ]))
    acme.result(acme.tokens.actor(text))
    first = utc(acme.clock)
    acme.clock.advance(3599)
    acme.result(acme.tokens.actor(text))
    assert acme.result(acme.tokens.list())[0].last_used_at == first

    acme.clock.advance(1)
    acme.result(acme.tokens.actor(text))

    assert acme.result(acme.tokens.list())[0].last_used_at == utc(acme.clock)


# People.


def test_a_person_signs_in_on_every_database(bench):
    _with_acme(bench)
    member = bench.result(bench.people.create("mia", PASSWORD, "acme"))
    assert (member.position, member.organisation, member.last_sign_in_at) == (Position.MEMBER, "acme", None)

    text = begin(bench, "mia")

    assert bench.result(bench.people.session(text)) == Actor("mia", frozenset({Scope.READ}), "acme")
    assert bench.result(bench.people.get("mia")).last_sign_in_at == utc(bench.clock)
    bench.result(bench.people.end(text))
    bench.result(bench.people.end(text))
    assert bench.result(bench.people.session(text)) is None


def test_an_operator_has_every_scope_and_sees_everything(acme):
    acme.result(acme.people.create("ann", PASSWORD))

    actor = acme.result(acme.people.session(begin(acme)))

    assert actor == Actor("ann", frozenset(Scope), None)


@pytest.mark.parametrize("name", ["", "-a", "A", "a b", "a" * 101, "ann\n", "\u00e4nn", "a/b", "a'b"])
def test_a_bad_name_of_a_person_is_refused(name):
    with pytest.raises(PipeError):
        people.check_name(name)


def test_a_password_has_12_to_200_characters_and_is_not_the_name():
    for password in ("", "x" * 11, "x" * 201, "Ann.Long.Name", " ann.long.name "):
        with pytest.raises(PipeError) as caught:
            people.hash_password("ann.long.name", password, 4)
        assert caught.value.code is Code.INVALID
        assert not password or password not in str(caught.value)

    for password in ("x" * 12, "x" * 200, "aaaaaaaaaaaa", "\u00e4" * 200, "correct horse"):
        hashed = people.hash_password("ann", password, 4)
        assert bcrypt.checkpw(password_digest(password), hashed)


def test_every_character_of_a_long_password_counts():
    """bcrypt alone reads 72 bytes, and stops at a NUL."""
    hashed = people.hash_password("ann", "\u20ac" * 199 + "a", 4)
    other = people.hash_password("ann", "a long word\0one", 4)

    assert not bcrypt.checkpw(password_digest("\u20ac" * 199 + "b"), hashed)
    assert not bcrypt.checkpw(password_digest("a long word\0two"), other)


def test_a_password_is_the_same_however_the_keyboard_composes_it():
    typed = "\u00e9t\u00e9 \u00e0 la mer"

    assert password_digest(unicodedata.normalize("NFD", typed)) == password_digest(typed)
    assert len(password_digest(typed)) <= 72


def test_people_are_listed_and_unknown_ones_are_not_found(acme):
    acme.result(acme.people.create("zoe", PASSWORD))
    acme.result(acme.people.create("mia", PASSWORD, "acme"))

    assert [one.name for one in acme.result(acme.people.list())] == ["mia", "zoe"]
    assert [one.name for one in acme.result(acme.people.list("acme"))] == ["mia"]
    assert acme.result(acme.people.get("nobody")) is None
    not_found = [
        acme.people.list("nobody"),
        acme.people.create("ann", PASSWORD, "nobody"),
        acme.people.set_password("nobody", PASSWORD),
        acme.people.disable("nobody"),
        acme.people.enable("nobody"),
        acme.people.remove("nobody"),
    ]
    assert [refused(acme, one) for one in not_found] == [Code.NOT_FOUND] * len(not_found)
    assert refused(acme, acme.people.create("zoe", PASSWORD)) is Code.CONFLICT


def test_who_is_disabled_has_no_password_and_no_session_until_enabled(acme):
    acme.result(acme.people.create("ann", PASSWORD))
    hashed = acme.result(acme.people.password("ann"))
    text = begin(acme)
    first = acme.result(acme.people.disable("ann"))
    acme.clock.advance(60)

    assert acme.result(acme.people.disable("ann")) == first
    assert acme.result(acme.people.password("ann")) is None
    assert acme.result(acme.people.session(text)) is None
    assert refused(acme, acme.people.begin("ann", hashed)) is Code.UNAUTHORIZED
    assert acme.result(acme.people.enable("ann")).disabled_at is None
    assert acme.result(acme.people.session(text)) is None  # it has ended for good
    assert acme.result(acme.people.session(begin(acme))) is not None


def test_a_new_password_ends_the_sessions_of_that_person_only(acme):
    for name in ("ann", "bob"):
        acme.result(acme.people.create(name, PASSWORD))
    old, other = begin(acme), begin(acme, "bob")
    hashed = acme.result(acme.people.password("ann"))

    acme.result(acme.people.set_password("ann", "quite another one"))

    assert acme.result(acme.people.session(old)) is None
    assert acme.result(acme.people.session(other)) is not None
    assert refused(acme, acme.people.begin("ann", hashed)) is Code.UNAUTHORIZED


def test_a_removed_person_is_gone_with_the_sessions_and_the_name_is_free(acme):
    acme.result(acme.people.create("ann", PASSWORD))
    text = begin(acme)

    acme.result(acme.people.remove("ann"))
    acme.result(acme.people.create("ann", PASSWORD, "acme"))

    assert acme.result(acme.people.session(text)) is None


def test_a_session_lives_12_hours_from_its_last_request_and_7_days_at_most(acme):
    acme.result(acme.people.create("ann", PASSWORD))
    used, idle = begin(acme), begin(acme)

    acme.clock.advance(12 * 3600 - 1)
    assert acme.result(acme.people.session(used)) is not None
    acme.clock.advance(1)
    assert acme.result(acme.people.session(idle)) is None
    for _ in range(13):
        acme.clock.advance(12 * 3600 - 60)
        assert acme.result(acme.people.session(used)) is not None
    acme.clock.advance(7 * DAY_S - (12 * 3600 + 13 * (12 * 3600 - 60)) - 1)
    assert acme.result(acme.people.session(used)) is not None
    acme.clock.advance(1)

    assert acme.result(acme.people.session(used)) is None


def test_sessions_that_are_over_are_swept_and_others_stay(acme):
    acme.result(acme.people.create("ann", PASSWORD))
    begin(acme)
    acme.clock.advance(6 * 3600)
    alive = begin(acme)
    assert acme.result(acme.people.sweep()) == 0

    acme.clock.advance(6 * 3600)

    assert acme.result(acme.people.sweep()) == 1
    assert acme.result(acme.people.session(alive)) is not None


def test_one_person_has_20_sessions_at_most_and_a_new_one_ends_the_oldest(acme):
    acme.result(acme.people.create("ann", PASSWORD))
    texts = []
    for _ in range(people.SESSIONS + 2):
        texts.append(begin(acme))
        acme.clock.advance(1)

    alive = [acme.result(acme.people.session(text)) is not None for text in texts]

    assert alive == [False, False] + [True] * people.SESSIONS


def test_no_text_is_a_session_that_was_not_given_out(acme):
    acme.result(acme.people.create("ann", PASSWORD))
    text = begin(acme)
    kept = hashlib.sha256(text.encode()).hexdigest()

    for wrong in ("", kept, text[:-1], text + "A", "\udcff", "\u00e4" * 9999):
        assert acme.result(acme.people.session(wrong)) is None
        acme.result(acme.people.end(wrong))

    assert acme.result(acme.people.session(text)) is not None
