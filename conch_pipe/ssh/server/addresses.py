"""Addresses of peers: whom one counts for, and networks that lists name. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


@lru_cache(maxsize=1024)
def parsed(address: str) -> IPv4Address | IPv6Address | None:
    """The address without its zone; None when the text is none ("local", for a connection without an address).

    A socket for both protocols shows IPv4 clients as ::ffff:192.0.2.1: they are IPv4 clients.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


@lru_cache(maxsize=1024)
def source(address: str) -> str:
    """Whom an address counts for: itself, or an IPv6 /64, which one customer has as a rule."""
    found = parsed(address)
    if found is None:
        return address
    return f"{int(found) >> 64:x}" if isinstance(found, IPv6Address) else str(found)


class Networks:
    """A list of addresses and networks.

    :param texts: "192.0.2.7", "10.0.0.0/8", "2001:db8::/32".
    :raises ValueError: one is neither, or has bits set beyond its prefix.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(text) for text in texts]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: object) -> bool:
        found = parsed(address) if self._networks and isinstance(address, str) else None
        return found is not None and any(found in network for network in self._networks)
