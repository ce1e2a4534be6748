"""What opens remotes and signs for webhooks, sealed with keys from a file: the catalog gives nothing away.

A sealed value holds the name of its remote and of its field: moved to another row it cannot be unsealed. The file has
one key a line; the first seals, each unseals. It is read anew each time, because another process may have changed it.
Nothing secret is in any error, nor in what led to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from conch_pipe.errors import Code, PipeError

PASSWORD = "password"  # noqa: S105 - a field's name
PRIVATE_KEY = "private_key"
SIGNING = "signing_secret"  # of a webhook, whose name here is "webhook ID": no remote has such a one
_LONGEST_FILE = 65_536


class KeyFile:
    """The keys of one file; open to its owner only.

    :param path: see :meth:`make`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> bool:
        """A file with one new key, mode 0600, durable, unless there is one. :returns: True when it was made.

        :raises PipeError: FAILED, it cannot be written.
        """
        if self.path.exists():
            return False
        self._write([Fernet.generate_key()])
        return True

    def check(self) -> int:
        """:returns: how many keys there are, 1 or more. :raises PipeError: FAILED, the file cannot be used."""
        return len(self._keys())

    def rotate(self) -> None:
        """Put a new key first; the others go on unsealing until :meth:`retire`. :raises PipeError: FAILED."""
        self._write([Fernet.generate_key(), *self._keys()])

    def retire(self) -> int:
        """Forget all keys but the first: what they sealed is lost.

        :returns: how many went.
        :raises PipeError: FAILED.
        """
        first, *others = self._keys()
        if others:
            self._write([first])
        return len(others)

    def seal(self, remote: str, field: str, value: str | bytes) -> bytes:
        """:param field: PASSWORD with a str, PRIVATE_KEY with bytes, SIGNING with a str.

        :raises PipeError: FAILED, no key to use.
        """
        text = value if isinstance(value, str) else value.decode("latin-1")
        return self._fernet().encrypt(json.dumps({"remote": remote, "field": field, "value": text}).encode())

    def unseal(self, remote: str, field: str, sealed: bytes) -> str:
        """The value of a password; of a private key, ``encode("latin-1")`` gives its bytes.

        :raises PipeError: FAILED: another key sealed it, or it was damaged, or is another row's.
        """
        found = _opened(self._fernet(), sealed)
        if found is None or (found.get("remote"), found.get("field")) != (remote, field):
            what = field.replace("_", " ")
            owner = remote if field == SIGNING else f"remote {remote}"
            raise PipeError(
                Code.FAILED,
                f"the {what} of {owner} cannot be unsealed: by none of the keys, or it is damaged",
                f"keys: {self.path}",
            )
        return str(found["value"])

    def _fernet(self) -> MultiFernet:
        return MultiFernet([Fernet(key) for key in self._keys()])

    def _keys(self) -> list[bytes]:
        text = self._read()
        keys = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(b"#")]
        bad = [number for number, key in enumerate(keys, 1) if not _is_key(key)]
        if bad:
            raise self._unusable(f"key {bad[0]} is none: 44 characters of base64url are wanted")
        if not keys:
            raise self._unusable("there is no key in it")
        return keys

    def _read(self) -> bytes:
        try:
            # One look at one open file: between two of them it could be exchanged.
            with self.path.open("rb") as file:
                about = os.fstat(file.fileno())
                trouble = _open_to_others(self.path, about)
                if not trouble:
                    return file.read(_LONGEST_FILE)
        except FileNotFoundError:
            trouble = "it is missing; conch-pipe init makes one, and what another one sealed stays sealed"
        except OSError as error:
            trouble = str(error.strerror)
        raise self._unusable(trouble)

    def _write(self, keys: Sequence[bytes]) -> None:
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()  # a process died here
            descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"".join(key + b"\n" for key in keys))
                file.flush()
                os.fsync(file.fileno())
            self._keep_owner(fresh)
            fresh.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            trouble = str(error.strerror)
        else:
            return
        raise self._unusable(trouble)

    def _keep_owner(self, fresh: Path) -> None:
        """Root may rotate the keys of the service's user."""
        if self.path.exists() and os.geteuid() == 0:
            about = self.path.stat()
            os.chown(fresh, about.st_uid, about.st_gid)

    def _unusable(self, trouble: str) -> PipeError:
        return PipeError(Code.FAILED, "the keys of the remotes' secrets cannot be used", f"{self.path}: {trouble}")


def _is_key(line: bytes) -> bool:
    try:
        Fernet(line)
    except ValueError:
        return False
    return True


def _open_to_others(path: Path, about: os.stat_result) -> str:
    if not stat.S_ISREG(about.st_mode):
        return "not a file"
    if not about.st_mode & 0o077:
        return ""
    # systemd hands a credential over as root's file with an ACL, whose mask shows as the group's read bit.
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    handed_over = folder and path.parent == Path(folder) and about.st_uid == 0 and about.st_mode & 0o077 == 0o040
    return "" if handed_over else "others can read it: chmod 600"


def _opened(fernet: MultiFernet, sealed: bytes) -> dict[str, object] | None:
    """Apart, so that no error of what is inside is the context of another."""
    try:
        found = json.loads(fernet.decrypt(sealed))
    except (InvalidToken, ValueError):
        return None
    return found if isinstance(found, dict) and "value" in found else None
