"""The examples of docs/operations-api.md, word for word, and its table of all requests."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from typing import Any

import pytest

from conch_pipe.web.operations import operations_api
from tests.docs.documents import ROOT, block, code, rows
from tests.live import material
from tests.live.clients.base import Target, run
from tests.live.clients.openssh import Sftp
from tests.live.operators import Program

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


def said(target: Target, heading: str, number: int, places: Mapping[str, str]) -> list[Any]:
    """What the lines of a block answer: the objects of JSON among it."""
    text = block(OPERATIONS, heading, "sh", number)
    for place, value in places.items():
        text = text.replace(place, value)
    done = run(target, ["bash", "-c", text])
    return [json.loads(one) for one in re.findall(r"^\{.*\}$", done.said, re.MULTILINE)]


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
        return said(target, heading, number, places)

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


@pytest.mark.live
def test_the_curl_lines_for_tenants_uploads_and_recordings_do_what_is_said(service, target):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    program = Program(service)
    media = service.folder / "state" / "recordings"
    for folder, name in ((media, "4711"), (target.scratch, "4712")):
        for ending in ("mp4", "jpg"):
            (folder / f"{name}.{ending}").write_bytes(os.urandom(1000))
    places = {
        "https://api.example.com": f"http://127.0.0.1:{program.port}",
        "YOUR_TOKEN": program.token,
        "acme": "umbrella",
        "MEDIA": str(media),
    }
    (target.scratch / "secret").write_text("kanarek-remote")
    service.command("org", "create", "umbrella")
    login = ["--host", "127.0.0.1", "--username", "pipe", "--password-file", str(target.scratch / "secret")]
    service.command("remote", "add", "umbrella", "umbrella-eu", *login)
    service.command("environment", "create", "umbrella", "production", "--remote", "umbrella-eu")
    bad = target.scratch / "bad.csv"
    bad.write_bytes(material.TRANSACTIONS.read_bytes().replace(b"119.00", b"a lot"))
    Sftp().put(target, bad, "/orgTransactions/bad-of-the-docs.csv")
    upload = service.verdicts("bad-of-the-docs.csv")["bad-of-the-docs.csv"]
    places["UPLOAD_ID"] = upload["id"]

    def told(heading: str, number: int) -> list[Any]:
        found = said(target, heading, number, places)
        assert "error" not in str([list(one) for one in found]), found
        return found

    said(target, "A token", 1, places)
    tenants = told("Organisations, credentials, schemas", 0)
    assert [one["name"] for one in (tenants[0], tenants[2])] == ["globex", "globex"]
    assert tenants[2]["schemas"] == ["orgShifts", "orgTransactions"]
    places["CLIENT_ID"] = tenants[1]["clientId"]
    rotated, revoked = told("Organisations, credentials, schemas", 1)
    assert len(rotated["secrets"]) == 2 and rotated["clientSecret"] != tenants[1]["clientSecret"]
    assert revoked["revokedAt"]
    listed, shown, again = told("Uploads", 0)
    assert upload["id"] in [one["uploadId"] for one in listed["uploads"]]
    assert "a lot" in shown["problems"][0]["text"]
    assert again["status"] == "PENDING"
    assert (target.scratch / "bad-of-the-docs.csv").read_bytes() == bad.read_bytes()
    (by_path,) = told("Recordings", 0)
    (with_files,) = told("Recordings", 1)
    assert [one["files"][0]["name"] for one in (by_path, with_files)] == ["standup.mp4", "rec-4712.mp4"]
    places["RECORDING_UID"] = with_files["uid"]
    _, one, retried = told("Recordings", 2)
    assert (one["uid"], len(one["pushes"][0]["instants"])) == (with_files["uid"], 13)
    assert retried["pushes"][0]["remote"] == "umbrella-eu"
    (log,) = told("The push log", 0)
    assert log["pushes"] == []
