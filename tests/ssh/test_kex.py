"""Key exchanges: our client, our server, Conch's computations, and whatever a peer may send instead."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from twisted.conch.ssh import _kex as conch_kex
from twisted.conch.ssh.common import MP, NS
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import SSHClientTransport, SSHServerTransport
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import StringTransport

from conch_pipe.ssh.fields import Malformed, string, u32
from conch_pipe.ssh.transport.algorithms import SERVER, write
from conch_pipe.ssh.transport.kex import (
    NAMES,
    BadSignature,
    ClientExchange,
    Reply,
    Secret,
    ServerExchange,
    Transcript,
    verify,
)
from conch_pipe.ssh.transport.shares import GROUP14, GROUP16, mpint

HYBRID, CURVE, GEX = b"mlkem768x25519-sha256", b"curve25519-sha256", b"diffie-hellman-group-exchange-sha256"
NIST256, GROUP14_SHA256 = b"ecdh-sha2-nistp256", b"diffie-hellman-group14-sha256"
TRANSCRIPT = Transcript(b"SSH-2.0-c", b"SSH-2.0-s", b"\x14client", b"\x14server")
METHODS = sorted(NAMES)


def cases(names: str, rows: list[Any]) -> pytest.MarkDecorator:
    """A table whose rows are numbered: numbers of 8,192 bits make no names, and random ones no lasting names."""
    return pytest.mark.parametrize(names, rows, ids=[str(row) for row in range(len(rows))])


# Ours is silenced where it is used; pytest and Conch bring it back.
pytestmark = pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")
every_method = pytest.mark.parametrize("method", METHODS, ids=bytes.decode)


def of_number(value: int) -> bytes:
    """An mpint."""
    return mpint(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class HostKey:
    """An Ed25519 key as a server has it."""

    def __init__(self) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.blob = string(b"ssh-ed25519") + string(self.private.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        return string(b"ssh-ed25519") + string(self.private.sign(data))


HOST_KEY = HostKey()


def server(method: bytes) -> ServerExchange:
    return ServerExchange(method, TRANSCRIPT, HOST_KEY.blob, HOST_KEY.sign)


def exchange(method: bytes) -> tuple[Secret, Reply, list[int]]:
    """Our client with our server: what each has, and the numbers of the messages."""
    ours, theirs = ClientExchange(method, TRANSCRIPT), server(method)
    to_server, numbers = [ours.first], []
    secret, reply = None, None
    while to_server:
        numbers.append(to_server[0][0])
        to_client, secret = theirs.received(*to_server.pop())
        for message in to_client:
            numbers.append(message[0])
            to_server, reply = ours.received(*message)
    assert secret is not None
    assert reply is not None
    return secret, reply, numbers


# Our client and our server.


@every_method
def test_both_sides_have_the_same_secret_and_the_signature_fits(method: bytes) -> None:
    secret, reply, numbers = exchange(method)

    assert reply.secret == secret
    assert reply.host_key == HOST_KEY.blob
    assert numbers == ([34, 31, 32, 33] if method == GEX else [30, 31])
    verify(reply.host_key, reply.signature, secret.hash, b"ssh-ed25519")


@every_method
def test_no_two_exchanges_have_the_same_secret(method: bytes) -> None:
    one, other = exchange(method)[0], exchange(method)[0]

    assert one.key != other.key
    assert one.hash != other.hash


@pytest.mark.parametrize("field", ["client_version", "server_version", "client_kexinit", "server_kexinit"])
def test_what_was_said_before_is_part_of_the_hash(field: str) -> None:
    """A man in the middle who changed it leaves the sides with different hashes, so the signature does not fit."""
    changed = Transcript(**{name: getattr(TRANSCRIPT, name) + b"!" * (name == field) for name in Transcript.__slots__})
    client, theirs = ClientExchange(CURVE, changed), server(CURVE)

    replies, secret = theirs.received(*client.first)
    _, reply = client.received(*replies[0])

    assert secret is not None
    assert reply is not None
    assert reply.secret.hash != secret.hash
    with pytest.raises(BadSignature, match="did not sign"):
        verify(reply.host_key, reply.signature, reply.secret.hash, b"ssh-ed25519")


@every_method
def test_an_exchange_that_is_over_takes_nothing_more(method: bytes) -> None:
    """500 of them in one connection were all answered by Conch, each with a signature."""
    client, theirs = ClientExchange(method, TRANSCRIPT), server(method)
    sent = client.first
    for _ in range(1 + (method == GEX)):
        replies, _ = theirs.received(*sent)
        more, reply = client.received(*replies[0])
        first, sent = sent, more[0] if more else sent

    with pytest.raises(Malformed, match="came in the key exchange"):
        theirs.received(*sent)
    with pytest.raises(Malformed, match="came in the key exchange"):
        theirs.received(*first)
    with pytest.raises(Malformed, match="came in the key exchange"):
        client.received(*replies[0])


@every_method
def test_an_exchange_that_failed_takes_nothing_more(method: bytes) -> None:
    client, theirs = ClientExchange(method, TRANSCRIPT), server(method)
    with pytest.raises(Malformed):
        theirs.received(client.first[0], b"")

    with pytest.raises(Malformed, match="came in the key exchange"):
        theirs.received(*client.first)


@every_method
@pytest.mark.parametrize("number", [0, 1, 20, 21, 29, 35, 49, 50, 255])
def test_no_other_message_is_taken(method: bytes, number: int) -> None:
    with pytest.raises(Malformed):
        server(method).received(number, ClientExchange(method, TRANSCRIPT).first[1])
    with pytest.raises(Malformed):
        ClientExchange(method, TRANSCRIPT).received(number, b"")


def test_a_secret_is_not_in_its_own_text() -> None:
    """Tracebacks and logs show reprs."""
    secret = exchange(CURVE)[0]

    assert repr(secret.key) not in repr(secret)


# The same by other people's computations.


class _Plain:
    """A Conch transport without packets: what it sends, and the secret that it gets."""

    def prepare(self, method: bytes) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.result: tuple[bytes, bytes] | None = None
        self.supportedKeyExchanges = [method]
        self.supportedPublicKeys = [b"ssh-ed25519"]
        self.makeConnection(StringTransport())  # type: ignore[attr-defined]
        self.sent.clear()

    def sendPacket(self, number: int, payload: bytes) -> None:
        self.sent.append((number, payload))

    def _keySetup(self, key: bytes, hash: bytes) -> None:
        self.result = (key, hash)


class ConchServer(_Plain, SSHServerTransport):
    """Conch's server."""


class ConchClient(_Plain, SSHClientTransport):
    """Conch's client, which trusts whoever comes."""

    def verifyHostKey(self, hostKey: bytes, fingerprint: bytes) -> Deferred[bool]:
        return succeed(True)


class Keys(SSHFactory):
    """What Conch's server asks its factory."""

    publicKeys: ClassVar[dict[bytes, Key]] = {b"ssh-ed25519": Key(HOST_KEY.private).public()}
    privateKeys: ClassVar[dict[bytes, Key]] = {b"ssh-ed25519": Key(HOST_KEY.private)}
    primes: ClassVar[dict[int, list[tuple[int, int]]]] = {2048: [(2, GROUP14.prime)], 4096: [(2, GROUP16.prime)]}

    def getPrimes(self) -> dict[int, list[tuple[int, int]]]:
        return self.primes


KEXINIT = write(bytes(16), SERVER["default-2026"], ())


def kexinit(method: bytes) -> bytes:
    return KEXINIT.replace(string(b",".join(SERVER["default-2026"].exchanges)), string(method))


@pytest.mark.parametrize("method", sorted(NAMES & set(conch_kex.getSupportedKeyExchanges())), ids=bytes.decode)
def test_conch_s_server_has_our_client_s_secret(method: bytes) -> None:
    conch = ConchServer()
    conch.factory = Keys()
    conch.prepare(method)
    conch.otherVersionString, payload = b"SSH-2.0-ours", kexinit(method)
    conch.ssh_KEXINIT(payload)
    client = ClientExchange(
        method,
        Transcript(conch.otherVersionString, conch.ourVersionString, b"\x14" + payload, conch.ourKexInitPayload),
    )
    to_server, reply = [client.first], None
    while to_server:
        conch.sent.clear()
        conch.dispatchMessage(*to_server.pop())
        to_server, reply = client.received(*conch.sent[0])

    assert reply is not None
    assert (reply.secret.key, reply.secret.hash) == conch.result
    verify(reply.host_key, reply.signature, reply.secret.hash, b"ssh-ed25519")


@pytest.mark.parametrize("method", sorted(NAMES & set(SSHClientTransport.supportedKeyExchanges)), ids=bytes.decode)
def test_conch_s_client_has_our_server_s_secret(method: bytes) -> None:
    conch = ConchClient()
    conch.prepare(method)
    conch.otherVersionString, payload = b"SSH-2.0-ours", kexinit(method)
    conch.ssh_KEXINIT(payload)
    transcript = Transcript(
        conch.ourVersionString, conch.otherVersionString, conch.ourKexInitPayload, b"\x14" + payload
    )
    ours = ServerExchange(method, transcript, HOST_KEY.blob, HOST_KEY.sign)
    secret = None
    while secret is None:
        message = conch.sent.pop()
        conch.sent.clear()
        replies, secret = ours.received(*message)
        for reply in replies:
            conch.dispatchMessage(*reply)

    assert (secret.key, secret.hash) == conch.result


def test_the_hash_is_the_one_of_rfc_5656() -> None:
    """By hand, with a client of primitives."""
    mine = X25519PrivateKey.generate()
    q_c = mine.public_key().public_bytes_raw()

    [(_, payload)], secret = server(CURVE).received(30, string(q_c))

    q_s = payload[4 + len(HOST_KEY.blob) + 4 :][:32]
    shared = mine.exchange(X25519PublicKey.from_public_bytes(q_s))
    key = MP(int.from_bytes(shared, "big"))
    hashed = b"".join(map(NS, (b"SSH-2.0-c", b"SSH-2.0-s", b"\x14client", b"\x14server", HOST_KEY.blob, q_c, q_s)))
    assert secret == Secret(key, hashlib.sha256(hashed + key).digest(), CURVE)


@every_method
def test_keys_are_derived_as_by_conch(method: bytes) -> None:
    secret, session_id = exchange(method)[0], bytes(range(32))
    conch = SSHServerTransport()
    conch.sessionID = session_id
    conch.kexAlg = method if method in conch_kex._kexAlgorithms else b"ecdh-sha2-nistp521"  # type: ignore[assignment]
    if conch_kex.getHashProcessor(conch.kexAlg)().name != hashlib.new(hash_of(method)).name:
        conch.kexAlg = GEX  # type: ignore[assignment]

    for letter in (b"A", b"B", b"C", b"D", b"E", b"F"):
        whole = conch._getKey(letter, secret.key, secret.hash)

        for size in (0, 1, 12, 16, 31, 32, 33, 64, 65, len(whole)):
            assert secret.derive(letter, session_id, size) == whole[:size]


def hash_of(method: bytes) -> str:
    text = method.decode()
    if "nist" in text:
        return {"256": "sha256", "384": "sha384", "521": "sha512"}[text[-3:]]
    return text.replace("@libssh.org", "").rpartition("-")[2]


@every_method
def test_the_hash_is_of_the_method_s_length(method: bytes) -> None:
    assert len(exchange(method)[0].hash) == hashlib.new(hash_of(method)).digest_size


def test_the_fixed_groups_are_those_of_rfc_3526() -> None:
    """They are made of the digits of pi: 2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) * pi) + c)."""

    def inverse_tangent(of: int, one: int) -> int:
        total, term, divisor = 0, one // of, 1
        while term:
            total += term // divisor if divisor % 4 == 1 else -(term // divisor)
            term //= of * of
            divisor += 2
        return total

    for group, n, c in ((GROUP14, 2048, 124_476), (GROUP16, 4096, 240_904)):
        one = 1 << (n - 130 + 64)
        pi = 4 * (4 * inverse_tangent(5, one) - inverse_tangent(239, one)) >> 64

        assert group.prime == 2**n - 2 ** (n - 64) - 1 + 2**64 * (pi + c)


@cases(
    "value, wire",
    [
        (b"", b"\0\0\0\0"),
        (b"\0\0", b"\0\0\0\0"),
        (b"\x7f", b"\0\0\0\1\x7f"),
        (b"\x80", b"\0\0\0\2\0\x80"),
        (b"\0\0\x80", b"\0\0\0\2\0\x80"),
        (b"\0\x01\x00", b"\0\0\0\2\x01\x00"),
        (bytes.fromhex("09a378f9b2e332a7"), bytes.fromhex("0000000809a378f9b2e332a7")),  # RFC 4251 section 5
    ],
)
def test_a_secret_with_zeros_in_front_is_hashed_without_them(value: bytes, wire: bytes) -> None:
    assert mpint(value) == wire


# What a peer may send instead.


def point(curve: ec.EllipticCurve, form: serialization.PublicFormat) -> bytes:
    return ec.generate_private_key(curve).public_key().public_bytes(serialization.Encoding.X962, form)


GOOD_POINT = point(ec.SECP256R1(), serialization.PublicFormat.UncompressedPoint)
LOW_ORDER = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
KEM_PUBLIC = ClientExchange(HYBRID, TRANSCRIPT).first[1][4 : 4 + 1184] if HYBRID in NAMES else bytes(1184)
P = GROUP14.prime

BAD_SHARES = [
    *[(CURVE, share) for share in (b"", bytes(31), bytes(33), bytes(32), b"\1" + bytes(31), LOW_ORDER)],
    (NIST256, b""),
    (NIST256, b"\0"),  # the point at infinity
    (NIST256, GOOD_POINT[:-1]),
    (NIST256, GOOD_POINT + b"\0"),
    (NIST256, b"\4" + bytes(64)),
    (NIST256, b"\4" + b"\xff" * 64),
    (NIST256, GOOD_POINT[:-1] + bytes((GOOD_POINT[-1] ^ 1,))),
    (NIST256, b"\6" + GOOD_POINT[1:]),
    (NIST256, point(ec.SECP256R1(), serialization.PublicFormat.CompressedPoint)),
    (NIST256, point(ec.SECP384R1(), serialization.PublicFormat.UncompressedPoint)),
    (b"ecdh-sha2-nistp384", GOOD_POINT),
    (b"ecdh-sha2-nistp521", GOOD_POINT),
    *[(GROUP14_SHA256, of_number(value)[4:]) for value in (0, 1, P - 1, P, P + 2, 2**2100)],
    (GROUP14_SHA256, b"\x80" + bytes(255)),  # negative
    (GROUP14_SHA256, b"\0\x02"),  # a zero in front
    (GROUP14_SHA256, b"\0"),
    (GROUP14_SHA256, b"\0" + b"\xff" * 5_000),
    (b"diffie-hellman-group16-sha512", of_number(GROUP16.prime - 1)[4:]),
]
BAD_HYBRIDS = [  # of a client
    b"",
    bytes(32),
    KEM_PUBLIC,
    KEM_PUBLIC + bytes(32),
    KEM_PUBLIC + b"\x09" + bytes(30),
    KEM_PUBLIC + b"\x09" + bytes(32),
    b"\xff" * 1184 + b"\x09" + bytes(31),  # coefficients of q and more
    b"\xff\xff\xff" + KEM_PUBLIC[3:] + b"\x09" + bytes(31),
]
needs_mlkem = pytest.mark.skipif(HYBRID not in NAMES, reason="OpenSSL without ML-KEM")


@cases("method, share", BAD_SHARES)
def test_a_server_refuses_what_is_no_share(method: bytes, share: bytes) -> None:
    with pytest.raises(Malformed):
        server(method).received(30, string(share))


@needs_mlkem
@cases("share", BAD_HYBRIDS)
def test_a_server_refuses_what_is_no_hybrid_share(share: bytes) -> None:
    with pytest.raises(Malformed):
        server(HYBRID).received(30, string(share))


def reply(share: bytes, tail: bytes = b"") -> bytes:
    return string(HOST_KEY.blob) + string(share) + string(HOST_KEY.sign(b"")) + tail


@cases("method, share", BAD_SHARES)
def test_a_client_refuses_what_is_no_share(method: bytes, share: bytes) -> None:
    with pytest.raises(Malformed):
        ClientExchange(method, TRANSCRIPT).received(31, reply(share))


@needs_mlkem
@pytest.mark.parametrize("size", [0, 32, 1088, 1119, 1121, 1184 + 32])
def test_a_client_refuses_what_is_no_hybrid_share(size: int) -> None:
    with pytest.raises(Malformed):
        ClientExchange(HYBRID, TRANSCRIPT).received(31, reply(b"\x09" * size))


@needs_mlkem
def test_a_client_refuses_a_hybrid_share_whose_curve_gives_nothing() -> None:
    with pytest.raises(Malformed):
        ClientExchange(HYBRID, TRANSCRIPT).received(31, reply(bytes(1088 + 32)))


@needs_mlkem
def test_a_changed_ciphertext_gives_another_secret_and_no_error() -> None:
    """ML-KEM rejects implicitly; the signature is what tells."""
    client = ClientExchange(HYBRID, TRANSCRIPT)
    [(_, payload)], secret = server(HYBRID).received(*client.first)
    at = 4 + len(HOST_KEY.blob) + 4

    _, answer = client.received(31, payload[:at] + bytes((payload[at] ^ 1,)) + payload[at + 1 :])

    assert secret is not None
    assert answer is not None
    assert answer.secret.key != secret.key
    with pytest.raises(BadSignature):
        verify(answer.host_key, answer.signature, answer.secret.hash, b"ssh-ed25519")


@every_method
def test_nothing_may_follow_and_nothing_may_lack(method: bytes) -> None:
    client = ClientExchange(method, TRANSCRIPT)
    number, payload = client.first

    for changed in (payload + b"\0", *(payload[:size] for size in range(0, len(payload), 1 + len(payload) // 40))):
        with pytest.raises(Malformed):
            server(method).received(number, changed)


@pytest.mark.parametrize("method", [CURVE, NIST256], ids=bytes.decode)
def test_a_reply_is_whole_and_ends(method: bytes) -> None:
    ours, theirs = ClientExchange(method, TRANSCRIPT), server(method)
    [(number, payload)], _ = theirs.received(*ours.first)

    for changed in (payload + b"\0", *(payload[:size] for size in range(len(payload)))):
        with pytest.raises(Malformed):
            ClientExchange(method, TRANSCRIPT).received(number, changed)


def test_a_host_key_or_signature_of_8_kib_is_too_long() -> None:
    share = X25519PrivateKey.generate().public_key().public_bytes_raw()
    good, long = HOST_KEY.blob, bytes(8_193)

    for payload in (
        string(long) + string(share) + string(good),
        string(good) + string(share) + string(long),
    ):
        with pytest.raises(Malformed):
            ClientExchange(CURVE, TRANSCRIPT).received(31, payload)


@given(st.sampled_from(METHODS), st.integers(30, 34), st.binary(max_size=80))
def test_any_bytes_are_malformed_and_nothing_worse(method: bytes, number: int, payload: bytes) -> None:
    for candidate in (payload, string(payload)):
        with contextlib.suppress(Malformed):
            server(method).received(number, candidate)
    with contextlib.suppress(Malformed):
        ClientExchange(CURVE, TRANSCRIPT).received(number, payload)


@given(st.binary(min_size=32, max_size=32))
def test_any_32_bytes_are_a_share_or_malformed(share: bytes) -> None:
    with contextlib.suppress(Malformed):
        server(CURVE).received(30, string(share))


# Group exchange.


@pytest.mark.parametrize(
    ("smallest", "preferred", "largest", "bits"),
    [
        (2048, 2048, 8192, 2048),  # paramiko
        (2048, 3072, 8192, 4096),  # ours, asyncssh's
        (2048, 8192, 8192, 4096),  # OpenSSH's with a 256-bit cipher: the largest there is
        (1024, 1024, 8192, 2048),
        (1024, 2048, 2048, 2048),
        (2048, 3072, 3072, 2048),  # 4096 would be more than allowed
        (4096, 4096, 4096, 4096),
        (0, 2**32 - 1, 2**32 - 1, 4096),
    ],
)
def test_a_server_chooses_the_smallest_group_that_is_enough(
    smallest: int, preferred: int, largest: int, bits: int
) -> None:
    group = {2048: GROUP14, 4096: GROUP16}[bits]

    replies, secret = server(GEX).received(34, u32(smallest) + u32(preferred) + u32(largest))

    assert secret is None
    assert replies == [(31, of_number(group.prime) + of_number(2))]


@pytest.mark.parametrize(
    ("smallest", "preferred", "largest"),
    [
        (1024, 1024, 1024),
        (1024, 1536, 2047),
        (4097, 8192, 8192),
        (2049, 3072, 4095),
        (8192, 4096, 2048),
        (2048, 1024, 8192),
        (2048, 8192, 4096),
        (0, 0, 0),
    ],
)
def test_a_server_has_no_group_for_sizes_that_make_no_sense(smallest: int, preferred: int, largest: int) -> None:
    with pytest.raises(Malformed, match="no Diffie-Hellman group"):
        server(GEX).received(34, u32(smallest) + u32(preferred) + u32(largest))


def test_a_server_does_not_take_the_old_group_request() -> None:
    with pytest.raises(Malformed):
        server(GEX).received(30, u32(2048))


def test_a_server_takes_no_share_before_it_chose_a_group() -> None:
    with pytest.raises(Malformed):
        server(GEX).received(32, of_number(4))


def test_a_client_asks_for_groups_of_2048_to_8192_bits() -> None:
    assert ClientExchange(GEX, TRANSCRIPT).first == (34, u32(2048) + u32(3072) + u32(8192))


@cases(
    "prime, generator",
    [
        (2**1023 + 1, 2),
        (2**2046 + 1, 2),
        (2**8192 + 1, 2),
        (2**20_000 + 1, 2),
        (0, 2),
        (1, 2),
        (P + 1, 2),  # even
        (P, 0),
        (P, 1),
        (P, P - 1),
        (P, P),
    ],
)
def test_a_client_refuses_a_group_that_is_none(prime: int, generator: int) -> None:
    with pytest.raises(Malformed):
        ClientExchange(GEX, TRANSCRIPT).received(31, of_number(prime) + of_number(generator))


@cases(
    "payload",
    [
        of_number(P) + of_number(2) + b"\0",
        of_number(P),
        b"",
        string(b"\0\0" + of_number(P)[5:]) + of_number(2),
        string(b"\xff" * 256) + of_number(2),
        of_number(P) + string(b"\0\2"),
    ],
)
def test_a_client_refuses_a_group_that_is_not_written_as_it_must_be(payload: bytes) -> None:
    with pytest.raises(Malformed):
        ClientExchange(GEX, TRANSCRIPT).received(31, payload)


@cases("value", [0, 1, P - 1, P, P + 1])
def test_a_client_checks_the_server_s_value_in_a_given_group(value: int) -> None:
    client = ClientExchange(GEX, TRANSCRIPT)
    client.received(31, of_number(P) + of_number(2))

    with pytest.raises(Malformed):
        client.received(33, string(HOST_KEY.blob) + of_number(value) + string(b""))


# Signatures.


def rsa_key(bits: int) -> tuple[bytes, Callable[[bytes, Any], bytes]]:
    private = rsa.generate_private_key(65537, bits)
    numbers = private.public_key().public_numbers()
    blob = string(b"ssh-rsa") + of_number(numbers.e) + of_number(numbers.n)
    return blob, lambda data, digest: private.sign(data, padding.PKCS1v15(), digest)


def ecdsa_key(curve: ec.EllipticCurve, name: bytes, digest: Any) -> tuple[bytes, Callable[[bytes], bytes]]:
    private = ec.generate_private_key(curve)
    public = private.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    kind = b"ecdsa-sha2-" + name

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(digest)))
        return string(kind) + string(of_number(r) + of_number(s))

    return string(kind) + string(name) + string(public), sign


RSA, RSA_SIGN = rsa_key(2048)
WEAK_RSA, WEAK_RSA_SIGN = rsa_key(1024)
H = hashlib.sha256(b"an exchange").digest()
ED25519 = string(b"ssh-ed25519")


def refused(host_key: bytes, signature: bytes, algorithm: bytes, hash: bytes = H) -> None:
    with pytest.raises(BadSignature):
        verify(host_key, signature, hash, algorithm)


def test_ed25519_verifies() -> None:
    verify(HOST_KEY.blob, HOST_KEY.sign(H), H, b"ssh-ed25519")

    refused(HOST_KEY.blob, HOST_KEY.sign(H), b"ssh-ed25519", hash=H[::-1])
    refused(HostKey().blob, HOST_KEY.sign(H), b"ssh-ed25519")


@pytest.mark.parametrize(
    ("algorithm", "digest"), [(b"rsa-sha2-256", hashes.SHA256()), (b"rsa-sha2-512", hashes.SHA512())]
)
def test_rsa_verifies_by_the_algorithm_agreed_on_alone(algorithm: bytes, digest: hashes.HashAlgorithm) -> None:
    signature = RSA_SIGN(H, digest)
    other = b"rsa-sha2-512" if algorithm == b"rsa-sha2-256" else b"rsa-sha2-256"

    verify(RSA, string(algorithm) + string(signature), H, algorithm)

    refused(RSA, string(algorithm) + string(signature), other)
    refused(RSA, string(other) + string(signature), other)
    refused(RSA, string(other) + string(signature), algorithm)
    refused(RSA, string(b"ssh-rsa") + string(signature), algorithm)
    refused(RSA, string(algorithm) + string(b"\0" + signature), algorithm)
    refused(RSA, string(algorithm) + string(signature[:-1]), algorithm)


def test_sha1_is_no_algorithm() -> None:
    refused(RSA, string(b"ssh-rsa") + string(RSA_SIGN(H, hashes.SHA1())), b"ssh-rsa")


def test_an_rsa_signature_whose_zero_in_front_was_dropped_verifies() -> None:
    data, signature = next(
        (data, signature)
        for data in (number.to_bytes(4, "big") for number in range(20_000))
        if (signature := RSA_SIGN(data, hashes.SHA256()))[0] == 0
    )

    verify(RSA, string(b"rsa-sha2-256") + string(signature[1:]), data, b"rsa-sha2-256")


def test_an_rsa_key_below_2048_bits_is_refused() -> None:
    signature = string(b"rsa-sha2-256") + string(WEAK_RSA_SIGN(H, hashes.SHA256()))

    with pytest.raises(BadSignature, match="an RSA host key of 1024 bits"):
        verify(WEAK_RSA, signature, H, b"rsa-sha2-256")


@pytest.mark.parametrize(
    ("curve", "name", "digest"),
    [
        (ec.SECP256R1(), b"nistp256", hashes.SHA256()),
        (ec.SECP384R1(), b"nistp384", hashes.SHA384()),
        (ec.SECP521R1(), b"nistp521", hashes.SHA512()),
    ],
)
def test_ecdsa_verifies(curve: ec.EllipticCurve, name: bytes, digest: hashes.HashAlgorithm) -> None:
    blob, sign = ecdsa_key(curve, name, digest)
    algorithm = b"ecdsa-sha2-" + name

    verify(blob, sign(H), H, algorithm)

    refused(blob, sign(H), algorithm, hash=H[::-1])
    refused(blob + b"\0", sign(H), algorithm)
    halves = sign(H)[4 + len(algorithm) + 4 :]
    refused(blob, string(algorithm) + string(halves + b"\0"), algorithm)
    refused(blob.replace(string(name), string(b"nistp999")), sign(H), algorithm)
    for other in {b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp384", b"ecdsa-sha2-nistp521", b"ssh-ed25519"} - {algorithm}:
        refused(blob, sign(H), other)
        refused(blob, string(other) + sign(H)[4 + len(algorithm) :], other)


@cases("halves", [b"", of_number(0) + of_number(0), of_number(1), string(b"\x80") + of_number(1)])
def test_ecdsa_halves_that_are_none_are_refused(halves: bytes) -> None:
    blob, _ = ecdsa_key(ec.SECP256R1(), b"nistp256", hashes.SHA256())

    refused(blob, string(b"ecdsa-sha2-nistp256") + string(halves), b"ecdsa-sha2-nistp256")


@cases(
    "host_key, signature",
    [
        (b"", HOST_KEY.sign(H)),
        (HOST_KEY.blob, b""),
        (HOST_KEY.blob + b"\0", HOST_KEY.sign(H)),
        (HOST_KEY.blob[:-1], HOST_KEY.sign(H)),
        (HOST_KEY.blob, HOST_KEY.sign(H) + b"\0"),
        (HOST_KEY.blob, HOST_KEY.sign(H)[:-1]),
        (HOST_KEY.blob, ED25519 + string(bytes(63))),
        (HOST_KEY.blob, ED25519 + string(bytes(64))),
        (ED25519 + string(bytes(31)), HOST_KEY.sign(H)),
        (ED25519 + string(bytes(33)), HOST_KEY.sign(H)),
        (RSA, HOST_KEY.sign(H)),
        (string(b"ssh-ed448") + HOST_KEY.blob[15:], HOST_KEY.sign(H)),  # the right key under another type
        (string(b"ssh-ed25519-cert-v01@openssh.com") + HOST_KEY.blob, HOST_KEY.sign(H)),
    ],
)
def test_what_is_no_key_or_no_signature_is_refused(host_key: bytes, signature: bytes) -> None:
    refused(host_key, signature, b"ssh-ed25519")


@cases(
    "numbers",
    [
        b"",
        of_number(3),
        of_number(0) + of_number(2**2047 + 1),
        of_number(1) + of_number(2**2047 + 1),
        of_number(2) + of_number(2**2047 + 1),
        of_number(65537) + of_number(2**2047),
        of_number(65537) + of_number(2**16_384 + 1),
        of_number(2**2000 + 1) + of_number(2**2047 + 1),
        string(b"\xff") + of_number(2**2047 + 1),
    ],
)
def test_rsa_numbers_that_are_no_key_are_refused(numbers: bytes) -> None:
    refused(string(b"ssh-rsa") + numbers, string(b"rsa-sha2-256") + string(bytes(256)), b"rsa-sha2-256")


@given(
    st.binary(max_size=200),
    st.binary(max_size=200),
    st.sampled_from([b"ssh-ed25519", b"rsa-sha2-512", b"ecdsa-sha2-nistp256", b"x"]),
)
def test_any_bytes_are_a_bad_signature_and_nothing_worse(key: bytes, signature: bytes, algorithm: bytes) -> None:
    kind = {b"rsa-sha2-512": b"ssh-rsa"}.get(algorithm, algorithm)

    refused(key, signature, algorithm)
    refused(string(kind) + key, string(algorithm) + string(signature), algorithm)


def test_a_signature_is_of_this_hash_and_no_other() -> None:
    secret, answer, _ = exchange(CURVE)

    assert hmac.compare_digest(secret.hash, answer.secret.hash)
    refused(answer.host_key, answer.signature, b"ssh-ed25519", hash=exchange(CURVE)[0].hash)
