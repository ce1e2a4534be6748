"""The push log, recordings and remotes, in a real browser."""

from __future__ import annotations

import json
import re

import pytest

from conch_pipe.ssh.keys import fingerprint
from tests.browser.conftest import MEMBER, PASSWORD, glance, look, picture
from tests.live.sftp_servers import AsyncsshServer
from tests.web.outflow import KEY, OTHER

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real SFTP server that recordings could go to."""
    if why := AsyncsshServer.missing():
        pytest.skip(why)
    with AsyncsshServer(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def test_the_push_log(page, outgoing):
    opened = page("/pushes")
    look(opened, "pushes")

    opened.get_by_text("no_space", exact=False).locator("xpath=ancestor::details/summary").first.click()

    assert opened.get_by_text("the server has no space left for standup.mp4").is_visible()
    glance(opened, "pushes-open")


def test_the_push_log_by_status(page, outgoing):
    opened = page("/pushes")
    opened.get_by_label("Status").select_option("HOST_KEY_MISMATCH")
    opened.get_by_role("button", name="Show").click()

    opened.wait_for_url("**status=HOST_KEY_MISMATCH*")
    assert opened.locator("tbody .badge").all_inner_texts() == ["✕ HOST_KEY_MISMATCH"]


def test_recordings(page, outgoing):
    opened = page("/recordings")

    look(opened, "recordings")

    assert opened.locator("main img").count() == 0


def test_a_recording_on_its_way(page, outgoing):
    opened = page(f"/recordings/{outgoing['rec-4711'].uid}")
    look(opened, "recording")

    assert opened.locator(".mark.failed").count() == 5
    assert opened.locator(".mark.missed").count() == 2
    assert opened.locator(".mark.next").count() == 1
    opened.locator(".instants summary").first.click()
    glance(opened, "recording-list")
    assert "missed: UPLOAD_FAILED, disabled" in opened.locator(".instants").first.inner_text()


def test_a_recording_under_way_is_followed(page, site, outgoing):
    """Whoever looks sees the bytes grow, and what is drawn is drawn anew."""
    recording = outgoing["rec-4711"]
    listed = json.loads(site.service.command("recording", "show", recording.id, "--json"))["pushes"]
    (push,) = [one["id"] for one in listed if one["remote"] == "archive"]
    moving = {"recording": recording.id, "organisation": "demo", "remote": "archive", "file": "standup.mp4"}
    moving |= {"size": 481_000_000, "began_at": "", "bytes_s": 11_400_000, "at": 0.0}

    def tell(sent: int) -> None:
        path = site.service.folder / "state" / "run" / "pushes.json"
        path.write_text(json.dumps({push: {**moving, "sent": sent}} if sent else {}))

    tell(120_000_000)
    opened = page(f"/recordings/{recording.uid}")
    opened.get_by_text("114 MiB of 459 MiB, 10.9 MiB/s").wait_for()
    assert opened.locator(".mark.next .word").text_content() == "now"
    glance(opened, "recording-moving")
    tell(360_000_000)
    opened.get_by_text("343 MiB of 459 MiB, 10.9 MiB/s").wait_for()
    assert opened.locator("progress").get_attribute("value") == "360000000"
    tell(0)
    opened.locator("progress").wait_for(state="detached")


def test_a_recording_that_is_given_up_is_tried_again(page, outgoing):
    opened = page(f"/recordings/{outgoing['rec-4698'].uid}")
    glance(opened, "recording-given-up")

    opened.get_by_role("button", name="Retry now").click()

    opened.get_by_text("Recording rec-4698 is tried now: archive.").wait_for()


def test_a_member_looks_at_recordings(page, outgoing):
    opened = page(f"/recordings/{outgoing['rec-4711'].uid}", MEMBER)

    glance(opened, "recording-member")

    assert opened.locator("main button").count() == 0
    assert page(f"/recordings/{outgoing['rec-n1'].uid}", MEMBER).get_by_text("There is nothing here").is_visible()


def test_remotes(page, outgoing):
    look(page("/remotes"), "remotes")
    glance(page("/remotes/old-nas"), "remote-insecure")
    glance(page("/remotes/studio", MEMBER), "remote-member")


def test_another_host_key_is_compared_and_trusted(page, outgoing):
    opened = page("/remotes/studio")
    look(opened, "remote-host-key")
    assert opened.locator(".print .unseen").all_inner_texts() == [fingerprint(KEY), fingerprint(OTHER)]

    opened.get_by_role("button", name="Trust this key").click()
    opened.get_by_text("Nothing is trusted: first compare the key").wait_for()
    picture(opened, "remote-not-compared")

    opened.get_by_label("I have compared it").check()
    opened.get_by_role("button", name="Trust this key").click()
    opened.get_by_text("The host key of studio is trusted.").wait_for()
    assert opened.locator("main .badge").first.inner_text() == "✓ enabled"


def test_the_form_of_a_remote_tells_all_mistakes_at_once(page, outgoing):
    opened = page("/remotes/+add")
    opened.get_by_label("Organisation").select_option("demo")
    opened.get_by_label("Name", exact=True).fill("Nova Archive")
    opened.get_by_label("Host", exact=True).fill("sftp://nova.example/in")
    opened.get_by_label("Port").fill("70000")
    opened.get_by_label("Marker file").fill("done/{NAME}")
    opened.get_by_label("Private key").fill("-----BEGIN NOTHING-----")
    opened.get_by_role("button", name="Add it").click()

    opened.get_by_text("Nothing is saved: 6 mistakes.").wait_for()
    look(opened, "remote-mistakes")
    assert opened.get_by_label("Host", exact=True).input_value() == "sftp://nova.example/in"
    assert opened.get_by_label("Private key").input_value() == ""


def test_a_remote_is_added_tested_and_trusted_without_script(page, outgoing, server):
    opened = page("/remotes/+add", java_script_enabled=False)
    opened.get_by_label("Organisation").select_option("demo")
    opened.get_by_label("Name", exact=True).fill("lab")
    opened.get_by_label("Host", exact=True).fill("127.0.0.1")
    opened.get_by_label("Port").fill(str(server.port))
    opened.get_by_label("User name").fill(server.user)
    if server.password:
        opened.get_by_label("Password").first.fill(server.password)
    else:
        opened.get_by_label("Private key").fill(server.key.read_text())
    opened.get_by_role("button", name="Add it").click()
    assert opened.get_by_text("Remote lab is added.").is_visible()

    opened.get_by_role("button", name="Test it").click()
    assert opened.get_by_text("Nothing was sent to log in").is_visible()
    opened.get_by_label("I have compared it").check()
    opened.get_by_role("button", name="Trust this key").click()
    assert opened.get_by_text("The host key of lab is trusted.").is_visible()

    opened.get_by_role("button", name="Test it").click()
    assert opened.get_by_text("The test of lab went well.").is_visible()
    assert opened.locator(".steps .ok").count() == 6
    glance(page("/remotes/lab"), "remote-tested")


def test_a_remote_is_edited_given_a_key_and_removed(page, outgoing):
    opened = page("/remotes/old-nas/edit")
    glance(opened, "remote-edit")
    opened.get_by_label("Folder").fill("recordings")
    opened.get_by_label("Take any host key").uncheck()
    opened.get_by_role("button", name="Save").click()
    opened.get_by_text("Remote old-nas is changed").wait_for()
    assert opened.get_by_text("No host key is trusted, so nothing is pushed").is_visible()

    opened.get_by_text("Generate a key").click()
    opened.get_by_role("button", name="Make a new key").click()
    opened.get_by_text("A new key is made.").wait_for()
    assert re.match(r"ssh-ed25519 \S+ old-nas$", opened.locator(".copied code").inner_text())
    glance(opened, "remote-key")

    opened.get_by_role("link", name="Remove …").click()
    glance(opened, "remote-remove")
    opened.get_by_role("button", name="Remove it").click()
    opened.get_by_text("Remote old-nas is removed").wait_for()


def test_no_page_shows_a_password(page, outgoing):
    for path in ("/remotes", "/remotes/archive", "/remotes/archive/edit"):
        assert PASSWORD not in page(path).content()
