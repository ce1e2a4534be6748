"""The server's side of the SSH transport: what may come before, during and after a login, and how long it may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.conch.ssh.transport import (
    DISCONNECT_PROTOCOL_VERSION_NOT_SUPPORTED,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
)
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from conch_pipe.ssh.fields import Malformed, Reader, printable, string
from conch_pipe.ssh.interfaces import Peer, Security
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server import announced
from conch_pipe.ssh.server.auth import LoginState, PasswordAuth
from conch_pipe.ssh.server.offers import Offer
from conch_pipe.ssh.server.penalties import Offence
from conch_pipe.ssh.transport import algorithms
from conch_pipe.ssh.transport.algorithms import Agreed, Algorithms, NothingInCommon, Proposal
from conch_pipe.ssh.transport.kex import ServerExchange, Transcript
from conch_pipe.ssh.transport.states import (
    CALM,
    DEBUG,
    DISCONNECT,
    EXT_INFO,
    IGNORE,
    KEXINIT,
    NEWKEYS,
    SERVICE_ACCEPT,
    SERVICE_REQUEST,
    UNIMPLEMENTED,
    USERAUTH_REQUEST,
)
from conch_pipe.ssh.transport.transport import Transport

if TYPE_CHECKING:
    from conch_pipe.ssh.server.factory import PutFactory

_MOST_EXT_INFO = 2  # after the first NEWKEYS, and once more before the login succeeds (RFC 8308 section 2.4)

# What a client may send outside of key exchanges; everything else is a protocol error. None: what its service takes.
ALLOWED: dict[str, frozenset[int] | None] = {
    "service": CALM | {EXT_INFO, SERVICE_REQUEST},
    "login": CALM | {EXT_INFO, USERAUTH_REQUEST},
    "running": None,
}
_NOT_FOR_SERVICES = frozenset(range(KEXINIT + 1, USERAUTH_REQUEST)) | {SERVICE_REQUEST, SERVICE_ACCEPT}


def _both(to_server: bytes, to_client: bytes) -> str:
    return (to_server if to_server == to_client else to_server + b"/" + to_client).decode()


class PutTransport(Transport):
    """One connection. Made by :class:`~conch_pipe.ssh.server.factory.PutFactory`, which sets ``factory``."""

    isClient = False
    factory: PutFactory
    _log = Transport._log

    def __init__(self, peer: Peer, offer: Offer, limits: Limits, clock: IReactorTime) -> None:
        super().__init__(offer.algorithms, limits, clock)
        self.peer = peer
        self._signers = offer.signers
        self.login = LoginState()
        self._logout: Callable[[], None] | None = None

    # Twisted's calls.

    def connectionMade(self) -> None:
        """Accepted: the clocks run from here, whatever the client does (C8)."""
        self._began = self.clock.seconds()
        limits = self.limits
        self.start_timer("version", limits.version_s, "it did not say its version in time")
        self.start_timer("kex", limits.kex_s, "the key exchange did not end in time")
        self.start_timer("login", limits.login_s, "it did not log in in time")
        super().connectionMade()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The end: files are aborted, the avatar logged out, the factory told."""
        if self.ending is None:
            self.ending = "the client closed the connection"
            if self.agreed is not None and self.peer.security is None and self.step == "newkeys":
                # So leaves OpenSSH when it knows another one; ssh-keyscan as well.
                self.ending += f" when it saw host key {self._signers[self.agreed.host_key].fingerprint}"
        if self.trusted and self.agreed is not None:
            self._log.debug(
                "{session} used {cipher} with {mac}: new keys {rekeyings} times, {asked} of them at the client's wish",
                session=self.peer.session,
                cipher=self.agreed.cipher_to_server.decode(),
                mac=self.agreed.mac_to_server.decode() or "no MAC of its own",
                rekeyings=self.rekeyings,
                asked=self.rekeyings_asked,
            )
        logout, self._logout = self._logout, None
        try:
            super().connectionLost(reason)
        finally:
            try:
                if logout is not None:
                    logout()
            finally:
                self.factory.left(self, self.clock.seconds() - self._began, self.ending)

    # What the services and the factory use.

    def rsa_algorithm(self) -> bytes:
        """By which algorithm an RSA key proves itself to this client."""
        assert self.agreed is not None
        theirs = algorithms.read(self.otherKexInitPayload[1:])
        return announced.rsa_algorithm(self.agreed.host_key, theirs.host_keys)

    @property
    def avatar_known(self) -> bool:
        """Somebody has logged in."""
        return self.trusted

    @property
    def banner(self) -> str:
        """The client's version string, printable."""
        return self.peer.banner

    @property
    def open_for_login(self) -> bool:
        """Nobody has logged in, and the client is there."""
        return not self.gone and self.ending is None and not self.trusted

    @property
    def open_files(self) -> int:
        """Files being put."""
        return getattr(self.service, "open_files", 0)

    def setService(self, service: Any) -> None:
        """The service that messages go to from now on (Conch's, without a log line for each)."""
        before, self.service = self.service, service
        if before is not None:
            before.serviceStopped()
        service.transport = self
        service.serviceStarted()

    def logged_in(self, avatar: object, logout: Callable[[], None]) -> None:
        """The one identity of this connection."""
        self.avatar = avatar
        self._logout = logout
        self.trusted = True
        self.incoming.longest = self.limits.packet
        self.incoming.large = True
        self.stop_timer("login")

    # What Transport asks.

    def state(self) -> str:
        """See Transport."""
        if self.trusted:
            return "running"
        return "service" if self.service is None else "login"

    def allowed(self, number: int) -> bool:
        """See Transport."""
        allowed = ALLOWED[self.state()]
        return number not in _NOT_FOR_SERVICES if allowed is None else number in allowed

    def got_version(self, line: bytes) -> None:
        """The client's first line; then its KEXINIT is waited for, but not long, to be answered with the best of it."""
        if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")) or printable(line) != line.decode("latin-1"):
            self.factory.refused(self.peer.address, "not an SSH 2 client")
            self.sendDisconnect(DISCONNECT_PROTOCOL_VERSION_NOT_SUPPORTED, b"not an SSH 2 client")
            return
        self.gotVersion = True
        self.otherVersionString = line
        self.peer = replace(self.peer, banner=printable(line))
        self.stop_timer("version")
        if self.limits.kexinit_wait_s:
            self.after("wait", self.limits.kexinit_wait_s, self._waited)
        else:
            self.sendKexInit()

    def _waited(self) -> None:
        if self.ending is None:
            self.sendKexInit()

    def narrowed(self, theirs: Proposal) -> Algorithms:
        """AES-GCM alone for a client that has it: its order decides, and OpenSSH's puts ChaCha20 and CTR first."""
        return algorithms.fastest(self.offered, theirs)

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """See Transport."""
        self.stop_timer("wait")
        super().ssh_KEXINIT(packet)

    def begin_exchange(self, agreed: Agreed, transcript: Transcript) -> ServerExchange:
        """See Transport."""
        key = self._signers[agreed.host_key]
        return ServerExchange(agreed.exchange, transcript, key.blob, key.sign)

    def exchanged(self, number: int, payload: bytes) -> None:
        """See Transport."""
        messages, secret = self._exchange.received(number, payload)
        for kind, content in messages:
            self.sendPacket(kind, content)
        if secret is not None:
            self.new_keys(secret)

    def secured(self, first: bool) -> None:
        """See Transport."""
        agreed = self.agreed
        if first and agreed is not None:
            key = self._signers[agreed.host_key].fingerprint
            self.peer = replace(
                self.peer,
                security=Security(
                    preset=self.offered.name,
                    exchange=agreed.exchange.decode(),
                    host_key_algorithm=agreed.host_key.decode(),
                    host_key=key,
                    cipher=_both(agreed.cipher_to_server, agreed.cipher_to_client),
                    mac=_both(agreed.mac_to_server, agreed.mac_to_client),
                    strict=self.strict,
                    retiring=key in self.factory.retiring,
                ),
            )

    def disagreed(self, error: NothingInCommon) -> None:
        """See Transport."""
        self.factory.disagreed(self.peer, error)

    def violated(self, what: str) -> None:
        """See Transport."""
        self.factory.violated(self, what)

    def expired(self, name: str, why: str) -> None:
        """See Transport."""
        if not self.trusted and name != "lingering":
            self.factory.refused(self.peer.address, why)
            if not self.login.checking:  # whoever waits for our answer to a password is not late
                self.factory.offence(self, Offence.LATE)

    def _check_budget(self) -> None:
        limits = self.limits
        if self.packets_received > limits.packets_before_login or self.bytes_received > limits.before_login:
            raise Malformed("too much before the login")

    # Messages.

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        """ssh-userauth, once: asking again would start the counts anew (C10)."""
        reader = Reader(packet)
        name = reader.string()
        if name != PasswordAuth.name:
            self.sendDisconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, b"log in first")
            return
        self.sendPacket(SERVICE_ACCEPT, string(name))
        self.setService(PasswordAuth())

    def ssh_EXT_INFO(self, packet: bytes) -> None:
        """Nothing in it is of use to us; Conch parses it in quadratic time (C16).

        :raises Malformed: it comes again and again.
        """
        self._ext_infos += 1
        if self._ext_infos > _MOST_EXT_INFO:
            raise Malformed("too many EXT_INFO")

    messages: ClassVar[dict[int, Callable[[Any, bytes], object]]] = {
        DISCONNECT: Transport.ssh_DISCONNECT,
        IGNORE: Transport.ignored,
        UNIMPLEMENTED: Transport.ignored,
        DEBUG: Transport.ignored,
        EXT_INFO: ssh_EXT_INFO,
        SERVICE_REQUEST: ssh_SERVICE_REQUEST,
        KEXINIT: ssh_KEXINIT,
        NEWKEYS: Transport.ssh_NEWKEYS,
    }
