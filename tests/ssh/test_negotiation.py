"""What a client is offered, when, and what is told when there is nothing in common or when there is."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock

from conch_pipe.ssh.fields import Reader, string
from conch_pipe.ssh.interfaces import Security
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server.hostkeys import fingerprint
from conch_pipe.ssh.server.proxy_protocol import SIGNATURE
from conch_pipe.ssh.transport import kex
from conch_pipe.ssh.transport.algorithms import CLIENT, SERVER, Algorithms, Proposal, read, write
from tests.ssh.client_pair import ClientPair
from tests.ssh.memory import Door
from tests.ssh.pair import Pair, RawClient, Wire, host_key
from tests.ssh.test_client import rsa_key

DEFAULT, STRICT, LEGACY = SERVER.values()
VERSION = b"SSH-2.0-Test_1"
PROXY = "10.0.0.9"
COOKIE = bytes(16)
GCM = (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com")


def packet(payload: bytes) -> bytes:
    """An SSH packet without encryption."""
    padding = 8 - (5 + len(payload)) % 8
    padding += 8 if padding < 4 else 0
    return struct.pack(">LB", 1 + len(payload) + padding, padding) + payload + bytes(padding)


class Talk:
    """A client by hand, up to the first NEWKEYS.

    :ivar heard: payloads that came in clear text, KEXINIT and what follows.
    """

    def __init__(self, door: Door, address: str = "192.0.2.7", preamble: bytes = b"") -> None:
        self.clock: Clock = door.clock
        kind = IPv6Address if ":" in address else IPv4Address
        self.server: Any = door.factory.buildProtocol(kind("TCP", address, 50_000))
        self.wire = Wire()
        self.server.makeConnection(self.wire)
        self.heard: list[bytes] = []
        self._version = False
        self.say(preamble)

    def say(self, data: bytes) -> Talk:
        self.server.dataReceived(data)
        return self.listen()

    def wait(self, seconds: float) -> Talk:
        self.clock.advance(seconds)
        return self.listen()

    def listen(self) -> Talk:
        data = self.wire.take()
        if not self._version and data:
            _, _, data = data.partition(b"\r\n")
            self._version = True
        while data:
            size = int.from_bytes(data[:4], "big")
            self.heard.append(data[5 : 4 + size - data[4]])
            data = data[4 + size :]
        return self

    def version(self) -> Talk:
        return self.say(VERSION + b"\r\n")

    @property
    def numbers(self) -> list[int]:
        return [payload[0] for payload in self.heard]

    @property
    def offer(self) -> Proposal:
        """Of the server."""
        return read(self.heard[0][1:])


def kexinit(algorithms: Algorithms, guess: bool = False) -> bytes:
    payload = write(COOKIE, algorithms, ())
    return bytes((20,)) + payload[:-5] + bytes((guess,)) + payload[-4:]


def a_door(*keys: Any, **door: Any) -> Door:
    return Door(list(keys) or [host_key()], Clock(), **door)


def header(address: str) -> bytes:
    addresses = ip_address(address).packed + bytes([10, 0, 0, 1]) + struct.pack(">HH", 40_000, 2222)
    return SIGNATURE + struct.pack(">BBH", 0x21, 0x11, len(addresses)) + addresses


# Presets, for all and for some.


@pytest.mark.parametrize("preset", SERVER.values(), ids=lambda preset: preset.name)
def test_a_preset_is_what_clients_are_offered(preset: Algorithms) -> None:
    offer = Talk(a_door(algorithms=preset)).version().wait(1).offer

    assert offer.exchanges[: len(preset.exchanges)] == preset.exchanges
    assert (offer.ciphers_to_server, offer.macs_to_client) == (preset.ciphers, preset.macs)
    assert offer.host_keys == (b"ssh-ed25519",)


@pytest.mark.parametrize(
    ("address", "preset"),
    [
        ("192.0.2.10", LEGACY),
        ("192.0.2.11", STRICT),
        ("::ffff:192.0.2.10", LEGACY),
        ("2001:db8::5", LEGACY),
        ("2001:db9::5", DEFAULT),
        ("198.51.100.1", DEFAULT),
    ],
)
def test_the_first_network_a_client_is_in_decides(address: str, preset: Algorithms) -> None:
    door = a_door(
        algorithms_from=[("192.0.2.10", LEGACY), ("192.0.2.0/24", STRICT), ("2001:db8::/32", LEGACY), ("::/0", DEFAULT)]
    )

    offer = Talk(door, address).version().wait(1).offer

    assert offer.exchanges[: len(preset.exchanges)] == preset.exchanges
    assert offer.ciphers_to_client == preset.ciphers


def test_behind_a_proxy_the_client_s_own_address_decides() -> None:
    door = a_door(proxy_from=[PROXY], algorithms_from=[("192.0.2.10", LEGACY), (PROXY, STRICT)])

    legacy = Talk(door, PROXY, header("192.0.2.10")).version().wait(1).offer
    default = Talk(door, PROXY, header("192.0.2.11")).version().wait(1).offer

    assert legacy.exchanges[: len(LEGACY.exchanges)] == LEGACY.exchanges
    assert default.exchanges[: len(DEFAULT.exchanges)] == DEFAULT.exchanges
    assert b"ecdh-sha2-nistp256" not in default.exchanges


class OldClient(RawClient):
    """Knows no curve but NIST's."""

    supportedKeyExchanges = (b"ecdh-sha2-nistp256",)


def pair_of(door: Door, client: type[RawClient], address: str = "192.0.2.7") -> Pair:
    """A connection with another client than Pair's own."""
    pair = Pair(door, address=address)
    pair.client, pair.to_server = client(), Wire()
    pair.client.makeConnection(pair.to_server)
    return pair.pump()


def test_an_old_partner_gets_in_from_his_own_address_alone() -> None:
    door = a_door(algorithms_from=[("192.0.2.10", LEGACY)])

    assert pair_of(door, OldClient, "192.0.2.10").log_in()
    assert pair_of(door, OldClient, "192.0.2.11").over


@pytest.mark.parametrize("presets", [{"algorithms": STRICT}, {"algorithms_from": [("192.0.2.10", STRICT)]}])
def test_a_preset_that_leaves_nothing_is_refused_at_the_start(presets: dict[str, Any], monkeypatch) -> None:
    small = replace(STRICT, rsa_bits=4096)
    chosen = {"algorithms": small} if "algorithms" in presets else {"algorithms_from": [("192.0.2.10", small)]}

    with pytest.raises(ValueError, match="an RSA one of 4096 bits: there is none"):
        a_door(rsa_key(), **chosen)
    with pytest.raises(ValueError, match="needs ML-KEM"):
        a_door(algorithms=replace(STRICT, exchanges=()))


def test_the_first_key_that_is_good_enough_for_the_preset_signs() -> None:
    strict = replace(STRICT, rsa_bits=rsa_key().size() + 1)

    offer = Talk(a_door(rsa_key(), host_key(), algorithms=strict)).version().wait(1).offer

    assert offer.host_keys == (b"ssh-ed25519",)


# Our KEXINIT waits for the client's.


def test_a_client_that_waits_for_our_kexinit_gets_it_in_time() -> None:
    talk = Talk(a_door()).version()

    assert talk.wait(0.19).numbers == []
    assert talk.wait(0.02).numbers == [20]
    assert talk.offer.ciphers_to_server == DEFAULT.ciphers

    talk.say(packet(kexinit(DEFAULT)))
    assert talk.server.agreed.cipher_to_server == DEFAULT.ciphers[0]


def test_a_client_that_begins_is_answered_at_once() -> None:
    talk = Talk(a_door()).say(VERSION + b"\r\n" + packet(kexinit(DEFAULT)))

    assert talk.numbers == [20]
    assert talk.wait(1).numbers == [20]


def test_nothing_is_held_back_when_the_wait_is_none() -> None:
    door = Door([host_key()], Clock(), Limits(kexinit_wait_s=0))

    assert Talk(door).version().numbers == [20]


def test_a_connection_that_ends_while_ours_is_held_back_leaves_nothing() -> None:
    door = a_door()
    pair = Pair(door)
    pair.server.dataReceived(VERSION + b"\r\n")

    pair.cut()

    assert door.clock.getDelayedCalls() == []


OPENSSH = (b"chacha20-poly1305@openssh.com", b"aes128-ctr", b"aes192-ctr", b"aes256-ctr", *GCM)


def test_a_client_that_has_aes_gcm_is_offered_nothing_else() -> None:
    """The client's order decides, and OpenSSH's has ChaCha20 first and GCM last."""
    talk = Talk(a_door()).say(VERSION + b"\r\n" + packet(kexinit(replace(DEFAULT, ciphers=OPENSSH))))

    assert talk.offer.ciphers_to_server == talk.offer.ciphers_to_client == GCM
    assert talk.server.agreed.cipher_to_client == GCM[0]


def test_a_client_that_has_one_kind_of_aes_gcm_gets_that_one() -> None:
    talk = Talk(a_door()).say(VERSION + b"\r\n" + packet(kexinit(replace(DEFAULT, ciphers=(*OPENSSH[:4], GCM[1])))))

    assert talk.offer.ciphers_to_server == GCM[1:]


@pytest.mark.parametrize("ciphers", [OPENSSH[:4], (b"aes256-ctr", b"aes256-cbc")])
def test_a_client_without_aes_gcm_sees_the_whole_offer(ciphers: tuple[bytes, ...]) -> None:
    talk = Talk(a_door()).say(VERSION + b"\r\n" + packet(kexinit(replace(DEFAULT, ciphers=ciphers))))

    assert talk.offer.ciphers_to_server == DEFAULT.ciphers
    assert talk.server.agreed.cipher_to_server == ciphers[0]


def test_aes_gcm_in_one_direction_is_not_enough() -> None:
    payload = kexinit(DEFAULT)
    both, one = string(b",".join(DEFAULT.ciphers)), string(b"aes128-ctr")

    talk = Talk(a_door()).say(VERSION + b"\r\n" + packet(payload.replace(both, one, 1)))

    assert talk.offer.ciphers_to_server == DEFAULT.ciphers
    assert talk.server.agreed.cipher_to_server == b"aes128-ctr"
    assert talk.server.agreed.cipher_to_client == GCM[0]


# Guesses: first_kex_packet_follows.


class Guess:
    """A client that sends its share with its KEXINIT, without having seen ours."""

    def __init__(self, talk: Talk, first: str, right: bool) -> None:
        """:param first: whose KEXINIT comes first, "client" or "server"."""
        self.talk = talk
        mlkem, curve = DEFAULT.exchanges[:2]
        own = DEFAULT if right else replace(DEFAULT, exchanges=(curve, mlkem))
        talk.version()
        if first == "server":
            talk.wait(1)
            assert talk.numbers == [20]
        self.kexinit = kexinit(own, guess=True)
        self.method = own.exchanges[0]
        self.share = kex.ClientExchange(self.method, kex.Transcript(b"", b"", b"", b""))
        talk.say(packet(self.kexinit) + self.first(self.share))

    def first(self, exchange: kex.ClientExchange) -> bytes:
        number, payload = exchange.first
        return packet(bytes((number,)) + payload)

    def transcript(self) -> kex.Transcript:
        return kex.Transcript(VERSION, b"SSH-2.0-pipe-sftp", self.kexinit, self.talk.heard[0])

    def proves(self, exchange: kex.ClientExchange) -> bool:
        """Whether the server's answer is one to this share."""
        exchange._transcript = self.transcript()
        reply = exchange.received(31, self.talk.heard[1][1:])[1]
        assert reply is not None
        kex.verify(reply.host_key, reply.signature, reply.secret.hash, b"ssh-ed25519")
        return self.talk.server.sessionID == reply.secret.hash


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_right_guess_saves_the_client_a_round_trip(first: str) -> None:
    guess = Guess(Talk(a_door()), first, right=True)

    assert guess.talk.numbers == [20, 31, 21]
    assert guess.proves(guess.share)


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_wrong_guess_is_dropped_and_the_next_share_counts(first: str) -> None:
    """RFC 4253 section 7: wrong already when our own first choice is another one than the client's."""
    guess = Guess(Talk(a_door()), first, right=False)
    assert guess.talk.numbers == [20]

    again = kex.ClientExchange(guess.method, guess.transcript())
    guess.talk.say(guess.first(again))

    assert guess.talk.numbers == [20, 31, 21]
    assert guess.proves(again)


@pytest.mark.parametrize("first", ["client", "server"])
def test_only_one_message_is_dropped_for_a_wrong_guess(first: str) -> None:
    guess = Guess(Talk(a_door()), first, right=False)

    guess.talk.say(packet(b"\x1e" + string(bytes(31))))

    assert guess.talk.wire.disconnecting


# Nothing in common.


class Stranger(RawClient):
    """Has no exchange that we have."""

    supportedKeyExchanges = (b"diffie-hellman-group14-sha1", b"diffie-hellman-group-exchange-sha1")


def test_a_failed_negotiation_is_told_with_both_offers() -> None:
    door = a_door()

    pair = pair_of(door, Stranger)

    assert pair.over
    ((address, banner, what, client, server),) = door.listener.disagreements
    assert (address, banner, what) == ("192.0.2.7", "SSH-2.0-OpenSSH_9.2p1 Debian-2", "key exchange")
    assert client == "diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1"
    assert server == ",".join(name.decode() for name in DEFAULT.exchanges)
    assert door.listener.refusals == []
    assert "no common key exchange" in door.listener.endings[0]


def test_a_partner_that_tries_for_ever_is_ten_lines_a_minute() -> None:
    door = a_door(penalty_exempt=["192.0.2.0/24"])
    for _ in range(30):
        pair_of(door, Stranger)
    assert len(door.listener.disagreements) == 10

    pair_of(door, Stranger, "192.0.2.8")
    door.clock.advance(60)
    pair_of(door, Stranger)

    assert len(door.listener.disagreements) == 12


def test_an_offer_of_any_length_is_told_in_short_and_printable() -> None:
    door = a_door()
    many = replace(DEFAULT, exchanges=tuple(b"no-%d-%s" % (n, b"x" * 50) for n in range(100)))

    Talk(door).say(VERSION + b"\r\n" + packet(kexinit(many)))

    ((*_, client, server),) = door.listener.disagreements
    assert len(client) == 200 and client.endswith("...") and client.isprintable()


# In agreement.


def login(door: Door, **client: Any) -> Any:
    """What the portal was told of a login by our own client."""
    server = door.factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 50_000))
    pair = ClientPair(server, clock=door.clock, **client)
    pair.pump()
    assert pair.outcome.error is None, pair.outcome.error
    pair.session.close()
    pair.pump()
    pair.cut()
    return door.realm.avatars[-1].peer


def test_a_login_tells_what_protects_it() -> None:
    peer = login(a_door())

    assert peer.security == Security(
        preset="default-2026",
        exchange="mlkem768x25519-sha256",
        host_key_algorithm="ssh-ed25519",
        host_key=fingerprint(host_key()),
        cipher="aes128-gcm@openssh.com",
        mac="",
        strict=True,
        retiring=False,
    )


def test_a_login_of_an_old_client_tells_so() -> None:
    door = a_door(algorithms_from=[("192.0.2.7", LEGACY)])
    pair_of(door, OldClient).log_in()

    security = door.realm.avatars[-1].peer.security

    assert (security.preset, security.exchange, security.strict) == ("legacy-2026", "ecdh-sha2-nistp256", False)
    assert (security.cipher, security.mac) == ("aes256-ctr", "hmac-sha2-512")


def test_directions_that_differ_are_both_told() -> None:
    algorithms = replace(CLIENT["default-2026"], ciphers=(b"aes128-ctr", b"aes256-ctr"))
    door = a_door()
    talk = Talk(door)
    one, other = string(b"aes128-ctr,aes256-ctr"), string(b"aes256-ctr")
    payload = kexinit(algorithms)
    at = payload.index(one)
    payload = payload[:at] + one + payload[at + len(one) :].replace(one, other, 1)
    talk.say(VERSION + b"\r\n" + packet(payload))
    exchange = kex.ClientExchange(DEFAULT.exchanges[0], kex.Transcript(VERSION, b"", b"", b""))
    number, share = exchange.first

    talk.say(packet(bytes((number,)) + share) + packet(b"\x15"))

    assert talk.server.peer.security.cipher == "aes128-ctr/aes256-ctr"


@pytest.mark.parametrize("client", CLIENT.values(), ids=lambda preset: preset.name)
@pytest.mark.parametrize("server", SERVER.values(), ids=lambda preset: preset.name)
def test_every_preset_of_ours_gets_along_with_every_other(client: Algorithms, server: Algorithms) -> None:
    security = login(a_door(algorithms=server), algorithms=client).security

    assert (security.preset, security.strict) == (server.name, True)


def test_a_client_that_leaves_at_the_sight_of_our_host_key_is_told_apart() -> None:
    """OpenSSH's goes without a word when it knows another key."""
    door = a_door()
    guess = Guess(Talk(door), "client", right=True)

    guess.talk.server.connectionLost(None)

    assert door.listener.endings == [f"the client closed the connection when it saw host key {fingerprint(host_key())}"]
    assert Reader(guess.talk.heard[1][1:]).string() == host_key().public().blob()
