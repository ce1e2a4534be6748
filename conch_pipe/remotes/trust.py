"""Which host key a remote may show: a pinned one, any one where the operator said so, or one that is only looked at.

Each policy is made for one connection and remembers what was shown on it.

:source: RFC 4251 section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from conch_pipe.model import Remote
from conch_pipe.ssh.client.errors import HostKeyRefused
from conch_pipe.ssh.client.policy import IHostKeyPolicy
from conch_pipe.ssh.keys import algorithm, fingerprint


def described(blob: bytes) -> str:
    """A public key as people compare it."""
    return f"{algorithm(blob)} {fingerprint(blob)}"


@implementer(IHostKeyPolicy)
class Policy:
    """What all have in common.

    :ivar shown: blob of the key that the server has; it has proved that it owns it.
    """

    pinned: Sequence[bytes] = ()

    def __init__(self) -> None:
        self.shown: bytes | None = None

    def verify(self, blob: bytes, algorithm: bytes) -> bool:
        """See IHostKeyPolicy."""
        self.shown = blob
        return self.trusts(blob)

    def trusts(self, blob: bytes) -> bool:
        """True, or HostKeyRefused."""
        raise NotImplementedError


class OnlyPinned(Policy):
    """Trusts the keys of a remote's pins; without any it trusts none."""

    def __init__(self, *blobs: bytes) -> None:
        super().__init__()
        self.pinned = blobs

    def trusts(self, blob: bytes) -> bool:
        """See Policy."""
        if not self.pinned:
            raise HostKeyRefused("no host key is pinned for this remote: test it, and trust the key it shows", blob)
        if blob not in self.pinned:
            known = ", ".join(map(described, self.pinned))
            raise HostKeyRefused(f"the host key is {described(blob)}, and pinned is {known}", blob)
        return True


class Anything(Policy):
    """Trusts every key: whoever stands between us and the remote gets the password."""

    def trusts(self, blob: bytes) -> bool:
        """See Policy."""
        return True


class Learning(Policy):
    """Trusts no key and remembers what was shown: nothing about the user goes out."""

    def trusts(self, blob: bytes) -> bool:
        """See Policy."""
        raise HostKeyRefused("the host key is to be confirmed first", blob)


def policy(remote: Remote) -> Policy:
    """The one to push with. Nothing is learnt here."""
    return Anything() if remote.any_host_key else OnlyPinned(*(pin.blob for pin in remote.pins))
