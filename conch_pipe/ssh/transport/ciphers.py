"""Encryption and authentication of SSH packets, one object for each direction between two NEWKEYS.

Works in place on a packet that lies in a buffer as it does on the wire: length (4 bytes), padding length (1), payload,
padding, tag. Knows no message and no order of messages.

:source: RFC 4253 section 6, RFC 4344 (CTR), RFC 5647 and OpenSSH PROTOCOL 1.6 (AES-GCM), PROTOCOL.chacha20poly1305,
    OpenSSH PROTOCOL 1.1 (encrypt-then-MAC).
"""

from __future__ import annotations

import os
import struct
from hmac import compare_digest
from typing import Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.poly1305 import Poly1305

_U32 = struct.Struct(">L")
_PACK_U64 = struct.Struct(">Q").pack
SLACK = 15  # bytes a buffer must have behind a packet: what update_into asks for and a stream cipher never uses


class BadPacket(Exception):
    """The tag does not fit: somebody changed the packet, or the sides do not agree on the keys."""


class Direction(Protocol):
    """One direction's cipher.

    ``clear``: bytes of a packet that must be there before :meth:`length` can be asked. ``block``: what a packet is
    padded to. ``counted``: bytes of the length field that count for the padding, 4 or 0. ``tag``: bytes behind it.
    """

    clear: int
    block: int
    counted: int
    tag: int

    def length(self, buffer: memoryview, at: int, sequence: int) -> int:
        """The length field of the packet at ``at``; asked once for each, when ``clear`` bytes of it have come."""

    def open(self, buffer: memoryview, at: int, length: int, sequence: int) -> None:
        """Verify and decrypt a packet in place.

        :param buffer: has :data:`SLACK` bytes more behind the packet and its tag.
        :param at: where the packet begins.
        :param length: as :meth:`length` told it.
        :param sequence: 0 to 2**32-1.
        :raises BadPacket: nothing of it may be used.
        """

    def seal(self, buffer: memoryview, length: int, sequence: int) -> None:
        """Encrypt a packet in place and put the tag behind it.

        :param buffer: begins with the packet; has :data:`SLACK` bytes more than the packet and its tag.
        """


class Clear:
    """No encryption: before the first NEWKEYS."""

    clear, block, counted, tag = 4, 8, 4, 0

    def length(self, buffer: memoryview, at: int, sequence: int) -> int:
        """See Direction."""
        return _U32.unpack_from(buffer, at)[0]

    def open(self, buffer: memoryview, at: int, length: int, sequence: int) -> None:
        """Nothing to do."""

    def seal(self, buffer: memoryview, length: int, sequence: int) -> None:
        """Nothing to do."""


class Gcm:
    """AES-GCM: the length is authenticated but not encrypted; the nonce is a counter."""

    clear, block, counted, tag = 4, 16, 0, 16

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._aead = AESGCM(key)
        self._fixed = iv[:4]
        self._counter = int.from_bytes(iv[4:12], "big")

    def _nonce(self) -> bytes:
        counter = self._counter
        self._counter = (counter + 1) & 0xFFFFFFFFFFFFFFFF
        return self._fixed + _PACK_U64(counter)

    def length(self, buffer: memoryview, at: int, sequence: int) -> int:
        """See Direction."""
        return _U32.unpack_from(buffer, at)[0]

    def open(self, buffer: memoryview, at: int, length: int, sequence: int) -> None:
        """See Direction. The hot path."""
        counter, start = self._counter, at + 4
        end = start + length
        self._counter = (counter + 1) & 0xFFFFFFFFFFFFFFFF
        nonce = self._fixed + _PACK_U64(counter)
        try:
            self._aead.decrypt_into(nonce, buffer[start : end + 16], buffer[at:start], buffer[start:end])
        except InvalidTag:
            raise BadPacket from None

    def seal(self, buffer: memoryview, length: int, sequence: int) -> None:
        """See Direction."""
        end = 4 + length
        self._aead.encrypt_into(self._nonce(), buffer[4:end], buffer[:4], buffer[4 : end + 16])


class ChaCha:
    """chacha20-poly1305@openssh.com: two keys, one for the length, and the packet's number as the nonce."""

    clear, block, counted, tag = 4, 8, 0, 16

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._body = Cipher(algorithms.ChaCha20(key[:32], bytes(16)), None).encryptor()
        self._head = Cipher(algorithms.ChaCha20(key[32:64], bytes(16)), None).encryptor()

    def length(self, buffer: memoryview, at: int, sequence: int) -> int:
        """See Direction; the field itself stays encrypted, as the tag covers it so."""
        self._head.reset_nonce(_nonce(0, sequence))
        return _U32.unpack(self._head.update(buffer[at : at + 4]))[0]

    def _authenticator(self, sequence: int) -> Poly1305:
        self._body.reset_nonce(_nonce(0, sequence))
        return Poly1305(self._body.update(bytes(32)))

    def open(self, buffer: memoryview, at: int, length: int, sequence: int) -> None:
        """See Direction."""
        start = at + 4
        end = start + length
        authenticator = self._authenticator(sequence)
        authenticator.update(buffer[at:end])
        try:
            authenticator.verify(bytes(buffer[end : end + 16]))
        except InvalidSignature:
            raise BadPacket from None
        self._body.reset_nonce(_nonce(1, sequence))
        self._body.update_into(buffer[start:end], buffer[start : end + SLACK])

    def seal(self, buffer: memoryview, length: int, sequence: int) -> None:
        """See Direction."""
        end = 4 + length
        authenticator = self._authenticator(sequence)
        self._body.reset_nonce(_nonce(1, sequence))
        self._body.update_into(buffer[4:end], buffer[4 : end + SLACK])
        self._head.reset_nonce(_nonce(0, sequence))
        buffer[:4] = self._head.update(buffer[:4])
        authenticator.update(buffer[:end])
        buffer[end : end + 16] = authenticator.finalize()


def _nonce(counter: int, sequence: int) -> bytes:
    """The block counter, little-endian, and the packet's number, big-endian, as ChaCha20 of cryptography takes them."""
    return counter.to_bytes(8, "little") + sequence.to_bytes(8, "big")


class _Ctr:
    """AES in counter mode with an HMAC beside it."""

    block = 16

    def __init__(self, key: bytes, iv: bytes, sending: bool, digest: hashes.HashAlgorithm, mac_key: bytes) -> None:
        cipher = Cipher(algorithms.AES(key), modes.CTR(iv[:16]))
        self._cipher = cipher.encryptor() if sending else cipher.decryptor()
        # An HMAC with its key already hashed: copying it is cheaper than hashing the key for each packet.
        self._keyed = HMAC(mac_key, digest)
        self.tag = digest.digest_size

    def _mac(self, packet: memoryview, sequence: int) -> bytes:
        mac = self._keyed.copy()
        mac.update(_U32.pack(sequence))
        mac.update(packet)
        return mac.finalize()

    def _verify(self, buffer: memoryview, at: int, end: int, sequence: int) -> None:
        if not compare_digest(self._mac(buffer[at:end], sequence), buffer[end : end + self.tag]):
            raise BadPacket


class CtrThenMac(_Ctr):
    """Encrypt-then-MAC: the length is clear, the tag covers what is on the wire."""

    clear, counted = 4, 0

    def length(self, buffer: memoryview, at: int, sequence: int) -> int:
        """See Direction."""
        return _U32.unpack_from(buffer, at)[0]

    def open(self, buffer: memoryview, at: int, length: int, sequence: int) -> None:
        """See Direction."""
        start = at + 4
        end = start + length
        self._verify(buffer, at, end, sequence)
        self._cipher.update_into(buffer[start:end], buffer[start : end + SLACK])

    def seal(self, buffer: memoryview, length: int, sequence: int) -> None:
        """See Direction."""
        end = 4 + length
        self._cipher.update_into(buffer[4:end], buffer[4 : end + SLACK])
        buffer[end : end + self.tag] = self._mac(buffer[:end], sequence)


class CtrAndMac(_Ctr):
    """Encrypt-and-MAC of RFC 4253: the length is in the first encrypted block, the tag covers the plain packet."""

    clear, counted = 16, 4

    def length(self, buffer: memoryview, at: int, sequence: int) -> int:
        """See Direction; decrypts the first block in place."""
        buffer[at : at + 16] = self._cipher.update(buffer[at : at + 16])
        return _U32.unpack_from(buffer, at)[0]

    def open(self, buffer: memoryview, at: int, length: int, sequence: int) -> None:
        """See Direction."""
        second, end = at + 16, at + 4 + length
        if end > second:
            self._cipher.update_into(buffer[second:end], buffer[second : end + SLACK])
        self._verify(buffer, at, end, sequence)

    def seal(self, buffer: memoryview, length: int, sequence: int) -> None:
        """See Direction."""
        end = 4 + length
        tag = self._mac(buffer[:end], sequence)
        self._cipher.update_into(buffer[:end], buffer[: end + SLACK])
        buffer[end : end + self.tag] = tag


# Name → (bytes of key, bytes of IV).
CIPHERS: dict[bytes, tuple[int, int]] = {
    b"aes128-gcm@openssh.com": (16, 12),
    b"aes256-gcm@openssh.com": (32, 12),
    b"chacha20-poly1305@openssh.com": (64, 0),
    b"aes128-ctr": (16, 16),
    b"aes192-ctr": (24, 16),
    b"aes256-ctr": (32, 16),
}
# Name → (hash, bytes of key, whether the tag covers what is on the wire).
MACS: dict[bytes, tuple[hashes.HashAlgorithm, int, bool]] = {
    b"hmac-sha2-256-etm@openssh.com": (hashes.SHA256(), 32, True),
    b"hmac-sha2-512-etm@openssh.com": (hashes.SHA512(), 64, True),
    b"hmac-sha2-256": (hashes.SHA256(), 32, False),
    b"hmac-sha2-512": (hashes.SHA512(), 64, False),
}


def direction(cipher: bytes, mac: bytes, key: bytes, iv: bytes, mac_key: bytes, *, sending: bool) -> Direction:
    """The cipher of one direction.

    :param cipher: a name in :data:`CIPHERS`; ``key`` and ``iv`` have the lengths that stand there.
    :param mac: a name in :data:`MACS`, with its key; empty for ciphers that need none.
    :raises KeyError: no such algorithm.
    """
    if b"gcm" in cipher:
        return Gcm(key, iv)
    if cipher.startswith(b"chacha20"):
        return ChaCha(key, iv)
    digest, _, then = MACS[mac]
    return (CtrThenMac if then else CtrAndMac)(key, iv, sending, digest, mac_key)


_POOL_SIZE = 8192
_pool, _pool_at = b"", 0


def padding(count: int) -> bytes:
    """Random bytes for the end of a packet; ``os.urandom`` for each packet was 8 % of a server's time."""
    global _pool, _pool_at  # noqa: PLW0603 - one pool for the process; what is taken is never used again
    if _pool_at + count > len(_pool):
        _pool, _pool_at = os.urandom(_POOL_SIZE), 0
    at, _pool_at = _pool_at, _pool_at + count
    return _pool[at:_pool_at]
