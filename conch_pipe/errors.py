"""What may go wrong as a matter of course, in words a partner may read.

Knows no protocol: each door turns a Code into its own status (see ``sftp/refusals.py``).
"""

from __future__ import annotations

import enum


class Code(enum.Enum):
    """Why something was refused; the value is stable and appears in JSON output and events."""

    NOT_ALLOWED = "not_allowed"  # the operation is never granted here
    NOT_FOUND = "not_found"  # no such schema, upload, credential …
    UNAUTHORIZED = "unauthorized"  # unknown, wrong or revoked credential, always the same words
    INVALID = "invalid"  # the input itself breaks a rule: name, settings, schema file
    TOO_LARGE = "too_large"
    BAD_FILE = "bad_file"  # the content breaks a rule that can be told at CLOSE
    INCOMPLETE = "incomplete"  # bytes are missing: a hole, a wrong size, a last record cut short
    NO_SPACE = "no_space"
    BUSY = "busy"  # try again later; nothing is wrong with the request
    CONFLICT = "conflict"  # it exists already, or it moved under us (stale fence)
    UNKNOWN_OUTCOME = "unknown_outcome"  # a commit may or may not have happened: never answer
    FAILED = "failed"  # our fault; details are in the log


class PipeError(Exception):
    """Something expected went wrong.

    :param code: the kind of refusal.
    :param message: short printable ASCII for the client; no path of ours, no secret.
    :param detail: for the log only.
    """

    def __init__(self, code: Code, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.message} ({self.detail})" if self.detail else self.message


class Mistakes(PipeError):
    """Several things are wrong with one input, and all are named at once.

    :param what: the input, e.g. a file name.
    :param mistakes: one sentence each, in the order of the input.
    """

    def __init__(self, what: str, mistakes: list[str]) -> None:
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}"
        super().__init__(Code.INVALID, f"{what}: {count}\n" + "\n".join(f"  - {one}" for one in mistakes))
        self.what = what
        self.mistakes = list(mistakes)


class WorkerDied(Exception):
    """A worker process ended in the middle of a call: killed, out of memory, out of time.

    Not a PipeError: the file may be to blame or the machine, and only the count of deaths tells.
    """
