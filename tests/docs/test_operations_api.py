"""The examples of docs/operations-api.md, word for word, and its table of all requests."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from typing import Any

import pytest

from conch_pipe.web.operations import operations_api
from tests.docs.documents import ROOT, block, code, rows
from tests.live.clients.base import run

OPERATIONS = ROOT / "docs" / "operations-api.md"


class Anything:
    """Parts of a service that is not there: the table of routes only hands them on."""

    def __getattr__(self, name: str) -> Any:
        return Anything()


def test_every_request_is_in_the_table_with_its_scope():
    routes = operations_api(Anything(), Anything())  # type: ignore[arg-type]

    table = rows(OPERATIONS, "request", "scope", "what it does")

    there = {(f"{one.method} {_PLACE.sub('{PLACE}', one.path)}", one.scope.value) for one in routes if one.scope}
    assert {(_PLACE.sub("{PLACE}", code(request)[0]), code(scope)[0]) for request, scope, _ in table} == there
    assert len(table) == len(routes)


_PLACE = re.compile(r"<[^>]*>|\{[^}]*\}")


@pytest.mark.live
def test_the_curl_lines_do_what_is_said(service, target):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    service.command("org", "create", "acme")
    create = shlex.split(block(OPERATIONS, "A token", "sh", 0))[1:]
    places = {
        "https://api.example.com": f"http://127.0.0.1:{json.loads(service.command('status', '--json'))['http_port']}",
        "YOUR_TOKEN": json.loads(service.command(*create, "--json", gives_secret=True))["token"],
        "sftp.acme.example": "127.0.0.1",  # nobody is asked: it is a loopback address
        "hooks.example.com": "127.0.0.1",
        "FINGERPRINT": "A" * 43,
    }

    def told(heading: str, number: int) -> list[Any]:
        text = block(OPERATIONS, heading, "sh", number)
        for place, value in places.items():
            text = text.replace(place, value)
        done = run(target, ["bash", "-c", text])
        return [json.loads(one) for one in re.findall(r"^\{.*\}$", done.said, re.MULTILINE)]

    assert told("A token", 1) == []
    assert [one["name"] for one in told("Remotes", 0)] == ["acme-eu"]
    (tried,) = told("Remotes", 1)
    assert (tried["ok"], tried["steps"][0]["reason"]) == (False, "address")
    assert [one["error"]["code"] for one in told("Remotes", 2)] == ["conflict"]
    edited, made, listed = told("Remotes", 3)
    assert (edited["folder"], edited["marker"]) == ("in/recordings", "{NAME}.done")
    assert made["publicKey"].startswith("ssh-ed25519 ")
    assert [one["publicKey"] for one in listed["remotes"]] == [made["publicKey"]]
    assert [(one["remotes"], one["deleteDelivered"]) for one in told("Environments", 0)] == [
        (["acme-eu"], False),
        (["acme-eu"], True),
    ]
    (webhook,) = told("Webhooks", 0)
    places["WEBHOOK_ID"] = webhook["id"]
    tried, log, rotated, removed = told("Webhooks", 1)
    assert (tried["ok"], tried["reason"]) == (False, "address")
    assert [one["message"] for one in log["attempts"]] == [tried["message"]]
    assert rotated["secret"] != webhook["secret"]
    assert removed == {"id": webhook["id"], "dropped": 0}
