"""``conch-pipe webhook``: made, shown, tested against a receiver, logged, disabled, removed; the secret shown once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook

from conch_pipe.cli.session import now
from conch_pipe.cli.webhooks import EVENTS, SHAPES
from conch_pipe.model import Answer, Happening, Job, Notice, NoticeResult, Outcome, Shape, utc
from tests.receiver import Receiver

URL = "https://hooks.example.com/pipe"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def acme(installed):
    installed.json("org", "create", "acme")
    with installed.config.open("a") as settings:
        settings.write('[webhooks]\nnetworks_allowed = ["127.0.0.0/8"]\n')
    return installed


def test_the_words_are_those_of_the_model():
    assert tuple(one.value for one in Happening) == EVENTS
    assert tuple(one.value for one in Shape) == SHAPES


def test_a_webhook_is_made_and_its_secret_shown_once(acme):
    made = acme.json("webhook", "add", "acme", URL, "--event", "upload.failed", "--event", "upload.completed")

    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert (made["events"], made["shape"], made["enabled"]) == (["upload.completed", "upload.failed"], "standard", True)
    assert acme.json("webhook", "list") == acme.json("webhook", "list", "acme") == [made]
    shown = acme.json("webhook", "show", made["id"])
    assert made.items() <= shown.items() and (shown["waiting"], shown["log"]) == (0, [])
    for words in (["list"], ["show", made["id"]], ["log"], ["list", "--json"]):
        assert secret not in acme.run("webhook", *words).out
    assert "nothing was sent yet" in acme.run("webhook", "log").out


def test_all_mistakes_are_told_at_once(acme):
    refused = acme.json(
        *("webhook", "add", "acme", "ftp://user@example.com/", "--environment", "live", "--event", "upload.failed"),
        status=1,
    )

    assert len(refused["error"]["mistakes"]) == 3
    assert acme.json("webhook", "add", "nobody", URL, status=3)["error"]["code"] == "not_found"
    assert acme.json("webhook", "add", "acme", URL, "--environment", "live", status=3)["error"]["code"] == "not_found"
    assert acme.run("webhook", "add", "acme", URL, "--event", "nothing").status == 2


def test_a_test_is_sent_now_and_logged(acme, receiver):
    made = acme.json("webhook", "add", "acme", receiver.url)

    tested = acme.json("webhook", "test", made["id"])

    assert (tested["ok"], tested["status"], tested["reason"]) == (True, 200, "")
    [(headers, body)] = receiver.received
    document = Webhook(made["secret"]).verify(body, headers)
    assert (document["type"], document["data"]["webhook"]) == ("webhook.test", made["id"])
    [logged] = acme.json("webhook", "log", made["id"])
    assert (logged["event"], logged["number"], logged["message"]) == ("webhook.test", 0, tested["message"])
    receiver.status = 500
    failed = acme.run("webhook", "test", made["id"])
    assert failed.status == 1 and "NOT taken: status" in failed.out and "\x1b" not in failed.out
    assert len(acme.json("webhook", "log", "--failed")) == 1
    assert "test" in acme.run("webhook", "log", "--organisation", "acme").out


def test_a_private_address_is_refused_unless_the_settings_have_it(installed, receiver):
    installed.json("org", "create", "acme")
    made = installed.json("webhook", "add", "acme", receiver.url)

    tested = installed.json("webhook", "test", made["id"], status=1)

    assert tested["reason"] == "address" and "webhooks.networks_allowed" in tested["detail"]
    assert receiver.received == []


def test_after_a_rotation_both_secrets_sign(acme, receiver):
    made = acme.json("webhook", "add", "acme", receiver.url)

    rotated = acme.json("webhook", "rotate-secret", made["id"])

    assert acme.json("webhook", "test", made["id"])["ok"]
    [(headers, body)] = receiver.received
    assert made["secret"] != rotated["secret"]
    for secret in (made["secret"], rotated["secret"]):
        assert Webhook(secret).verify(body, headers)
    acme.run("webhook", "rotate-secret", made["id"], "--overlap-hours", "0")
    acme.json("webhook", "test", made["id"])
    assert headers["webhook-signature"].count("v1,") == 2
    assert receiver.received[-1][0]["webhook-signature"].count("v1,") == 1


def test_the_key_that_seals_may_be_rotated(acme, receiver):
    made = acme.json("webhook", "add", "acme", receiver.url)

    assert acme.json("secrets", "rotate")["sealed"] == 1

    assert acme.json("webhook", "test", made["id"])["ok"]
    [(headers, body)] = receiver.received
    assert Webhook(made["secret"]).verify(body, headers)


def test_disabled_enabled_removed(acme):
    made = acme.json("webhook", "add", "acme", URL)
    credential = acme.json("credential", "create", "acme")
    acme.json("credential", "revoke", credential["client_id"])
    assert acme.json("webhook", "disable", made["id"])["disabled_reason"] == "operator"
    assert "DISABLED: operator" in acme.run("webhook", "list").out
    enabled = acme.json("webhook", "enable", made["id"])
    assert (enabled["enabled"], enabled["waiting"]) == (True, 1)

    assert acme.json("webhook", "remove", made["id"]) == {"id": made["id"], "removed": True, "dropped": 1}

    assert acme.json("webhook", "list") == []
    for words in (["show"], ["test"], ["enable"], ["disable"], ["remove"], ["rotate-secret"], ["log"]):
        assert acme.json("webhook", *words, made["id"], status=3)["error"]["code"] == "not_found"


def test_the_log_tells_of_attempts_and_when_the_next_one_is(acme):
    made = acme.json("webhook", "add", "acme", URL)
    credential = acme.json("credential", "create", "acme")
    acme.json("credential", "revoke", credential["client_id"])
    catalog = acme.catalog()
    catalog.jobs._clock.advance(10_000_000)
    [job] = now(catalog.jobs.claim(["notify"], 1, 60))
    assert isinstance(job, Job)
    at = utc(catalog.jobs._clock)
    notice = Notice(made["id"], job.subject, "credential.revoked", 1, at, Answer(None, "dns", "no name"), at)
    now(catalog.jobs.settle(job, Outcome(retry_at=at, notice=NoticeResult(notice))))

    [logged] = acme.json("webhook", "log", "--message", job.subject)

    assert (logged["reason"], logged["status"], logged["number"]) == ("dns", None, 1)
    assert logged["next_at"] is not None
    assert "dns" in acme.run("webhook", "show", made["id"]).out
