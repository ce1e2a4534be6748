"""Credentials, schemas, organisations and environments on the dashboard."""

from __future__ import annotations

import json
import re

import pytest

from conch_pipe.model import Happening, Shape, utc
from conch_pipe.web.api import application
from tests.web.conftest import MEMBER, OPERATOR, every_path
from tests.web.outflow import Outflow
from tests.web.test_dashboard_deliveries import words
from tests.web.test_dashboard_remotes import said


@pytest.fixture
def other(door) -> str:
    """A credential of another organisation."""
    door.now(door.catalog.organisations.create("other"))
    return door.credential("other")


@pytest.fixture
def out(door) -> Outflow:
    return Outflow(door.catalog, door.now, lambda: utc(door.clock))


# Credentials.


def test_a_secret_is_shown_once_with_the_line_to_paste(door):
    answer = door.fill("/credentials/+add", organisation="acme", label="payroll")
    assert answer.status == 303

    page = door.page(answer.headers["location"], Host="sftp.example:8080").body.decode()

    (made,) = [one for one in door.now(door.catalog.credentials.list("acme")) if one.label == "payroll"]
    assert f"sftp -P 2222 {made.client_id}@sftp.example" in page
    (secret,) = set(re.findall(r'data-copies="([A-Za-z0-9_-]{43})"', page))
    again = door.page(answer.headers["location"])
    assert "was shown once" in said(door, again)
    for path in ("/credentials", "/organisations/acme", f"/credentials/{made.client_id}/rotate"):
        assert secret not in door.page(path).body.decode(), path


def test_a_secret_waits_a_minute_and_for_nobody_else(door):
    late = door.fill("/credentials/+add", organisation="acme").headers["location"]
    door.clock.advance(61)
    assert door.page(late).status == 303

    mine = door.fill("/credentials/+add", organisation="acme").headers["location"]
    neighbour = type(OPERATOR)("oskar", OPERATOR.scopes)
    assert door.page(mine, neighbour).status == 303
    assert door.page(mine).status == 200


def test_a_credential_is_rotated_with_an_overlap(door):
    page = door.fill(f"/credentials/{door.client_id}/rotate", days="14")
    assert "The old secret works until" in words(door.page(page.headers["location"]))

    assert len(door.now(door.catalog.credentials.find(door.client_id)).secrets) == 2
    assert "a number from 0 to 366" in said(door, door.fill(f"/credentials/{door.client_id}/rotate", days="nan"))


def test_revoking_has_a_page_in_between(door):
    assert f"Revoke {door.client_id}?" in words(door.page(f"/credentials/{door.client_id}/revoke"))
    assert door.now(door.catalog.credentials.find(door.client_id)).revoked_at is None

    assert "is revoked" in said(door, door.fill(f"/credentials/{door.client_id}/revoke"))

    assert door.now(door.catalog.credentials.find(door.client_id)).revoked_at
    assert "No new secret was made" in said(door, door.fill(f"/credentials/{door.client_id}/rotate", days="7"))
    assert door.page("/credentials/pipe_nobody/revoke").status == 404


def test_a_credential_needs_an_organisation(door):
    assert door.fill("/credentials/+add").status == 400
    assert "no organisation nobody" in words(door.fill("/credentials/+add", organisation="nobody"))


def test_members_see_their_credentials_and_change_nothing(door, other):
    page = door.page("/credentials?organisation=other", MEMBER).body.decode()

    assert door.client_id in page and other not in page
    assert "rotate" not in page and "+add" not in page
    for path in ("+add", f"{door.client_id}/rotate", f"{door.client_id}/revoke"):
        assert door.page(f"/credentials/{path}", MEMBER).status == 403
        assert door.fill(f"/credentials/{path}", MEMBER, organisation="acme").status == 403
        assert door.fill(f"/credentials/{path}", csrf="", organisation="acme").status == 403
    assert len(door.now(door.catalog.credentials.list())) == 2


# Schemas.


def test_a_schema_tells_its_columns_and_rules_and_who_has_it(door):
    page = words(door.page("/schemas/orgShifts"))

    for shown in (
        "shift_id",
        "at most this many characters: 64",
        "also called id, shiftId",
        "acme",
        "Europe/Bucharest",
    ):
        assert shown in page, shown


def test_a_sample_is_downloaded_as_csv_and_as_json(door):
    csv = door.page("/schemas/orgShifts/sample.csv?rows=3")
    assert csv.headers["content-disposition"] == 'attachment; filename="orgShifts.csv"'
    assert len(csv.body.decode().splitlines()) == 4

    assert len(json.loads(door.page("/schemas/orgShifts/sample.json?rows=3").body)) == 3
    assert door.page("/schemas/orgShifts/sample.xml").status == 404
    assert door.page("/schemas/orgShifts/sample.csv?rows=100000").status == 400
    assert door.page("/schemas/nothing/sample.csv").status == 404


def test_members_see_the_schemas_that_are_on_for_them(door, other):
    page = words(door.page("/schemas", MEMBER))

    assert "orgShifts" in page and "orgTransactions" not in page
    assert door.page("/schemas/orgTransactions", MEMBER).status == 404
    assert door.page("/schemas/orgTransactions/sample.csv", MEMBER).status == 404
    assert "orgTransactions" not in words(door.page("/schemas/nothing", MEMBER))
    door.now(door.catalog.organisations.enable_schema("other", "orgShifts"))
    assert "other" not in re.sub(r"also called.*?\n", "", words(door.page("/schemas/orgShifts", MEMBER)))


# Organisations and environments.


def test_an_organisation_is_made_with_its_schemas(door):
    answer = door.fill(
        "/organisations/+add", name="north", title="North <Ltd>", schema=["orgShifts", "orgTransactions"]
    )

    assert "Organisation north is made" in said(door, answer)
    made = door.now(door.catalog.organisations.get("north"))
    assert (made.title, made.schemas) == ("North <Ltd>", ("orgShifts", "orgTransactions"))
    assert "North &lt;Ltd&gt;" in door.page("/organisations").body.decode()


def test_what_is_wrong_with_an_organisation_is_told_beside_its_name(door):
    page = door.fill("/organisations/+add", name="No Name", title="kept", schema="orgShifts")

    assert page.status == 400
    assert 'id="w-name"' in page.body.decode() and 'value="kept"' in page.body.decode()
    assert re.search(r'value="orgShifts" checked', page.body.decode())
    assert "exists" in words(door.fill("/organisations/+add", name="acme"))


def test_schemas_are_turned_on_and_off(door):
    assert "orgShifts is off" in said(door, door.fill("/organisations/acme/schemas/orgShifts"))
    assert door.now(door.catalog.organisations.get("acme")).schemas == ()
    assert "orgShifts is on" in said(door, door.fill("/organisations/acme/schemas/orgShifts", on="yes"))
    assert door.now(door.catalog.organisations.get("acme")).schemas == ("orgShifts",)
    assert door.fill("/organisations/acme/schemas/nothing", on="yes").status == 404


def test_an_environment_is_made_changed_and_removed(door, out):
    out.remote("archive")
    out.remote("studio")
    said(door, door.fill("/organisations/acme/environments/+add", name="production", remote=["archive", "studio"]))
    assert "archive , studio" in words(door.page("/organisations/acme"))

    before = door.page("/organisations/acme/environments/production")
    assert before.status == 200 and before.body.count(b" checked") == 2
    fields = {"remote": "studio", "delete_delivered": "yes"}
    assert "is changed" in said(door, door.fill("/organisations/acme/environments/production", **fields))
    found = door.now(door.catalog.environments.get("acme", "production"))
    assert (found.remotes, found.delete_delivered) == (("studio",), True)
    form = door.page("/organisations/acme/environments/production").body.decode()
    assert re.search(r'value="studio" checked', form) and not re.search(r'value="archive" checked', form)

    assert "Remove environment production?" in words(door.page("/organisations/acme/environments/production/remove"))
    assert "is removed" in said(door, door.fill("/organisations/acme/environments/production/remove"))
    assert door.page("/organisations/acme/environments/production").status == 404


def test_an_environment_takes_no_remote_of_another_organisation(door, out, other):
    out.remote("elsewhere", "other")

    page = door.fill("/organisations/acme/environments/+add", name="production", remote="elsewhere")

    assert page.status == 400
    assert door.now(door.catalog.environments.list()) == ()


def test_an_environment_with_recordings_under_way_is_not_removed(door, out):
    out.remote("archive")
    out.environment("production", "archive")
    out.recording("rec-1")

    assert "It is not removed" in said(door, door.fill("/organisations/acme/environments/production/remove"))


def test_members_see_their_own_organisation_alone_and_change_nothing(door, out, other):
    out.remote("archive")
    out.environment("production", "archive")

    page = door.page("/organisations/acme", MEMBER).body.decode()
    assert "Turn o" not in page and "+add" not in page and "Edit" not in page
    assert "production" in page and "orgTransactions" not in page
    assert "other" not in words(door.page("/organisations", MEMBER)).replace("another", "")
    assert door.page("/organisations/other", MEMBER).status == 404
    environment = "/organisations/acme/environments"
    for path in (
        "/organisations/+add",
        "/organisations/acme/schemas/orgShifts",
        f"{environment}/+add",
        f"{environment}/production",
        f"{environment}/production/remove",
    ):
        assert door.fill(path, MEMBER, name="x").status == 403, path
        assert door.fill(path, csrf="wrong", name="x").status == 403, path
    assert door.now(door.catalog.organisations.get("acme")).schemas == ("orgShifts",)


def test_pages_of_an_empty_service_say_what_to_do_next(door):
    door.now(door.catalog.credentials.revoke(door.client_id))

    assert "Add a remote" in words(door.page("/remotes"))
    assert "conch-pipe webhook add" in words(door.page("/webhooks"))
    assert "an environment names the remotes" in words(door.page("/organisations/acme"))


def test_every_page_can_be_looked_at(door, out):
    """With something in it, and by an operator: none of them fails."""
    out.remote("archive")
    out.environment("production", "archive")
    recording = out.recording("rec-1")
    webhook, _ = door.now(
        door.catalog.webhooks.add(
            "acme", "https://hooks.example.com", [Happening.UPLOAD_FAILED], environment="", shape=Shape.STANDARD
        )
    )
    things = {
        "/recordings/<uuid:uid>": recording.uid,
        "/remotes/<name>": "archive",
        "/organisations/<name>/environments/<environment>": "production",
        "/organisations/<name>": "acme",
        "/credentials/<client_id>": door.client_id,
        "/schemas/<name>": "orgShifts",
        "/webhooks/<webhook_id>": webhook.id,
    }
    looked = []
    for route, _ in every_path(application(door.parts, door.tokens, door.signing)):
        begin = next((one for one in things if route.path.startswith(one)), None)
        if route.method == "GET" and begin is not None and "<" not in route.path.removeprefix(begin):
            path = f"{begin.rpartition('<')[0]}{things[begin]}{route.path.removeprefix(begin)}"
            looked.append(path := path.replace("<name>", "acme"))
            assert door.page(path).status == 200, path
    assert len(looked) > 10
