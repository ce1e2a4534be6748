"""The door's edge: whatever goes wrong becomes a status and a JSON error here, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from twisted.logger import Logger

from conch_pipe.errors import Code, Mistakes, PipeError
from conch_pipe.web.responses import Response, document

RETRY_S = 5  # what is busy may be free then

# The refusals of any door …
_STATUS = {
    Code.NOT_ALLOWED: 403,
    Code.NOT_FOUND: 404,
    Code.UNAUTHORIZED: 401,
    Code.INVALID: 400,
    Code.TOO_LARGE: 413,
    Code.BAD_FILE: 422,
    Code.INCOMPLETE: 422,
    Code.NO_SPACE: 507,
    Code.BUSY: 503,
    Code.CONFLICT: 409,
    Code.FAILED: 500,
}
# … and those only HTTP has; the words are stable.
STATUSES = {
    "bad_request": 400,
    "unknown_schema": 400,
    "no_such_path": 404,
    "method_not_allowed": 405,
    "timeout": 408,
    "in_flight": 409,
    "unsupported_media_type": 415,
    "expectation_failed": 417,
    "key_reused": 422,
    "headers_too_large": 431,
} | {code.value: status for code, status in _STATUS.items()}

_log = Logger(namespace="conch_pipe.web")


class Refused(Exception):
    """A refusal that only HTTP knows.

    :param code: one of STATUSES.
    :param message: short words for the client, nothing secret.
    """

    def __init__(
        self, code: str, message: str, *, headers: Mapping[str, str] | None = None, mistakes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.mistakes = mistakes


class Gone(Exception):
    """The client is not there any more: nobody to answer."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, in HTTP's words.

    :ivar code: one of STATUSES.
    """

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    mistakes: tuple[str, ...] = ()


def refusal(error: Exception) -> Response | None:
    """What the client is answered: a fault as JSON.

    :returns: None for UNKNOWN_OUTCOME: yes and no might both be wrong, so the connection is dropped.
    """
    found = fault(error)
    if found is None:
        return None
    told: dict[str, Any] = {"code": found.code, "message": found.message}
    if found.mistakes:
        told["mistakes"] = list(found.mistakes)
    return document({"error": told}, found.status, found.headers)


def fault(error: Exception) -> Fault | None:
    """What is wrong; None as in ``refusal``. What nobody expected is logged."""
    if isinstance(error, Mistakes):
        return Fault(_STATUS[error.code], error.code.value, str(error).partition("\n")[0], {}, tuple(error.mistakes))
    if isinstance(error, PipeError):
        if error.code is Code.UNKNOWN_OUTCOME:
            return None
        headers = {}
        if error.code in (Code.BUSY, Code.NO_SPACE):
            headers["Retry-After"] = str(RETRY_S)
        if error.code is Code.UNAUTHORIZED:
            headers["WWW-Authenticate"] = 'Bearer realm="pipe-sftp"'
        if error.code is Code.FAILED:
            _log.error("a request failed: {problem}", problem=str(error))
        return Fault(_STATUS[error.code], error.code.value, error.message, headers)
    if isinstance(error, Refused):
        return Fault(STATUSES[error.code], error.code, error.message, error.headers, error.mistakes)
    if isinstance(error, ValidationError):
        mistakes = mistakes_of(error)
        return Fault(400, Code.INVALID.value, mistakes[0], mistakes=mistakes)
    _log.failure("a request failed")
    return Fault(500, Code.FAILED.value, "something went wrong on the server")


def mistakes_of(error: ValidationError) -> tuple[str, ...]:
    """One sentence each, without the value: it may be a secret."""
    return tuple(
        f"{'.'.join(str(part) for part in one['loc']) or 'body'}: {one['msg']}"
        for one in error.errors(include_url=False, include_context=False, include_input=False)[:20]
    )
