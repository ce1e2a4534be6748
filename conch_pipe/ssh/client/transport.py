"""Our side of the SSH transport towards other servers: whom we trust, when we log in, and how a file's bytes go out.

Whatever ends the connection becomes one ClientError. Nothing about the user goes out before the policy has accepted
the host key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

from twisted.conch.ssh.transport import (
    DISCONNECT_BY_APPLICATION,
    DISCONNECT_HOST_KEY_NOT_VERIFIABLE,
    DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE,
)
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from conch_pipe.ssh.client import pieces
from conch_pipe.ssh.client.auth import ClientAuth, Credentials, signature_algorithms
from conch_pipe.ssh.client.connection import ClientConnection
from conch_pipe.ssh.client.errors import (
    ClientError,
    ConnectionEnded,
    Disconnected,
    HostKeyRefused,
    LoginRefused,
    NoAgreement,
    NotSSH,
    ProtocolBroken,
    TooLate,
)
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.client.policy import IHostKeyPolicy
from conch_pipe.ssh.fields import Malformed, Reader, printable, string
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.transport.algorithms import Agreed, Algorithms, NothingInCommon, restricted, usable_with
from conch_pipe.ssh.transport.kex import BadSignature, ClientExchange, Reply, Secret, Transcript, verify
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
)
from conch_pipe.ssh.transport.transport import Transport

# What a server may send outside of key exchanges; everything else is a protocol error. The rest is its service's.
ALLOWED: dict[str, frozenset[int]] = {
    "service": CALM | {EXT_INFO, SERVICE_ACCEPT},
    "login": CALM | {EXT_INFO, 51, 52, 53, 60},
    "running": CALM | {KEXINIT, 80, 81, 82} | frozenset(range(90, 101)),
}
_RUNNING = ALLOWED["running"]
# What is said to a server when we leave because of it; to the others nothing, or they do not listen.
_LAST_WORDS: dict[type[ClientError], int] = {
    HostKeyRefused: DISCONNECT_HOST_KEY_NOT_VERIFIABLE,
    LoginRefused: DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE,
}
_FILE = 2**30  # bytes: the socket's buffer is the bound
_SMALL = 16_384  # bytes of a WRITE that is rather copied than sent by itself


class ClientTransport(Transport):
    """One connection to a server.

    :ivar stage: what we wait for, for errors.
    :ivar host_key: the blob that was trusted.
    :ivar keyed: fires with None when the first key exchange has ended: the host key is trusted, the login begins.
    :ivar ended: fires with None when the connection is gone.
    :raises NoAgreement: none of the pinned keys can be used with these algorithms.
    """

    isClient = True
    transport: Any = None
    limits: Any

    def __init__(
        self, credentials: Credentials, policy: Any, offered: Algorithms, limits: ClientLimits, clock: IReactorTime
    ) -> None:
        super().__init__(_for_pins(offered, policy.pinned), cast(Limits, limits), clock)
        self._policy = IHostKeyPolicy(policy, policy)
        self._credentials: Credentials | None = credentials  # until the login takes them
        self.stage = "connect"
        self.failure: ClientError | None = None
        self.host_key: bytes | None = None
        self.server_version = ""
        self.signature_algorithms: tuple[bytes, ...] | None = None
        self.connection = ClientConnection(clock, limits)
        self.ready = self.connection.ready
        self.keyed: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self._asked: Deferred[Any] | None = None  # the policy
        self._lines = 0  # before the version
        self._early = 0  # key exchanges

    # Twisted's calls.

    def connectionMade(self) -> None:
        """There is a connection. Our KEXINIT goes with our version: waiting for the server's would gain nothing."""
        if self.failure is not None:  # too late
            self.transport.abortConnection()
            return
        self.stage = "version"
        super().connectionMade()
        self.sendKexInit()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The end."""
        self._note(self._lost())
        if self._asked is not None:
            self._asked.cancel()
        super().connectionLost(reason)
        self.ended.callback(None)

    def _lost(self) -> ClientError:
        if self.stage == "version" and self._lines:
            return NotSSH("what listens there does not speak SSH")
        if self._logging_in:
            return LoginRefused("the server closed the connection during the login")
        return ConnectionEnded(f"the connection was lost ({self.stage})")

    @property
    def _logging_in(self) -> bool:
        """The server has something to decide on."""
        return self.stage == "auth" and self.service is not None

    def resumeProducing(self) -> None:
        """The socket takes more."""
        super().resumeProducing()
        self.connection.resume()

    # What the connection's user asks.

    def fail(self, error: ClientError) -> None:
        """End the connection because of this; only the first one counts."""
        if self.failure is not None:
            return
        self._note(error)
        if self.transport is None or self.gone:
            return
        word = _LAST_WORDS.get(type(error))
        if word is None:
            self.abort(str(error))
        else:
            self.sendDisconnect(word, b"")

    def leave(self) -> None:
        """We need the connection no more."""
        self._note(ConnectionEnded("we closed the session"))
        if self.transport is not None and not self.gone:
            self.sendDisconnect(DISCONNECT_BY_APPLICATION, b"")

    def _note(self, error: ClientError) -> None:
        if self.failure is None:
            self.failure = error
            self.connection.ended(error)

    # What Transport asks.

    def state(self) -> str:
        """See Transport."""
        if self.trusted:
            return "running"
        return "service" if self.service is None else "login"

    def allowed(self, number: int) -> bool:
        """See Transport."""
        return number in (_RUNNING if self.trusted else ALLOWED[self.state()])

    def violated(self, what: str) -> None:
        """See Transport."""
        self._note(NotSSH(what) if self.stage == "version" else ProtocolBroken(what))

    def disagreed(self, error: NothingInCommon) -> None:
        """See Transport."""
        self._note(NoAgreement(error.what, error.client, error.server))

    def expired(self, name: str, why: str) -> None:
        """See Transport."""
        if name != "lingering":
            self._note(TooLate(name, self.limits.kex_s))

    def _check_budget(self) -> None:
        limits = self.limits
        if self.packets_received > limits.packets_before_login or self.bytes_received > limits.before_login:
            raise Malformed("too much before the login")

    def take_version(self) -> bool:
        """The version line, and before it some lines that are to be read past, RFC 4253 section 4.2.

        :raises Malformed: there are too many of them.
        """
        while (line := self.incoming.line(self.limits.version_line)) is not None:
            if line.startswith(b"SSH-"):
                self.got_version(line)
                return self.gotVersion
            self._lines += 1
            if self._lines > self.limits.lines:
                raise Malformed("what listens there does not speak SSH")
        return False

    def got_version(self, line: bytes) -> None:
        """See Transport."""
        if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")) or not all(32 <= byte < 127 for byte in line):
            raise Malformed("the server does not speak SSH 2")
        self.gotVersion = True
        self.otherVersionString = line
        self.server_version = printable(line)
        self.stage = "kex"

    # Key exchange.

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """See Transport."""
        moved = self.incoming.received + self.outgoing.sent
        if self.sessionID is not None and self._proposal is None and moved < self.limits.early_rekey:
            self._early += 1
            if self._early > self.limits.early_rekeys:
                raise Malformed("too many key exchanges")
        super().ssh_KEXINIT(packet)

    def begin_exchange(self, agreed: Agreed, transcript: Transcript) -> ClientExchange:
        """See Transport."""
        exchange = ClientExchange(agreed.exchange, transcript)
        self.sendPacket(*exchange.first)
        return exchange

    def exchanged(self, number: int, payload: bytes) -> None:
        """See Transport."""
        messages, reply = self._exchange.received(number, payload)
        for kind, content in messages:
            self.sendPacket(kind, content)
        if reply is not None:
            self._prove(reply)

    def _prove(self, reply: Reply) -> None:
        """The server must own the key; whether it is the right one the policy says, once, and we remember."""
        assert self.agreed is not None
        try:
            verify(reply.host_key, reply.signature, reply.secret.hash, self.agreed.host_key)
        except BadSignature as error:
            self.fail(HostKeyRefused(str(error)))
            return
        if self.host_key is None:
            self.stage = "host key"
            self.pause("host key")
            self._asked = maybeDeferred(self._policy.verify, reply.host_key, self.agreed.host_key)
            self._asked.addCallbacks(self._judged, self._not_judged, callbackArgs=(reply,))
        elif self.host_key == reply.host_key:
            self.new_keys(reply.secret)
        else:
            self.fail(HostKeyRefused("the server showed another host key in mid-session", reply.host_key))

    def _judged(self, answer: object, reply: Reply) -> None:
        if self.failure is not None or self.gone:
            return
        if answer is not True:
            self.fail(HostKeyRefused("the host key is not trusted", reply.host_key))
            return
        self.host_key = reply.host_key
        self.stage = "kex"
        self.new_keys(reply.secret)
        self.resume("host key")

    def _not_judged(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, HostKeyRefused):
            refusal = HostKeyRefused(f"the host key could not be checked ({type(error).__name__})")
            refusal.__cause__ = error
            error = refusal
        self.fail(error)

    def new_keys(self, secret: Secret) -> None:
        """See Transport. From here on we may send again."""
        super().new_keys(secret)
        if self.trusted:
            self.connection.resume()

    def secured(self, first: bool) -> None:
        """See Transport. The login is asked for once (Conch's client asks again after each re-key)."""
        if first:
            self.stage = "auth"
            self.sendPacket(SERVICE_REQUEST, string(ClientAuth.name))
            self.keyed.callback(None)

    # Messages.

    def ssh_SERVICE_ACCEPT(self, packet: bytes) -> None:
        """The login may begin."""
        reader = Reader(packet)
        # RFC 4253 section 10 names the service; some old servers leave it out.
        if reader.left and reader.string() != ClientAuth.name:
            raise Malformed("a service was accepted that was not asked for")
        credentials, self._credentials = self._credentials, None
        assert credentials is not None
        self.setService(ClientAuth(credentials, self.limits, self._logged_in))

    def _logged_in(self) -> None:
        self.stage = "subsystem"
        self.trusted = True
        self.incoming.longest = self.limits.packet
        self.connection.ready.addCallback(self._running)
        self.setService(self.connection)

    def _running(self, result: Any) -> Any:
        self.stage = "session"
        return result

    def ssh_EXT_INFO(self, packet: bytes) -> None:
        """What the server takes of our signatures; after the first keys, and once more before the login succeeds."""
        self._ext_infos += 1
        if self._ext_infos > self.limits.extension_infos:
            raise Malformed("too many EXT_INFO")
        told = signature_algorithms(packet, self.limits)
        if told is not None:
            self.signature_algorithms = told

    def ssh_DISCONNECT(self, packet: bytes) -> None:
        """The server's last word."""
        reader = Reader(packet)
        code, text = reader.u32(), reader.string()
        error: ClientError = Disconnected(code, text, self.stage)
        if self._logging_in:
            refused = LoginRefused(f"the server disconnected: {code} {printable(text, 200)}")
            refused.__cause__ = error
            error = refused
        self._note(error)
        super().ssh_DISCONNECT(packet)

    messages: ClassVar[dict[int, Callable[[Any, bytes], object]]] = {
        DISCONNECT: ssh_DISCONNECT,
        IGNORE: Transport.ignored,
        UNIMPLEMENTED: Transport.ignored,
        DEBUG: Transport.ignored,
        EXT_INFO: ssh_EXT_INFO,
        SERVICE_ACCEPT: ssh_SERVICE_ACCEPT,
        KEXINIT: ssh_KEXINIT,
        NEWKEYS: Transport.ssh_NEWKEYS,
    }

    # Sending files.

    @property
    def room(self) -> int:
        """See ConnectionTransport."""
        if self._queue is not None or self.ending is not None or self.gone or "peer" in self._pauses:
            return 0
        return 0 if getattr(self.transport, "behind", False) else _FILE

    def send_file(self, number: int, head: bytes, fd: int, offset: int, size: int, packet: int) -> None:
        """See ConnectionTransport."""
        buffer, sealed = pieces.of_file(self.outgoing, number, head, fd, offset, size, packet)
        if self._turn and size <= _SMALL:
            # Goes with what else this turn brings, a CLOSE say: a call of the kernel costs as much as all the rest.
            self._out += [bytearray(one) for one in sealed]
            pieces.give_back(buffer)
            return
        out, self._out = [*(memoryview(one) for one in self._out), *sealed], []
        push = getattr(self.transport, "push", None)
        if push is None or self.transport.behind:
            self.transport.write(b"".join(out))
            pieces.give_back(buffer)
        elif push(out, lambda: self._pushed(buffer)):
            pieces.give_back(buffer)

    def _pushed(self, buffer: memoryview) -> None:
        pieces.give_back(buffer)
        if not self.gone and self.ending is None:
            self.connection.resume()


def _for_pins(offered: Algorithms, pinned: Any) -> Algorithms:
    """Only the algorithms of pinned keys: a server that has two keys would otherwise show the other one."""
    if not pinned:
        return offered
    usable = {name for blob in pinned for name in usable_with(blob, offered)}
    if not usable:
        kinds = [Reader(blob).string(64) for blob in pinned]
        raise NoAgreement("host key", offered.host_keys, kinds)
    return restricted(offered, usable)
