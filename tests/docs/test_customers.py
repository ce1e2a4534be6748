"""docs/customers.md: its snippets are taken by a real sshd and mean what the page says; its rules are the program's."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThreadPool

from conch_pipe.cli.connecting import in_reactor
from conch_pipe.model import Pin, Remote, RemoteSecrets, Status
from conch_pipe.operations.connecting import surroundings
from conch_pipe.remotes.form import MOST_CONNECTIONS
from conch_pipe.remotes.testing import Step
from conch_pipe.remotes.testing import test as tried
from conch_pipe.settings import Settings
from conch_pipe.ssh.keys import public_blob
from tests.docs.documents import CUSTOMERS, block, blocks, code, rows, without_blocks
from tests.live.sftp_servers import Sshd, make_key, program

SNIPPETS = [one for one in blocks(CUSTOMERS) if one.language == "sshd_config"]
FORCED = [one for one in SNIPPETS if "ForceCommand" in one.text and "Chroot" not in one.text]
NOW = datetime(2026, 11, 21, tzinfo=UTC)
OURS, THEIRS = "203.0.113.10", "198.51.100.7"
NEEDED = {"realpath", "stat", "open", "write", "close"}


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    """Runs sshd's own check of a configuration with a snippet at its end."""
    if program("sshd") is None:
        pytest.skip("sshd is not installed")
    folder = tmp_path_factory.mktemp("sshd")
    key = make_key(folder / "host_key")

    def run(snippet: str, *options: str) -> str:
        config = folder / "sshd_config"
        config.write_text(f"HostKey {key}\nSubsystem sftp internal-sftp\n{snippet}")
        done = subprocess.run([program("sshd"), *options, "-f", config], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def effective(sshd, snippet: str, address: str, user: str = "pipe") -> dict[str, str]:
    """What sshd would do with that user from that address."""
    told = sshd(snippet, "-T", "-C", f"user={user},host=host.example,addr={address}")
    return dict(line.split(" ", 1) for line in told.splitlines() if " " in line)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda one: one.heading)
def test_sshd_takes_every_snippet_and_it_concerns_nobody_else(sshd, snippet):
    sshd(snippet.text, "-t")

    assert effective(sshd, snippet.text, OURS, "root") == effective(sshd, "", OURS, "root")
    assert effective(sshd, snippet.text, THEIRS) != effective(sshd, "", THEIRS)


def test_only_our_addresses_may_come_as_the_user(sshd):
    snippet = block(CUSTOMERS, "Only from our addresses", "sshd_config")

    assert "denyusers" not in effective(sshd, snippet, OURS)
    assert "denyusers" not in effective(sshd, snippet, "203.0.113.11")
    assert effective(sshd, snippet, THEIRS)["denyusers"] == "pipe"


def test_sftp_and_nothing_else_is_what_the_user_gets(sshd):
    for snippet in SNIPPETS:
        if "ForceCommand" in snippet.text:
            told = effective(sshd, snippet.text, OURS)
            assert told["forcecommand"].startswith("internal-sftp")
            assert (told["disableforwarding"], told["permittty"]) == ("yes", "no")


def test_denied_and_allowed_requests_are_known_to_openssh_and_leave_us_what_we_need():
    server = Path("/usr/lib/openssh/sftp-server")
    if not server.exists():
        pytest.skip("sftp-server is not installed")
    known = set(subprocess.run([server, "-Q", "requests"], capture_output=True, text=True, check=True).stdout.split())
    text = "\n".join(one.text for one in SNIPPETS)
    denied = [set(one.split(",")) for one in re.findall(r" -P (\S+)", text)]
    allowed = [set(one.split(",")) for one in re.findall(r" -p (\S+)", text)]

    assert denied and allowed
    assert all(one <= known for one in denied + allowed)
    assert all(one >= NEEDED for one in allowed)
    assert not [one for one in denied if one & NEEDED]


def test_the_requests_that_the_page_says_we_send_are_those():
    told = [code(requests) for _, requests in rows(CUSTOMERS, "we do", "with which SFTP requests")]

    assert {one for names in told for one in names} == NEEDED


@pytest.mark.live
@pytest.mark.parametrize("snippet", FORCED, ids=lambda one: f"{one.heading}: {one.text.split()[4:]}")
def test_recordings_can_be_put_to_a_server_that_is_secured_so(tmp_path, snippet):
    """The program's own test of a remote says so, with a file put the way that recordings go."""
    if Sshd.missing():
        pytest.skip(Sshd.missing())
    server = Sshd(tmp_path / "server")
    server.more = snippet.text.replace("User pipe", f"User {server.user}")
    with server:
        told = steps_of(server)

    assert [step.level for step in told[:-1]] == ["ok"] * 5
    (left,) = server.files.iterdir() if "-P" in snippet.text or "-p" in snippet.text else [None]
    assert (told[-1].level, left is None) in (("ok", True), ("warn", False))
    assert left is None or (left.stat().st_size == 81 and re.fullmatch(r"pipe-sftp-test-\w{8}\.txt", left.name))


@pytest.mark.live
@pytest.mark.parametrize(("ours", "level"), [("127.0.0.1", "ok"), ("127.0.0.2", "fail")])
def test_an_address_that_is_not_ours_cannot_log_in_as_the_user(tmp_path, ours, level):
    if Sshd.missing():
        pytest.skip(Sshd.missing())
    server = Sshd(tmp_path / "server")
    snippet = block(CUSTOMERS, "Only from our addresses", "sshd_config")
    server.more = snippet.replace("pipe", server.user).replace("203.0.113.10", ours)
    with server:
        told = steps_of(server)

    assert {step.name: step.level for step in told}["login"] == level


def steps_of(server: Sshd) -> list[Step]:
    """What the program says of a server when it tries it as a remote."""
    pin = Pin(public_blob(Path(f"{server.host_key}.pub").read_text()), NOW, "given")
    remote = Remote("a", "acme", "127.0.0.1", server.user, NOW, server.port, str(server.files), pins=(pin,))
    secrets = RemoteSecrets(private_key=server.key.read_bytes())
    settings = Settings(push={"networks_allowed": ["127.0.0.0/8"]})

    async def steps(reactor: Any) -> list[Step]:
        pool = partial(deferToThreadPool, reactor, reactor.getThreadPool())
        return await tried(surroundings(settings, reactor, pool), remote, secrets)

    return in_reactor(steps)


def test_the_line_of_authorized_keys_is_read_by_openssh(tmp_path):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    line = block(CUSTOMERS, "With a key instead of a password", "")
    public = Path(f"{make_key(tmp_path / 'key')}.pub").read_text().split()[1]
    file = tmp_path / "authorized_keys"
    file.write_text(re.sub(r"AAAA\S*", public, line))

    done = subprocess.run(["ssh-keygen", "-lf", file], capture_output=True, text=True, check=True)

    assert public not in line and "pipe (ED25519)" in done.stdout


def test_the_collecting_script_moves_whole_groups_only(tmp_path):
    here, there = tmp_path / "in", tmp_path / "out"
    here.mkdir()
    there.mkdir()
    whole = {"a.mp4", "a_raw.webm", "a.jpg", "a_filmstrip.jpg", "-b c.mp4"}
    half = {"a_b.mp4", "ab.mp4", "d.mp4", "d_raw.mp4"}
    for name in whole | half:
        (here / name).write_text(name)
    for marker in ("a.done", "-b c.done"):
        (here / marker).touch()
    script = tmp_path / "pipe-collect"
    script.write_text(block(CUSTOMERS, "Collecting the files", "sh"))

    for _ in range(2):  # again finds nothing
        subprocess.run(["sh", script, here, there], check=True)

    assert {one.name for one in there.iterdir()} == whole
    assert {one.name for one in here.iterdir()} == half


def test_every_script_of_the_page_is_one():
    for one in blocks(CUSTOMERS):
        if one.language == "sh":
            subprocess.run(["sh", "-n"], input=one.text, text=True, check=True)


def test_every_status_has_a_row_and_no_other_is_named():
    told = [code(status)[0] for status, _, _ in rows(CUSTOMERS, "status", "what happened", "what you do")]

    assert sorted(told) == sorted(one.value for one in Status)


def test_the_numbers_of_the_page_are_the_programs():
    text = without_blocks(CUSTOMERS.read_text()).replace("\n", " ")
    defaults = {name: field.default for name, field in Remote.__dataclass_fields__.items()}

    assert f"{defaults['port']} if you say nothing" in text
    assert f"At most {defaults['max_connections']} are open at a time" in text
    assert f"1 to {MOST_CONNECTIONS}" in text
