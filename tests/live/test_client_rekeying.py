"""New keys in the middle of what our client sends and reads, asked for by us, by the server and by both at once.

``PIPE_DOSE=2`` and more: every server in each cipher and MAC that it has, in each of the three ways that it has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred, gatherResults

from conch_pipe.ssh.client.auth import Credentials
from conch_pipe.ssh.client.connecting import ClientSession, connect, endpoint
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.client.policy import Pinned
from conch_pipe.ssh.transport.algorithms import CLIENT
from tests.live.library_servers import NodeServer, ParamikoServer
from tests.live.sftp_servers import AsyncsshServer, Dropbear, PeerServer, Rclone, Sshd

pytestmark = pytest.mark.live

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
MB = 1_000_000
CONTENT = os.urandom(10 * MB + 1)
LEAST = 8  # of 20, sent and read
WRITE, READ = 0x1A, 0x01
READ_SIZE, AT_ONCE = 32_768, 32

GCM = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
CHACHA = ("chacha20-poly1305@openssh.com",)
CTR = ("aes128-ctr", "aes192-ctr", "aes256-ctr")
ETM = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
PLAIN = ("hmac-sha2-256", "hmac-sha2-512")


def asked(sshd: Sshd, count: int) -> None:
    sshd.more = f"RekeyLimit {count}\n" if count else ""


def told(server: Any, count: int) -> None:
    server.rekey_bytes = count


@dataclass(frozen=True)
class Peer:
    """A server, what it has, and how it is told after how many bytes to ask for new keys, if it can be."""

    kind: type[PeerServer]
    ciphers: tuple[str, ...]
    macs: tuple[str, ...]
    tell: Callable[[Any, int], None] | None = None
    always_asks: bool = False

    @property
    def ways(self) -> tuple[str, ...]:
        if self.always_asks:
            return ("theirs", "both")
        return ("ours", "theirs", "both") if self.tell else ("ours",)

    def suites(self) -> list[tuple[str, str]]:
        return [(cipher, mac) for cipher in self.ciphers for mac in (self.macs if cipher in CTR else (PLAIN[0],))]


PEERS = (
    Peer(Sshd, GCM + CHACHA + CTR, ETM + PLAIN, asked),
    Peer(AsyncsshServer, GCM + CHACHA + CTR, ETM + PLAIN, always_asks=True),
    Peer(Rclone, GCM[:1] + CHACHA + CTR, (ETM[0], PLAIN[0])),
    Peer(Dropbear, CHACHA + CTR[::2], PLAIN[:1]),
    Peer(ParamikoServer, GCM + CTR, ETM + PLAIN, told),
    Peer(NodeServer, GCM + CHACHA + CTR, ETM + PLAIN, told),
)


def turns() -> Iterator[Any]:
    """Peer, way and suite: all, or each peer in each of its ways with one suite in turn."""
    place = 0
    for peer in PEERS:
        suites = peer.suites()
        for way in peer.ways:
            place += 5
            for cipher, mac in suites if DOSE > 1 else (suites[place % len(suites)],):
                suite = "+".join(name.partition("@")[0] for name in ((cipher, mac) if cipher in CTR else (cipher,)))
                yield pytest.param(peer, way, cipher, mac, id=f"{peer.kind.name}-{way}-{suite}")


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator[Callable[[Peer, bool], PeerServer]]:
    """Each server once that asks for new keys, and once that does not; those that run are stopped at the end."""
    running: dict[tuple[str, bool], PeerServer] = {}

    def get(peer: Peer, asks: bool) -> PeerServer:
        if (why := peer.kind.missing()) is not None:
            pytest.skip(why)
        key = peer.kind.name, asks
        if key not in running:
            server = peer.kind(tmp_path_factory.mktemp(peer.kind.name))
            if peer.tell is not None:
                peer.tell(server, MB if asks else 0)
            running[key] = server
            server.start()
        return running[key]

    yield get
    for server in running.values():
        server.stop()


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Iterator[int]:
    """The file to send."""
    path = tmp_path_factory.mktemp("local") / "file"
    path.write_bytes(CONTENT)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


async def session(server: PeerServer, **options: Any) -> ClientSession:
    from twisted.internet import reactor

    key = Key.fromFile(str(server.key)) if server.key else None
    login = Credentials(server.user.encode(), server.password.encode() if server.password else None, key)
    host_key = Pinned(Key.fromFile(f"{server.host_key}.pub").blob()) if not isinstance(server, Dropbear) else Anyone()
    return await connect(reactor, endpoint(reactor, "127.0.0.1", server.port), login, host_key, **options)


class Anyone:
    """Trusts every key: dropbear makes its own, in a format of its own."""

    pinned = ()

    def verify(self, blob: bytes, algorithm: bytes) -> bool:
        return True


async def read_back(theirs: ClientSession, path: bytes, size: int) -> bytes:
    """A file's bytes, many requests at once."""
    handle = await theirs.sftp.open(path, READ)
    places = iter(range(0, size, READ_SIZE))
    pieces: dict[int, bytes] = {}

    async def some() -> None:
        for place in places:
            piece = b""
            while len(piece) < min(READ_SIZE, size - place):
                piece += await theirs.sftp.read(handle, place + len(piece), READ_SIZE - len(piece))
            pieces[place] = piece

    await gatherResults([Deferred.fromCoroutine(some()) for _ in range(AT_ONCE)])
    await theirs.sftp.close(handle)
    return b"".join(pieces[place] for place in sorted(pieces))


@pytest.mark.parametrize(("peer", "way", "cipher", "mac"), list(turns()))
@ensureDeferred
async def test_what_is_sent_and_read_is_the_same_whoever_asks_for_new_keys(
    servers, local: int, peer: Peer, way: str, cipher: str, mac: str
):
    """Also with both at the same moment, when data is on its way in both directions."""
    server = servers(peer, way != "ours")
    limits = ClientLimits(rekey_bytes=2**30 if way == "theirs" else MB)
    algorithms = replace(CLIENT["default-2026"], ciphers=(cipher.encode(),), macs=(mac.encode(),))
    theirs = await session(server, limits=limits, algorithms=algorithms)
    name = f"{way}-{cipher}-{mac}"

    try:
        await theirs.sftp.put(local, server.remote(name))
        stored = (server.files / name).read_bytes()
        read = await read_back(theirs, server.remote(name), len(CONTENT))
        agreed, rekeyings = theirs.agreed, theirs.rekeyings
    finally:
        await theirs.close()

    assert stored == CONTENT
    assert read == CONTENT
    assert agreed is not None
    assert agreed.cipher_to_server == agreed.cipher_to_client == cipher.encode()
    assert cipher not in CTR or agreed.mac_to_server == mac.encode()
    assert rekeyings >= LEAST
    (server.files / name).unlink()
