"""Webhooks on the dashboard."""

from __future__ import annotations

import re
from typing import Any

import pytest

from conch_pipe.model import Answer as Told
from conch_pipe.model import Happening, utc
from tests.web.conftest import MEMBER
from tests.web.outflow import Outflow
from tests.web.test_dashboard_deliveries import words
from tests.web.test_dashboard_remotes import said

URL = "https://hooks.example.com/pipe"


class Receiver:
    """An ISender whose receiver answers as the test wants."""

    def __init__(self) -> None:
        self.answer = Told(200)
        self.sent: list[str] = []

    async def send(self, url: str, *message: Any, **more: Any) -> Told:
        self.sent.append(url)
        return self.answer


@pytest.fixture
def receiver(door) -> Receiver:
    door.sender = Receiver()
    return door.sender


def added(door, **fields: Any) -> str:
    """The id of a new webhook."""
    answer = door.fill("/webhooks/+add", **{"organisation": "acme", "url": URL, **fields})
    page = door.page(answer.headers["location"]).body.decode()
    return re.search(r'href="/webhooks/(wh_\w+)"', page)[1]


def test_a_webhook_is_added_and_its_secret_is_shown_once(door):
    answer = door.fill("/webhooks/+add", organisation="acme", url=URL, event=["upload.failed", "upload.completed"])
    page = door.page(answer.headers["location"])
    (secret,) = set(re.findall(r'data-copies="(whsec_[^"]+)"', page.body.decode()))

    (made,) = door.now(door.catalog.webhooks.list())
    assert made.events == (Happening.UPLOAD_COMPLETED, Happening.UPLOAD_FAILED)
    assert "was shown once" in said(door, door.page(answer.headers["location"]))
    for path in ("/webhooks", f"/webhooks/{made.id}"):
        assert secret not in door.page(path).body.decode(), path


def test_all_mistakes_of_a_webhook_are_told_beside_their_fields(door):
    page = door.fill("/webhooks/+add", organisation="acme", url="ftp://x y", shape="pipe", event="upload.failed")

    body = page.body.decode()
    assert page.status == 400
    assert 'id="w-url"' in body and 'id="w-shape"' in body
    assert re.search(r'value="upload.failed" checked', body)
    assert 'id="w-organisation"' in door.fill("/webhooks/+add", url=URL).body.decode()
    assert 'id="w-event"' in door.fill("/webhooks/+add", organisation="acme", url=URL, event="x").body.decode()
    missing = door.fill("/webhooks/+add", organisation="acme", url=URL, environment="nowhere")
    assert 'id="w-environment"' in missing.body.decode()
    assert door.now(door.catalog.webhooks.list()) == ()


def test_a_test_message_is_sent_and_logged(door, receiver):
    webhook = added(door)
    assert "The test message was taken." in said(door, door.fill(f"/webhooks/{webhook}/test"))
    receiver.answer = Told(500, "status", "500 Oh", "<b>no</b>", 0.2)

    assert "was not taken: status: 500 Oh" in said(door, door.fill(f"/webhooks/{webhook}/test"))

    page = door.page(f"/webhooks/{webhook}").body.decode()
    assert page.count("webhook.test") == 2 and "&lt;b&gt;no&lt;/b&gt;" in page
    assert door.page(f"/webhooks/{webhook}?failed=yes").body.decode().count("webhook.test") == 1
    assert receiver.sent == [URL, URL]


def test_a_webhook_is_disabled_enabled_and_removed(door):
    webhook = added(door)

    assert "is disabled" in said(door, door.fill(f"/webhooks/{webhook}/disable"))
    assert "is enabled" in said(door, door.fill(f"/webhooks/{webhook}/enable"))
    assert "Remove this webhook?" in words(door.page(f"/webhooks/{webhook}/remove"))
    assert "is removed" in said(door, door.fill(f"/webhooks/{webhook}/remove"))
    assert door.page(f"/webhooks/{webhook}").status == 404


def test_members_see_their_webhooks_and_change_nothing(door, receiver):
    door.now(door.catalog.organisations.create("other"))
    mine, theirs = added(door), added(door, organisation="other", url=f"{URL}/other")

    assert f"{URL}/other" not in words(door.page("/webhooks?organisation=other", MEMBER))
    page = door.page(f"/webhooks/{mine}", MEMBER).body.decode()
    assert "/test" not in page and "/remove" not in page
    assert door.page(f"/webhooks/{theirs}", MEMBER).status == 404
    for what in ("+add", f"{mine}/test", f"{mine}/enable", f"{mine}/disable", f"{mine}/remove"):
        assert door.fill(f"/webhooks/{what}", MEMBER, organisation="acme", url=URL).status == 403, what
        assert door.fill(f"/webhooks/{what}", csrf="x", organisation="acme", url=URL).status == 403, what
    assert len(door.now(door.catalog.webhooks.list())) == 2 and not receiver.sent


def test_an_environment_of_the_organisation_narrows_a_webhook(door):
    Outflow(door.catalog, door.now, lambda: utc(door.clock)).environment("production")

    webhook = added(door, environment="production")

    assert "remote.disabled" in words(door.page(f"/webhooks/{webhook}"))
    assert "upload.failed" not in words(door.page(f"/webhooks/{webhook}"))
