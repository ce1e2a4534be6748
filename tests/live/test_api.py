"""The Upload API of a real service, asked by curl: the customers' own lines, forms, bodies, a large file, the drain."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest

from conch_pipe.cli.api_client import Api as Client
from conch_pipe.cli.api_client import Place, Refused
from conch_pipe.errors import PipeError
from tests.live import material
from tests.live.clients.openssh import Sftp
from tests.live.conftest import had
from tests.live.material import large_csv
from tests.live.service import Service
from tests.web import certificates

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

# As the guide for senders has it, with its places.
GUIDE = """\
# First, get an access token
TOKEN=$(curl -s -X POST https://api.piing.ai/api/external/auth/token \\
-H "Content-Type: application/json" \\
-d '{"client_id":"your_client_id","client_secret":"your_client_secret"}' \\
| jq -r '.access_token')
# Then check the status of a specific upload
curl https://api.piing.ai/api/external/upload/UPLOAD_ID/status \\
-H "Authorization: Bearer $TOKEN"
"""
LARGE = 100_000_000
MOST_MEMORY = 16 << 20


class Api:
    """curl with a token.

    :param folder: for what curl needs.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.folder = folder
        self.url = json.loads(service.command("status", "--json"))["http_url"]
        self.token = self.ask("/auth/token", "--json", "@-", typed=self.login(), token=False)[1]["access_token"]

    def login(self) -> str:
        return json.dumps(
            {"client_id": self.service.login.client_id, "client_secret": self.service.login.client_secret}
        )

    def ask(self, path: str, *options: str, typed: str = "", token: bool = True) -> tuple[int, dict]:
        """Status and document of one request. Secrets come by standard input and a file, not by the command line."""
        header = self.folder / "headers"
        header.write_text(f"Authorization: Bearer {self.token}\n" if token else "")
        done = subprocess.run(
            ["curl", "-sS", "-w", "\n%{http_code}", "-H", f"@{header}", *options, f"{self.url}/api/external{path}"],
            input=typed, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body or "null")


@pytest.fixture
def api(service, tmp_path) -> Api:
    return Api(service, tmp_path)


@pytest.fixture
def own(fresh_service, tmp_path) -> Iterator[Api]:
    yield Api(fresh_service(), tmp_path)


def test_the_guides_own_lines_work_with_the_host_changed(service, api, tmp_path):
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    _, sent = api.ask("/upload?wait=60", "-F", "schemaType=orgTransactions", "-F", f"file=@{material.TRANSACTIONS}")
    places = {
        "https://api.piing.ai": api.url,
        "your_client_id": service.login.client_id,
        "your_client_secret": service.login.client_secret,
        "UPLOAD_ID": sent["uploadId"],
    }
    script = GUIDE
    for place, value in places.items():
        assert place in script
        script = script.replace(place, value)

    done = subprocess.run(["bash", "-s"], input=script, capture_output=True, text=True, timeout=60, check=True)

    told = json.loads(done.stdout)
    assert (told["uploadId"], told["status"], told["rows"]) == (sent["uploadId"], "COMPLETED", 4)


def test_a_form_and_a_body_bring_their_rows(service, api):
    form = ("-F", "schemaType=orgTransactions", "-F", "idempotencyKey=once", "-F", f"file=@{material.TRANSACTIONS}")
    status, first = api.ask("/upload?wait=60", *form)
    again, repeated = api.ask("/upload?wait=60", *form)
    raw, shifts = api.ask(
        "/upload?schemaType=orgShifts&wait=60",
        *("-H", "Content-Type: application/json", "--data-binary", f"@{material.SHIFTS}"),
    )

    assert (status, again, raw) == (200, 200, 200)
    assert (first["status"], first["rows"], shifts["rows"]) == ("COMPLETED", 4, len(material.SHIFT_ROWS))
    assert repeated["uploadId"] == first["uploadId"]
    assert len(service.rows("orgTransactions", [first["uploadId"]])[first["uploadId"]]) == 4


def test_fifty_at_once_with_one_key_make_one_upload(service, api):
    """Each goes on until it has an answer, as a client in need does; there are fewer connections than clients."""
    data = material.TRANSACTIONS.read_bytes()

    def insist(_: int) -> str:
        client = Client(Place(api.url))
        client.use(api.token)
        try:
            while True:
                with suppress(PipeError, Refused):  # in flight, or no room for another connection
                    told = client.upload(BytesIO(data), "fifty.csv", len(data), "orgTransactions", "fifty", 0)
                    return told["uploadId"]
        finally:
            client.close()

    with ThreadPoolExecutor(50) as many:
        ids = set(many.map(insist, range(50)))

    _, told = api.ask("/uploads?fileName=fifty.csv")
    assert {one["uploadId"] for one in told["uploads"]} == ids
    assert len(ids) == 1


def test_problems_of_a_bad_file_are_told(api, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_bytes(material.TRANSACTIONS.read_bytes().replace(b"119.00", b"a lot"))
    _, sent = api.ask("/upload?wait=60", "-F", "schemaType=orgTransactions", "-F", f"file=@{bad}")

    status, told = api.ask(f"/upload/{sent['uploadId']}/status")

    assert (status, told["status"]) == (200, "FAILED")
    assert [(one["line"], one["column"], one["value"]) for one in told["problems"]] == [(2, "gross_amount", "a lot")]


def test_files_put_over_sftp_are_in_the_list(service, api, tmp_path):
    client = had(Sftp())
    target = service.target(tmp_path / "sftp")
    file = tmp_path / "over-sftp.csv"
    file.write_bytes(material.TRANSACTIONS.read_bytes())
    outcome = client.put(target, file, "/orgTransactions/over-sftp.csv")
    assert outcome.status == 0, outcome

    _, told = api.ask("/uploads?source=sftp&fileName=over-sftp")

    assert [(one["fileName"], one["clientId"]) for one in told["uploads"]] == [
        ("over-sftp.csv", service.login.client_id)
    ]


def test_a_wrong_secret_is_refused_over_http_as_over_ssh(service, api):
    wrong = json.dumps({"client_id": service.login.client_id, "client_secret": "kanarek-wrong"})

    status, told = api.ask("/auth/token", "--json", "@-", typed=wrong, token=False)

    assert (status, told["error"]["code"]) == (401, "unauthorized")
    assert "login failed from 127.0.0.1 with curl" in service.log_text()


def test_revoking_a_credential_ends_its_token(fresh_service, tmp_path):
    service = fresh_service()
    api = Api(service, tmp_path)
    assert api.ask("/uploads")[0] == 200

    service.command("credential", "revoke", service.login.client_id)

    for _ in range(60):
        status, _ = api.ask("/uploads")
        if status == 401:
            return
        subprocess.run(["sleep", "0.1"], check=True)
    raise AssertionError("the token still works 6 s after the credential was revoked")


def memory(pid: int, what: str) -> int:
    """Bytes of a process: VmRSS, or VmHWM, the most it ever had."""
    found = re.search(rf"^{what}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_hundred_megabytes_in_a_form_are_never_in_memory(own, tmp_path):
    # What the first upload loads for good is not the second one's.
    own.ask("/upload?wait=60", "-F", "schemaType=orgTransactions", "-F", f"file=@{material.TRANSACTIONS}")
    large = tmp_path / "large.csv"
    large_csv(large, LARGE)
    pid = own.service.pid()
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the most it ever had is what it has now
    before = memory(pid, "VmRSS")

    status, told = own.ask("/upload", "-F", "schemaType=orgTransactions", "-F", f"file=@{large}")

    added = memory(pid, "VmHWM") - before
    sys.stderr.write(f"\n100 MB in a form: {added / (1 << 20):.1f} MiB more resident memory\n")
    assert (status, told["bytes"]) == (202, large.stat().st_size)
    assert added <= MOST_MEMORY


def test_with_several_processes_there_is_one_http_door(fresh_service, tmp_path):
    service = fresh_service({"service.processes": 2})
    api = Api(service, tmp_path)

    _, told = api.ask("/upload?wait=60", "-F", "schemaType=orgTransactions", "-F", f"file=@{material.TRANSACTIONS}")

    assert (told["status"], told["rows"]) == ("COMPLETED", 4)


def test_an_upload_under_way_may_finish_when_the_service_is_told_to_stop(own, tmp_path):
    file = tmp_path / "slow.csv"
    large_csv(file, 3_000_000)
    header = tmp_path / "bearer"
    header.write_text(f"Authorization: Bearer {own.token}\n")
    words = ["curl", "-sS", "--limit-rate", "1M", "-H", f"@{header}"]
    running = subprocess.Popen(
        [*words, "-F", "schemaType=orgTransactions", "-F", f"file=@{file}", f"{own.url}/api/external/upload"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in range(100):
        if "slow.csv into orgTransactions" in own.service.log_text():
            break
        subprocess.run(["sleep", "0.05"], check=True)

    own.service.tell_to_stop()
    said, _ = running.communicate(timeout=60)

    assert json.loads(said)["bytes"] == file.stat().st_size
    own.service.stop()


@pytest.mark.parametrize("label", ["C2", "C5a", "C5b", "C5c", "C6", "C7"])
def test_a_service_killed_in_an_upload_has_it_once_when_it_is_sent_again_with_its_key(
    label, fresh_service, tmp_path, monkeypatch
):
    service = fresh_service()
    service.stop()
    form = ("-F", "schemaType=orgTransactions", "-F", "idempotencyKey=k", "-F", f"file=@{material.TRANSACTIONS}")
    with monkeypatch.context() as crashing:
        crashing.setenv("PIPE_CRASH", f"{label}:1")
        service.start()
        api = Api(service, tmp_path)
        assert api.ask("/upload", *form) == (0, None)
        assert service.process is not None
        service.process.wait(30)
        service.process = None

    api = Api(service.start(), tmp_path)
    status, told = api.ask("/upload?wait=60", *form)

    assert (status, told["status"], told["rows"]) == (200, "COMPLETED", 4)
    assert [one["uploadId"] for one in api.ask("/uploads")[1]["uploads"]] == [told["uploadId"]]
    assert len(service.query("SELECT * FROM orgTransactions")) == 4


def test_tls_by_files_is_spoken(fresh_service, tmp_path):
    certificate, key = certificates.write(tmp_path)
    service = fresh_service({"http.certificate": certificate, "http.key": key})
    url = json.loads(service.command("status", "--json"))["http_url"]
    assert f"HTTP at {url}\n" in service.log_text()
    asked = ["curl", "-sS", "--cacert", str(certificate), f"{url}/api/openapi.json"]

    told = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True)
    old = subprocess.run([*asked, "--tls-max", "1.1"], capture_output=True, text=True, timeout=30, check=False)

    assert url.startswith("https://127.0.0.1:")
    assert json.loads(told.stdout)["openapi"] == "3.1.0"
    assert old.returncode != 0
