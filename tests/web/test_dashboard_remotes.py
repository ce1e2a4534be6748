"""Remotes on the dashboard: their form, their host keys, their test, and who may touch them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from conch_pipe.model import Status, utc
from conch_pipe.ssh.keys import fingerprint
from tests.conftest import CANARY
from tests.remotes.pushing import ADDRESS, World, pin
from tests.ssh.memory import PASSWORD
from tests.web.conftest import CSRF, MEMBER, OPERATOR, Answer
from tests.web.outflow import OTHER, Outflow
from tests.web.test_dashboard_deliveries import words

FORM = {"organisation": "acme", "name": "archive", "host": "sftp.example", "port": "22", "username": "pipe"}


@pytest.fixture
def out(door) -> Outflow:
    return Outflow(door.catalog, door.now, lambda: utc(door.clock))


@pytest.fixture
def world(tmp_path, door) -> World:
    folder = tmp_path / "world"
    folder.mkdir()
    made = World(folder)
    door.around = made.around
    return made


def remote(door, name: str = "archive") -> Any:
    return door.now(door.catalog.remotes.get(name))


def said(door, answer: Answer, actor=OPERATOR) -> str:
    """What the page says to which an answer leads."""
    assert answer.status == 303, answer
    path = answer.headers["location"].partition("#")[0]
    return words(door.page(path, actor, Cookie=answer.headers["set-cookie"].partition(";")[0]))


def asked(door, world: World, path: str, **fields: str) -> Answer:
    """A form whose answer needs the network."""
    door.signing.actor = OPERATOR
    body = "&".join(f"{name}={value}" for name, value in {"csrf": CSRF, **fields}.items()).replace("+", "%2B").encode()
    connection = door.connect().ask("POST", path, body, Content_Type="application/x-www-form-urlencoded")
    world.net.pass_s(60)
    return connection.answer


def test_a_remote_is_added_and_its_password_is_never_shown_again(door, out):
    answer = door.fill("/remotes/+add", **FORM, password=CANARY, marker="{NAME}.done", temporary_names="yes")

    assert "Remote archive is added." in said(door, answer)
    made = remote(door)
    assert (made.host, made.marker, made.temporary_names, made.has_password) == (
        "sftp.example",
        "{NAME}.done",
        True,
        True,
    )
    assert door.now(door.catalog.remotes.secrets("archive")).password == CANARY
    for path in ("/remotes", "/remotes/archive", "/remotes/archive/edit"):
        assert CANARY not in door.page(path).body.decode(), path


def test_all_mistakes_are_told_at_once_beside_their_fields_and_no_secret_is_repeated(door):
    wrong = FORM | {"host": "sftp://x", "port": "0", "marker": "a/b", "max_connections": "1000", "password": CANARY}

    page = door.fill("/remotes/+add", **wrong, private_key=f"-----{CANARY}", folder="<b>in</b>")

    body = page.body.decode()
    assert page.status == 400
    for field in ("host", "port", "marker", "max_connections", "private_key"):
        assert f'id="w-{field}"' in body, field
        assert re.search(rf'id="f-{field}"[^>]*aria-invalid="true"', body), field
    assert CANARY not in body
    assert 'value="sftp://x"' in body and "&lt;b&gt;in&lt;/b&gt;" in body
    assert "5 mistakes" in words(page)
    assert door.now(door.catalog.remotes.list()) == ()


def test_a_remote_without_anything_to_log_in_is_refused(door):
    page = door.fill("/remotes/+add", **FORM)

    assert page.status == 400
    assert "a password, a private key or both are needed to log in" in words(page)


def test_what_is_not_filled_in_stays_as_it_is(door, out):
    out.remote("archive", password=CANARY, marker="{NAME}.done")

    answer = door.fill(
        "/remotes/archive/edit", host="new.example", port="2222", username="pipe", algorithms="default-2026"
    )

    assert "The trusted host keys are those of archive.example: test it." in said(door, answer)
    changed = remote(door)
    assert (changed.host, changed.port, changed.marker) == ("new.example", 2222, "")
    assert len(changed.pins) == 1
    assert door.now(door.catalog.remotes.secrets("archive")).password == CANARY


def test_a_password_is_taken_away_only_when_that_is_ticked(door, out):
    out.remote("archive", password=CANARY)
    fields = {"host": "a.example", "port": "22", "username": "pipe"}

    both = door.fill("/remotes/archive/edit", **fields, no_password="yes", password="new")
    assert both.status == 400
    assert "exclude each other" in words(both)

    door.fill("/remotes/archive/edit", **fields, no_password="yes")
    assert not remote(door).has_password
    assert "It has no password and no key, so nothing is pushed" in words(door.page("/remotes/archive"))


def test_a_key_is_generated_and_its_public_half_is_there_to_be_copied(door, out):
    out.remote("archive")

    assert "A new key is made" in said(door, door.fill("/remotes/archive/key", kind="ed25519"))
    line = remote(door).public_key
    page = door.page("/remotes/archive").body.decode()
    assert line in page and "PRIVATE" not in page

    assert "tick that the old one may go" in said(door, door.fill("/remotes/archive/key", kind="ed25519"))
    assert remote(door).public_key == line
    assert door.fill("/remotes/archive/key", kind="dsa").status == 400


def test_a_remote_is_disabled_enabled_and_removed(door, out):
    out.remote("archive")

    assert "is disabled" in said(door, door.fill("/remotes/archive/disable"))
    assert not remote(door).enabled
    assert "is enabled" in said(door, door.fill("/remotes/archive/enable"))
    assert remote(door).enabled
    assert "Remove remote archive?" in words(door.page("/remotes/archive/remove"))
    assert "is removed" in said(door, door.fill("/remotes/archive/remove"))
    assert remote(door) is None


def test_both_host_keys_stand_side_by_side_and_the_one_looked_at_is_trusted(door, out):
    out.remote("archive")
    out.environment("production", "archive")
    out.attempt(out.recording("rec-1"), "archive", Status.HOST_KEY_MISMATCH, "host_key", refused=OTHER)
    (old,) = remote(door).pins
    page = door.page("/remotes/archive").body.decode()
    assert fingerprint(old.blob) in page and fingerprint(OTHER) in page
    assert "It is not the trusted key." in page

    unread = door.fill("/remotes/archive/trust", fingerprint=fingerprint(OTHER))
    assert "Nothing is trusted: first compare the key" in said(door, unread)
    assert remote(door).pins == (old,)

    answer = door.fill("/remotes/archive/trust", fingerprint=fingerprint(OTHER), compared="yes")
    assert "is trusted" in said(door, answer)
    assert [one.blob for one in remote(door).pins] == [OTHER]
    assert remote(door).enabled


def test_a_remote_is_tested_step_by_step(door, out, world):
    out.remote("archive", password=PASSWORD.decode(), host=ADDRESS, username="ann", folder="in", pins=(pin(),))

    answer = asked(door, world, "/remotes/archive/test")

    page = said(door, answer)
    assert "The test of archive went well." in page
    for step in ("address", "connection", "host key", "login", "folder", "probe file"):
        assert f"{step} well" in page, step
    assert PASSWORD.decode() not in page


def test_at_the_first_contact_the_key_is_shown_and_trusted_when_it_was_compared(door, out, world):
    out.remote("archive", password=PASSWORD.decode(), host=ADDRESS, username="ann", folder="in", pins=())

    page = said(door, asked(door, world, "/remotes/archive/test"))
    assert "Nothing was sent to log in" in page and "It is not trusted yet." in page
    assert not world.liar.logins

    shown = fingerprint(pin().blob)
    answer = asked(door, world, "/remotes/archive/trust", fingerprint=shown, compared="yes")
    assert "is trusted" in said(door, answer)
    assert [one.blob for one in remote(door).pins] == [pin().blob]


def test_another_key_than_the_one_looked_at_is_not_trusted(door, out, world):
    out.remote("archive", password=PASSWORD.decode(), host=ADDRESS, username="ann", folder="in", pins=())

    answer = asked(door, world, "/remotes/archive/trust", fingerprint=fingerprint(OTHER), compared="yes")

    page = said(door, answer)
    assert "Nothing is trusted: it shows another key by now than the one you looked at." in page
    assert fingerprint(pin().blob) in page
    assert remote(door).pins == ()
    assert not world.liar.logins


def test_a_server_that_is_not_there_is_told_and_nothing_is_trusted(door, out, world):
    out.remote("archive", host="192.0.2.99", pins=())

    assert "did not go well" in said(door, asked(door, world, "/remotes/archive/test"))
    answer = asked(door, world, "/remotes/archive/trust", fingerprint=fingerprint(OTHER), compared="yes")
    assert "Nothing is trusted: no host key could be seen" in said(door, answer)


def test_a_member_sees_its_remotes_and_has_no_buttons(door, out):
    door.now(door.catalog.organisations.create("other"))
    out.remote("archive")
    out.remote("elsewhere", "other")

    assert "elsewhere" not in words(door.page("/remotes?organisation=other", MEMBER))
    assert door.page("/remotes/elsewhere", MEMBER).status == 404
    page = door.page("/remotes/archive", MEMBER).body.decode()
    assert page.count("<form") == door.page("/overview", MEMBER).body.decode().count("<form")
    assert "/edit" not in page and "/remove" not in page and "+add" not in door.page("/remotes", MEMBER).body.decode()


@pytest.mark.parametrize("what", ["edit", "test", "trust", "enable", "disable", "key", "remove"])
def test_a_member_changes_nothing_and_neither_does_a_form_from_elsewhere(door, out, what):
    before = out.remote("archive")

    assert door.fill(f"/remotes/archive/{what}", MEMBER, kind="ed25519").status == 403
    assert door.fill(f"/remotes/archive/{what}", csrf="x", kind="ed25519").status == 403
    assert remote(door) == before


def test_a_member_may_not_add_a_remote_nor_see_the_form(door):
    assert door.fill("/remotes/+add", MEMBER, **FORM, password="x").status == 403
    assert door.page("/remotes/+add", MEMBER).status == 403
    assert door.page("/remotes/nobody").status == 404


def test_hostile_names_of_a_remote_are_text(door, out):
    out.remote("archive", username="<script>alert(1)</script>", folder='"><img src=x>', marker="\u202egpj.<b>")

    for path in ("/remotes", "/remotes/archive", "/remotes/archive/edit"):
        body = door.page(path).body.decode()
        assert "<script>alert" not in body and "<img src=x" not in body and "<b>" not in body, path
