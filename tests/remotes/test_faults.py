"""Every way in which something can go wrong has one status and one word in the push log."""

from __future__ import annotations

import errno
import inspect
from pathlib import Path

import pytest
from twisted.conch.ssh.filetransfer import SFTPError

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Status
from conch_pipe.remotes.addresses import AddressRefused
from conch_pipe.remotes.delivery import NOT_TRIED
from conch_pipe.remotes.faults import Found, Stage, fault
from conch_pipe.ssh.client import errors as client
from conch_pipe.ssh.client.errors import ClientError, LoginRefused, TooLate

DOWN, UP, LOGIN = Status.SFTP_CONNECTION_TIMEOUT, Status.UPLOAD_FAILED, Status.SFTP_LOGIN_FAILED
FOLDER, KEY = Status.INCORRECT_SFTP_FOLDER, Status.HOST_KEY_MISMATCH
C, L, F, O, W, K = Stage.CONNECT, Stage.LOGIN, Stage.FOLDER, Stage.OPEN, Stage.WRITE, Stage.CHECK  # noqa: E741

ENDED = [
    (client.NameNotFound("x"), C, DOWN, "dns"),
    (client.ConnectionRefused("x"), C, DOWN, "refused"),
    (client.Unreachable("x"), C, DOWN, "unreachable"),
    (AddressRefused("x"), C, DOWN, "address"),
    (client.NotSSH("x"), C, DOWN, "not_ssh"),
    (TooLate("connect", 10), C, DOWN, "timeout"),
    (TooLate("version", 10), C, DOWN, "timeout"),
    (TooLate("kex", 10), C, DOWN, "timeout"),
    (TooLate("host key", 10), L, DOWN, "timeout"),
    (TooLate("kex", 10), L, DOWN, "timeout"),
    (TooLate("auth", 30), L, LOGIN, "timeout"),
    (TooLate("subsystem", 30), L, UP, "stalled"),
    (TooLate("request", 30), F, UP, "stalled"),
    (TooLate("request", 30), K, UP, "stalled"),
    (TooLate("progress", 60), W, UP, "stalled"),
    (TooLate("kex", 30), W, UP, "stalled"),  # a re-key
    (client.NoAgreement("cipher", [b"a"], [b"b"]), C, UP, "algorithms"),
    (client.HostKeyRefused("x"), C, KEY, "host_key"),
    (client.HostKeyRefused("x"), L, KEY, "host_key"),
    (client.HostKeyRefused("x"), W, KEY, "host_key"),
    (LoginRefused("x"), L, LOGIN, "auth"),
    (LoginRefused("x", ["publickey"], ["password"], ["password"]), L, LOGIN, "second_factor"),
    (client.NoSFTP("x"), L, UP, "subsystem"),
    (client.ProtocolBroken("x"), C, UP, "protocol"),
    (client.ProtocolBroken("x"), W, UP, "protocol"),
    (client.Disconnected(12, b"too many", "kex"), C, DOWN, "disconnected"),
    (client.Disconnected(11, b"bye"), W, UP, "connection_lost"),
    (client.ConnectionEnded("x"), C, DOWN, "connection_lost"),
    (client.ConnectionEnded("x"), L, UP, "connection_lost"),
    (client.ConnectionEnded("x"), W, UP, "connection_lost"),
    (client.ConnectionEnded("x"), K, UP, "connection_lost"),
    (ClientError("x"), W, UP, "failed"),
]
REFUSED = [
    (2, "No such file", F, FOLDER, "missing"),
    (2, "No such file", O, FOLDER, "missing"),
    (2, "No such file", W, UP, "failure"),
    (3, "Permission denied", F, UP, "permission"),
    (3, "Permission denied", O, UP, "permission"),
    (3, "Permission denied", W, UP, "permission"),
    (4, "Failure", O, UP, "failure"),
    (4, "Failure", W, UP, "failure"),
    (4, "No space left on device", W, UP, "no_space"),
    (4, "Disk full", W, UP, "no_space"),
    (4, "Disk quota exceeded", W, UP, "quota"),
    (4, "File too large", W, UP, "size"),
    (4, "the file is larger than 5 bytes", W, UP, "size"),
    (5, "Bad message", O, UP, "failure"),
    (6, "", W, UP, "connection_lost"),
    (7, "", W, UP, "connection_lost"),
    (8, "Unsupported", O, UP, "unsupported"),
    (11, "a code of a later version", W, UP, "failure"),
    (14, "no space on filesystem", W, UP, "no_space"),
]
OURS = [
    (Found(FOLDER, "not_a_folder", "x"), F, FOLDER, "not_a_folder"),
    (Found(UP, "short", "x"), K, UP, "short"),
    (Found(UP, "hash", "x"), K, UP, "hash"),
    (client.FileChanged("x"), W, UP, "local_file"),
    (OSError(errno.EIO, "Input/output error"), W, UP, "local_file"),
    (ValueError("x"), O, UP, "name"),
    (PipeError(Code.NOT_FOUND, "x"), C, LOGIN, "credentials"),
]


@pytest.mark.parametrize(("error", "stage", "status", "reason"), ENDED, ids=lambda one: type(one).__name__)
def test_what_ends_a_session(error, stage, status, reason):
    found = fault(error, stage)

    assert (found.status, found.reason, found.fatal) == (status, reason, True)
    assert found.detail


@pytest.mark.parametrize(("code", "text", "stage", "status", "reason"), REFUSED)
def test_what_a_server_refuses(code, text, stage, status, reason):
    found = fault(SFTPError(code, text), stage)

    assert (found.status, found.reason) == (status, reason)
    assert found.fatal is (code in (6, 7))


@pytest.mark.parametrize(("error", "stage", "status", "reason"), OURS, ids=lambda one: type(one).__name__)
def test_what_we_find_ourselves(error, stage, status, reason):
    found = fault(error, stage)

    assert (found.status, found.reason) == (status, reason)


def test_the_table_has_every_error_of_the_client():
    every = {one for _, one in inspect.getmembers(client, inspect.isclass) if issubclass(one, ClientError)}

    assert every == {type(error) for error, *_ in ENDED + OURS if isinstance(error, ClientError)} - {AddressRefused}


def test_every_word_is_explained_to_the_operator():
    page = (Path(__file__).parents[2] / "docs" / "recordings.md").read_text()
    words = {reason for *_, reason in ENDED + REFUSED + OURS} - {"failed"}

    assert {word for word in words | {NOT_TRIED, "too_slow", "marker", "changed"} if f"`{word}`" not in page} == set()


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "\u2028", "x" * 100_000, "a\nb"])
def test_a_sentence_is_one_line_of_printable_ascii(text):
    for error in (SFTPError(4, text), Found(UP, "x", text), PipeError(Code.FAILED, text), ClientError(text)):
        detail = fault(error, W).detail

        assert len(detail) <= 500
        assert all(" " <= c <= "~" for c in detail)


@pytest.mark.parametrize("error", [KeyError("x"), ZeroDivisionError(), RuntimeError()])
def test_what_nobody_expected_rises(error):
    with pytest.raises(type(error)):
        fault(error, W)


def test_a_local_files_path_is_not_told():
    assert "/secret/place" not in fault(OSError(errno.EIO, "Input/output error", "/secret/place"), W).detail
