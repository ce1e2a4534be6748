"""Puts that do not end as they should: killed, interrupted, or with the service told to stop in the middle."""

from __future__ import annotations

import hashlib
import os
import signal
import time

import pytest

from tests.live import material
from tests.live.clients.openssh import Sftp, slow_put
from tests.live.conftest import had
from tests.live.service import Service

pytestmark = pytest.mark.live

SLOW_KBIT_S = 40_000  # 5 MB/s
BEGUN_S = 15


@pytest.fixture
def long_file(tmp_path):
    """About 20 MB in which no write of a client ends with a record: cut anywhere, it can be told."""
    had(Sftp())
    path = tmp_path / "long.csv"
    material.never_whole(path, 20_000_000)
    return path


def wait_until_begun(service: Service, name: str) -> None:
    """Until the log tells that the put runs and some of it has arrived."""
    deadline = time.monotonic() + BEGUN_S
    while f"puts {name} into" not in service.log_text():
        assert time.monotonic() < deadline, service.log_text()
        time.sleep(0.05)
    time.sleep(0.5)  # at 5 MB/s: some MB, far from the end


def wait_for_line(service: Service, *words: str) -> str:
    """The log's first line with all these words."""
    deadline = time.monotonic() + BEGUN_S
    while True:
        for line in service.log_text().splitlines():
            if all(word in line for word in words):
                return line
        assert time.monotonic() < deadline, f"no line with {words}:\n{service.log_text()}"
        time.sleep(0.05)


def spooled(service: Service) -> list[str]:
    """Part files on the disk."""
    return [str(path) for path in (service.folder / "state").rglob("*.part")]


def test_a_client_that_is_killed_in_mid_put_leaves_nothing(service, target, long_file):
    """SIGKILL to sftp and its ssh: no record, no part file, one line that says it was dropped."""
    process = slow_put(target, long_file, "/orgTransactions/killed.csv", SLOW_KBIT_S)
    wait_until_begun(service, "killed.csv")

    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    upload_id = wait_for_line(service, "puts killed.csv into").split("upload ")[1].split(":")[0]
    wait_for_line(service, upload_id, "dropped")
    assert service.named("killed.csv") == []
    assert spooled(service) == []


def test_ctrl_c_in_mid_put_leaves_nothing(service, target, long_file):
    """OpenSSH's sftp sends CLOSE after Ctrl-C as if the file were whole; its last record is not, so it is refused."""
    process = slow_put(target, long_file, "/orgTransactions/interrupted.csv", SLOW_KBIT_S)
    wait_until_begun(service, "interrupted.csv")

    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=30)

    assert process.returncode != 0, said
    wait_for_line(service, "interrupted.csv", "refused")
    assert service.named("interrupted.csv") == []
    assert spooled(service) == []


def test_a_service_told_to_stop_lets_a_running_put_finish(fresh_service, long_file, tmp_path):
    """SIGTERM in mid-put: no new connections, the put ends well, the service ends with 0, rows follow later."""
    service = fresh_service()
    target = service.target(tmp_path / "drain")
    process = slow_put(target, long_file, "/orgTransactions/drained.csv", SLOW_KBIT_S)
    wait_until_begun(service, "drained.csv")

    service.tell_to_stop()
    wait_for_line(service, "draining")
    late = Sftp().put(service.target(tmp_path / "late"), long_file, "/orgTransactions/late.csv")
    said, _ = process.communicate(timeout=60)

    assert process.returncode == 0, said
    assert late.status != 0, late
    service.stop()
    service.start()
    upload = service.verdicts("drained.csv")["drained.csv"]
    assert upload["state"] == "COMPLETED", upload
    assert upload["sha256"] == hashlib.sha256(long_file.read_bytes()).hexdigest()
    [counted] = service.query("SELECT count(*) AS n, count(DISTINCT _row) AS r FROM orgTransactions")
    assert counted == {"n": upload["rows"], "r": upload["rows"]}
    assert service.named("late.csv") == []


def test_a_service_killed_in_mid_put_starts_clean(fresh_service, long_file, tmp_path):
    """SIGKILL: the client sees it, nothing is recorded, and after the start no part file is left."""
    service = fresh_service()
    process = slow_put(service.target(tmp_path / "killed"), long_file, "/orgTransactions/lost.csv", SLOW_KBIT_S)
    wait_until_begun(service, "lost.csv")
    assert spooled(service)

    service.kill()
    said, _ = process.communicate(timeout=60)

    assert process.returncode != 0, said
    service.start()
    assert service.named("lost.csv") == []
    assert spooled(service) == []


def test_a_put_again_after_a_client_was_killed_at_the_end_is_there_once(fresh_service, files, tmp_path):
    """Killed as soon as the record is there, whether or not it read the answer: it puts again, rows are there once."""
    service = fresh_service()
    target = service.target(tmp_path / "again")
    name = "answer-lost.csv"
    process = slow_put(target, files.named(files.large, name), f"/orgTransactions/{name}", 2_000_000)
    try:
        wait_for_line(service, "upload", name, "sha256")
        os.killpg(process.pid, signal.SIGKILL)
    finally:
        process.communicate()

    again = Sftp().put(target, files.named(files.large, name), f"/orgTransactions/{name}")

    assert again.status == 0, again
    upload = service.verdicts(name)[name]
    [counted] = service.query("SELECT count(*) AS n FROM orgTransactions")
    assert counted["n"] == upload["rows"] == files.large_rows
