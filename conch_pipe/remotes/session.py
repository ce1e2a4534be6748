"""A session with a remote: our limits and algorithms for it, its address judged, its host key held to its policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import Any

from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import InThread
from conch_pipe.model import Remote, RemoteSecrets
from conch_pipe.remotes.addresses import RemoteEndpoint
from conch_pipe.remotes.trust import Policy
from conch_pipe.ssh.client.auth import Credentials
from conch_pipe.ssh.client.connecting import ClientSession, connect
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.client.tcp import PushingReactor
from conch_pipe.ssh.keys import KeyRefused, read
from conch_pipe.ssh.transport.algorithms import CLIENT, Agreed


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every session with a remote needs of the service.

    :param allowed: networks that remotes may be in although they are private or otherwise not public.
    :param in_thread: runs a function in a bounded thread pool.
    :param resolver: an IHostnameResolver; None: the reactor's.
    """

    reactor: Any
    in_thread: InThread
    allowed: Sequence[IPv4Network] = ()
    limits: ClientLimits = ClientLimits()  # noqa: RUF009 - frozen
    resolver: Any = None

    def endpoint(self, remote: Remote) -> RemoteEndpoint:
        """Where a remote is."""
        return RemoteEndpoint(
            PushingReactor(self.reactor),
            remote.host,
            remote.port,
            self.allowed,
            remote.source_address,
            self.limits.connect_s,
            self.resolver,
        )

    async def credentials(self, remote: Remote, secrets: RemoteSecrets) -> Credentials:
        """What logs in.

        :raises PipeError: INVALID, when there is nothing or it cannot be used.
        """
        key = None
        if secrets.private_key is not None:
            # In a thread: it takes 0.1 s to see that a key of RSA with 4,096 bits is good.
            key = await self.in_thread(_key, secrets.private_key)
        try:
            password = None if secrets.password is None else secrets.password.encode()
            return Credentials(remote.username.encode(), password, key)
        except UnicodeEncodeError:  # its text has a character of the secret
            raise PipeError(Code.INVALID, "the user name or the password cannot be written in UTF-8") from None
        except ValueError as error:
            raise PipeError(Code.INVALID, str(error)) from None

    def connect(
        self, remote: Remote, endpoint: RemoteEndpoint, policy: Policy, credentials: Credentials
    ) -> Deferred[ClientSession]:
        """See :func:`conch_pipe.ssh.client.connecting.connect`."""
        limits, size = self.limits, remote.chunk_size
        if size:
            size = min(size, limits.largest_write)
            limits = replace(limits, write=size, largest_write=size)
        return connect(self.reactor, endpoint, credentials, policy, CLIENT[remote.algorithms], limits)


def _key(text: bytes) -> Key:
    try:
        return read(text).conch
    except KeyRefused as error:
        raise PipeError(Code.INVALID, f"the private key cannot be used: {error.words}") from None


def told(agreed: Agreed | None) -> str:
    """Algorithms as a report has them."""
    if agreed is None:
        return ""
    mac = agreed.mac_to_server or b"-"
    return " ".join(name.decode() for name in (agreed.exchange, agreed.host_key, agreed.cipher_to_server, mac))
