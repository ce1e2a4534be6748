"""What ends a session of ours with another server, one class for each cause, so that callers can tell them apart.

A refused file operation is not among them: that is ``twisted.conch.ssh.filetransfer.SFTPError`` with the server's code
and text, and the session goes on. No text here holds a secret or more than printable ASCII of what a peer sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from conch_pipe.ssh.fields import printable


class ClientError(Exception):
    """A connection did not come about, or ended.

    ``reason`` is one stable word for logs, events and retry rules.
    """

    reason: ClassVar[str] = "failed"


class NameNotFound(ClientError):
    """The host's name has no address."""

    reason = "dns"


class ConnectionRefused(ClientError):
    """Nobody listens there."""

    reason = "refused"


class Unreachable(ClientError):
    """No way to the host: network or host unreachable, no permission to connect."""

    reason = "unreachable"


class TooLate(ClientError):
    """A deadline passed.

    :param stage: what we were waiting for: until the key exchange ``connect``, ``version``, ``kex`` or ``host key``,
        then ``auth`` or ``subsystem``, then ``request`` or ``progress``.
    """

    reason = "timeout"

    def __init__(self, stage: str, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s ({stage})")
        self.stage = stage


class NotSSH(ClientError):
    """Something listens, but does not speak SSH 2."""

    reason = "not_ssh"


class NoAgreement(ClientError):
    """The two sides have no algorithm in common.

    :param kind: which list: key exchange, host key, cipher, MAC, compression.
    :param ours: what we offered.
    :param theirs: what the server offered.
    """

    reason = "algorithms"

    def __init__(self, kind: str, ours: Sequence[bytes], theirs: Sequence[bytes]) -> None:
        self.kind = kind
        self.ours = tuple(printable(name, 64) for name in ours)
        self.theirs = tuple(printable(name, 64) for name in theirs[:64])
        super().__init__(f"no {kind} in common: ours {', '.join(self.ours)}; theirs {', '.join(self.theirs)}")


class HostKeyRefused(ClientError):
    """The server's key is not the one we trust, or its signature is not good.

    :param blob: the key that was shown, when it is known that the server has its private half.
    """

    reason = "host_key"

    def __init__(self, why: str, blob: bytes | None = None) -> None:
        super().__init__(why)
        self.blob = blob


class LoginRefused(ClientError):
    """The server did not let us in.

    :param why: a short sentence of ours.
    :param methods: what the server would have accepted, as it last said.
    :param tried: what we tried, in order.
    :param accepted: those of them that were right, but not enough for the server.
    """

    reason = "auth"

    def __init__(
        self, why: str, methods: Sequence[str] = (), tried: Sequence[str] = (), accepted: Sequence[str] = ()
    ) -> None:
        self.methods = tuple(methods)
        self.tried = tuple(tried)
        self.accepted = tuple(accepted)
        super().__init__(f"{why}; tried {', '.join(tried) or 'nothing'}; the server takes {', '.join(methods) or '?'}")


class NoSFTP(ClientError):
    """The server let us in but gives no SFTP: no channel, no subsystem, or another version of it."""

    reason = "subsystem"


class ProtocolBroken(ClientError):
    """The server sent what it must not send."""

    reason = "protocol"


class Disconnected(ClientError):
    """The server said goodbye, with a code of RFC 4253 section 11.1 and its own words."""

    reason = "disconnected"

    def __init__(self, code: int, text: bytes, stage: str = "") -> None:
        super().__init__(f"the server disconnected: {code} {printable(text, 200)}" + (f" ({stage})" if stage else ""))
        self.code = code


class ConnectionEnded(ClientError):
    """The connection or the channel is gone, without a word; or we closed it ourselves."""

    reason = "connection_lost"


class FileChanged(ClientError):
    """The local file got shorter while it was being sent. The session goes on."""

    reason = "local_file"
