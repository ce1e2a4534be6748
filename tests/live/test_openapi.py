"""The description of the API against the service: Schemathesis makes good and bad requests of every operation.

``PIPE_DOSE=50`` makes many more of them, and others each time.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.live import material
from tests.live.service import BIN, Service, running

pytestmark = pytest.mark.live

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
EXAMPLES = 10 * DOSE
MANY = ("--phases", "examples,coverage,fuzzing")
FEW = MANY if DOSE > 1 else ("--phases", "examples,coverage")  # of operations there are 46
STEADY = ("--generation-deterministic",) if DOSE == 1 else ()
# What is described says less than what is so: that a schema must be enabled, and what a file must have in it.
CHECKS = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")
CONFIGURATION = """\
headers = {{ Authorization = "Bearer ${{TOKEN}}" }}
[parameters]
{parameters}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """One that is not slowed down by wrong secrets."""
    with running(tmp_path_factory.mktemp("described"), {"limits.failures_per_minute": 1_000_000}) as service:
        yield service


def asked(service: Service, folder: Path, token: str, *options: str, **parameters: str) -> None:
    """Let it make requests. :raises AssertionError: something is answered that is not described."""
    url = json.loads(service.command("status", "--json"))["http_url"]
    lines = "\n".join(f"{json.dumps(name.replace('_', '.'))} = {json.dumps(is_)}" for name, is_ in parameters.items())
    (folder / "schemathesis.toml").write_text(CONFIGURATION.format(parameters=lines))
    service.hides(password=token)
    done = subprocess.run(
        [str(BIN / "st"), "--config-file", "schemathesis.toml", "run", f"{url}/api/openapi.json", *CHECKS, *STEADY,
         "--max-examples", str(EXAMPLES), "--continue-on-failure",
         "--warnings", "off", "--no-color", *options],
        env=os.environ | {"TOKEN": token}, cwd=folder, capture_output=True, text=True, timeout=110 * DOSE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


@pytest.fixture
def token(service, monkeypatch) -> str:
    """A client's; the command uses it as well."""
    with monkeypatch.context() as knowing:
        knowing.setenv("PIPE_CLIENT_SECRET", service.login.client_secret)
        told = service.command("api", "token", "--client-id", service.login.client_id, gives_secret=True)
    monkeypatch.setenv("PIPE_API_TOKEN", told.strip())
    return told.strip()


def test_the_upload_api_does_as_it_is_described(service, token, tmp_path):
    words = ("api", "upload", str(material.SHIFTS), "--schema", "orgShifts", "--wait", "90", "--json")
    sent = json.loads(service.command(*words))

    asked(
        *(service, tmp_path, token, *MANY, "--include-path-regex", "^/api/external/upload"),
        path_id=sent["uploadId"],
        query_schemaType="orgShifts",
    )


def test_logins_do_as_they_are_described(service, token, tmp_path):
    """Each wrong one takes its second: several at a time."""
    asked(service, tmp_path, token, *MANY, "--include-path", "/api/external/auth/token", "--workers", "8")


def test_operations_do_as_they_are_described(service, tmp_path):
    """The last here: what there is in the service is created, changed and deleted, credentials of others too."""
    made = service.command("token", "create", "everything", "--scope", "all", "--json", gives_secret=True)

    asked(service, tmp_path, json.loads(made)["token"], *FEW, "--exclude-path-regex", "^/api/external/")
