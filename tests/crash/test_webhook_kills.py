"""kill -9 between what happened and the webhook's answer to it: nothing is lost, and what comes twice has one id."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook

from conch_pipe.crashpoints import NOTIFY_LABELS
from tests.crash.installation import Installation, shifts, wait_for
from tests.receiver import Receiver

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_nothing_is_lost_and_what_comes_twice_has_one_id(tmp_path, template, receiver):
    """Killed when the upload is settled, then at each label of the chain; each life but the last one is cut."""
    installation = Installation(tmp_path / "service", template, {"webhooks.networks_allowed": '["127.0.0.0/8"]'})
    try:
        words = (
            "webhook",
            "add",
            installation.login.organisation,
            receiver.url,
            "--event",
            "upload.completed",
            "--json",
        )
        made = json.loads(installation.command(*words, gives_secret=True))
        installation.secrets.add(made["secret"])
        installation.launch("P9:1").listening()
        installation.put_all({"a.csv": shifts("a")})
        installation.dies()
        [record] = installation.records()
        assert record.state == "COMPLETED" and receiver.received == []

        for label in NOTIFY_LABELS:
            installation.launch(f"{label}:1").dies()
        installation.launch().listening()
        wait_for(
            lambda: not json.loads(installation.command("webhook", "show", made["id"], "--json"))["waiting"], "the end"
        )
        installation.stop()

        documents = [Webhook(made["secret"]).verify(body, headers) for headers, body in receiver.received]
        assert [document["data"]["upload_id"] for document in documents] == [str(record.id)] * 2
        assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
        [logged] = json.loads(installation.command("webhook", "log", "--json"))
        assert (logged["number"], logged["reason"]) == (1, "")
    finally:
        installation.kill()
