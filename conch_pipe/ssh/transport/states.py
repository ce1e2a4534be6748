"""Message numbers, and which of them a peer may send in the steps of a key exchange.

What may come outside of one stands in server/transport.py and client/transport.py.
"""

from __future__ import annotations

# Message numbers, RFC 4250 section 4.1.2.
DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG, SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO = range(1, 8)
KEXINIT, NEWKEYS, KEX_FIRST, KEX_LAST = 20, 21, 30, 49
USERAUTH_REQUEST, CHANNEL_DATA = 50, 94

CALM = frozenset((DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG))
KEX = frozenset(range(KEX_FIRST, KEX_LAST + 1))
# What a peer may send in the steps of a key exchange, also of a later one; everything else is a protocol error.
EXCHANGE: dict[str, frozenset[int]] = {
    "kexinit": CALM | {KEXINIT},  # the first key exchange: nothing else before it
    "exchange": CALM | KEX,
    "newkeys": CALM | {NEWKEYS},
}
# The same with strict key exchange, in the first one: not even IGNORE (CVE-2023-48795).
STRICT: dict[str, frozenset[int]] = {
    "kexinit": frozenset((DISCONNECT, KEXINIT)),
    "exchange": KEX | {DISCONNECT},
    "newkeys": frozenset((DISCONNECT, NEWKEYS)),
}
