"""The messages of a key exchange, from the one after KEXINIT to the secret, for server and client.

Sans-IO: messages in, messages and a secret out. Sends no NEWKEYS and trusts no host key: a client calls :func:`verify`
and compares the key with its pins. The mathematics is in shares.py.

:source: RFC 4253 sections 7.2 and 8; RFC 4419 for the group exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from conch_pipe.ssh.fields import Malformed, Reader, string, u32
from conch_pipe.ssh.transport.shares import (
    GROUP14,
    GROUP16,
    GROUP_EXCHANGE,
    LARGEST_GROUP,
    LONGEST_SHARE,
    METHODS,
    SMALLEST_GROUP,
    Given,
    Group,
    Share,
    unsigned,
)
from conch_pipe.ssh.transport.signatures import LONGEST_KEY, BadSignature, verify

__all__ = [
    "NAMES",
    "BadSignature",
    "ClientExchange",
    "Reply",
    "Secret",
    "ServerExchange",
    "Transcript",
    "verify",
]

# The same numbers serve all methods: KEXDH_INIT, KEX_ECDH_INIT and KEX_HYBRID_INIT are 30.
INIT, REPLY = 30, 31
GEX_GROUP, GEX_INIT, GEX_REPLY, GEX_REQUEST = 31, 32, 33, 34
_OVER = -1  # no message is expected any more

NAMES = frozenset(METHODS) | {GROUP_EXCHANGE}  # the methods there are

_PREFERRED_GROUP = 3072  # bits: what a client asks for; the strength of a 128-bit cipher
_LONGEST_NUMBER = LARGEST_GROUP // 8 + 1
_DIGESTS: dict[bytes, Callable[[bytes], Any]] = {name: method.digest for name, method in METHODS.items()}
_DIGESTS[GROUP_EXCHANGE] = GROUP14.method.digest

Message = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Transcript:
    """What both sides said before: version lines without CR LF, KEXINITs with their message number 20."""

    client_version: bytes
    server_version: bytes
    client_kexinit: bytes
    server_kexinit: bytes


@dataclass(frozen=True, slots=True)
class Secret:
    """What an exchange gives.

    :param key: K, encoded as it is hashed: an mpint, or a string where ML-KEM takes part.
    :param hash: H; the first one of a connection is its session id.
    :param method: which says how keys are derived.
    """

    key: bytes = field(repr=False)
    hash: bytes
    method: bytes

    def derive(self, letter: bytes, session_id: bytes, size: int) -> bytes:
        """One of the keys "A" to "F", as long as its user asks.

        :param size: bytes.
        :source: RFC 4253 section 7.2.
        """
        digest = _DIGESTS[self.method]
        seed = self.key + self.hash
        stream: bytes = digest(seed + letter + session_id).digest()
        while len(stream) < size:
            stream += digest(seed + stream).digest()
        return stream[:size]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a client has when the server has answered; nothing is verified yet.

    :param host_key: the public key's blob.
    :param signature: of ``secret.hash``, with the algorithm's name in front.
    """

    host_key: bytes
    signature: bytes
    secret: Secret


def _secret(
    method: bytes, transcript: Transcript, host_key: bytes, group: bytes, client: bytes, server: bytes, key: bytes
) -> Secret:
    """Hash the exchange.

    :param group: what a group exchange hashes before the shares, else nothing.
    """
    hashed = b"".join(
        (
            string(transcript.client_version),
            string(transcript.server_version),
            string(transcript.client_kexinit),
            string(transcript.server_kexinit),
            string(host_key),
            group,
            string(client),
            string(server),
            key,
        )
    )
    return Secret(key, _DIGESTS[method](hashed).digest(), method)


class ServerExchange:
    """The server's side of one exchange.

    :param method: one of :data:`NAMES`.
    :param host_key_blob: our public key's.
    :param sign: gives a signature of H with the algorithm's name in front, by the algorithm agreed on.
    """

    __slots__ = ("_answer", "_expected", "_group", "_host_key", "_method", "_sign", "_transcript")

    def __init__(
        self, method: bytes, transcript: Transcript, host_key_blob: bytes, sign: Callable[[bytes], bytes]
    ) -> None:
        self._method = method
        self._transcript = transcript
        self._host_key = host_key_blob
        self._sign = sign
        self._group = b""
        if method == GROUP_EXCHANGE:
            self._expected = GEX_REQUEST
        else:
            self._expected = INIT
            self._answer = METHODS[method].answer

    def received(self, number: int, payload: bytes) -> tuple[list[Message], Secret | None]:
        """Take the client's next message.

        :param payload: without the message number.
        :returns: messages to send, and the secret when it is there; NEWKEYS is then the caller's to send.
        :raises Malformed: the message is not the one expected or not what it must be; the exchange is over.
        """
        expected, self._expected = self._expected, _OVER
        if number != expected:
            raise Malformed(f"message {number} came in the key exchange")
        reader = Reader(payload)
        if expected == GEX_REQUEST:
            return [self._choose(reader)], None
        theirs = reader.string(LONGEST_SHARE)
        reader.end()
        ours, key = self._answer(theirs)
        secret = _secret(self._method, self._transcript, self._host_key, self._group, theirs, ours, key)
        reply = string(self._host_key) + string(ours) + string(self._sign(secret.hash))
        return [(expected + 1, reply)], secret  # 30 is answered by 31, 32 by 33

    def _choose(self, reader: Reader) -> Message:
        """One of two fixed groups: the smallest that is as large as asked for, else the largest that is allowed."""
        smallest, preferred, largest = reader.u32(), reader.u32(), reader.u32()
        reader.end()
        groups = [group for group in (GROUP14, GROUP16) if smallest <= group.bits <= largest]
        if not smallest <= preferred <= largest or not groups:
            raise Malformed("no Diffie-Hellman group of the size asked for")
        group: Group = next((group for group in groups if group.bits >= preferred), groups[-1])
        self._group = u32(smallest) + u32(preferred) + u32(largest) + group.fields
        self._answer = group.method.answer
        self._expected = GEX_INIT
        return GEX_GROUP, group.fields


class ClientExchange:
    """The client's side of one exchange.

    :param method: one of :data:`NAMES`.
    :ivar first: the message to send.
    """

    __slots__ = ("_expected", "_group", "_method", "_share", "_transcript", "first")

    def __init__(self, method: bytes, transcript: Transcript) -> None:
        self._method = method
        self._transcript = transcript
        self._group = b""
        self._share: Share | None = None  # none before the server has chosen a group
        if method == GROUP_EXCHANGE:
            self._group = u32(SMALLEST_GROUP) + u32(_PREFERRED_GROUP) + u32(LARGEST_GROUP)
            self._expected = GEX_GROUP
            self.first: Message = (GEX_REQUEST, self._group)
        else:
            self._share = METHODS[method].start()
            self._expected = REPLY
            self.first = (INIT, string(self._share.public))

    def received(self, number: int, payload: bytes) -> tuple[list[Message], Reply | None]:
        """Take the server's next message.

        :param payload: without the message number.
        :returns: messages to send, and the reply when it is there, for :func:`verify`.
        :raises Malformed: the message is not the one expected or not what it must be; the exchange is over.
        """
        expected, self._expected = self._expected, _OVER
        if number != expected:
            raise Malformed(f"message {number} came in the key exchange")
        reader = Reader(payload)
        if self._share is None:
            return [self._join(reader, payload)], None
        host_key, theirs, signature = (
            reader.string(LONGEST_KEY),
            reader.string(LONGEST_SHARE),
            reader.string(LONGEST_KEY),
        )
        reader.end()
        key = self._share.secret(theirs)
        secret = _secret(self._method, self._transcript, host_key, self._group, self._share.public, theirs, key)
        return [], Reply(host_key, signature, secret)

    def _join(self, reader: Reader, payload: bytes) -> Message:
        """Make our share in the group that the server chose."""
        prime, generator = unsigned(reader.string(_LONGEST_NUMBER)), unsigned(reader.string(_LONGEST_NUMBER))
        reader.end()
        self._share = Given(prime, generator)
        self._group += payload  # strictly parsed: hashed as it came
        self._expected = GEX_REPLY
        return GEX_INIT, string(self._share.public)
