"""Our client against the servers of others, over real sockets: what is put arrives exactly, whatever comes between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_twisted import ensureDeferred
from twisted.conch.ssh.filetransfer import SFTPError
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import gatherResults

from conch_pipe.ssh.client import errors
from conch_pipe.ssh.client.auth import Credentials
from conch_pipe.ssh.client.connecting import ClientSession, connect, endpoint
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.client.policy import Pinned
from conch_pipe.ssh.transport.algorithms import CLIENT, has_own_mac
from tests.live.sftp_servers import SERVERS, PeerServer, Sshd, make_key

pytestmark = pytest.mark.live

CONTENT = os.urandom(2**20) * 8 + b"the end"
CIPHERS = [
    (cipher, mac)
    for cipher in CLIENT["legacy-2026"].ciphers
    for mac in CLIENT["legacy-2026"].macs[: 1 if has_own_mac(cipher) else None]
]
REKEYING = ClientLimits(rekey_bytes=1_000_000)


@pytest.fixture(scope="module", params=SERVERS, ids=lambda server: server.name)
def server(request, tmp_path_factory) -> Iterator[PeerServer]:
    """Each server in turn."""
    if (why := request.param.missing()) is not None:
        pytest.skip(why)
    running = request.param(tmp_path_factory.mktemp(request.param.name))
    with running:
        yield running


@pytest.fixture(scope="module")
def sshd(tmp_path_factory) -> Iterator[Sshd]:
    """OpenSSH's, which knows most algorithms; it does not re-key by itself."""
    running = Sshd(tmp_path_factory.mktemp("plain-sshd"))
    running.more = "HostKeyAlgorithms +ssh-rsa\nKexAlgorithms +diffie-hellman-group14-sha256\n"
    for kind in ("rsa", "ecdsa"):
        key = make_key(running.folder / f"host_{kind}", kind)
        running.more += f"HostKey {key}\n"
    with running:
        yield running


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Iterator[int]:
    """The file to send."""
    path = tmp_path_factory.mktemp("local") / "file"
    path.write_bytes(CONTENT)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def credentials(server: PeerServer) -> Credentials:
    key = Key.fromFile(str(server.key)) if server.key else None
    return Credentials(server.user.encode(), server.password.encode() if server.password else None, key)


def blob(path: Path) -> bytes:
    return Key.fromFile(f"{path}.pub").blob()


class Anyone:
    """Trusts every key."""

    pinned = ()

    def verify(self, blob: bytes, algorithm: bytes) -> bool:
        return True


async def session(server: PeerServer, **options) -> ClientSession:
    from twisted.internet import reactor

    options = {"credentials": credentials(server), "policy": Anyone(), **options}
    return await connect(reactor, endpoint(reactor, "127.0.0.1", server.port), **options)


@ensureDeferred
async def test_files_arrive_while_both_sides_rekey_every_megabyte(server, local):
    theirs = await session(server, limits=REKEYING)

    names = [f"rekeyed-{number}" for number in range(3)]
    sizes = await gatherResults([theirs.sftp.put(local, server.remote(name)) for name in names])
    await theirs.close()

    assert sizes == [len(CONTENT)] * 3
    assert theirs.rekeyings >= 10
    for name in names:
        assert (server.files / name).read_bytes() == CONTENT


@ensureDeferred
async def test_files_of_every_size_round_a_message_arrive(server, local):
    theirs = await session(server)
    for size in (0, 1, 32_767, 32_768, 32_769, 261_120, 261_121):
        assert await theirs.sftp.put(local, server.remote("sized"), size) == size
        assert (server.files / "sized").read_bytes() == CONTENT[:size]
    await theirs.close()


@ensureDeferred
async def test_the_other_operations_do_what_they_say(server):
    theirs = await session(server)
    sftp, path = theirs.sftp, server.remote
    await sftp.mkdir(path("folder"))
    await sftp.put(-1, path("folder/a"), 0)
    assert {entry.name for entry in await sftp.listing(path("folder"))} - {b".", b".."} == {b"a"}
    await sftp.rename(path("folder/a"), path("folder/b"))
    assert (await sftp.stat(path("folder/b")))["size"] == 0
    assert (await sftp.lstat(path("folder/b")))["size"] == 0
    handle = await sftp.open(path("folder/b"), 1)
    assert await sftp.read(handle, 0, 10) == b""
    await sftp.close(handle)
    with pytest.raises(SFTPError) as missing:
        await sftp.stat(path("folder/a"))
    assert missing.value.code == 2
    if b"posix-rename@openssh.com" in sftp.extensions:
        await sftp.posix_rename(path("folder/b"), path("folder/c"))
        await sftp.rename(path("folder/c"), path("folder/b"))
    assert (await sftp.realpath(path("folder/../folder"))).endswith(b"folder")
    await sftp.remove(path("folder/b"))
    await sftp.rmdir(path("folder"))
    assert not (server.files / "folder").exists()
    assert theirs.error is None
    await theirs.close()


@ensureDeferred
async def test_a_wrong_login_is_refused(server):
    wrong = Credentials(server.user.encode(), b"wrong", Key.fromFile(str(make_other_key(server))))

    with pytest.raises(errors.LoginRefused) as refused:
        await session(server, credentials=wrong)

    assert refused.value.methods


def make_other_key(server: PeerServer) -> Path:
    path = server.folder / "other_key"
    return path if path.exists() else make_key(path)


@ensureDeferred
async def test_another_host_key_than_the_pinned_one_is_refused(server):
    with pytest.raises(errors.HostKeyRefused):
        await session(server, policy=Pinned(blob(make_other_key(server))))


@ensureDeferred
async def test_a_server_killed_in_mid_transfer_fails_the_put(server, local):
    fresh = type(server)(server.folder / f"fresh-{os.urandom(4).hex()}").start()
    try:
        theirs = await session(fresh)
        handle = await theirs.sftp.open(fresh.remote("cut"), 0x1A)
        writing = theirs.sftp.write(handle, local, len(CONTENT))
        end_of(fresh)
        with pytest.raises(errors.ClientError):
            await writing
            await theirs.sftp.close(handle)
        await theirs.ended
    finally:
        fresh.stop()


def end_of(server: PeerServer) -> None:
    """Kill a server and its sessions."""
    from tests.bench.measure import descendants

    assert server.process is not None
    for pid in (*descendants(server.process.pid), server.process.pid):
        os.kill(pid, 9)


@pytest.mark.parametrize(("cipher", "mac"), CIPHERS, ids=[f"{c.decode()} {m.decode()}" for c, m in CIPHERS])
@ensureDeferred
async def test_every_cipher_and_mac_carries_a_file_over_rekeyings(sshd, local, cipher, mac):
    algorithms = replace(CLIENT["legacy-2026"], ciphers=(cipher,), macs=(mac,))
    theirs = await session(sshd, algorithms=algorithms, limits=REKEYING)

    await theirs.sftp.put(local, sshd.remote("ciphered"))
    await theirs.close()

    assert (sshd.files / "ciphered").read_bytes() == CONTENT


@pytest.mark.parametrize("exchange", CLIENT["legacy-2026"].exchanges, ids=bytes.decode)
@ensureDeferred
async def test_every_key_exchange_that_the_server_has_comes_about(sshd, exchange):
    algorithms = replace(CLIENT["legacy-2026"], exchanges=(exchange,))

    try:
        theirs = await session(sshd, algorithms=algorithms)
    except errors.NoAgreement as error:
        assert exchange.decode() not in error.theirs
        pytest.skip("the server does not have it")
    else:
        await theirs.close()


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
@ensureDeferred
async def test_a_server_with_three_host_keys_shows_the_pinned_one(sshd, kind):
    pinned = blob(sshd.host_key if kind == "ed25519" else sshd.folder / f"host_{kind}")

    theirs = await session(sshd, policy=Pinned(pinned))

    assert theirs.host_key == pinned
    await theirs.close()


def authorized(sshd: Sshd, key: Path) -> Path:
    """The key, now one that logs in."""
    with open(f"{sshd.key}.pub", "a") as keys:
        keys.write(Path(f"{key}.pub").read_text())
    return key


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
@ensureDeferred
async def test_every_kind_of_key_logs_in(sshd, kind, tmp_path):
    """Conch's own client cannot log in with RSA at a modern server: it signs with SHA-1."""
    key = authorized(sshd, make_key(tmp_path / "key", kind))

    theirs = await session(sshd, credentials=Credentials(sshd.user.encode(), key=Key.fromFile(str(key))))

    await theirs.close()


@ensureDeferred
async def test_a_full_disk_is_the_servers_failure_and_statvfs_tells_it(sshd, local):
    theirs = await session(sshd)

    with pytest.raises(SFTPError) as full:
        await theirs.sftp.put(local, b"/dev/full")

    assert full.value.code == 4
    assert (await theirs.sftp.statvfs(sshd.remote("."))).free_blocks > 0
    await theirs.close()


@ensureDeferred
async def test_nobody_listening_is_refused(sshd):
    from tests.live.sftp_servers import free_port

    class Nobody:
        port, user, password, key = free_port(), "x", "x", None

    with pytest.raises(errors.ConnectionRefused):
        await session(Nobody())  # type: ignore[arg-type]


@ensureDeferred
async def test_a_name_without_an_address_is_told(sshd):
    from twisted.internet import reactor

    with pytest.raises(errors.NameNotFound):
        await connect(reactor, endpoint(reactor, "nobody.invalid", 22), credentials(sshd), Anyone())


@ensureDeferred
async def test_a_server_is_reached_by_its_name(sshd):
    from twisted.internet import reactor

    theirs = await connect(reactor, endpoint(reactor, "localhost", sshd.port), credentials(sshd), Anyone())

    await theirs.close()
