"""One attempt: what is sent, in which order, and what the report says of it."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from typing import Any

import pytest
from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IPusher
from conch_pipe.model import Recording, RemoteSecrets, Role, Status
from conch_pipe.ssh.client.auth import Credentials
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.interfaces import FileSystemStatus
from conch_pipe.ssh.keys import fingerprint
from tests.conftest import CANARY
from tests.remotes.lines import Trouble
from tests.remotes.lying import DENIED, FAILURE, MISSING
from tests.remotes.pushing import ADDRESS, NOW, World, pin, recorded
from tests.ssh.memory import PASSWORD
from tests.ssh.pair import host_key
from tests.ssh.sftp_peer import Outcome

SIDE = frozenset({Role.RAW, Role.SNAPSHOT, Role.FILMSTRIP})


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def reasons(report) -> dict[Role, str]:
    return {one.role: one.reason for one in report.files}


def opened(world) -> list[bytes]:
    return [path for operation, path in world.liar.asked if operation == "open"]


# What goes well.


def test_a_group_arrives_byte_for_byte_the_main_file_first(world):
    report = world.push()

    assert (report.status, report.reason, report.detail) == (Status.OK, "", "")
    assert world.arrived() == set(Role)
    assert [(one.role, one.bytes, one.reason, one.detail) for one in report.files] == [
        (file.role, file.bytes, "", "") for file in world.recording.files
    ]
    assert opened(world) == [b"/home/in/" + file.name.encode() for file in world.recording.files]
    assert report.connected
    assert report.host_key == fingerprint(pin().blob)
    assert "ssh-ed25519" in report.algorithms
    assert report.refused_key is None
    assert len(world.liar.connections) == 1, "one connection for a group"


def test_nothing_is_created_listed_removed_or_renamed_besides(world):
    """Pipe's security page: the server may deny remove and rmdir, and the folder must exist."""
    world.push()

    assert set(world.liar.operations()) == {"realpath", "stat", "open", "close"}


def test_only_what_is_wanted_is_sent(world):
    report = world.push(frozenset({Role.SNAPSHOT}))

    assert report.status is Status.OK
    assert world.arrived() == {Role.SNAPSHOT}
    assert reasons(report) == {Role.SNAPSHOT: ""}


@pytest.mark.parametrize(
    ("folder", "there"),
    [
        ("in", b"/home/in/"),
        ("in/", b"/home/in/"),
        ("/home/in", b"/home/in/"),
        ("/home/in/", b"/home/in/"),
        ("", b"/home/"),
        ("/", b"/"),
        (".", b"/home/"),
    ],
)
def test_a_folder_is_relative_to_the_login_folder_unless_it_is_absolute(world, folder, there):
    assert world.push(folder=folder).status is Status.OK
    assert world.arrived(there) == set(Role)


def test_a_server_without_realpath_gets_relative_paths(tmp_path):
    world = World(tmp_path, refuse={"realpath": SFTPError(8, "Unsupported")})

    assert world.push().status is Status.OK
    assert world.arrived() == set(Role)
    assert opened(world)[0] == b"in/n.mp4"


@pytest.mark.parametrize(("size", "largest"), [(4_096, 4_096), (40_000, 40_000), (0, 261_120)])
def test_a_write_is_as_large_as_the_server_and_the_remote_take(world, size, largest):
    world.push(chunk_size=size)

    assert max(world.liar.sizes) == largest


@pytest.mark.parametrize(("size", "largest"), [(4_096, 4_096), (40_000, 40_000), (0, 32_768)])
def test_a_server_that_does_not_say_what_it_takes_gets_what_the_remote_says(world, size, largest):
    world.liar.extensions.pop(b"limits@openssh.com")

    world.push(chunk_size=size)

    assert max(world.liar.sizes) == largest


def test_progress_is_what_the_server_has_acknowledged_and_at_most_four_times_a_second(world):
    world.net.up = Trouble(rate=50_000)
    report = world.push(within_s=60, chunk_size=10_000)

    assert report.status is Status.OK
    main = [size for role, size in world.progress if role is Role.MAIN]
    assert main == sorted(set(main))
    assert main[-1] <= 300_000
    assert len(main) >= 3
    assert len(world.progress) <= 4 * report.seconds


# Markers.


def test_the_marker_comes_last_and_is_empty(world):
    report = world.push(marker="{NAME}.done")

    assert report.status is Status.OK
    assert opened(world)[-1] == b"/home/in/n.done"
    assert world.liar.files[b"/home/in/n.done"] == b""


def test_there_is_no_marker_for_a_group_that_is_not_whole(tmp_path):
    world = World(tmp_path, refuse={("open", b"n.jpg"): DENIED})

    report = world.push(marker="{NAME}.done")

    assert report.status is Status.OK
    assert reasons(report)[Role.SNAPSHOT] == "permission"
    assert b"/home/in/n.done" not in world.liar.files


def test_the_marker_comes_when_the_rest_of_the_group_has(tmp_path):
    world = World(tmp_path)

    world.push(frozenset({Role.SNAPSHOT}), marker="done-{NAME}")

    assert b"/home/in/done-n" in world.liar.files


def test_without_its_marker_the_last_file_has_not_arrived(tmp_path):
    """Otherwise the group would be delivered and the marker never come."""
    world = World(tmp_path, refuse={("open", b"n.done"): DENIED})

    report = world.push(marker="{NAME}.done")

    assert report.status is Status.OK
    assert reasons(report) == {Role.MAIN: "", Role.RAW: "", Role.SNAPSHOT: "", Role.FILMSTRIP: "marker"}

    world.recording = replace(world.recording, files=world.recording.files[:1])
    report = world.push(frozenset({Role.MAIN}))
    assert (report.status, report.reason) == (Status.UPLOAD_FAILED, "marker")


# Temporary names.


@pytest.mark.parametrize("posix", [True, False])
def test_a_temporary_name_is_renamed_when_the_file_is_there(world, posix):
    if not posix:
        del world.liar.extensions[b"posix-rename@openssh.com"]

    report = world.push(temporary_names=True)

    assert report.status is Status.OK
    assert world.arrived() == set(Role)
    assert set(world.liar.files) == {b"/home/in/" + file.name.encode() for file in world.recording.files}
    assert opened(world)[0] == b"/home/in/.n.mp4.part"
    assert ("posix_rename" if posix else "rename") in world.liar.operations()


@pytest.mark.parametrize("removal", [None, DENIED])
def test_a_server_that_does_not_rename_gets_the_final_name_now_and_from_then_on(tmp_path, removal):
    """sftp-server -P remove,rmdir,rename,posix-rename"""
    denied = {"posix_rename": DENIED, "rename": DENIED} | ({"remove": removal} if removal else {})
    world = World(tmp_path, refuse=denied)

    report = world.push(temporary_names=True)

    assert report.status is Status.OK
    assert world.arrived() == set(Role)
    left = [path for path in world.liar.files if path.endswith(b".part")]
    assert left == ([b"/home/in/.n.mp4.part"] if removal else [])
    assert "did not rename" in report.files[0].detail
    assert [path for path in opened(world) if path.endswith(b".part")] == [b"/home/in/.n.mp4.part"]

    world.liar.asked.clear()
    assert world.push().status is Status.OK
    assert [path for path in opened(world) if path.endswith(b".part")] == [], "remembered"

    world.push(changed_at=NOW)
    assert [path for path in opened(world) if path.endswith(b".part")] != [], "until the operator changes the remote"


def test_a_name_that_is_taken_is_written_over_where_rename_cannot(world):
    """Plain RENAME does not replace: the attempt before may have left the file."""
    del world.liar.extensions[b"posix-rename@openssh.com"]
    world.liar.files[b"/home/in/n.mp4"] = bytearray(b"half of it")

    report = world.push(temporary_names=True)

    assert report.status is Status.OK
    assert world.arrived() == set(Role)
    assert [path for path in opened(world) if path.endswith(b".part")] == [
        b"/home/in/.%s.part" % file.name.encode() for file in world.recording.files
    ], "it is not remembered"


# Looking at what arrived.


def test_a_size_that_differs_is_a_failure(tmp_path):
    world = World(tmp_path, lost=1)

    report = world.push()

    assert (report.status, report.reason) == (Status.UPLOAD_FAILED, "short")
    assert reasons(report) == {Role.MAIN: "short", **dict.fromkeys(SIDE, "not_tried")}
    assert opened(world) == [b"/home/in/n.mp4"], "the main file failed: nothing else is tried"


@pytest.mark.parametrize(
    "lies",
    [
        {"refuse": {("stat", b"n.mp4"): DENIED}},
        {"refuse": {("stat", b"n.mp4"): MISSING}},
        {"refuse": {("stat", b"n.mp4"): SFTPError(8, "Unsupported")}},
        {"told": {b"n.mp4": None}},
    ],
    ids=["denied", "taken away already", "unsupported", "no size"],
)
def test_a_server_that_does_not_tell_the_size_is_believed_and_the_log_says_so(tmp_path, lies):
    world = World(tmp_path, **lies)

    report = world.push()

    assert report.status is Status.OK
    assert report.files[0].reason == ""
    assert "does not tell" in report.files[0].detail
    assert report.files[1].detail == ""


def test_a_hash_is_compared_where_the_server_has_one(tmp_path):
    world = World(tmp_path)
    main = world.recording.files[0]
    world.recording = replace(world.recording, files=(main,))
    world.liar.extensions[b"check-file"] = b"sha256"

    world.liar.hashed = bytes.fromhex(main.sha256)
    assert world.push(frozenset({Role.MAIN})).status is Status.OK
    assert ("check_file", b"/home/in/n.mp4") in world.liar.asked

    world.liar.hashed = bytes(32)
    report = world.push(frozenset({Role.MAIN}))
    assert (report.status, report.reason) == (Status.UPLOAD_FAILED, "hash")


# Local files.


def test_a_missing_main_file_is_told_without_a_connection_or_a_secret(world):
    world.recording.files[0].path.unlink()

    report = world.push()

    assert (report.status, report.reason) == (Status.FILE_MISSING, "missing")
    assert reasons(report) == {Role.MAIN: "missing", **dict.fromkeys(SIDE, "not_tried")}
    assert not report.connected
    assert world.net.connected == []
    assert world.secrets.asked == 0


def test_a_missing_side_file_is_noted_and_the_others_arrive(world):
    world.recording.files[2].path.unlink()

    report = world.push()

    assert report.status is Status.OK
    assert reasons(report) == {Role.MAIN: "", Role.RAW: "", Role.SNAPSHOT: "missing", Role.FILMSTRIP: ""}
    assert world.arrived() | {Role.SNAPSHOT} == set(Role) if world.recording.files[2].path.exists() else True


def test_when_nothing_that_is_wanted_is_there_nobody_is_called(world):
    for file in world.recording.files[1:]:
        file.path.unlink()

    report = world.push(SIDE)

    assert (report.status, report.reason) == (Status.FILE_MISSING, "missing")
    assert world.net.connected == []


def spoil(path, how: str) -> None:
    """Make a file another one."""
    if how == "bytes":
        data = bytearray(path.read_bytes())
        data[7] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(1, 1))
    elif how == "size":
        path.write_bytes(b"more " + path.read_bytes())
    elif how == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to(path.with_name("elsewhere"))
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "pipe":
        path.unlink()
        os.mkfifo(path)


@pytest.mark.parametrize("how", ["bytes", "size", "link", "folder", "pipe"])
def test_other_content_than_was_accepted_is_never_sent(world, how):
    spoil(world.recording.files[0].path, how)

    report = world.push()

    assert report.status is Status.FILE_MISSING
    assert report.reason in ("changed", "local_file")
    assert world.net.connected == []


def test_another_size_is_seen_even_when_the_time_was_put_back(world):
    file = world.recording.files[0]
    file.path.write_bytes(file.path.read_bytes() + b"more")
    os.utime(file.path, ns=(file.mtime_ns, file.mtime_ns))

    assert world.push().reason == "changed"


def test_a_pipe_in_the_place_of_an_empty_file_is_not_read(world):
    spoil(world.recording.files[3].path, "pipe")

    assert reasons(world.push())[Role.FILMSTRIP] == "changed"


def test_a_file_that_was_touched_and_is_the_same_is_sent(world):
    path = world.recording.files[0].path
    os.utime(path, ns=(1, 1))

    assert world.push().status is Status.OK
    assert world.arrived() == set(Role)


@pytest.mark.parametrize("how", ["shorter", "longer", "touched"])
def test_a_local_file_that_changes_while_it_is_sent_has_not_arrived(world, how):
    world.net.up = Trouble(rate=50_000)
    pushing = Outcome(world.start())
    world.net.pass_s(3)
    path = world.recording.files[0].path
    if how == "shorter":
        os.truncate(path, 100_000)
    elif how == "longer":
        path.write_bytes(path.read_bytes() + b"more")
    else:
        os.utime(path, ns=(1, 1))

    world.net.pass_s(30)

    report = pushing.value
    assert (report.status, report.reason) == (Status.UPLOAD_FAILED, "local_file")
    assert reasons(report)[Role.RAW] == "not_tried"
    world.quiet()


def test_a_local_file_that_is_replaced_while_it_is_sent_arrives_as_it_was_accepted(world):
    world.net.up = Trouble(rate=50_000)
    pushing = Outcome(world.start())
    world.net.pass_s(3)
    path = world.recording.files[0].path
    accepted = path.read_bytes()
    path.unlink()
    path.write_bytes(b"another")

    world.net.pass_s(30)

    assert pushing.value.status is Status.OK
    assert world.liar.files[b"/home/in/n.mp4"] == accepted
    world.quiet()


# Side files.


def test_a_side_file_that_is_refused_is_noted_and_does_not_fail_the_attempt(tmp_path):
    world = World(tmp_path, refuse={("open", b"n_raw.mp4"): DENIED})

    report = world.push()

    assert report.status is Status.OK
    assert reasons(report) == {Role.MAIN: "", Role.RAW: "permission", Role.SNAPSHOT: "", Role.FILMSTRIP: ""}
    assert world.arrived() == set(Role) - {Role.RAW}


def test_a_connection_lost_after_the_main_file_is_still_ok_and_the_others_say_why(tmp_path):
    world = World(tmp_path, silent={("write", b"n_raw.mp4")})
    pushing = Outcome(world.start())
    world.net.settle()

    world.net.links[0].cut()

    report = pushing.value
    assert report.status is Status.OK
    assert reasons(report) == {Role.MAIN: "", **dict.fromkeys(SIDE, "connection_lost")}
    world.quiet()


def test_a_connection_lost_when_only_side_files_were_wanted_is_a_failure(tmp_path):
    world = World(tmp_path, silent={("write", b"n_raw.mp4")})
    pushing = Outcome(world.start(SIDE))
    world.net.settle()

    world.net.links[0].cut()

    assert (pushing.value.status, pushing.value.reason) == (Status.UPLOAD_FAILED, "connection_lost")
    world.quiet()


# Full disks.


@pytest.mark.parametrize("where", ["write", "close"])
def test_a_bare_failure_on_a_full_disk_is_told_as_such(tmp_path, where):
    """OpenSSH says "Failure"; statvfs tells the rest."""
    lies: dict[str, Any] = {"free": FileSystemStatus(4096, 100, 0, 100, 50)}
    lies |= {"write_error": FAILURE, "good_writes": 0} if where == "write" else {"refuse": {"close": FAILURE}}
    world = World(tmp_path, **lies)

    report = world.push()

    assert (report.status, report.reason) == (Status.UPLOAD_FAILED, "no_space")


@pytest.mark.parametrize("lies", [{}, {"refuse": {"statvfs": DENIED}}])
def test_a_bare_failure_with_room_left_stays_one(tmp_path, lies):
    lies = {**lies, "refuse": {"close": FAILURE, **lies.get("refuse", {})}}
    report = World(tmp_path, **lies).push()

    assert (report.status, report.reason) == (Status.UPLOAD_FAILED, "failure")


# Secrets.


@pytest.mark.parametrize(
    "secrets",
    [
        PipeError(Code.NOT_FOUND, "the remote has no secrets"),
        PipeError(Code.FAILED, "the secrets cannot be unsealed"),
        RemoteSecrets(),
        RemoteSecrets(private_key=b"no key at all"),
        RemoteSecrets("kanarek\udcff"),
    ],
)
def test_without_usable_secrets_nobody_is_called(tmp_path, secrets):
    world = World(tmp_path, secrets=secrets)

    report = world.push()

    assert (report.status, report.reason) == (Status.SFTP_LOGIN_FAILED, "credentials")
    assert "udcff" not in report.detail
    assert world.net.connected == []


def test_a_key_that_cannot_be_read_is_not_repeated(tmp_path):
    world = World(tmp_path, secrets=RemoteSecrets(private_key=f"-----BEGIN {CANARY}".encode()))

    assert CANARY not in repr(world.push())


def test_no_report_has_the_password_even_when_the_server_says_it(tmp_path):
    world = World(tmp_path, login="echo")

    report = world.push()

    assert report.status is Status.SFTP_LOGIN_FAILED
    assert PASSWORD.decode() not in repr(report)


def test_no_credentials_outlive_the_login(tmp_path):
    world = World(tmp_path, silent={"close"})
    gc.collect()
    before = {id(one) for one in gc.get_objects() if isinstance(one, Credentials)}
    outcome = Outcome(world.start())
    world.net.settle()

    gc.collect()
    left = [one for one in gc.get_objects() if isinstance(one, Credentials) and id(one) not in before]

    assert left == []
    assert not outcome.fired
    world.net.links[0].cut()
    world.quiet()


def test_the_pusher_is_one(world):
    verifyObject(IPusher, world.pusher)


def test_secrets_are_asked_for_once_an_attempt(world):
    world.push()
    world.push()

    assert world.secrets.asked == 2


# Ends.


@pytest.mark.parametrize("at_s", [0, 1, 3])
def test_cancelling_closes_the_connection(world, at_s):
    world.net.up = Trouble(rate=50_000)
    pushing = world.start()
    outcome = Outcome(pushing)
    world.net.pass_s(at_s)

    pushing.cancel()

    assert isinstance(outcome.error, CancelledError)
    world.quiet()


@pytest.mark.parametrize("server", [None, "silent"])
def test_cancelling_while_connecting_closes_too(world, server):
    if server is None:
        world.net.servers[ADDRESS, 22] = None
    else:
        world.net.down = Trouble(after=0, then="stall")
    pushing = world.start()
    outcome = Outcome(pushing)
    world.net.settle()

    pushing.cancel()

    assert isinstance(outcome.error, CancelledError)
    world.quiet()


def test_files_opened_by_a_thread_that_ends_after_the_cancelling_are_closed(tmp_path):
    late: Deferred[Any] = Deferred()
    results: list[Any] = []

    def in_thread(function: Any, *arguments: Any) -> Deferred[Any]:
        results.append(lambda: function(*arguments))
        return late

    world = World(tmp_path, in_thread=in_thread)
    pushing = world.start()
    outcome = Outcome(pushing)
    before = len(os.listdir("/proc/self/fd"))

    files = results[0]()
    pushing.cancel()
    late.callback(files)

    assert isinstance(outcome.error, CancelledError)
    assert len(files) == 4
    assert len(os.listdir("/proc/self/fd")) == before
    world.quiet()


def test_no_file_stays_open(world):
    before = len(os.listdir("/proc/self/fd"))

    world.push()

    assert len(os.listdir("/proc/self/fd")) == before


def test_an_attempt_ends_when_its_time_is_up(tmp_path):
    world = World(tmp_path, attempt_s=120, drip_s=50)
    report = world.push(within_s=200, then_s=60, chunk_size=1_000)

    assert (report.status, report.reason) == (Status.UPLOAD_FAILED, "too_slow")
    assert report.seconds == 120
    assert set(reasons(report).values()) == {"too_slow"}


def test_the_report_comes_when_the_time_is_up_and_does_not_wait_for_the_connection_to_end(tmp_path):
    """The chain has the same limit, and would otherwise cancel an attempt that knows what has arrived."""
    world = World(tmp_path, attempt_s=20, silent={("write", b"n_raw.mp4")})
    pushing = world.start()
    outcome = Outcome(pushing)
    world.net.pass_s(19)

    world.net.advance(1)
    pushing.cancel()

    assert reasons(outcome.value)[Role.MAIN] == ""
    world.quiet()


def test_a_report_after_the_time_was_up_keeps_what_had_arrived(tmp_path):
    world = World(tmp_path, attempt_s=20, silent={("write", b"n_raw.mp4")})

    report = world.push(within_s=60)

    assert report.status is Status.OK
    assert reasons(report) == {Role.MAIN: "", **dict.fromkeys(SIDE, "too_slow")}


def test_an_unexpected_exception_rises_and_the_connection_is_closed(world):
    outcome = Outcome(world.start(algorithms="no such preset"))

    assert isinstance(outcome.error, KeyError)
    world.quiet()


def test_many_attempts_run_at_a_time(world):
    outcomes = [Outcome(world.start()) for _ in range(5)]
    world.net.settle()

    assert [outcome.value.status for outcome in outcomes] == [Status.OK] * 5
    world.quiet()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_a_name_never_leaves_its_folder(tmp_path, name):
    world = World(tmp_path)
    main = recorded(tmp_path / "main", Role.MAIN, b"data", name="x")
    world.recording = Recording(
        world.recording.uid, "r", "shop", "live", "n", (replace(main, name=name),), world.recording.saved_at
    )

    report = world.push()

    assert (report.status, report.reason) == (Status.UPLOAD_FAILED, "name")
    assert world.liar.files == {}


def test_a_slow_login_is_waited_for_longer_than_a_connection(tmp_path):
    """sshd delays a refusal by some seconds; the 10 s are for what comes before."""
    world = World(tmp_path, login="silent", limits=ClientLimits(login_s=30))

    report = world.push(within_s=40)

    assert (report.status, report.reason) == (Status.SFTP_LOGIN_FAILED, "timeout")
    assert 30 <= report.seconds <= 31


def test_a_failure_is_not_a_report(world):
    """Outcome.value of a Deferred is a Report, never a Failure."""
    assert not isinstance(world.push(), Failure)
    assert host_key().public().blob() == world.remote.pins[0].blob
