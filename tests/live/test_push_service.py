"""Recordings through the real service to real servers, from the manifest to the log, and what operators do about them.

At the end the service's log, all that the command said and every file of the state are searched for the remotes'
passwords and keys.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import pushing
from tests.live.forwarder import forwarder
from tests.live.operators import Program, answer
from tests.live.push_servers import WatchedServer
from tests.live.service import BIN, Service, running, wait_for
from tests.live.sftp_servers import Sshd, make_key

pytestmark = pytest.mark.live

SMALL = {"main": 50_000}
GROUP = {"main": 300_000, "raw": 90_000, "snapshot": 4_000, "filmstrip": 0}
LARGE = 8_000_000
DISCONNECT, KEXINIT, NEWKEYS = 1, 20, 21
EXCHANGE = range(30, 50)  # messages of a key exchange


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    """May connect to this machine; at the end it must stop well and have told no secret."""
    with running(tmp_path_factory.mktemp("pushing"), pushing.ALLOWED) as service:
        yield service


@pytest.fixture
def server(tmp_path) -> Iterator[WatchedServer]:
    """A customer's server with a password."""
    made = WatchedServer(tmp_path / "watched")
    with made:
        yield made


@pytest.fixture
def by_key(tmp_path) -> Iterator[Sshd]:
    """OpenSSH's, with a key."""
    if (why := Sshd.missing()) is not None:
        pytest.skip(why)
    made = Sshd(tmp_path / "sshd")
    with made:
        yield made


def environment(service: Service, name: str, *words: str) -> None:
    """To remotes, ``--remote NAME`` each."""
    service.command("environment", "create", pushing.ORGANISATION, name, *words)


def hand_over(service: Service, to: str, *recordings: str, sizes: dict[str, int] | None = None) -> dict[str, Any]:
    """:returns: recording → role → local file, and its content before it was handed over."""
    made = {}
    for recording in recordings:
        files = pushing.files_of(service, recording, sizes or SMALL)
        made[recording] = {role: (path, path.read_bytes()) for role, path in files.items()}
        pushing.drop(service, to, recording, files)
    return made


def tried(service: Service, remote: str, *recordings: str, times: int = 1) -> None:
    """Wait until the log has so many attempts of each."""
    for one in recordings:
        wait_for(lambda one=one: len(pushing.attempts(service, one).get(remote, [])) >= times, f"attempts at {one}")


def delivered(service: Service, remote: str, *recordings: str) -> None:
    """Wait until each is."""
    for one in recordings:
        wait_for(lambda one=one: pushing.state(service, one, remote) == "DELIVERED", f"{one} at {remote}")


def arrived(folder: Path, made: dict[str, Any]) -> None:
    """Each file is in the server's folder, byte for byte."""
    for recording, files in made.items():
        for role, (_, content) in files.items():
            assert (folder / f"{recording}{pushing.ENDS[role]}").read_bytes() == content, (recording, role)


def fingerprint(key: Path) -> str:
    """As OpenSSH has it."""
    return subprocess.run(["ssh-keygen", "-lf", key], check=True, capture_output=True, text=True).stdout.split()[1]


def shown(service: Service, *words: str) -> Any:
    """What the command says in JSON."""
    return json.loads(service.command(*words, "--json"))


def test_what_opens_a_remote_is_found_wherever_it_is_told(tmp_path):
    """The search at the end of the tests below finds what it looks for."""
    (tmp_path / "state").mkdir()
    looking = Service(tmp_path)
    key = make_key(tmp_path / "key")
    looking.hides("a-password-6e1d", key)
    lines = key.read_text().splitlines()
    looking.log.write_text(f"{lines[0]} {lines[1]} {key.with_suffix('.pub').read_text()}")
    assert looking.leaks() == []

    for number, told in enumerate((b"x a-password-6e1d x", *(line.encode() for line in lines[3:5]), *looking.private)):
        path = tmp_path / "state" / str(number)
        path.write_bytes(told)
        looking.said = [told.decode("latin-1")] if number == 0 else []

        assert looking.leaks() == [str(path), *looking.said]
        path.unlink()


def test_recordings_go_to_two_remotes_and_then_they_are_deleted_here(service, server, by_key):
    """By password to one and by key to the other; the log has a row for each."""
    pushing.add_remote(service, "two-word", server)
    pushing.add_remote(service, "two-key", by_key)
    environment(service, "two", "--remote", "two-word", "--remote", "two-key", "--delete-delivered")
    recordings = [f"two-{number}" for number in range(4)]

    made = hand_over(service, "two", *recordings, sizes=GROUP)

    delivered(service, "two-word", *recordings)
    delivered(service, "two-key", *recordings)
    arrived(server.files / "in", made)
    arrived(by_key.files / "in", made)
    for files in made.values():
        for path, _ in files.values():
            wait_for(lambda path=path: not path.exists(), "the end of a local file")
    log = shown(service, "recording", "log", "two-0")
    assert {one["remote"] for one in log} == {"two-word", "two-key"}
    for one in log:
        there = server if one["remote"] == "two-word" else by_key
        assert (one["number"], one["status"], one["reason"], one["late"], one["shared"]) == (1, "OK", "", False, False)
        assert (one["host"], one["port"], one["protocol"]) == ("127.0.0.1", there.port, "SFTP")
        assert (one["username"], one["folder"]) == (there.user, there.remote("in").decode())
        assert one["host_key"] == fingerprint(there.host_key)
        assert one["bytes"] == sum(GROUP.values())
        assert [file["name"] for file in one["files"]] == [f"two-0{end}" for end in pushing.ENDS.values()]
    told = shown(service, "recording", "show", "two-0")
    assert told["deleted_at"]
    assert [push["state"] for push in told["pushes"]] == ["DELIVERED", "DELIVERED"]
    # One connection for each group: nothing else was asked of the server.
    assert len(server.asked("connection")) == len(recordings)


def test_no_password_byte_goes_out_to_another_host_key_until_it_is_trusted(service, server):
    """The remote is disabled and the event has both fingerprints; ``remote trust`` sends at once what waits."""
    heard: list[bytearray] = []
    old = fingerprint(server.host_key)
    with forwarder(server.port, None, heard) as port:
        pushing.add_remote(service, "moved", server, "--port", str(port))
        environment(service, "moved", "--remote", "moved")
        known = hand_over(service, "moved", "moved-before")
        delivered(service, "moved", "moved-before")
        arrived(server.files / "in", known)
        assert server.asked("password") == [{"what": "password", "right": True}]
        assert NEWKEYS in messages(heard[0])
        server.stop()
        server.host_key = make_key(server.folder / "another_host_key")
        new = fingerprint(server.host_key)
        server.start()
        heard.clear()

        made = hand_over(service, "moved", "moved-1", "moved-2", "moved-3", "moved-4")

        tried(service, "moved", *made)
        for one in made:
            assert pushing.attempts(service, one)["moved"] == [(1, "HOST_KEY_MISMATCH", "host_key")]
        # All that was sent: a version and what a key exchange needs. Nothing was encrypted, as no NEWKEYS was sent.
        connections = len(heard)
        assert 1 <= connections <= 2, "the other recordings did not connect"
        for one in heard:
            sent = messages(one)
            assert KEXINIT in sent
            assert [number for number in sent if number not in (KEXINIT, DISCONNECT, *EXCHANGE)] == []
            assert server.password.encode() not in one
            assert server.user.encode() not in one
        assert len(server.asked("user")) == len(server.asked("password")) == 1, "those of before"
        remote = shown(service, "remote", "show", "moved")
        assert (remote["enabled"], remote["disabled_reason"]) == (False, "host_key")
        wait_for(lambda: "remote moved is disabled" in service.log_text(), "the event")
        (event,) = [line for line in service.log_text().splitlines() if "remote moved is disabled" in line]
        assert f"shows host key {new} instead of {old}" in event
        # Connected no more, whatever comes.
        made |= hand_over(service, "moved", "moved-5")
        tried(service, "moved", "moved-5")
        assert len(heard) == connections
        refused = [one for one in shown(service, "recording", "log", "--remote", "moved") if one["refused_host_key"]]
        assert [one["refused_host_key"] for one in refused] == [new] * connections

        with pytest.raises(subprocess.CalledProcessError):
            service.command("remote", "trust", "moved", "--fingerprint", old)
        service.command("remote", "trust", "moved", "--fingerprint", new)

        delivered(service, "moved", *made)
        for one in made:
            assert pushing.attempts(service, one)["moved"][-1] == (0, "OK", "")
            assert pushing.pushes(service, one)["moved"]["attempts"] == 1
        arrived(server.files / "in", made)
        assert all(one["right"] for one in server.asked("password"))


def messages(sent: bytearray) -> list[int]:
    """Numbers of a client's messages up to NEWKEYS, after which it has keys.

    :raises AssertionError: something is left that is no whole message.
    """
    version, _, packets = bytes(sent).partition(b"\r\n")
    assert version.startswith(b"SSH-2.0-")
    numbers: list[int] = []
    while packets and NEWKEYS not in numbers:
        size = int.from_bytes(packets[:4], "big")
        assert 12 <= size <= len(packets) - 4
        numbers.append(packets[5])
        packets = packets[4 + size :]
    return numbers


def test_a_wrong_password_costs_one_login_and_the_right_one_sends_all_that_waits(service, server, tmp_path):
    right, server.password = server.password, "not-the-right-one-77d2"
    pushing.add_remote(service, "word", server)
    environment(service, "word", "--remote", "word")
    made = hand_over(service, "word", *(f"word-{number}" for number in range(5)))
    tried(service, "word", *made)
    for one in made:
        assert pushing.attempts(service, one)["word"] == [(1, "SFTP_LOGIN_FAILED", "auth")]
    assert server.asked("password") == [{"what": "password", "right": False}]

    service.command("remote", "edit", "word", "--password-file", str(pushing.secret_file(service, "word", right)))

    delivered(service, "word", *made)
    arrived(server.files / "in", made)
    for one in made:
        assert pushing.attempts(service, one)["word"] == [(1, "SFTP_LOGIN_FAILED", "auth"), (0, "OK", "")]
    assert [one["right"] for one in server.asked("password")] == [False, *[True] * len(made)]


def test_a_disabled_remote_is_not_connected_to_and_an_enabled_one_gets_what_waits(service, server):
    pushing.add_remote(service, "off", server)
    environment(service, "off", "--remote", "off")
    service.command("remote", "disable", "off", "--yes")

    made = hand_over(service, "off", "off-1", "off-2")

    tried(service, "off", *made)
    assert pushing.attempts(service, "off-1")["off"] == [(1, "UPLOAD_FAILED", "disabled")]
    assert server.asked("connection") == []
    service.command("remote", "enable", "off", "--yes")
    delivered(service, "off", *made)
    arrived(server.files / "in", made)


def test_a_folder_that_was_missing_is_found_by_a_retry(service, server):
    pushing.add_remote(service, "folder", server)
    environment(service, "folder", "--remote", "folder")
    (server.files / "in").rmdir()
    made = hand_over(service, "folder", "folder-1", sizes=GROUP)
    tried(service, "folder", "folder-1")
    assert pushing.attempts(service, "folder-1")["folder"] == [(1, "INCORRECT_SFTP_FOLDER", "missing")]
    (server.files / "in").mkdir()

    service.command("recording", "retry", "folder-1", "--remote", "folder")

    delivered(service, "folder", "folder-1")
    arrived(server.files / "in", made)
    assert pushing.attempts(service, "folder-1")["folder"][1:] == [(0, "OK", "")]


def test_a_file_that_is_gone_or_changed_is_missing_and_its_return_is_enough(service, server):
    """Nobody is called, and another content is never delivered."""
    pushing.add_remote(service, "lost", server)
    environment(service, "lost", "--remote", "lost", "--delete-delivered")
    service.command("remote", "disable", "lost", "--yes")
    made = hand_over(service, "lost", "lost-gone", "lost-changed")
    tried(service, "lost", *made)
    path, _ = made["lost-gone"]["main"]
    path.unlink()
    changed, content = made["lost-changed"]["main"]
    changed.write_bytes(content[::-1])

    service.command("remote", "enable", "lost", "--yes")

    tried(service, "lost", *made, times=2)
    assert pushing.attempts(service, "lost-gone")["lost"][1:] == [(0, "FILE_MISSING", "missing")]
    assert pushing.attempts(service, "lost-changed")["lost"][1:] == [(0, "FILE_MISSING", "changed")]
    assert server.asked("connection") == []
    for files in made.values():
        path, content = files["main"]
        path.write_bytes(content)
    for one in made:
        service.command("recording", "retry", one)
    delivered(service, "lost", *made)
    arrived(server.files / "in", made)


def test_follow_draws_lines_into_a_pipe_until_all_is_delivered(service, server):
    pushing.add_remote(service, "long", server)
    environment(service, "long", "--remote", "long")
    gate = server.stop_at("long-1.mp4", LARGE * 3 // 4)
    made = hand_over(service, "long", "long-1", sizes={"main": LARGE})
    wait_for(lambda: server.opened("in/long-1.mp4"), "the file on its way")
    command = [BIN / "conch-pipe", "--config", service.config, "recording", "show", "long-1", "--follow"]
    with subprocess.Popen(command, env=service._environment(), stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        lines = []
        for line in following.stdout:
            lines.append(line)
            if "%" in line:
                gate.unlink(missing_ok=True)
        status = following.wait(60)

    assert status == 0
    service.said.append("".join(lines))
    moving = [line for line in lines if "%" in line]
    assert moving and "long-1.mp4" in moving[0]
    assert lines[-1].split()[:2] == ["long", "DELIVERED"]
    assert "\x1b" not in "".join(lines)
    arrived(server.files / "in", made)


def test_with_several_processes_the_parent_pushes(fresh_service, server):
    service = fresh_service(pushing.ALLOWED | {"service.processes": 2})
    pushing.add_remote(service, "parents", server)
    environment(service, "parents", "--remote", "parents", "--delete-delivered")

    made = hand_over(service, "parents", "parents-1", "parents-2", sizes=GROUP)

    delivered(service, "parents", *made)
    arrived(server.files / "in", made)
    for one in made:
        assert pushing.attempts(service, one) == {"parents": [(1, "OK", "")]}


def brought(program: Program, fields: dict[str, str], files: list[Path], most: int | None = None) -> Any:
    """A recording with its files is sent, each in the role it is called by; or only so many bytes of it."""
    form = b""
    for name, value in fields.items():
        form += f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    for path in files:
        head = f'--edge\r\nContent-Disposition: form-data; name="{path.stem}"; filename="{path.name}"\r\n\r\n'
        form += head.encode() + path.read_bytes() + b"\r\n"
    form += b"--edge--\r\n"
    return program.send("POST", "/api/recordings", form, "multipart/form-data; boundary=edge", most)


def test_recordings_are_told_over_http_by_path_or_with_their_files_and_tried_again(service, server):
    """The program waits for nothing but the answer: the service hashes, records and pushes."""
    pushing.add_remote(service, "told", server)
    environment(service, "told", "--remote", "told")
    program = Program(service)
    made = {"told-1": {}, "told-2": {}}
    for role, path in pushing.files_of(service, "told-1", GROUP).items():
        made["told-1"][role] = (path, path.read_bytes())
    fields = {"organisation": pushing.ORGANISATION, "environment": "told", "id": "told-2"}
    for role, path in pushing.files_of(service, "told-2", GROUP).items():
        made["told-2"][role] = (path, path.read_bytes())

    by_path = program.ask(
        "POST",
        "/api/recordings",
        **(fields | {"id": "told-1"}),
        files={role: str(path) for role, (path, _) in made["told-1"].items()},
    )
    with_files = answer(brought(program, fields, [path for path, _ in made["told-2"].values()]))

    assert (by_path[0], with_files[0]) == (201, 201)
    delivered(service, "told", *made)
    arrived(server.files / "in", made)
    status, shown_now = program.ask("GET", f"/api/recordings/{with_files[1]['uid']}")
    assert (status, [(one["remote"], one["state"]) for one in shown_now["pushes"]]) == (200, [("told", "DELIVERED")])
    _, log = program.ask("GET", f"/api/pushes?recording={by_path[1]['uid']}")
    assert [(one["recordingId"], one["protocol"], one["status"]) for one in log["pushes"]] == [
        ("told-1", f"SFTP/{server.port}", "OK")
    ]
    assert log["pushes"][0]["hostKey"] == fingerprint(server.host_key)

    server.stop()
    late = pushing.files_of(service, "told-3", SMALL)
    _, told = program.ask("POST", "/api/recordings", **(fields | {"id": "told-3"}), files={"main": str(late["main"])})
    tried(service, "told", "told-3")
    assert program.ask("POST", f"/api/recordings/{told['uid']}/retry", remote="told")[0] == 202
    tried(service, "told", "told-3", times=2)
    assert [(number, status) for number, status, _ in pushing.attempts(service, "told-3")["told"]] == [
        (1, "SFTP_CONNECTION_TIMEOUT"),
        (0, "SFTP_CONNECTION_TIMEOUT"),
    ]


@pytest.mark.parametrize("label", ["A1", "A3"])
def test_a_service_killed_while_files_come_keeps_those_that_are_recorded_and_no_others(
    label, fresh_service, tmp_path, monkeypatch
):
    """Killed before the record (A1) or before the answer (A3), with the files of another recording on their way."""
    service = fresh_service()
    service.command("environment", "create", pushing.ORGANISATION, "kills")
    service.stop()
    file = tmp_path / "main.mp4"
    file.write_bytes(os.urandom(200_000))
    fields = {"organisation": pushing.ORGANISATION, "environment": "kills", "id": "half"}
    spool = service.folder / "state" / "recordings"
    with monkeypatch.context() as crashing:
        crashing.setenv("PIPE_CRASH", f"{label}:1")
        program = Program(service.start())
        half = brought(program, fields, [file], most=100_000)
        wait_for(lambda: list(spool.glob("receiving/*/main.mp4")), "half a file")
        with pytest.raises((OSError, http.client.HTTPException)):
            answer(brought(program, fields | {"id": "whole"}, [file]))
        half.close()
        assert service.process is not None
        service.process.wait(30)
        service.process = None

    program = Program(service.start())

    found = sorted(path.read_bytes() == file.read_bytes() for path in spool.rglob("*.*") if path.is_file())
    assert found == ([] if label == "A1" else [True])
    assert answer(brought(program, fields | {"id": "whole"}, [file]))[0] == (201 if label == "A1" else 200)
    assert len(list(spool.glob("received/*/main.mp4"))) == 1
