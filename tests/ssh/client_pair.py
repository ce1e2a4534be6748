"""Our client and a server of the tests' choosing, joined by memory and a Clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import SSHServerTransport
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from conch_pipe.ssh.client.auth import Credentials
from conch_pipe.ssh.client.connecting import ClientSession, connect
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.fields import Reader, string, u32
from conch_pipe.ssh.transport.algorithms import CLIENT, Algorithms
from tests.ssh.memory import PASSWORD
from tests.ssh.pair import Wire, host_key
from tests.ssh.sftp_peer import VERSION, Outcome

ANN = Credentials(b"ann", PASSWORD)


class Trusting:
    """A host key policy that remembers what it was asked; ``answer`` is what it says."""

    def __init__(self, answer: Any = True, pinned: Sequence[bytes] = ()) -> None:
        self.answer = answer
        self.pinned = pinned
        self.asked: list[tuple[bytes, bytes]] = []

    def verify(self, blob: bytes, algorithm: bytes) -> Any:
        self.asked.append((blob, algorithm))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class RawFactory(SSHFactory):
    """Keys for a RawServer."""

    def __init__(self, *keys: Key) -> None:
        self.privateKeys = {key.sshType(): key for key in keys}
        self.publicKeys = {kind: key.public() for kind, key in self.privateKeys.items()}
        self.primes = None


class RawServer(SSHServerTransport):
    """Conch's own server transport: does the key exchange and keeps every other message in ``got``."""

    def __init__(self, *keys: Key) -> None:
        self.factory = RawFactory(*(keys or (host_key(),)))
        self.supportedPublicKeys = [
            name for key in self.factory.privateKeys.values() for name in key.supportedSignatureAlgorithms()
        ]
        self.got: list[tuple[int, bytes]] = []
        self.silent = False  # does not even send a version

    def connectionMade(self) -> None:
        if not self.silent:
            super().connectionMade()

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        if 20 <= messageNum < 50:
            super().dispatchMessage(messageNum, payload)
        else:
            self.got.append((messageNum, payload))


class MemoryEndpoint:
    """Connects to a wire, fails, or never answers."""

    def __init__(self, outcome: Wire | Exception | None) -> None:
        self.outcome = outcome
        self.cancelled = False
        self.client: Any = None

    def connect(self, factory: Any) -> Deferred[Any]:
        if isinstance(self.outcome, Wire):
            self.client = factory.buildProtocol(None)
            self.client.makeConnection(self.outcome)
            return succeed(self.client)
        waiting: Deferred[Any] = Deferred(lambda _: setattr(self, "cancelled", True))
        if self.outcome is not None:
            waiting.errback(Failure(self.outcome))
        return waiting


class ClientPair:
    """One connect. ``pump`` moves bytes until nothing moves.

    :param server: an SSH server's protocol, or None: the test writes bytes itself, by ``say``.
    """

    def __init__(
        self,
        server: Any = None,
        credentials: Credentials = ANN,
        policy: Any = None,
        algorithms: Algorithms = CLIENT["default-2026"],
        limits: ClientLimits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.policy = policy if policy is not None else Trusting()
        self.server = server
        self.to_server, self.to_client = Wire(), Wire()
        self.endpoint = MemoryEndpoint(self.to_server)
        self.over = self.server_over = False
        if server is not None:
            server.makeConnection(self.to_client)
        self.deferred = connect(self.clock, self.endpoint, credentials, self.policy, algorithms, limits)
        self.outcome = Outcome(self.deferred)
        self.heard = b""  # by a server that is the test

    @property
    def client(self) -> Any:
        """Our transport."""
        return self.endpoint.client

    @property
    def session(self) -> ClientSession:
        assert self.outcome.error is None, self.outcome.error
        assert self.outcome.fired == 1, f"not connected, in stage {self.client.stage}"
        return self.outcome.value

    def pump(self) -> ClientPair:
        while True:
            upstream = self.to_server.take()
            if self.server is None:
                self.heard += upstream
            elif upstream and not self.server_over:
                self.server.dataReceived(upstream)
            downstream = self.to_client.take()
            if downstream and not self.over:
                self.client.dataReceived(downstream)
            self._end_where_ended()
            if not upstream and not downstream:
                return self

    def _end_where_ended(self) -> None:
        if self.to_server.aborted or self.to_server.disconnecting:
            self.cut(ConnectionDone())
        if (self.to_client.aborted or self.to_client.disconnecting) and not self.to_client.value():
            self.cut(ConnectionDone())

    def cut(self, reason: BaseException | None = None) -> None:
        """Both sides learn that the connection is gone."""
        reason = reason or ConnectionLost()
        if not self.over:
            self.over = True
            self.client.connectionLost(Failure(reason))
        if not self.server_over and self.server is not None:
            self.server_over = True
            self.server.connectionLost(Failure(reason))

    def say(self, data: bytes) -> ClientPair:
        """Bytes to the client, by hand."""
        self.to_client.write(data)
        return self.pump()

    def advance(self, seconds: float, step: float = 1.0) -> ClientPair:
        """Let time pass as a reactor would, moving bytes in between."""
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            self.pump()
            seconds -= step
        return self

    def send(self, number: int, *fields: bytes) -> ClientPair:
        """A message of a RawServer."""
        self.server.sendPacket(number, b"".join(fields))
        return self.pump()

    def got(self) -> list[tuple[int, bytes]]:
        """Messages that a RawServer got since the last look."""
        self.pump()
        got, self.server.got = self.server.got, []
        return got

    def numbers(self) -> list[int]:
        """The numbers of those."""
        return [number for number, _ in self.got()]

    # Steps of an ordinary session with a RawServer.

    def ask_for_login(self) -> ClientPair:
        """The client has asked for the login service, and gets it."""
        assert self.numbers() == [5]
        return self.send(6, string(b"ssh-userauth"))

    def log_in(self) -> ClientPair:
        """The password is there, and right."""
        self.ask_for_login()
        assert self.numbers() == [50]
        return self.send(52)

    def start_sftp(self, window: int = 2**31, packet: int = 32_768) -> ClientPair:
        """The session is there."""
        self.log_in()
        assert self.numbers() == [90]
        self.send(91, u32(0), u32(0), u32(window), u32(packet))
        assert self.numbers()[:2] == [98, 94]
        self.send(99, u32(0))
        return self.data(VERSION)

    def data(self, data: bytes) -> ClientPair:
        """SFTP bytes to the client."""
        return self.send(94, u32(0), string(data))

    def stream(self) -> bytes:
        """SFTP bytes from the client since the last look."""
        return b"".join(Reader(payload[4:]).string() for number, payload in self.got() if number == 94)
