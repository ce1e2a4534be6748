"""The other side's messages of a key exchange, every method, server and client, and the host key's signature."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.keys import Key

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.transport.kex import NAMES, BadSignature, ClientExchange, ServerExchange, Transcript, verify

_METHODS = sorted(NAMES)
_KEY = Key(Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1"))
_SAID = Transcript(b"SSH-2.0-a", b"SSH-2.0-b", b"\x14a", b"\x14b")
_SIGNATURES = (b"ssh-ed25519", b"rsa-sha2-512", b"rsa-sha2-256", b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp521")


def _server(method: bytes) -> ServerExchange:
    return ServerExchange(method, _SAID, _KEY.public().blob(), lambda hashed: _KEY.sign(hashed))


def _written(side: int, method: int, messages: list[tuple[int, bytes]]) -> bytes:
    parts = [bytes((number,)) + len(body).to_bytes(2, "big") + body for number, body in messages]
    return bytes((side, method)) + b"".join(parts)


def seeds() -> list[bytes]:
    """Both halves of an exchange by each method."""
    found = []
    for at, method in enumerate(_METHODS):
        client, server = ClientExchange(method, _SAID), _server(method)
        to_server, to_client, pending = [], [], [client.first]
        while pending:
            message = pending.pop()
            to_server.append(message)
            answers, _ = server.received(*message)
            for answer in answers:
                to_client.append(answer)
                pending += client.received(*answer)[0]
        found += [_written(0, at, to_server), _written(1, at, to_client)]
    return found


def one(data: bytes) -> None:
    """A secret, Malformed or BadSignature; after any of them nothing more is taken."""
    if len(data) < 2:
        return
    method = _METHODS[data[1] % len(_METHODS)]
    exchange = ClientExchange(method, _SAID) if data[0] & 1 else _server(method)
    at, over = 2, False
    for _ in range(4):
        if at + 3 > len(data):
            return
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        try:
            sent, result = exchange.received(data[at], data[at + 3 : at + 3 + size])
        except Malformed:
            over = True
        else:
            assert not over, "a message was taken after the end"
            assert sum(len(body) for _, body in sent) < 8_000
            if result is not None:
                over = True
                if data[0] & 1:
                    _check(data[0] >> 1, result)
        at += 3 + size


def _check(which: int, result: object) -> None:
    try:
        verify(result.host_key, result.secret.hash, result.signature, _SIGNATURES[which % len(_SIGNATURES)])  # type: ignore[attr-defined]
    except BadSignature:
        return
    # Each run has a secret of its own, so that no recorded signature can fit.
    raise AssertionError("a signature that nobody made was accepted")
