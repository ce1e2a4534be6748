"""What a failed system call means for a client; the number is for the log."""

from __future__ import annotations

import errno

from conch_pipe.errors import Code, PipeError


def refused_by_system(error: OSError) -> PipeError:
    """NO_SPACE for a full disk or quota, else FAILED. Says nothing of paths."""
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PipeError(Code.NO_SPACE, "no space left on the server", name)
    return PipeError(Code.FAILED, "the server could not store the file", f"{name}: {error.strerror}")
