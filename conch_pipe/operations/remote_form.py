"""A remote as somebody fills it in, a field after another: keys and host keys from their text, all mistakes at once.

What a field may hold is decided in ``remotes.form``. Opens no file: who reads files says how they are called.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conch_pipe.errors import Mistakes

if TYPE_CHECKING:
    from conch_pipe.ssh.keys import PrivateKey


@dataclass(frozen=True, slots=True)
class Filled:
    """A form that is right. Only what was given.

    :ivar fields: values of ``model.Remote`` by name.
    :ivar host_keys: blobs; None when none was named.
    :ivar no_password: the password is taken away; likewise the key.
    """

    fields: dict[str, Any]
    password: str | None = field(default=None, repr=False)
    key: PrivateKey | None = field(default=None, repr=False)
    host_keys: tuple[bytes, ...] | None = None
    any_host_key: bool | None = None
    no_password: bool = False
    no_key: bool = False

    @property
    def empty(self) -> bool:
        """Nothing was filled in."""
        given = (self.password, self.key, self.host_keys, self.any_host_key)
        return not self.fields and given == (None,) * 4 and not self.no_password and not self.no_key

    @property
    def secrets(self) -> dict[str, str | bytes | None]:
        """Those that change, as the catalog wants them."""
        found: dict[str, str | bytes | None] = {}
        if self.password is not None or self.no_password:
            found["password"] = self.password
        if self.key is not None or self.no_key:
            found["private_key"] = self.key.openssh() if self.key else None
        return found


class Form:
    """One form that is being filled in.

    :param new: the remote is not there yet: what is needed must be there.
    :param mistakes: that are known already.
    :param lets_in: something to log in with was given, though it may be no good.
    """

    def __init__(self, *, new: bool, mistakes: Sequence[str] = (), lets_in: bool = False) -> None:
        self._new = new
        self._lets_in = lets_in
        self._kind = ""
        self._host_keys: dict[bytes, None] | None = None
        self._values: dict[str, Any] = {}
        self._key: PrivateKey | None = None
        self._any_host_key: bool | None = None
        self._gone = {"password": False, "key": False}
        self.mistakes = list(mistakes)

    def fill(self, fields: Mapping[str, object], *, needed: bool = True) -> None:
        """Fields of ``model.Remote`` and ``password``; None: not filled in.

        :param needed: tell what is missing.
        """
        from conch_pipe.remotes import form

        self._lets_in = self._lets_in or fields.get("password") is not None
        self._values, mistakes = form.read(fields, new=self._new and needed, ours=ours)
        self.mistakes = mistakes + self.mistakes

    def key(self, text: str, passphrase: str | None = None, *, called: str = "private_key") -> None:
        """The text of a private key, in any form that people have.

        :param called: what it is called in a mistake.
        """
        from conch_pipe.ssh.keys import KeyRefused, read

        self._lets_in = True
        try:
            secret = None if passphrase is None else passphrase.encode("utf-8", "surrogatepass")
            self._key = read(text.encode("utf-8", "surrogatepass"), secret)
        except KeyRefused as refused:
            self.mistakes.append(f"{called}: {refused}")

    def take_key(self, key: PrivateKey) -> None:
        """A private key that was read already."""
        self._lets_in = True
        self._key = key

    def generate(self, kind: str) -> None:
        """A key is to be made, if everything else is right."""
        self._lets_in = True
        self._kind = kind

    def needs_login(self) -> None:
        """All that can log in was given; a new remote needs something of it."""
        from conch_pipe.remotes.form import NO_LOGIN

        if self._new and not self._lets_in:
            self.mistakes.append(NO_LOGIN)

    def without(self, what: str) -> None:
        """Take the "password" or the "key" away."""
        self._gone[what] = True

    def host_keys(self, blobs: Sequence[bytes]) -> None:
        """More host keys to trust; also none: then none that was trusted before is."""
        self._host_keys = {**(self._host_keys or {}), **dict.fromkeys(blobs)}

    def host_key(self, text: str, *, called: str = "host_key") -> None:
        """The text of one or, line by line, of several, as ssh-keyscan prints them."""
        from conch_pipe.ssh.keys import KeyRefused

        try:
            self.host_keys(blobs(text))
        except KeyRefused as refused:
            self.mistakes.append(f"{called}: {refused}")

    def any_host_key(self, taken: bool) -> None:
        """Take whatever host key is shown, or no more."""
        self._any_host_key = taken

    def filled(self, what: str, *, any_host_key: str = "any_host_key") -> Filled:
        """All of it; making a key takes seconds.

        :param what: the form, for mistakes.
        :param any_host_key: what the field is called in a mistake.
        :raises Mistakes: all of them.
        """
        from conch_pipe.ssh.keys import generate

        if self._any_host_key and self._host_keys:
            self.mistakes.append(f"{any_host_key}: and a host key exclude each other")
        if self.mistakes:
            raise Mistakes(what, self.mistakes)
        values = dict(self._values)
        password = values.pop("password", None)
        key = generate(self._kind) if self._kind else self._key
        blobs = None if self._host_keys is None else tuple(self._host_keys)
        return Filled(values, password, key, blobs, self._any_host_key, self._gone["password"], self._gone["key"])


def blobs(text: str | bytes) -> list[bytes]:
    """The public keys of a text. :raises KeyRefused: there is something else."""
    from conch_pipe.ssh.keys import KeyRefused, public_blob

    try:
        return [public_blob(text)]
    except KeyRefused as refused:
        content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        if refused.reason != "several" or b"---- BEGIN" in content:
            raise
        lines = [line for line in content.splitlines() if line.strip() and not line.startswith(b"#")]
        return [public_blob(line) for line in lines]


def ours(address: str) -> bool:
    """Whether an IPv4 address is one of this machine; also True when that cannot be told here."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True
