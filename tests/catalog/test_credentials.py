"""Organisations and credentials, as doors and operators see them."""

from __future__ import annotations

import re
from datetime import timedelta

import bcrypt
import pytest

from conch_pipe.catalog.queries import credentials
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import utc


@pytest.fixture
def acme(in_memory):
    """An organisation with one schema."""
    in_memory.result(in_memory.catalog.organisations.create("acme", "Acme Ltd"))
    in_memory.result(in_memory.catalog.organisations.enable_schema("acme", "orgShifts"))
    return in_memory


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch):
    """The cost is tested once; elsewhere 50 ms a hash would buy nothing."""
    monkeypatch.setattr(credentials, "BCRYPT_COST", 4)


def matching(credential, secret):
    return [bcrypt.checkpw(secret.encode(), one.hash) for one in credential.secrets]


def test_a_new_credential_is_found_with_its_secret_and_schemas(acme):
    created, secret = acme.result(acme.catalog.credentials.create("acme", "payroll"))

    found = acme.result(acme.catalog.credentials.find(created.client_id))

    assert re.fullmatch(r"pipe_[a-z0-9]{20}", found.client_id)
    assert found == created
    assert (found.organisation, found.label, found.schemas) == ("acme", "payroll", ("orgShifts",))
    assert matching(found, secret) == [True]


def test_a_secret_has_256_bits_and_is_hashed_at_cost_10(monkeypatch):
    monkeypatch.undo()

    secret = credentials.new_secret()

    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", secret)
    assert credentials.hash_secret(secret).startswith(b"$2b$10$")


def test_an_unknown_credential_is_none(acme):
    assert acme.result(acme.catalog.credentials.find("pipe_x")) is None


def test_a_rotated_secret_works_beside_the_new_one_until_it_expires(acme):
    created, old = acme.result(acme.catalog.credentials.create("acme"))

    _, new = acme.result(acme.catalog.credentials.rotate(created.client_id))

    found = acme.result(acme.catalog.credentials.find(created.client_id))
    assert matching(found, new) == [True, False]
    assert matching(found, old) == [False, True]
    acme.clock.advance(7 * 86_400)
    found = acme.result(acme.catalog.credentials.find(created.client_id))
    assert matching(found, new) == [True]


def test_at_most_two_secrets_are_alive(acme):
    created, oldest = acme.result(acme.catalog.credentials.create("acme"))
    _, middle = acme.result(acme.catalog.credentials.rotate(created.client_id))

    rotated, newest = acme.result(acme.catalog.credentials.rotate(created.client_id))

    assert matching(rotated, newest) == [True, False]
    assert matching(rotated, middle) == [False, True]
    assert matching(rotated, oldest) == [False, False]


def test_a_rotation_without_overlap_ends_the_old_secret_at_once(acme):
    created, _ = acme.result(acme.catalog.credentials.create("acme"))

    rotated, new = acme.result(acme.catalog.credentials.rotate(created.client_id, overlap_s=0))

    assert matching(rotated, new) == [True]


def test_a_revoked_credential_is_not_active_and_stays_revoked(acme):
    kept, _ = acme.result(acme.catalog.credentials.create("acme"))
    ended, _ = acme.result(acme.catalog.credentials.create("acme"))
    at = utc(acme.clock)

    acme.result(acme.catalog.credentials.revoke(ended.client_id))
    acme.clock.advance(60)
    again = acme.result(acme.catalog.credentials.revoke(ended.client_id))

    assert again.revoked_at == at
    asked = [kept.client_id, ended.client_id, "pipe_unknown"]
    assert acme.result(acme.catalog.credentials.active(asked)) == {kept.client_id: kept}
    assert acme.result(acme.catalog.credentials.find(ended.client_id)).revoked_at == at
    with pytest.raises(PipeError, match="is revoked"):
        acme.result(acme.catalog.credentials.rotate(ended.client_id))


def test_a_login_is_remembered_at_most_once_a_minute(acme):
    created, _ = acme.result(acme.catalog.credentials.create("acme"))
    first = utc(acme.clock)

    def last():
        return acme.result(acme.catalog.credentials.find(created.client_id)).last_login_at

    acme.result(acme.catalog.credentials.logged_in(created.client_id, first))
    acme.result(acme.catalog.credentials.logged_in(created.client_id, first + timedelta(seconds=59)))
    assert last() == first
    acme.result(acme.catalog.credentials.logged_in(created.client_id, first + timedelta(seconds=60)))
    assert last() == first + timedelta(seconds=60)


def test_credentials_are_listed_by_organisation(acme):
    acme.result(acme.catalog.organisations.create("other"))
    mine, _ = acme.result(acme.catalog.credentials.create("acme"))
    acme.clock.advance(1)
    theirs, _ = acme.result(acme.catalog.credentials.create("other"))

    assert acme.result(acme.catalog.credentials.list()) == (mine, theirs)
    assert acme.result(acme.catalog.credentials.list("other")) == (theirs,)


def test_a_schema_can_be_taken_away_again(acme):
    acme.result(acme.catalog.organisations.enable_schema("acme", "orgShifts"))

    acme.result(acme.catalog.organisations.disable_schema("acme", "orgShifts"))
    acme.result(acme.catalog.organisations.disable_schema("acme", "orgShifts"))

    assert [one.schemas for one in acme.result(acme.catalog.organisations.list())] == [()]


@pytest.mark.parametrize("name", ["", "-a", "A", "a b", "a" * 64, "acme\n", "../x"])
def test_a_bad_name_of_an_organisation_is_refused(in_memory, name):
    with pytest.raises(PipeError) as caught:
        in_memory.result(in_memory.catalog.organisations.create(name))
    assert caught.value.code is Code.INVALID


def test_what_does_not_exist_is_said_to_be_unknown_and_what_does_to_exist(acme):
    calls = [
        acme.catalog.credentials.create("nobody"),
        acme.catalog.credentials.rotate("pipe_x"),
        acme.catalog.credentials.revoke("pipe_x"),
        acme.catalog.credentials.list("nobody"),
        acme.catalog.organisations.enable_schema("nobody", "x"),
        acme.catalog.organisations.disable_schema("nobody", "x"),
        acme.catalog.organisations.create("acme"),
    ]

    codes = []
    for call in calls:
        with pytest.raises(PipeError) as caught:
            acme.result(call)
        codes.append(caught.value.code)

    assert codes == [Code.NOT_FOUND] * 6 + [Code.CONFLICT]


def test_a_lent_secret_works_until_it_is_given_back_and_leaves_one_credential(acme):
    """An hourly visit must not leave a row each time, and its uploads must go on naming a credential there is."""
    mine, my_secret = acme.result(acme.catalog.credentials.lend("acme", "visit"))
    theirs, their_secret = acme.result(acme.catalog.credentials.lend("acme", "visit"))
    assert mine.client_id == theirs.client_id
    assert matching(theirs, their_secret) == [True, False]

    acme.result(acme.catalog.credentials.give_back(theirs.client_id, theirs.secrets[0]))

    [left] = acme.result(acme.catalog.credentials.list("acme"))
    assert matching(left, my_secret) == [True]
    acme.result(acme.catalog.credentials.give_back(mine.client_id, mine.secrets[0]))
    [left] = acme.result(acme.catalog.credentials.list("acme"))
    assert (left.client_id, left.secrets, left.revoked_at) == (mine.client_id, (), None)


def test_a_lent_secret_that_is_never_given_back_ends_and_is_cleared_away(acme):
    acme.result(acme.catalog.credentials.lend("acme", "visit"))
    acme.clock.advance(credentials.LENT_S)
    [left] = acme.result(acme.catalog.credentials.list("acme"))
    assert left.secrets == ()

    acme.result(acme.catalog.credentials.lend("acme", "visit"))

    count = acme.database.read(lambda connection: connection.exec_driver_sql("SELECT count(*) FROM secrets").scalar())
    assert acme.result(count) == 1


def test_a_revoked_credential_is_not_lent_and_neither_is_another_organisations(acme):
    acme.result(acme.catalog.organisations.create("rival"))
    first, _ = acme.result(acme.catalog.credentials.lend("acme", "visit"))
    acme.result(acme.catalog.credentials.revoke(first.client_id))

    lent = [acme.result(acme.catalog.credentials.lend(name, "visit"))[0] for name in ("acme", "rival")]

    assert len({first.client_id, *(one.client_id for one in lent)}) == 3
    assert [one.organisation for one in lent] == ["acme", "rival"]
    with pytest.raises(PipeError, match="no organisation"):
        acme.result(acme.catalog.credentials.lend("nobody", "visit"))
