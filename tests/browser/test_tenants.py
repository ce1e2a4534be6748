"""Credentials, schemas, organisations and webhooks, in a real browser."""

from __future__ import annotations

import re
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from tests.browser.conftest import MEMBER, glance, look

pytestmark = pytest.mark.live


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204 if self.path == "/good" else 500, None if self.path == "/good" else "Not Today")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def receiver():
    """A receiver of webhooks that takes what comes to /good."""
    server = HTTPServer(("127.0.0.1", 0), _Receiver)
    running = Thread(target=server.serve_forever)
    running.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    running.join()
    server.server_close()


def test_a_credential_is_made_shown_once_rotated_and_revoked(page, site, outgoing):
    opened = page("/credentials")
    glance(opened, "credentials")
    opened.get_by_role("link", name="New credential").click()
    glance(opened, "credential-new")
    opened.get_by_label("Organisation").select_option("demo")
    opened.get_by_label("Label").fill("payroll server")
    opened.get_by_role("button", name="Make it").click()

    client_id, secret, line, _ = opened.locator(".copied code").all_inner_texts()
    site.service.secrets.add(secret)
    assert line == f"sftp -P {site.service.port} {client_id}@127.0.0.1"
    glance(opened, "credential-made")
    opened.reload()
    opened.get_by_text("The secret was shown once").wait_for()

    row = opened.locator("tr", has_text=client_id)
    row.get_by_role("link", name="Rotate").click()
    glance(opened, "credential-rotate")
    opened.get_by_role("button", name="Make a new secret").click()
    opened.get_by_text("The old secret works until").wait_for()
    site.service.secrets.add(opened.locator(".copied code").nth(1).inner_text())

    opened.goto(f"{site.url}/credentials")
    row.get_by_role("link", name="Revoke").click()
    opened.get_by_role("link", name="No, go back").click()
    row.get_by_role("link", name="Revoke").click()
    glance(opened, "credential-revoke")
    opened.get_by_role("button", name="Revoke it").click()
    opened.get_by_text(f"{client_id} is revoked.").wait_for()
    assert "revoked" in row.inner_text()


def test_a_credential_is_revoked_without_script(page, site, outgoing):
    opened = page("/credentials/+add?organisation=demo", java_script_enabled=False)
    opened.get_by_role("button", name="Make it").click()
    client_id, secret = opened.locator(".copied code").all_inner_texts()[:2]
    site.service.secrets.add(secret)

    opened.get_by_role("link", name="I have it").click()
    opened.locator("tr", has_text=client_id).get_by_role("link", name="Revoke").click()
    opened.get_by_role("button", name="Revoke it").click()

    assert opened.get_by_text(f"{client_id} is revoked.").is_visible()


def test_schemas_and_a_sample(page, outgoing, tmp_path):
    opened = page("/schemas")
    glance(opened, "schemas")
    opened.get_by_role("link", name="orgShifts", exact=True).click()
    look(opened, "schema")

    with opened.expect_download() as download:
        opened.get_by_role("link", name="Sample as CSV").click()

    download.value.save_as(tmp_path / "sample")
    assert download.value.suggested_filename == "orgShifts.csv"
    assert len((tmp_path / "sample").read_text().splitlines()) == 21


def test_an_organisation_is_made_and_gets_a_schema_and_an_environment(page, outgoing):
    opened = page("/organisations")
    glance(opened, "organisations")
    opened.get_by_role("link", name="New organisation").click()
    opened.get_by_label("Name").fill("South West")
    opened.get_by_role("button", name="Make it").click()
    opened.get_by_text("an organisation's name is").wait_for()
    glance(opened, "organisation-mistake")
    opened.get_by_label("Name").fill("south-west")
    opened.get_by_role("button", name="Make it").click()
    opened.get_by_text("Organisation south-west is made").wait_for()
    glance(opened, "organisation-new")

    opened.get_by_role("button", name="Turn on orgShifts").click()
    opened.get_by_text("orgShifts is on").wait_for()
    opened.get_by_role("link", name="New environment").click()
    opened.get_by_label("Name").fill("production")
    opened.get_by_role("button", name="Make it").click()
    opened.get_by_text("Environment production is made.").wait_for()


def test_an_organisation_with_everything(page, outgoing):
    look(page("/organisations/demo"), "organisation")
    environment = page("/organisations/demo/environments/production")
    assert environment.get_by_label("archive").is_checked()
    glance(environment, "environment")
    opened = page("/organisations/demo", MEMBER)
    glance(opened, "organisation-member")
    assert opened.locator("main button").count() == 0


def test_webhooks(page, site, outgoing, receiver):
    glance(page("/webhooks"), "webhooks-none")
    opened = page("/webhooks/+add")
    opened.get_by_label("Organisation").select_option("demo")
    opened.get_by_label("Address").fill("hooks.example.com")
    opened.get_by_role("button", name="Add it").click()
    opened.get_by_text("Nothing is added").wait_for()
    glance(opened, "webhook-mistake")
    opened.get_by_label("Address").fill(f"{receiver}/good")
    opened.get_by_label("upload.failed").check()
    opened.get_by_role("button", name="Add it").click()
    site.service.secrets.add(opened.locator(".copied code").inner_text())
    glance(opened, "webhook-made")

    opened.get_by_role("link", name=re.compile("I have it")).click()
    opened.get_by_role("button", name="Send a test message").click()
    opened.get_by_text("The test message was taken.").wait_for()
    look(opened, "webhook")
    opened.locator("summary", has_text="Disable").click()
    opened.get_by_role("button", name="Disable it").click()
    opened.get_by_text("The webhook is disabled").wait_for()
    glance(page("/webhooks"), "webhooks")

    opened.get_by_role("link", name="Remove …").click()
    opened.get_by_role("button", name="Remove it").click()
    opened.get_by_text("The webhook is removed.").wait_for()
