"""Organisations and credentials: made, shown, changed; secrets seen once."""

from __future__ import annotations

import bcrypt
import pytest

from conch_pipe.cli.session import now


def test_an_organisation_is_made_with_its_schemas_and_listed(installed):
    made = installed.json("org", "create", "acme", "--title", "Acme Ltd", "--schema", "orgShifts")

    assert (made["name"], made["title"], made["schemas"]) == ("acme", "Acme Ltd", ["orgShifts"])
    assert installed.json("org", "list") == [made]
    assert "Acme Ltd" in installed.run("org", "list").out
    assert installed.json("org", "show", "acme")["uploads"]["PENDING"] == 0
    assert "orgShifts" in installed.run("org", "show", "acme").out


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("org", "create", "Acme!"), 1, "invalid"),
        (("org", "create", "acme", "--schema", "orgShits"), 3, "not_found"),
        (("org", "show", "nobody"), 3, "not_found"),
        (("credential", "create", "nobody"), 3, "not_found"),
        (("credential", "list", "nobody"), 3, "not_found"),
        (("credential", "rotate", "pipe_nobody"), 3, "not_found"),
        (("credential", "revoke", "pipe_nobody"), 3, "not_found"),
        (("org", "create"), 2, "usage"),
        (("org", "destroy"), 2, "usage"),
    ],
)
def test_refusals_have_a_code_and_one_line(installed, words, status, code):
    assert installed.json(*words, status=status)["error"]["code"] == code
    ran = installed.run(*words)
    assert ran.status == status
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert len([line for line in ran.err.splitlines() if line.startswith(("conch-pipe:", "Error:"))]) == 1


def test_an_organisation_is_not_made_twice(installed):
    installed.json("org", "create", "acme")

    assert installed.json("org", "create", "acme", status=1)["error"]["code"] == "conflict"


def test_nothing_is_made_when_one_schema_is_unknown(installed):
    installed.json("org", "create", "acme", "--schema", "orgShifts", "--schema", "nothing", status=3)

    assert installed.json("org", "list") == []


def test_a_credential_works_and_its_secret_is_seen_once(installed):
    installed.json("org", "create", "acme")
    made = installed.json("credential", "create", "acme", "--label", "payroll")
    secret = made["client_secret"]
    (given,) = installed.said[-1:]
    assert given.count(secret) == 1
    installed.said.pop()

    listed = installed.json("credential", "list", "acme")
    installed.run("credential", "list")
    installed.run("org", "show", "acme")

    known = now(installed.catalog().credentials.find(made["client_id"]))
    assert bcrypt.checkpw(secret.encode(), known.secrets[0].hash)
    assert [one["client_id"] for one in listed] == [made["client_id"]]
    assert not [said for said in installed.said if secret in said]
    files = [path for path in installed.state.rglob("*") if path.is_file()]
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_people_see_the_secret_once_too(installed):
    installed.json("org", "create", "acme")

    out = installed.run("credential", "create", "acme").out

    assert "shown this once" in out
    (secret,) = [line.split()[1] for line in out.splitlines() if line.startswith("client_secret")]
    assert out.count(secret) == 1


def test_two_secrets_are_alive_during_a_change(installed):
    installed.json("org", "create", "acme")
    first = installed.json("credential", "create", "acme")

    second = installed.json("credential", "rotate", first["client_id"], "--overlap-days", "2")

    assert second["client_secret"] != first["client_secret"]
    assert len(second["secrets"]) == 2
    assert second["secrets"][1]["expires_at"] is not None
    assert "old secret works until" in installed.run("credential", "rotate", first["client_id"]).out


def test_a_revoked_credential_stays_listed_and_revoked(installed):
    installed.json("org", "create", "acme")
    client_id = installed.json("credential", "create", "acme")["client_id"]

    revoked = installed.json("credential", "revoke", client_id)

    assert revoked["revoked_at"] is not None
    assert installed.json("credential", "list")[0]["revoked_at"] == revoked["revoked_at"]
    assert installed.json("credential", "rotate", client_id, status=1)["error"]["code"] == "conflict"


def test_credentials_of_visits_do_not_fill_the_list(installed):
    """Nobody can log in with the credential that ``check --live`` keeps, but while it is there."""
    installed.json("org", "create", "acme")
    revoked = installed.json("credential", "create", "acme", "--label", "payroll")["client_id"]
    installed.json("credential", "revoke", revoked)
    catalog = installed.catalog()
    lent, _ = now(catalog.credentials.lend("acme", "passing: check --live"))
    now(catalog.credentials.give_back(lent.client_id, lent.secrets[0]))

    assert [one["label"] for one in installed.json("credential", "list")] == ["payroll"]
    assert [one["label"] for one in installed.json("org", "show", "acme")["credentials"]] == ["payroll"]
    assert len(installed.json("credential", "list", "--all")) == 2
