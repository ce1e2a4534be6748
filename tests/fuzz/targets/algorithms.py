"""A KEXINIT of the other side's, and what would be agreed on."""

from __future__ import annotations

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.transport import algorithms
from tests.fuzz.messages import MESSAGES
from tests.fuzz.peer import Hostile

_OURS = [*algorithms.SERVER.values(), *algorithms.CLIENT.values()]
_WRITTEN = [algorithms.read(algorithms.write(bytes(16), ours, ())) for ours in _OURS]


def seeds() -> list[bytes]:
    """All our presets, Conch's client, odd ones."""
    found = [algorithms.write(bytes(16), ours, (b"ext-info-c", b"kex-strict-c-v00@openssh.com")) for ours in _OURS]
    found.append(Hostile().client.ourKexInitPayload[1:])
    found += [b"".join(fields) for fields in MESSAGES[20]]
    return found


def one(data: bytes) -> None:
    """Refused, or names within the bounds of which both sides have those that are agreed on; never a marker."""
    try:
        theirs = algorithms.read(data)
    except Malformed:
        return
    for ours in _WRITTEN:
        try:
            agreed = algorithms.agree(theirs, ours)
        except algorithms.NothingInCommon as error:
            assert str(error).isprintable()
            assert len(str(error)) < 1_000
            continue
        assert agreed.exchange in theirs.exchanges
        assert agreed.exchange in ours.exchanges
        assert not agreed.exchange.startswith((b"ext-info", b"kex-strict"))
        assert agreed.host_key in theirs.host_keys
        assert agreed.cipher_to_server in ours.ciphers_to_server
        assert agreed.cipher_to_client in ours.ciphers_to_client
        for cipher, mac in (
            (agreed.cipher_to_server, agreed.mac_to_server),
            (agreed.cipher_to_client, agreed.mac_to_client),
        ):
            assert bool(mac) != algorithms.has_own_mac(cipher)
