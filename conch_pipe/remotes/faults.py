"""What went wrong, as the push log says it: a status, one stable word and a sentence. Pure.

:source: Pipe's documentation, "SFTP logs", for the statuses; DESIGN ruling 8 for the words.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from twisted.conch.ssh.filetransfer import SFTPError

from conch_pipe.errors import PipeError
from conch_pipe.model import Status
from conch_pipe.remotes.addresses import AddressRefused
from conch_pipe.ssh.client import errors
from conch_pipe.ssh.fields import printable
from conch_pipe.ssh.sftp.wire import Status as Code

LONGEST = 500  # characters of a sentence


class Stage(enum.Enum):
    """How far an attempt had come."""

    CONNECT = "connect"  # until the server has shown its host key
    LOGIN = "login"  # until SFTP has started
    FOLDER = "folder"
    OPEN = "open"
    WRITE = "write"  # and the CLOSE
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that went wrong.

    :param fatal: the session is of no more use.
    """

    status: Status
    reason: str
    detail: str
    fatal: bool = False


class Found(Exception):
    """Something that we found to be wrong ourselves: a folder that is a file, a size that differs."""

    def __init__(self, status: Status, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(status, reason, printable(detail, LONGEST))


# Whenever they come: "the server does not accept remote connections, or is offline" in the source's words ...
_NO_CONNECTION = (errors.NameNotFound, errors.ConnectionRefused, errors.Unreachable, errors.NotSSH, AddressRefused)
# ... and these as long as the host key has not been shown: a server that hangs up then is too busy, or keeps us out.
_EARLY = (errors.Disconnected, errors.ConnectionEnded)
_QUOTA = re.compile(r"quota", re.IGNORECASE)
_SPACE = re.compile(r"no space|disk (?:is )?full|out of space|insufficient (?:disk )?space|not enough", re.IGNORECASE)
_SIZE = re.compile(r"too (?:large|big)|size limit|larger than|file size", re.IGNORECASE)


def fault(error: BaseException, stage: Stage) -> Fault:
    """The fault that an exception stands for.

    :param error: a ClientError, SFTPError, Found, PipeError (of the secrets), OSError or ValueError.
    :raises: what is none of these.
    """
    if isinstance(error, Found):
        return error.fault
    if isinstance(error, SFTPError):
        return _refused(error, stage)
    if isinstance(error, errors.ClientError):
        return _ended(error, stage)
    if isinstance(error, PipeError):
        return Fault(Status.SFTP_LOGIN_FAILED, "credentials", _sentence(error.message), fatal=True)
    if isinstance(error, OSError):
        return Fault(Status.UPLOAD_FAILED, "local_file", _sentence(f"the local file cannot be read: {error.strerror}"))
    if isinstance(error, ValueError):
        return Fault(Status.UPLOAD_FAILED, "name", _sentence(error))
    raise error


def _sentence(words: object) -> str:
    return printable(str(words), LONGEST)


def _ended(error: errors.ClientError, stage: Stage) -> Fault:
    """The connection did not come about, or is gone."""
    status, reason = Status.UPLOAD_FAILED, error.reason
    if isinstance(error, errors.HostKeyRefused):
        status = Status.HOST_KEY_MISMATCH
    elif isinstance(error, errors.LoginRefused):
        status, reason = Status.SFTP_LOGIN_FAILED, "second_factor" if error.accepted else reason
    elif isinstance(error, errors.FileChanged):
        return Fault(status, reason, _sentence(error))
    elif isinstance(error, _NO_CONNECTION) or (stage is Stage.CONNECT and isinstance(error, _EARLY)):
        status = Status.SFTP_CONNECTION_TIMEOUT
    elif isinstance(error, errors.TooLate):
        status, reason = _late(error, stage)
    elif isinstance(error, errors.Disconnected):
        reason = "connection_lost"
    return Fault(status, reason, _sentence(error), fatal=True)


def _late(error: errors.TooLate, stage: Stage) -> tuple[Status, str]:
    if stage not in (Stage.CONNECT, Stage.LOGIN) or error.stage == "subsystem":
        return Status.UPLOAD_FAILED, "stalled"
    return Status.SFTP_LOGIN_FAILED if error.stage == "auth" else Status.SFTP_CONNECTION_TIMEOUT, error.reason


def _refused(error: SFTPError, stage: Stage) -> Fault:
    """The server said no; the session goes on."""
    said = _sentence(f"{_WHAT.get(stage, 'the request')} was refused: {error.message or 'without a word'}")
    missing = stage in (Stage.FOLDER, Stage.OPEN) and error.code == Code.NO_SUCH_FILE
    if missing:  # an OPEN that may create a file finds no such folder
        return Fault(Status.INCORRECT_SFTP_FOLDER, "missing", said)
    if error.code in (Code.NO_CONNECTION, Code.CONNECTION_LOST):
        return Fault(Status.UPLOAD_FAILED, "connection_lost", said, fatal=True)
    reason = _CODES.get(error.code, "failure")
    if reason == "failure":
        for words, word in ((_QUOTA, "quota"), (_SPACE, "no_space"), (_SIZE, "size")):
            if words.search(str(error.message)):
                reason = word
                break
    return Fault(Status.UPLOAD_FAILED, reason, said)


_CODES = {Code.PERMISSION_DENIED: "permission", Code.OP_UNSUPPORTED: "unsupported"}
_WHAT = {
    Stage.FOLDER: "the folder",
    Stage.OPEN: "opening the file",
    Stage.WRITE: "writing the file",
    Stage.CHECK: "looking at the file",
}
