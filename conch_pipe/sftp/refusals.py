"""The door's edge: a PipeError becomes an SFTP status here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutine
from typing import Any, TypeVar

from twisted.conch.ssh.filetransfer import FX_FAILURE, FX_NO_SUCH_FILE, FX_PERMISSION_DENIED, SFTPError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from conch_pipe.errors import Code, PipeError
from conch_pipe.ssh.interfaces import DropConnection

TEXT_LENGTH = 255

# Most clients print the status only, not our text (research/features.md 4B): what is never granted must not look
# like an accident that is worth another try.
_STATUS = {
    Code.NOT_ALLOWED: FX_PERMISSION_DENIED,
    Code.UNAUTHORIZED: FX_PERMISSION_DENIED,
    Code.NOT_FOUND: FX_NO_SUCH_FILE,
}

_Method = TypeVar("_Method", bound=Callable[..., Any])


def refusal(error: PipeError) -> SFTPError | DropConnection:
    """What the client is answered: a status of version 3 (0 to 8) with printable ASCII, or nothing at all.

    :returns: DropConnection for UNKNOWN_OUTCOME: OK and FAILURE might both be wrong, so the client must try again.
    """
    if error.code is Code.UNKNOWN_OUTCOME:
        return DropConnection(error.message)
    text = "".join(c if " " <= c <= "~" else "?" for c in error.message)
    return SFTPError(_STATUS.get(error.code, FX_FAILURE), text[:TEXT_LENGTH])


def answered(method: _Method) -> _Method:
    """A method of the wire whose every PipeError leaves as :func:`refusal`; a coroutine becomes a Deferred."""

    @wraps(method)
    def call(*args: Any) -> Any:
        try:
            result = method(*args)
        except PipeError as error:
            raise refusal(error) from error
        if iscoroutine(result):
            result = Deferred.fromCoroutine(result)
        return result.addErrback(_refused) if isinstance(result, Deferred) else result

    return call  # type: ignore[return-value]


def _refused(failure: Failure) -> Failure:
    error = failure.value
    if isinstance(error, PipeError):
        raise refusal(error) from error
    return failure
