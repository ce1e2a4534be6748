"""What a user of the client supplies about host keys: which ones are trusted.

The policy decides and remembers; the transport proves that the server has the private key, asks once for a connection
and holds a re-key to the same key.
"""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import Attribute, Interface, implementer

from conch_pipe.ssh.client.errors import HostKeyRefused

# zope interfaces describe methods without self.
# mypy: disable-error-code="empty-body,misc"
# ruff: noqa: N805


class IHostKeyPolicy(Interface):
    """Asked once for each connection, before anything about the user goes out."""

    pinned: Sequence[bytes] = Attribute("blobs of the public keys trusted already; only their algorithms are offered")

    def verify(blob: bytes, algorithm: bytes) -> object:
        """Whether the key is trusted: True, or a Deferred of True.

        Anything else refuses the key: another value (also None, what a method returns by mistake), an exception, the
        deadline of the connection. A HostKeyRefused is passed on as it is.

        :param blob: of the public key; its signature has been checked.
        :param algorithm: of the signature, e.g. ``rsa-sha2-512``.
        """


@implementer(IHostKeyPolicy)
class Pinned:
    """Trusts exactly these keys.

    :param blobs: of public keys; at least one.
    """

    def __init__(self, *blobs: bytes) -> None:
        if not blobs:
            raise ValueError("no key is pinned")
        self.pinned = blobs

    def verify(self, blob: bytes, algorithm: bytes) -> bool:
        """Whether it is one of them."""
        if blob not in self.pinned:
            raise HostKeyRefused("the server's host key is not the one that is pinned", blob)
        return True
