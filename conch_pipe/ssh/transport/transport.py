"""The SSH transport of both sides: packets, key exchange and re-keying behind strict rules and clocks.

A message is looked at only in a state that allows it; anything else, and any exception, ends the connection with one
DISCONNECT and one line in the log. Never logs a payload. Subclassed by the server (server/transport.py) and the client
(client/transport.py), which say what they offer, which messages they take and what happens when there are keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.conch.ssh.transport import DISCONNECT_KEY_EXCHANGE_FAILED
from twisted.internet.interfaces import IReactorTime

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.transport import algorithms
from conch_pipe.ssh.transport.algorithms import Agreed, Algorithms, NothingInCommon, Proposal
from conch_pipe.ssh.transport.ciphers import CIPHERS, MACS, Direction, direction
from conch_pipe.ssh.transport.kex import Secret, Transcript
from conch_pipe.ssh.transport.packet_transport import PacketTransport
from conch_pipe.ssh.transport.states import EXCHANGE, KEX_FIRST, KEX_LAST, KEXINIT, NEWKEYS, STRICT, USERAUTH_REQUEST

STRICT_CLIENT, STRICT_SERVER = b"kex-strict-c-v00@openssh.com", b"kex-strict-s-v00@openssh.com"
_MOST_PACKETS = 2**31  # under one key, RFC 4344 section 3.1


class Transport(PacketTransport):
    """One connection.

    A subclass has :attr:`messages`, :meth:`state` and :meth:`allowed`, makes the key exchange in :meth:`begin_exchange`
    and learns by :meth:`secured` that there are keys. ``service`` (Conch's ``setService``) gets messages of numbers 50
    to 255 by ``packetReceived``. Once ``trusted``, it is a connection service with ``channelData(packet)``, for the
    whole CHANNEL_DATA message as a view that is good until ``turnEnded()``: no more packets are there now.

    :param offered: what this side offers.
    """

    messages: ClassVar[dict[int, Callable[[Any, bytes], object]]]  # by number, those of the transport itself

    def __init__(self, offered: Algorithms, limits: Limits, clock: IReactorTime) -> None:
        super().__init__(limits, clock)
        self.offered = offered
        self.rekeyings = 0  # key exchanges that ended, after the first
        self.rekeyings_asked = 0  # those of them that the peer began
        self.agreed: Agreed | None = None
        self.strict = False
        self.secure = False  # the first key exchange is over
        self._exchange: Any = None  # ServerExchange or ClientExchange
        self._next: Direction | None = None  # what we read with after the peer's NEWKEYS
        self._proposal: Proposal | None = None  # ours, while an exchange of ours has not been answered
        self._ignore_guess = False
        self._early_kexes = 0
        self._ext_infos = 0

    # What a subclass says.

    def state(self) -> str:
        """The name of the state outside of key exchanges."""
        raise NotImplementedError

    def allowed(self, number: int) -> bool:
        """Whether a message may come in :meth:`state`."""
        raise NotImplementedError

    def begin_exchange(self, agreed: Agreed, transcript: Transcript) -> Any:
        """The object that does the key exchange: ``received(number, payload)``; may send messages of its own."""
        raise NotImplementedError

    def exchanged(self, number: int, payload: bytes) -> None:
        """A message of the key exchange came; ends with :meth:`new_keys` some time."""
        raise NotImplementedError

    def secured(self, first: bool) -> None:
        """Both directions have new keys."""

    def narrowed(self, theirs: Proposal) -> Algorithms:
        """What this side offers a peer whose KEXINIT came before ours was sent."""
        return self.offered

    def disagreed(self, error: NothingInCommon) -> None:
        """The negotiation failed; the connection is about to end."""

    # Messages.

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        """Look at one message, if the state allows it.

        :raises Malformed: it does not.
        """
        if self.step is not None:
            # Strict or not is known once the first KEXINIT has come.
            table = STRICT if self.strict and not self.secure else EXCHANGE
            may = messageNum in table[self.step]
        else:
            may = self.allowed(messageNum)
        if not may:
            raise Malformed(f"message {messageNum} came in state {self.step or self.state()}")
        if KEX_FIRST <= messageNum <= KEX_LAST:
            if self._ignore_guess:
                self._ignore_guess = False  # a wrong guess, RFC 4253 section 7
            else:
                self.exchanged(messageNum, payload)
            return
        own = self.messages.get(messageNum)
        if own is not None:
            own(self, payload)
        elif self.service is not None and messageNum >= USERAUTH_REQUEST:
            self.service.packetReceived(messageNum, payload)
        else:
            self.sendUnimplemented()

    # Key exchange.

    def sendKexInit(self) -> None:
        """Begin a key exchange, or answer the peer's KEXINIT; nothing when one has begun."""
        if self._proposal is not None:
            return
        first = self.sessionID is None
        markers: tuple[bytes, ...] = ()
        if first:
            # Not later, RFC 8308 section 2.1: paramiko and OpenSSH 7 would send EXT_INFO in the middle of a transfer.
            markers = (b"ext-info-c", STRICT_CLIENT) if self.isClient else (b"ext-info-s", STRICT_SERVER)
        payload = algorithms.write(os.urandom(16), self.offered, markers)
        self._proposal = algorithms.read(payload)
        self.ourKexInitPayload = bytes((KEXINIT,)) + payload
        self.sendPacket(KEXINIT, payload)
        self.hold()
        if not first:
            self.start_timer("kex", self.limits.kex_s, "a key exchange did not end in time")

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """The peer's half of the negotiation; a peer that asks for one all the time is thrown out."""
        first = self.sessionID is None
        if not first and self._proposal is None and self.incoming.received < self.limits.peer_rekey_bytes:
            self._early_kexes += 1
            if self._early_kexes > self.limits.peer_rekey_breaches:
                raise Malformed("too many key exchanges")
        if not first and self._proposal is None:
            self.rekeyings_asked += 1
        theirs = algorithms.read(packet)
        self.otherKexInitPayload = bytes((KEXINIT,)) + packet
        if first:
            marker = STRICT_SERVER if self.isClient else STRICT_CLIENT
            self.strict = marker in theirs.exchanges
            if self.strict and self.incoming.sequence != 1:
                raise Malformed("strict key exchange: something came before KEXINIT")
        self.step = "exchange"
        if first and self._proposal is None:
            self.offered = self.narrowed(theirs)
        self.sendKexInit()
        ours = self._proposal
        assert ours is not None
        try:
            agreed = algorithms.agree(ours, theirs) if self.isClient else algorithms.agree(theirs, ours)
        except NothingInCommon as error:
            self.disagreed(error)
            self.sendDisconnect(DISCONNECT_KEY_EXCHANGE_FAILED, str(error).encode())
            return
        self.agreed = agreed
        self.kexAlg, self.keyAlg = agreed.exchange, agreed.host_key  # Conch's names
        self._ignore_guess = theirs.guess and not agreed.guess_was_right
        versions = self.otherVersionString, self.ourVersionString
        inits = self.otherKexInitPayload, self.ourKexInitPayload
        if self.isClient:
            versions, inits = versions[::-1], inits[::-1]
        self._exchange = self.begin_exchange(agreed, Transcript(*versions, *inits))

    def new_keys(self, secret: Secret) -> None:
        """The exchange gave a secret: our NEWKEYS goes out, and everything after it is under the new keys."""
        assert self.agreed is not None
        self._exchange = None
        if self.sessionID is None:
            self.sessionID = secret.hash
        to_server = (self.agreed.cipher_to_server, self.agreed.mac_to_server, b"A", b"C", b"E")
        to_client = (self.agreed.cipher_to_client, self.agreed.mac_to_client, b"B", b"D", b"F")
        out, into = (to_server, to_client) if self.isClient else (to_client, to_server)
        self.step = "newkeys"
        self._next = self._direction(secret, *into, sending=False)
        self.sendPacket(NEWKEYS, b"")
        self.outgoing.change(self._direction(secret, *out, sending=True), restart=self.strict)
        # The queue waits for the peer's NEWKEYS no longer: OpenSSH does so, too (packet.c, ssh_packet_send2).
        self.release()

    def _direction(
        self, secret: Secret, cipher: bytes, mac: bytes, iv: bytes, key: bytes, mac_key: bytes, *, sending: bool
    ) -> Direction:
        session = self.sessionID
        assert session is not None
        key_size, iv_size = CIPHERS[cipher]
        mac_size = MACS[mac][1] if mac else 0
        return direction(
            cipher,
            mac,
            secret.derive(key, session, key_size),
            secret.derive(iv, session, iv_size),
            secret.derive(mac_key, session, mac_size),
            sending=sending,
        )

    def ssh_NEWKEYS(self, packet: bytes) -> None:
        """What follows is under the new keys."""
        if packet or self._next is None:
            raise Malformed("NEWKEYS takes no data")
        self.incoming.change(self._next, restart=self.strict)
        self._next = self._proposal = self.step = None
        self.stop_timer("kex")
        first, self.secure = not self.secure, True
        if not first:
            self.rekeyings += 1
        self.after("rekey", self.limits.rekey_s, self._rekey_due)
        self.secured(first)

    def _rekey_due(self) -> None:
        self.after("rekey", self.limits.rekey_s, self._rekey_due)
        if self.trusted and self._proposal is None and self.ending is None:
            self.sendKexInit()

    def turn_done(self) -> None:
        """Ask for new keys when enough has gone under the present ones."""
        if (
            self.incoming.received + self.outgoing.sent >= self.limits.rekey_bytes
            or self.incoming.packets + self.outgoing.packets >= _MOST_PACKETS
        ) and self._proposal is None:
            self.sendKexInit()

    # Conch asks these.

    def isEncrypted(self, direction: str = "out") -> bool:
        """There are keys."""
        return self.sessionID is not None and self.step is None

    isVerified = isEncrypted
