"""Pushes to the servers of others over real sockets: a group arrives byte for byte, or the log says why not.

``PIPE_DOSE=2`` and more: the main file has 200 MB.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread

from conch_pipe.model import Pin, RecordedFile, Recording, Remote, RemoteSecrets, Report, Role, Status, new_id
from conch_pipe.remotes.pusher import Pusher
from conch_pipe.remotes.session import Surroundings
from conch_pipe.remotes.testing import test as try_remote
from conch_pipe.ssh.client.limits import ClientLimits
from tests.live import push_servers as customers
from tests.live.library_servers import NodeServer, ParamikoServer
from tests.live.sftp_servers import SERVERS, Dropbear, PeerServer, free_port
from tests.remotes.faults import FaultProxy
from tests.remotes.lines import Trouble
from tests.remotes.pushing import Secrets

pytestmark = pytest.mark.live

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
MAIN = 200_000_000 if DOSE > 1 else 8_000_000
SIZES = dict(zip(Role, (MAIN, 3_000_001, 40_000, 0), strict=True))
GOOD = (*SERVERS, ParamikoServer, NodeServer, customers.Hardened, customers.RenameDenied, customers.KeyboardServer,
        customers.ProFTPD)  # fmt: skip
NOW = datetime(2026, 7, 1, tzinfo=UTC)


def running(kind: type[PeerServer], folder: Path) -> Iterator[PeerServer]:
    """One server with a folder "in" and a file."""
    if (why := kind.missing()) is not None:
        pytest.skip(why)
    server = kind(folder)
    (server.files / "in").mkdir()
    (server.files / "a-file").write_bytes(b"x")
    with server:
        yield server


@pytest.fixture(scope="module", params=GOOD, ids=lambda kind: kind.name.replace(" ", "-"))
def server(request, tmp_path_factory) -> Iterator[PeerServer]:
    """Each in turn."""
    yield from running(request.param, tmp_path_factory.mktemp("server"))


@pytest.fixture
def bad(request, tmp_path) -> Iterator[PeerServer]:
    """One that takes nothing, named by the test."""
    yield from running(request.param, tmp_path / "server")


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Recording:
    """Four files of random bytes."""
    folder = tmp_path_factory.mktemp("recording")
    return Recording(new_id(NOW), "r1", "shop", "live", "n", tuple(local(folder, role) for role in Role), NOW)


def local(folder: Path, role: Role) -> RecordedFile:
    path = folder / role.value
    path.write_bytes(os.urandom(SIZES[role]))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return RecordedFile(role, path, f"n_{role.value}.bin", SIZES[role], path.stat().st_mtime_ns, digest)


def remote(server: PeerServer, **fields: Any) -> Remote:
    """A server as an operator would have entered it."""
    blob = Key.fromFile(f"{server.host_key}.pub").blob()
    usual = {
        "host": "127.0.0.1",
        "username": server.user,
        "created_at": NOW,
        "port": server.port,
        "folder": server.remote("in").decode(),
        "pins": () if isinstance(server, Dropbear) else (Pin(blob, NOW, "given"),),
        "any_host_key": isinstance(server, Dropbear),  # it has its key in a form of its own
    }
    return Remote("customer", "shop", **(usual | fields))


def secrets(server: PeerServer) -> RemoteSecrets:
    return RemoteSecrets(server.password, server.key.read_bytes() if server.key else None)


def around(**limits: float) -> Surroundings:
    from twisted.internet import reactor

    return Surroundings(reactor, deferToThread, (IPv4Network("127.0.0.0/8"),), ClientLimits(**limits))


async def push(
    there: Remote, opens: RemoteSecrets, recording: Recording, wanted: frozenset[Role] = frozenset(Role)
) -> Report:
    return await Pusher(around(), Secrets(opens)).push(there, recording, wanted, lambda role, size: None)


def same(folder: Path, recording: Recording) -> None:
    """Every file is there, and what it should be."""
    for file in recording.files:
        with (folder / file.name).open("rb") as there:
            assert hashlib.file_digest(there, "sha256").hexdigest() == file.sha256, file.name


@pytest.mark.parametrize("temporary_names", [False, True], ids=["final", "temporary"])
@ensureDeferred
async def test_a_group_arrives_byte_for_byte_and_again(server, recording, temporary_names):
    """Also when the files are there already: a reply may have been lost the time before."""
    there = remote(server, temporary_names=temporary_names, marker="{NAME}.done")
    for _ in range(2):
        report = await push(there, secrets(server), recording)

        assert (report.status, report.reason) == (Status.OK, ""), report
        assert [one.reason for one in report.files] == [""] * 4
        same(server.files / "in", recording)
    wanted = {file.name for file in recording.files} | {"n.done"}
    found = set(os.listdir(server.files / "in"))
    left = {name for name in found - wanted if not (name.startswith(".") and name.endswith(".part"))}
    assert found >= wanted
    assert left == set()


@ensureDeferred
async def test_the_steps_of_a_test_are_all_well(server):
    there = remote(server)

    steps = await try_remote(around(), there, secrets(server))

    levels = {step.name: step.level for step in steps}
    assert set(levels.values()) <= {"ok", "warn"}, steps
    assert levels["login"] == levels["folder"] == "ok"
    stays = [name for name in os.listdir(server.files / "in") if name.startswith("pipe-sftp-test")]
    assert bool(stays) == ("stays there" in steps[-1].words)
    assert stays or not isinstance(server, customers.Hardened)
    for name in stays:
        assert name in steps[-1].words
        (server.files / "in" / name).unlink()


@ensureDeferred
async def test_a_folder_that_is_missing_or_a_file(server, recording):
    """The ssh2 server of the tests has no STAT for folders: there the OPEN finds no such folder."""
    for name, reasons in (("nowhere", {"missing"}), ("a-file", {"not_a_folder", "missing"})):
        report = await push(remote(server, folder=server.remote(name).decode()), secrets(server), recording)

        assert report.status is Status.INCORRECT_SFTP_FOLDER, report
        assert report.reason in reasons
    assert not (server.files / "nowhere").exists()


@ensureDeferred
async def test_a_wrong_password_or_key(server, recording, tmp_path):
    from tests.live.sftp_servers import make_key

    wrong = RemoteSecrets("wrong" if server.password else None, None)
    if server.key:
        wrong = replace(wrong, private_key=make_key(tmp_path / "other").read_bytes())

    report = await push(remote(server), wrong, recording)

    assert report.status is Status.SFTP_LOGIN_FAILED, report


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (customers.ReadOnly, "permission"),
        (customers.ReadOnlyDisk, "permission"),
        (customers.FullDisk, "no_space"),
        (customers.FewInodes, "no_space"),
    ],
    ids=lambda one: one.name.replace(" ", "-") if isinstance(one, type) else "",
    indirect=["bad"],
)
@ensureDeferred
async def test_a_server_that_cannot_take_it_says_why(bad, reason, recording):
    report = await push(remote(bad), secrets(bad), recording)

    assert (report.status, report.reason) == (Status.UPLOAD_FAILED, reason), report
    assert [one.reason for one in report.files] == [reason, *["not_tried"] * 3]


@ensureDeferred
async def test_our_own_service_takes_a_recording_like_any_upload(service, files, tmp_path):
    """Put-only, with files that are looked through: its names end in csv, and it answers STAT for what came."""
    path = tmp_path / "own.csv"
    path.write_bytes(files.csv.read_bytes())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = RecordedFile(Role.MAIN, path, "pushed.csv", path.stat().st_size, path.stat().st_mtime_ns, digest)
    group = Recording(new_id(NOW), "own", "shop", "live", "n", (file,), NOW)
    target = service.target(tmp_path / "scratch")
    there = Remote("own", "shop", "127.0.0.1", target.username, NOW, port=service.port, folder="orgTransactions")
    opens = RemoteSecrets(target.password)

    learnt = await try_remote(around(), there, opens)
    blob = next(step.host_key for step in learnt if step.host_key is not None)
    there = replace(there, pins=(Pin(blob, NOW, "learnt"),), temporary_names=True)
    report = await push(there, opens, group, frozenset({Role.MAIN}))

    assert (report.status, report.files[0].detail) == (Status.OK, ""), report
    assert report.host_key == target.fingerprint
    verdict = await deferToThread(service.verdicts, "pushed.csv")
    assert verdict["pushed.csv"]["state"] == "COMPLETED"
    with path.open(newline="") as lines:
        assert verdict["pushed.csv"]["rows"] == sum(1 for _ in csv.reader(lines)) - 1


# Through a proxy that does harm, to one server.


@pytest.fixture(scope="module")
def asyncssh(tmp_path_factory) -> Iterator[PeerServer]:
    """The one whose login is quickest."""
    yield from running(SERVERS[1], tmp_path_factory.mktemp("behind-proxy"))


async def through(
    asyncssh: PeerServer, recording: Recording, up: Trouble | None = None, down: Trouble | None = None, **limits: float
) -> Report:
    from twisted.internet import reactor

    proxy = await FaultProxy(reactor, asyncssh.port, up, down).start()
    try:
        pusher = Pusher(around(**limits), Secrets(secrets(asyncssh)))
        report = await pusher.push(
            remote(asyncssh, port=proxy.port), recording, frozenset(Role), lambda role, size: None
        )
        assert proxy.connections == 1
    finally:
        await proxy.stop()
    return report


@pytest.mark.parametrize(
    ("trouble", "status", "reason"),
    [
        (Trouble(after=0), Status.SFTP_CONNECTION_TIMEOUT, "connection_lost"),
        (Trouble(after=2_000_000, then="reset"), Status.UPLOAD_FAILED, "connection_lost"),
        (Trouble(after=2_000_000, then="close"), Status.UPLOAD_FAILED, "connection_lost"),
        (Trouble(after=2_000_000, then="half_close"), Status.UPLOAD_FAILED, "connection_lost"),
        (Trouble(after=2_000_000, then="stall"), Status.UPLOAD_FAILED, "stalled"),
    ],
    ids=["at once", "reset", "close", "half close", "stall"],
)
@ensureDeferred
async def test_a_connection_that_breaks_is_a_failure_and_the_next_attempt_delivers(
    asyncssh, recording, trouble, status, reason
):
    report = await through(asyncssh, recording, trouble, progress_s=0.5, request_s=0.5)

    assert (report.status, report.reason) == (status, reason), report
    assert (await through(asyncssh, recording)).status is Status.OK
    same(asyncssh.files / "in", recording)


@pytest.mark.parametrize("then", ["reset", "stall"])
@ensureDeferred
async def test_answers_that_get_lost_are_a_failure(asyncssh, recording, then):
    report = await through(asyncssh, recording, down=Trouble(after=4_000, then=then), progress_s=0.5, request_s=0.5)

    assert report.status is Status.UPLOAD_FAILED, report


@ensureDeferred
async def test_a_slow_line_delivers(asyncssh, recording):
    small = replace(recording, files=recording.files[1:2])
    slow = Trouble(rate=6_000_000, delay_s=0.02)

    report = await through(asyncssh, small, slow, slow)

    assert report.status is Status.OK, report
    same(asyncssh.files / "in", small)


@ensureDeferred
async def test_nobody_listening_is_told_in_no_time(asyncssh, recording):
    report = await push(remote(asyncssh, port=free_port()), secrets(asyncssh), recording)

    assert (report.status, report.reason) == (Status.SFTP_CONNECTION_TIMEOUT, "refused")
    assert not report.connected


@ensureDeferred
async def test_without_a_network_that_is_allowed_loopback_is_refused_whatever_its_name(asyncssh, recording):
    from twisted.internet import reactor

    pusher = Pusher(Surroundings(reactor, deferToThread), Secrets(secrets(asyncssh)))
    for host in ("127.0.0.1", "localhost", "2130706433", "127.1", "0x7f.1"):
        report = await pusher.push(remote(asyncssh, host=host), recording, frozenset(Role), lambda role, size: None)
        assert (report.status, report.reason) == (Status.SFTP_CONNECTION_TIMEOUT, "address"), host


@ensureDeferred
async def test_cancelling_in_mid_file_closes_the_connection(asyncssh, recording):
    from twisted.internet import reactor

    proxy = await FaultProxy(reactor, asyncssh.port, Trouble(after=1_000_000, then="stall")).start()
    try:
        there = remote(asyncssh, port=proxy.port)
        pushing: Any = Pusher(around(), Secrets(secrets(asyncssh))).push(
            there, recording, frozenset(Role), lambda role, size: None
        )
        while not (asyncssh.files / "in" / recording.main.name).exists() or not proxy.sides:
            await pause(0.05)
        pushing.addErrback(lambda failure: failure.trap(CancelledError))
        pushing.cancel()
        await pushing
        for _ in range(200):
            if not proxy.sides:
                break
            await pause(0.05)
        assert not proxy.sides, "the connection is still there"
    finally:
        await proxy.stop()


def pause(seconds: float) -> Deferred[None]:
    """Let the reactor turn."""
    from twisted.internet import reactor, task

    return task.deferLater(reactor, seconds)  # type: ignore[arg-type]
