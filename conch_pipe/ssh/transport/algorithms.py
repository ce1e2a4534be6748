"""Which algorithms one side offers, and which ones two sides agree on.

Sans-IO: KEXINIT's bytes in and out, names as values. Does no cryptography and sends nothing.

The presets carry a year, so that a newer one never changes what a partner was promised:

* ``default``: nothing broken, and what today's clients have.
* ``strict``: ssh-audit 3.9 has nothing to warn of: on a server post-quantum exchanges alone, nowhere encrypt-and-MAC.
* ``legacy``: for one old partner: older exchanges too. Never SHA-1, MD5, CBC or 3DES.

:source: RFC 4253 section 7.1; RFC 8308 section 2 for ext-info; OpenSSH PROTOCOL 1.10 for strict kex, 1.6 for AES-GCM.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from conch_pipe.ssh.fields import Malformed, Reader, printable, string, u32
from conch_pipe.ssh.transport import kex
from conch_pipe.ssh.transport.signatures import KEY_TYPES, rsa_bits

COOKIE = 16  # bytes

_LONGEST_NAME = 64  # RFC 4251 section 6
_MOST_NAMES = 128  # of one list; asyncssh's longest has 41
_LONGEST_LIST = _MOST_NAMES * (_LONGEST_NAME + 1)
_NAME = rb"[!-+\--~]{1,%d}" % _LONGEST_NAME  # printable ASCII without the comma
_NAMES = re.compile(rb"%b(?:,%b){0,%d}" % (_NAME, _NAME, _MOST_NAMES - 1))
_MARKERS = (b"ext-info-", b"kex-strict-")  # among the exchanges, but none
_NO_COMPRESSION = b"none"
_TOLD = 200  # characters of a peer's list that an error shows
# Peers come with the lists that they had the last time: what was made of so many different ones is kept.
_KEPT = 16
_USUAL = 4096  # bytes of a KEXINIT; longer ones are not kept


@dataclass(frozen=True, slots=True)
class Algorithms:
    """What one side offers, in order of preference.

    :param name: the preset's.
    :param rsa_bits: a smaller RSA host key of our own is not used.
    """

    name: str
    exchanges: tuple[bytes, ...]
    host_keys: tuple[bytes, ...]
    ciphers: tuple[bytes, ...]
    macs: tuple[bytes, ...]
    rsa_bits: int = 2048


@dataclass(frozen=True, slots=True)
class Proposal:
    """A KEXINIT, parsed.

    :param guess: the sender's first key exchange message follows unasked (``first_kex_packet_follows``).
    """

    exchanges: tuple[bytes, ...]
    host_keys: tuple[bytes, ...]
    ciphers_to_server: tuple[bytes, ...]
    ciphers_to_client: tuple[bytes, ...]
    macs_to_server: tuple[bytes, ...]
    macs_to_client: tuple[bytes, ...]
    compressions_to_server: tuple[bytes, ...]
    compressions_to_client: tuple[bytes, ...]
    guess: bool


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both sides use from the next NEWKEYS on; neither compresses.

    :param mac_to_server: empty where the cipher authenticates by itself.
    :param guess_was_right: a first message sent unasked is to be taken, not dropped.
    """

    exchange: bytes
    host_key: bytes
    cipher_to_server: bytes
    cipher_to_client: bytes
    mac_to_server: bytes
    mac_to_client: bytes
    guess_was_right: bool


class NothingInCommon(Exception):
    """The two sides have no algorithm of some kind in common.

    :ivar what: the kind, such as "cipher".
    """

    def __init__(self, what: str, client: tuple[bytes, ...], server: tuple[bytes, ...]) -> None:
        super().__init__(f"no common {what}: client offers {shown(client)}; server offers {shown(server)}")
        self.what = what
        self.client = client
        self.server = server


def shown(names: tuple[bytes, ...]) -> str:
    """One side's names with commas between them, printable, cut when it is long."""
    text = printable(b",".join(names), _TOLD + 1)
    if len(text) > _TOLD:
        text = text[: _TOLD - 3] + "..."
    return text or "nothing"


def read(payload: bytes) -> Proposal:
    """Parse a KEXINIT, in time linear in its length; one that differs in its cookie alone is not parsed again.

    :param payload: without the message number.
    :raises Malformed: it is none, or a list has more than 128 names or one of more than 64 characters.
    """
    if len(payload) < COOKIE:
        raise Malformed("the message ends too early")
    lists = payload[COOKIE:]
    return _known(lists) if len(lists) <= _USUAL else _parsed(lists)


def _parsed(lists: bytes) -> Proposal:
    reader = Reader(lists)

    def names() -> tuple[bytes, ...]:
        return _names(reader.string(_LONGEST_LIST))

    proposal = Proposal(
        exchanges=names(),
        host_keys=names(),
        ciphers_to_server=names(),
        ciphers_to_client=names(),
        macs_to_server=names(),
        macs_to_client=names(),
        compressions_to_server=names(),
        compressions_to_client=names(),
        guess=_tail(reader),
    )
    reader.end()
    return proposal


_known = lru_cache(maxsize=_KEPT)(_parsed)


def _tail(reader: Reader) -> bool:
    for _ in range(2):
        reader.view(_LONGEST_LIST)  # languages
    guess = reader.flag()
    reader.u32()  # reserved
    return guess


def _names(text: bytes) -> tuple[bytes, ...]:
    if not text:
        return ()
    if not _NAMES.fullmatch(text):
        raise Malformed("a list of algorithms that is too long, or not of names in printable ASCII")
    return tuple(text.split(b","))


def write(cookie: bytes, algorithms: Algorithms, extra_exchanges: Sequence[bytes]) -> bytes:
    """A KEXINIT without its message number.

    :param cookie: 16 random bytes.
    :param extra_exchanges: markers such as ``kex-strict-s-v00@openssh.com``.
    """
    return cookie + _written(algorithms, tuple(extra_exchanges))


@lru_cache(maxsize=_KEPT)
def _written(algorithms: Algorithms, extra_exchanges: tuple[bytes, ...]) -> bytes:
    ciphers, macs = algorithms.ciphers, algorithms.macs
    none = (_NO_COMPRESSION,)
    lists = (
        (*algorithms.exchanges, *extra_exchanges),
        algorithms.host_keys,
        *(ciphers, ciphers, macs, macs, none, none),
        *((), ()),  # languages
    )
    return b"".join(string(b",".join(names)) for names in lists) + b"\0" + u32(0)


def has_own_mac(cipher: bytes) -> bool:
    """The cipher authenticates by itself; what the MAC lists say has no part in it."""
    return cipher.endswith(b"-gcm@openssh.com") or cipher == b"chacha20-poly1305@openssh.com"


@lru_cache(maxsize=_KEPT)
def agree(client: Proposal, server: Proposal) -> Agreed:
    """The client's first choice of each kind that the server has too.

    :raises NothingInCommon: there is none of some kind.
    :source: RFC 4253 section 7.1; RFC 8308 section 2.2: markers are never agreed on.
    """
    client_exchanges, server_exchanges = _unmarked(client.exchanges), _unmarked(server.exchanges)
    exchange = _first("key exchange", client_exchanges, server_exchanges)
    host_key = _first("host key", client.host_keys, server.host_keys)
    cipher_to_server = _first("cipher", client.ciphers_to_server, server.ciphers_to_server)
    cipher_to_client = _first("cipher", client.ciphers_to_client, server.ciphers_to_client)
    mac_to_server = mac_to_client = b""
    if not has_own_mac(cipher_to_server):
        mac_to_server = _first("MAC", client.macs_to_server, server.macs_to_server)
    if not has_own_mac(cipher_to_client):
        mac_to_client = _first("MAC", client.macs_to_client, server.macs_to_client)
    _uncompressed(client.compressions_to_server, server.compressions_to_server)
    _uncompressed(client.compressions_to_client, server.compressions_to_client)
    guess_was_right = (client_exchanges[0], client.host_keys[0]) == (server_exchanges[0], server.host_keys[0])
    return Agreed(exchange, host_key, cipher_to_server, cipher_to_client, mac_to_server, mac_to_client, guess_was_right)


@lru_cache(maxsize=_KEPT)
def fastest(offered: Algorithms, theirs: Proposal) -> Algorithms:
    """AES-GCM alone where the peer has it: it costs a third to a quarter of what the others do, on both sides."""
    both = set(theirs.ciphers_to_server).intersection(theirs.ciphers_to_client)
    fast = tuple(name for name in offered.ciphers if b"-gcm@" in name and name in both)
    return replace(offered, ciphers=fast) if fast else offered


def _unmarked(exchanges: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(name for name in exchanges if not name.startswith(_MARKERS))


def _first(what: str, client: tuple[bytes, ...], server: tuple[bytes, ...]) -> bytes:
    theirs = frozenset(server)
    for name in client:
        if name in theirs:
            return name
    raise NothingInCommon(what, client, server)


def _uncompressed(client: tuple[bytes, ...], server: tuple[bytes, ...]) -> None:
    if _NO_COMPRESSION not in client or _NO_COMPRESSION not in server:
        raise NothingInCommon("compression", client, server)


def usable_with(blob: bytes, algorithms: Algorithms) -> tuple[bytes, ...]:
    """Those host key algorithms of a side's that work with one key, ours or a pinned one; none for a key too weak.

    :param blob: of the public key.
    :raises Malformed: it is not a key's blob.
    """
    kind = Reader(blob).string(_LONGEST_NAME)
    if kind == b"ssh-rsa" and rsa_bits(blob) < algorithms.rsa_bits:
        return ()
    return tuple(name for name in algorithms.host_keys if KEY_TYPES.get(name) == kind)


def restricted(algorithms: Algorithms, host_keys: Collection[bytes]) -> Algorithms:
    """The same with no other host key algorithms than these, in the preset's order.

    A server offers those that it has keys for, a client those of the key it pinned: a server that has two keys would
    otherwise choose the other one, and its key would look changed.
    """
    return replace(algorithms, host_keys=tuple(name for name in algorithms.host_keys if name in host_keys))


_MLKEM = (b"mlkem768x25519-sha256",)
_CURVE25519 = (b"curve25519-sha256", b"curve25519-sha256@libssh.org")
_NIST = (b"ecdh-sha2-nistp256", b"ecdh-sha2-nistp384", b"ecdh-sha2-nistp521")
# Group exchange last: its group is the server's choice and costs a round trip.
_GROUPS = (b"diffie-hellman-group16-sha512", b"diffie-hellman-group14-sha256", b"diffie-hellman-group-exchange-sha256")
_ED25519 = (b"ssh-ed25519",)
_ECDSA = (b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp384", b"ecdsa-sha2-nistp521")
_RSA = (b"rsa-sha2-512", b"rsa-sha2-256")
_GCM = (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com")
_CTR = (b"aes128-ctr", b"aes192-ctr", b"aes256-ctr")
_CIPHERS = (*_GCM, b"chacha20-poly1305@openssh.com", *_CTR)
_STRICT_CIPHERS = _GCM + _CTR  # ChaCha20 is open to Terrapin with a peer that lacks strict kex (CVE-2023-48795)
_ETM_MACS = (b"hmac-sha2-256-etm@openssh.com", b"hmac-sha2-512-etm@openssh.com")
_MACS = (*_ETM_MACS, b"hmac-sha2-256", b"hmac-sha2-512")


def _there(names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Without ML-KEM where OpenSSL lacks it: then a strict server has no exchange at all and must not start."""
    return tuple(name for name in names if name in kex.NAMES)


def _by_name(*presets: Algorithms) -> dict[str, Algorithms]:
    return {preset.name: replace(preset, exchanges=_there(preset.exchanges)) for preset in presets}


SERVER = _by_name(
    Algorithms("default-2026", _MLKEM + _CURVE25519, _ED25519 + _RSA, _CIPHERS, _MACS),
    Algorithms("strict-2026", _MLKEM, _ED25519 + _RSA, _STRICT_CIPHERS, _ETM_MACS, rsa_bits=3072),
    Algorithms("legacy-2026", _MLKEM + _CURVE25519 + _NIST + _GROUPS, _ED25519 + _RSA, _CIPHERS, _MACS),
)

# For outbound connections, where the server's age is not ours to choose: its default already has what legacy has.
_OLD = (_MLKEM + _CURVE25519 + _NIST + _GROUPS, _ED25519 + _ECDSA + _RSA, _CIPHERS, _MACS)
CLIENT = _by_name(
    Algorithms("default-2026", *_OLD),
    Algorithms("strict-2026", _MLKEM + _CURVE25519, _ED25519 + _RSA, _STRICT_CIPHERS, _ETM_MACS),
    Algorithms("legacy-2026", *_OLD),
)
