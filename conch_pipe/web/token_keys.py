"""The keys tokens are signed with: a file beside the sealing key, open to its owner only.

One key a line, 32 random bytes in base64url; the first signs, each is good for checking. No error has any of it.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path

from conch_pipe.errors import Code, PipeError

KEY_BYTES = 32
_LONGEST_FILE = 65_536


def make(path: Path) -> bool:
    """A file with one new key, mode 0600, durable, unless there is one. :returns: True when it was made.

    :raises PipeError: FAILED, it cannot be written.
    """
    if path.exists():
        return False
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.unlink(missing_ok=True)  # a process died here
        descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.urlsafe_b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from error
    return True


def read(path: Path) -> tuple[bytes, ...]:
    """The keys, at least one. :raises PipeError: FAILED, the file cannot be used."""
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_mode & 0o077:
                raise _unusable(path, "others can read it: chmod 600")
            text = file.read(_LONGEST_FILE)
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from error
    keys = []
    for number, line in enumerate(filter(None, map(bytes.strip, text.splitlines())), 1):
        try:
            key = base64.b64decode(line, altchars=b"-_", validate=True)
        except binascii.Error:
            key = b""
        if len(key) < KEY_BYTES:
            raise _unusable(path, f"key {number} is none: {KEY_BYTES} bytes of base64url are wanted")
        keys.append(key)
    if not keys:
        raise _unusable(path, "there is no key in it")
    return tuple(keys)


def _unusable(path: Path, trouble: str) -> PipeError:
    return PipeError(Code.FAILED, "the keys of the HTTP door's tokens cannot be used", f"{path}: {trouble}")
