"""What a real service with two processes that take connections tells Prometheus, and a probe."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from typing import Any

import paramiko
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live import material
from tests.live.service import Service, wait_for

pytestmark = pytest.mark.live


class Scraper:
    """Reads what a service tells."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.url = f"http://127.0.0.1:{json.loads(service.command('status', '--json'))['http_port']}"

    def ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def samples(self) -> dict[tuple[str, ...], float]:
        """Name and label values, by the labels' names → value."""
        families = text_string_to_metric_families(self.ask("/metrics")[1])
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def ready(self) -> dict[str, Any]:
        status, text = self.ask("/readyz")
        found = json.loads(text)
        assert found["ready"] is (status == 200)
        return found


def test_what_happens_in_door_processes_is_told_by_their_parent(fresh_service):
    service = fresh_service({"service.processes": 2, "http.port": 0})
    scraper = Scraper(service)
    login = service.login
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())

    with pytest.raises(paramiko.AuthenticationException):
        client.connect("127.0.0.1", service.port, login.client_id, "wrong", allow_agent=False, look_for_keys=False)
    client.close()
    client.connect(
        "127.0.0.1", service.port, login.client_id, login.client_secret, allow_agent=False, look_for_keys=False
    )
    try:
        client.open_sftp().put(str(material.TRANSACTIONS), "/orgTransactions/metrics.csv", confirm=False)
        rows = service.verdicts("metrics.csv")["metrics.csv"]["rows"]
        # The door has told its parent when the sum is there; once a second is promised.
        found = wait_for(
            lambda: (
                (now := scraper.samples())[("pipe_sftp_sessions",)] == 1
                and now[("pipe_sftp_logins_total", "sftp", "ok")] == 1
                and now.get(("pipe_sftp_uploads_received_total", "sftp", login.organisation, "orgTransactions"))
                and now
            ),
            "the numbers of the door",
        )
    finally:
        client.close()

    whose = (login.organisation, "orgTransactions")
    assert found["pipe_sftp_uploads_total", *whose, "completed"] == 1
    assert found["pipe_sftp_upload_rows_total", *whose] == rows
    assert found["pipe_sftp_upload_bytes_total", "sftp", *whose] == material.TRANSACTIONS.stat().st_size
    assert found["pipe_sftp_logins_total", "sftp", "secret"] == 1
    assert found["pipe_sftp_events_total", "upload.stored"] == 1
    assert found["pipe_sftp_upload_stage_seconds_count", "accept"] == 1
    assert found["pipe_sftp_upload_stage_seconds_count", "total"] == 1
    assert found["pipe_sftp_children", "door"] == 2
    assert found["pipe_sftp_reactor_lag_seconds_count", "door"] > 0
    assert found["pipe_sftp_jobs", "ingest", "due"] + found["pipe_sftp_jobs", "ingest", "running"] in (0, 1)
    assert found["pipe_sftp_ready",] == 1
    assert wait_for(lambda: scraper.samples()[("pipe_sftp_sessions",)] == 0, "the end of the session")

    ready = scraper.ready()
    assert [check["name"] for check in ready["checks"]] == [
        "catalog", "objects", "warehouse", "disk", "worker", "door",
    ]  # fmt: skip
    assert ready["checks"][-1]["words"] == "2 of 2"

    for door in json.loads(service.command("status", "--json"))["doors"]:
        os.kill(door["pid"], signal.SIGKILL)
    wait_for(lambda: scraper.samples()["pipe_sftp_events_total", "door.died"] == 2, "the death of both")
    later = scraper.samples()
    assert later["pipe_sftp_uploads_received_total", "sftp", *whose] == 1
    assert later["pipe_sftp_logins_total", "sftp", "ok"] == 1
    assert later["pipe_sftp_reactor_lag_seconds_count", "door"] >= found["pipe_sftp_reactor_lag_seconds_count", "door"]


def test_a_folder_that_cannot_be_written_is_named_and_the_numbers_say_so(service):
    scraper = Scraper(service)
    assert scraper.ready()["ready"]
    objects = service.folder / "state" / "objects"
    aside = objects.with_name("objects-aside")
    there = objects.exists()
    if there:
        objects.rename(aside)
    objects.write_text("a file where the folder was")
    try:
        wait_for(lambda: not scraper.ready()["ready"], "the check to fail")
        (wrong,) = [check for check in scraper.ready()["checks"] if not check["ok"]]
        wait_for(lambda: scraper.samples()["pipe_sftp_check_ok", "objects"] == 0, "the gauge")
    finally:
        objects.unlink()
        if there:
            aside.rename(objects)

    assert wrong["name"] == "objects"
    assert wait_for(lambda: scraper.ready()["ready"], "the folder is back")
