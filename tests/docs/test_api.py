"""The examples of docs/api.md, word for word: only the address, the login and the file are filled in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from conch_pipe.web.problems import STATUSES
from tests.docs.documents import API, block, code, rows
from tests.live import material
from tests.live.clients.base import Target, run
from tests.live.service import Service


def filled_in(text: str, service: Service, target: Target, file, upload_id: str = "") -> str:
    port = json.loads(service.command("status", "--json"))["http_port"]
    places = {
        "https://api.example.com": f"http://127.0.0.1:{port}",
        "your_client_id": target.username,
        "your_client_secret": target.password,
        "./transactions.csv": str(file),
        "UPLOAD_ID": upload_id,
    }
    assert "https://api.example.com" in text
    for place, value in places.items():
        text = text.replace(place, value)
    return text


@pytest.fixture
def file(target):
    path = target.scratch / "transactions.csv"
    path.write_bytes(material.TRANSACTIONS.read_bytes())
    return path


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@pytest.mark.live
def test_the_curl_lines_send_a_file_twice_and_ask_what_became_of_it(service, target, file):
    needs("bash", "curl", "jq")
    sending = "\n".join(block(API, "curl", "sh", number) for number in (0, 1))

    sent = run(target, ["bash", str(target.file("send.sh", filled_in(sending, service, target, file)))])

    assert sent.status == 0, sent
    first, second = (json.loads(line) for line in sent.said.splitlines() if line.startswith("{"))
    assert [(one["status"], one["rows"]) for one in (first, second)] == [("COMPLETED", 4)] * 2
    asking = block(API, "curl", "sh", 0).partition("\n\n")[0] + "\n" + block(API, "curl", "sh", 2)
    script = filled_in(asking, service, target, file, first["uploadId"])
    asked = run(target, ["bash", str(target.file("ask.sh", script))])
    told = [json.loads(line) for line in re.findall(r"^\{.*\}$", asked.said, re.MULTILINE)]
    assert told[0]["uploadId"] == first["uploadId"]
    assert told[1]["uploads"] == []


@pytest.mark.live
@pytest.mark.parametrize(
    ("heading", "language", "program"), [("Python", "python", sys.executable), ("Node.js", "js", "node")]
)
def test_the_examples_in_other_languages_bring_every_row(heading, language, program, service, target, file):
    needs(program)
    if program == "node":
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
        if int(version.strip("v\n").split(".")[0]) < 20:
            pytest.skip(f"node {version.strip()} has no openAsBlob")
    script = target.file(f"example.{language}", filled_in(block(API, heading, language), service, target, file))

    outcome = run(target, [program, str(script)], extra={"CLIENT_SECRET": target.password})

    assert outcome.status == 0, outcome
    assert re.search(r"^[0-9a-f-]{36} COMPLETED 4$", outcome.said, re.MULTILINE), outcome


def test_every_code_an_answer_can_have_is_explained_with_its_status():
    told = {}
    for statuses, codes, _ in rows(API, "status", "code", "what to do"):
        for number, one in enumerate(code(codes)):
            alone = statuses.split(", ")
            told[one] = int(alone[number] if len(alone) > 1 else alone[0])

    rare = {"not_allowed", "expectation_failed"}  # a client has to be odd to see them
    assert told == {name: status for name, status in STATUSES.items() if name not in rare}
