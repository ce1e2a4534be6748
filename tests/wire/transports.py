"""Clients and servers of two makes, Conch's own transport and ours, joined in memory in every cipher they can have.

What is above them is the same: the test's messages on the one side, our connection and channels on the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.transport import SSHServerTransport
from twisted.internet.task import Clock

from conch_pipe.ssh.fields import string
from conch_pipe.ssh.interfaces import Peer
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server.announced import ANNOUNCEMENT
from conch_pipe.ssh.server.connection import PutConnection
from conch_pipe.ssh.transport.algorithms import CLIENT, Agreed, Algorithms
from conch_pipe.ssh.transport.deadlines import Deadlines
from conch_pipe.ssh.transport.kex import ClientExchange, Transcript, verify
from conch_pipe.ssh.transport.states import CHANNEL_DATA, KEXINIT, NEWKEYS
from conch_pipe.ssh.transport.transport import Transport
from tests.ssh.memory import Door
from tests.ssh.pair import Pair, RawClient, host_key

GLOBAL_REQUEST = 80
AEAD = (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com", b"chacha20-poly1305@openssh.com")
CTR = (b"aes128-ctr", b"aes192-ctr", b"aes256-ctr")
MACS = (b"hmac-sha2-256", b"hmac-sha2-512")  # Conch has these
ETM_MACS = (b"hmac-sha2-256-etm@openssh.com", b"hmac-sha2-512-etm@openssh.com")


@dataclass(frozen=True)
class Make:
    """Which transport is on which side, and what encrypts.

    :param server: "ours" or "stock", and so ``client``.
    :param mac: empty where the cipher needs none.
    """

    server: str
    client: str
    cipher: bytes
    mac: bytes = b""

    def __str__(self) -> str:
        suite = "+".join(name.decode().partition("@")[0] for name in (self.cipher, self.mac) if name)
        return f"{self.client}-to-{self.server}-{suite}"


STOCK = Make("stock", "stock", b"aes256-ctr", b"hmac-sha2-512")
MAKES = (
    STOCK,
    Make("stock", "ours", b"aes256-ctr", b"hmac-sha2-512"),
    *(Make("ours", "stock", cipher, mac) for cipher in CTR for mac in MACS),
    *(Make("ours", "ours", cipher) for cipher in AEAD),
    *(Make("ours", "ours", cipher, mac) for cipher in CTR for mac in ETM_MACS + MACS),
)


class OurClient(Transport):
    """Our transport as a client, without an opinion: as RawClient, does the key exchange and keeps the rest."""

    isClient = True

    def __init__(self, offered: Algorithms) -> None:
        super().__init__(offered, Limits(packet_before_login=2**18, peer_rekey_bytes=0), Clock())
        self.got: list[tuple[int, bytes]] = []

    def connectionMade(self) -> None:
        super().connectionMade()
        self.sendKexInit()

    def got_version(self, line: bytes) -> None:
        self.gotVersion, self.otherVersionString = True, line

    def begin_exchange(self, agreed: Agreed, transcript: Transcript) -> ClientExchange:
        exchange = ClientExchange(agreed.exchange, transcript)
        self.sendPacket(*exchange.first)
        return exchange

    def exchanged(self, number: int, payload: bytes) -> None:
        assert self.agreed is not None
        _, reply = self._exchange.received(number, payload)
        verify(reply.host_key, reply.signature, reply.secret.hash, self.agreed.host_key)
        self.new_keys(reply.secret)

    def state(self) -> str:
        return "any"

    def allowed(self, number: int) -> bool:
        return True

    def violated(self, what: str) -> None:
        raise AssertionError(what)

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        if KEXINIT <= messageNum < 50:
            super().dispatchMessage(messageNum, payload)
        elif not (messageNum == GLOBAL_REQUEST and payload.startswith(string(ANNOUNCEMENT))):
            self.got.append((messageNum, payload))

    messages: ClassVar[dict[int, Any]] = {KEXINIT: Transport.ssh_KEXINIT, NEWKEYS: Transport.ssh_NEWKEYS}


class StockFactory(SSHFactory):
    """Keys for Conch's server, and what our connection asks of its factory."""

    def __init__(self, door: Door) -> None:
        key = host_key()
        self.privateKeys, self.publicKeys = {key.sshType(): key}, {key.sshType(): key.public()}
        self.primes = None
        self.announced = door.factory.announced
        self.learnt = door.factory.learnt


class StockServer(SSHServerTransport):
    """Conch's own server below our connection.

    Changed in two places: CHANNEL_DATA comes by the connection's fast way, as it has no other, and turns have an end.
    The login is the test's.
    """

    def __init__(self, door: Door) -> None:
        self.factory: Any = StockFactory(door)
        self.supportedPublicKeys = host_key().supportedSignatureAlgorithms()
        self.clock = door.clock
        self.limits = door.factory.limits
        self.peer = Peer("192.0.2.7", 50000, "", "0" * 16)
        self.trusted = True
        self._deadlines = Deadlines(door.clock)

    def after(self, name: str, seconds: float, function: Any) -> None:
        self._deadlines.set(name, seconds, function)
        self._deadlines.wind()

    def stop_timer(self, name: str) -> None:
        self._deadlines.drop(name)

    @property
    def banner(self) -> str:
        return self.otherVersionString.decode()

    def abort(self, reason: str) -> None:
        self.transport.abortConnection()

    def crowded(self) -> bool:
        return False

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self.service is not None:
            self.service.turnEnded()

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        if messageNum == CHANNEL_DATA:
            self.service.channelData(memoryview(bytes((messageNum,)) + payload))
        else:
            super().dispatchMessage(messageNum, payload)


class Made(Pair):
    """A Pair of two transports, logged in; both may ask for new keys as often as they like."""

    def __init__(self, make: Make, banner: bytes) -> None:
        self.make = make
        super().__init__(Door([host_key()], Clock(), Limits(peer_rekey_bytes=0)), banner=banner)
        self.pump()
        if make.server == "ours":
            self.log_in()
        else:
            _, self.server.avatar, _ = self.door.realm.requestAvatar(b"ann", self.server.peer)
            self.server.setService(PutConnection())
            self.pump()
        self.got()

    def make_server(self, address: str) -> Any:
        return super().make_server(address) if self.make.server == "ours" else StockServer(self.door)

    def make_client(self) -> Any:
        macs = (self.make.mac,) if self.make.mac else MACS
        if self.make.client == "ours":
            return OurClient(replace(CLIENT["default-2026"], ciphers=(self.make.cipher,), macs=macs))
        client = RawClient()
        client.supportedCiphers, client.supportedMACs = [self.make.cipher], list(macs)
        return client

    def rekeyings(self) -> int:
        """How often the client got new keys."""
        return self.client.rekeyings if self.make.client == "ours" else self.client.secure - 1

    def used(self) -> tuple[bytes, bytes]:
        """Cipher and MAC as the client agreed on them."""
        if self.make.client == "ours":
            return self.client.agreed.cipher_to_server, self.client.agreed.mac_to_server
        encryptions = self.client.currentEncryptions
        return encryptions.outCipType, encryptions.outMACType
