"""The document on webhooks: its messages are those that are sent, its programs verify them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from standardwebhooks import Webhook

from conch_pipe.model import Happening, Outcome, Problem, PushState, Report, Role, Shape, State, Status
from conch_pipe.processing.notify import ATTEMPTS, WAITS_S
from conch_pipe.remotes.sender import ANSWER, CONNECT_S, SEND_S
from tests.catalog.conftest import COMPLETED, Bench, in_memory  # noqa: F401 - a fixture
from tests.docs.documents import ROOT, block, code, rows

WEBHOOKS = ROOT / "docs" / "webhooks.md"
SECRET = "whsec_" + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
URL = "https://hooks.example.com/pipe"


def told(bench: Bench) -> list[dict]:
    jobs = bench.result(bench.jobs.claim(["notify"], 100, 60))
    return [json.loads(job.payload["body"]) for job in jobs]


def upload(bench: Bench, outcome: Outcome, number: str, name: str) -> list[dict]:
    upload_id = UUID(f"01a3185c-5000-7e3f-869f-{number:0>12}")
    client_id = "pipe_5tq0x8m1c7d2k9w4z3ab"
    bench.accept(bench.upload(id=upload_id, name=name, bytes=184_213, sha256="9f" * 32, client_id=client_id))
    bench.clock.advance(2)
    [job] = bench.result(bench.jobs.claim(["ingest"], 1, 60))
    bench.settle(job, outcome)
    return told(bench)


@pytest.fixture
def messages(in_memory, monkeypatch) -> dict[str, dict]:  # noqa: F811 - the fixture
    """One of each kind, as a catalog writes them; under "pipe" that of the other shape."""
    bench = in_memory
    monkeypatch.setattr("conch_pipe.catalog.queries.credentials.new_client_id", lambda: "pipe_5tq0x8m1c7d2k9w4z3ab")
    bench.environment("archive", name="live")
    add = bench.catalog.webhooks.add
    bench.result(add("acme", URL, tuple(Happening)))
    found = upload(bench, COMPLETED, "1", "shifts-2027-01-14.csv")
    problem = Problem("not an integer", 3, 2, "id", "x17")
    columns = {"state": State.FAILED, "problem": "line 3, id: not an integer", "problem_count": 1}
    found += upload(bench, Outcome(done=True, upload=columns, problems=(problem,)), "2", "shifts-2027-01-15.csv")
    bench.recorded("rec-4711")
    [job] = bench.claim_pushes()
    bench.attempt(job, PushState.DELIVERED, Status.OK)
    found += told(bench)
    _, [push] = bench.recorded("rec-4712")
    [job] = bench.claim_pushes()
    last = replace(push, attempts=12, problems=dict.fromkeys((Role.MAIN, Role.SNAPSHOT), "no_space"))
    bench.attempt(job, PushState.GIVEN_UP, known=last)
    found += told(bench)
    bench.recorded("rec-4713")
    [job] = bench.claim_pushes()
    report = Report(Status.HOST_KEY_MISMATCH, "host_key", refused_key=b"another key")
    bench.attempt(job, PushState.WAITING, report=report, disable="host_key")
    found += told(bench)
    credential, _ = bench.result(bench.catalog.credentials.create("acme", "payroll server"))
    bench.result(bench.catalog.credentials.revoke(credential.client_id))
    found += told(bench)
    by_type = {message["type"]: message for message in found}
    bench.result(add("acme", URL, [Happening.RECORDING_PUSHED], shape=Shape.PIPE))
    bench.result(bench.remotes.enable("archive"))
    bench.recorded("rec-4714")
    for job in bench.claim_pushes():
        bench.attempt(job, PushState.DELIVERED, Status.OK)
    by_type["pipe"] = next(message for message in told(bench) if "version" in message)
    return by_type


def test_the_examples_are_what_is_sent(messages):
    wrong = {}
    for name, message in messages.items():
        heading = f"`{name}`" if name != "pipe" else "In Pipe's own shape"
        text = json.dumps(message, indent=2) + "\n"
        if block(WEBHOOKS, heading, "json") != text:
            wrong[heading] = text

    assert not wrong, "the document should say:\n" + "\n".join(f"### {name}\n{text}" for name, text in wrong.items())
    assert set(messages) - {"pipe"} == {one.value for one in Happening}
    assert [code(cell)[0] for cell, *_ in rows(WEBHOOKS, "event", "when", "of an environment")] == [
        one.value for one in Happening
    ]


def test_the_numbers_are_those_of_the_program():
    words = {
        5: "5 s",
        30: "30 s",
        120: "2 min",
        600: "10 min",
        3_600: "1 h",
        10_800: "3 h",
        28_800: "8 h",
        86_400: "24 h",
    }
    text = " ".join(WEBHOOKS.read_text().split())

    assert ", ".join(words[wait] for wait in WAITS_S) in text
    assert f"{ATTEMPTS} attempts" in text
    assert f"{CONNECT_S:g} s to connect and {SEND_S:g} s in all" in text
    assert f"{ANSWER // 1024} KiB" in text


@pytest.mark.parametrize(("language", "program"), [("python", sys.executable), ("js", "node")])
def test_the_programs_verify_and_refuse(language, program, tmp_path):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    file = tmp_path / ("verify.mjs" if language == "js" else "verify.py")
    file.write_text(block(WEBHOOKS, "Checking the signature", language).replace("whsec_…", SECRET))
    now = datetime.now(UTC)
    body = '{"type":"webhook.test","data":{"name":"caf\\u00e9"}}'
    signature = Webhook(SECRET).sign("msg_1", now, body)
    other = Webhook("whsec_" + "QUJD" * 11).sign("msg_1", now, body)

    def run(sent: str, signatures: str, at: int) -> int:
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signatures}
        given = json.dumps({"headers": headers, "body": sent})
        return subprocess.run([program, file], input=given, text=True, capture_output=True, timeout=60).returncode

    at = int(now.timestamp())
    assert run(body, signature, at) == 0
    assert run(body, f"{other} {signature}", at) == 0
    assert run(body + " ", signature, at) != 0
    assert run(body, other, at) != 0
    old = datetime.fromtimestamp(at - 3_600, UTC)
    assert run(body, Webhook(SECRET).sign("msg_1", old, body), at - 3_600) != 0
