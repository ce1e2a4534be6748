"""A put that is cut anywhere leaves nothing, and one that is complete is there exactly once: invariant I3.

What real clients sent (every_cut.json) meets the real SFTP server, tree, intake, object folder and catalog, and the
connection is lost after each byte; then the same over SSH in memory, cut in the cipher stream of either direction.
Only processing is missing: nothing here reads what was stored.
"""

from __future__ import annotations

import gc
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select
from twisted.conch.error import ConchError
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.filetransfer import SFTPError
from twisted.conch.ssh.keys import Key
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock

from conch_pipe.catalog import Catalog, DirectDatabase
from conch_pipe.catalog.queries import credentials
from conch_pipe.catalog.tables import jobs, uploads
from conch_pipe.events import Events
from conch_pipe.formats.schema import SchemaBook, shipped
from conch_pipe.intake.intake import Intake, Limits
from conch_pipe.login.core import Login
from conch_pipe.login.core import Rules as LoginRules
from conch_pipe.model import Client, Peer, utc
from conch_pipe.objects.folder import FolderObjects
from conch_pipe.sftp.realm import PutRealm
from conch_pipe.sftp.service import Rules, SFTPService
from conch_pipe.sftp.visits import Visits
from conch_pipe.ssh.interfaces import IPutServer
from conch_pipe.ssh.limits import Limits as SSHLimits
from conch_pipe.ssh.sftp.server import SFTPServer
from tests import catalogs
from tests.sftp.conftest import DISK, PUT, START
from tests.sftp.ssh_client import MemoryEndpoint, SSHClient
from tests.sftp.test_login import COST, HASH, SECRET
from tests.sftp.test_service import Inline

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
STEP = max(1, 5 // DOSE)  # bytes between two cuts of the cipher stream, or of small pieces; 3 ms for each
RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "every_cut.json").read_text())
SCHEMA = "orgShifts"
MEMORY = Path("/dev/shm")

Kept = tuple[str, bytes]  # name and bytes of an upload


def told(count: int, what: str) -> None:
    """The dose of a run, for ``pytest -rP``."""
    print(f"{count} cuts of {what}")


def content(file: str) -> bytes:
    with open(file, "rb") as opened:
        return opened.read()


class Pool:
    """Where the intake's work runs: at once, or when the test lets it."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] | None = None

    def __call__(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        if self.held is None:
            return maybeDeferred(function, *args)
        done: Deferred[Any] = Deferred()
        self.held.append(lambda: maybeDeferred(function, *args).chainDeferred(done))
        return done

    def step(self) -> bool:
        """Do the oldest piece of work that is held. :returns: False when there is none."""
        if not self.held:
            return False
        self.held.pop(0)()
        return True


class House:
    """All rooms behind the SFTP door but processing; it lives through many cuts.

    The same bytes count every time they come (ruling 5 is off), so that each cut is told from the others by counting.
    """

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.spool = folder / "spool"
        self.spool.mkdir()
        self.objects_folder = folder / "objects"
        self.pool = Pool()
        self.database = DirectDatabase(catalogs.on_disk(folder / "catalog.sqlite"))
        self.database.open()
        self.catalog = Catalog(self.database, self.clock)
        self.catalog.organisations.create("acme")
        self.catalog.organisations.enable_schema("acme", SCHEMA)
        self.credential = self.now(
            self.database.write(credentials.create, "acme", "", HASH, utc(self.clock)),
        )
        schemas = SchemaBook(shipped())
        schemas.refresh()
        limits = Limits(same_bytes_within_s=0, free_bytes=0, free_share=0, free_inodes_share=0)
        self.events = Events()
        self.intake = Intake(
            self.spool,
            FolderObjects(self.objects_folder, self.pool),
            self.catalog.uploads,
            self.events,
            self.clock,
            self.pool,
            schemas,
            limits,
        )

    @staticmethod
    def now(deferred: Deferred[Any]) -> Any:
        """What a Deferred of the direct database has fired with."""
        got: list[Any] = []
        deferred.addCallback(got.append)
        return got[0]

    def kept(self) -> list[Kept]:
        """Every upload there is, in the order they were recorded.

        :raises AssertionError: a record lacks its job or its object, or has several, or one of those has no record; or
            a part file is left.
        """

        def look(connection: Any) -> tuple[list[Any], list[str]]:
            found = connection.execute(select(uploads.c.id, uploads.c.name, uploads.c.object_key))
            return list(found), list(connection.execute(select(jobs.c.subject).order_by(jobs.c.id)).scalars())

        records, subjects = self.now(self.database.read(look))
        above = len(str(self.objects_folder)) + 1
        files = [os.path.join(path, name) for path, _, names in os.walk(self.objects_folder) for name in names]
        stored = {file[above:]: file for file in files}
        assert sorted(subjects) == sorted(str(one.id) for one in records)
        assert sorted(stored) == sorted(one.object_key for one in records)
        assert os.listdir(self.spool) == []
        assert self.intake.live == 0
        records.sort(key=lambda one: subjects.index(str(one.id)))
        return [(one.name, content(stored[one.object_key])) for one in records]

    def close(self) -> None:
        self.database.close()


@pytest.fixture
def house() -> Iterator[House]:
    # Connections are cut here, not power: what fsync costs on a disk (three quarters of the time) proves nothing.
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        house = House(Path(folder))
        yield house
        house.close()


# The SFTP level


class Channel:
    """One connection with one SFTP channel, as the server sees it: bytes in, and its end."""

    def __init__(self, house: House) -> None:
        visits = Visits(house.clock, lambda session, text: None)
        realm = PutRealm(visits, house.intake, house.catalog.uploads, house.events, lambda: DISK)
        client = Client(house.credential.client_id, "acme", frozenset({SCHEMA}), Peer("192.0.2.1", 50_000))
        _, avatar, self._logout = realm.requestAvatar(client, None, IConchUser)
        self.sent = b""
        self.dropped: str | None = None
        self.server = SFTPServer(IPutServer(avatar), self, house.clock, SSHLimits())

    def write(self, data: bytes) -> None:
        self.sent += data

    def tell(self, sentence: str) -> None: ...

    def finished(self, status: int) -> None: ...

    def drop(self, reason: str) -> None:
        self.dropped = reason

    def release(self) -> None: ...

    def crowded(self) -> bool:
        return False

    def cut(self) -> None:
        self.server.connectionLost("the connection was lost")
        self._logout()


@dataclass(frozen=True)
class Put:
    """A recorded conversation: the client's bytes, and what must be kept from which offset on."""

    stream: bytes
    packets: tuple[int, ...]  # where each ends
    kept: tuple[tuple[int, Kept], ...]

    def cuts(self, step: int) -> list[int]:
        """Each of so many bytes, and all around the end of every packet; the whole is one of them."""
        around = {end + more for end in self.packets for more in (-1, 0, 1)}
        return sorted(size for size in around | set(range(0, len(self.stream), step)) if size <= len(self.stream))

    def after(self, size: int) -> list[Kept]:
        """What must be kept when only so many bytes came."""
        return [kept for offset, kept in self.kept if offset <= size]


def recorded(name: str) -> Put:
    packets = [bytes.fromhex(packet) for packet in RECORDED[name]["packets"]]
    ends = tuple(accumulate(map(len, packets)))
    return Put(
        b"".join(packets),
        ends,
        tuple((ends[one["at_packet"]], (one["name"], one["content"].encode())) for one in RECORDED[name]["accepted"]),
    )


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("piece", [1 << 20, 7, 1])
def test_a_put_cut_after_any_byte_is_kept_only_if_its_close_came_whole(house, name, piece):
    """Whatever the pieces in which the bytes come; also CLOSE in the same piece as what is before it.

    Small pieces come again and again before each cut: there it is every STEP-th byte.
    """
    put = recorded(name)
    expected: list[Kept] = []
    cuts = put.cuts(STEP if piece < len(put.stream) else 1)

    for size in cuts:
        channel = Channel(house)
        for start in range(0, size, piece):
            channel.server.dataReceived(put.stream[start : min(start + piece, size)])
        channel.cut()
        expected += put.after(size)
        assert house.kept() == expected, f"cut after byte {size} of {len(put.stream)}"

    assert len(put.after(len(put.stream))) == len(RECORDED[name]["accepted"])
    told(len(cuts), f"{name} in pieces of {piece}")


@pytest.mark.parametrize("name", RECORDED)
def test_a_connection_lost_while_storage_works_leaves_all_or_nothing(house, name):
    """CLOSE waits for hash, fsync, object store and catalog; the client goes before each of their steps."""
    packets = [bytes.fromhex(packet) for packet in RECORDED[name]["packets"]]
    whole = recorded(name).after(len(b"".join(packets)))
    house.pool.held = []
    expected: list[Kept] = []
    steps, through = 0, False

    while not through:
        channel = Channel(house)
        left = steps
        for packet in packets:
            channel.server.dataReceived(packet)
            while channel.server.working and left:
                assert house.pool.step()
                left -= 1
            if channel.server.working:
                break
        through = not channel.server.working
        channel.cut()
        while house.pool.step():
            pass
        found = house.kept()
        new = found[len(expected) :]
        assert (found[: len(expected)], new) == (expected, whole[: len(new)]), f"cut before step {steps}"
        expected = found
        steps += 1

    assert new == whole
    told(steps, f"{name} between steps")


# Over SSH


class Wire(SSHClient):
    """An SSH client whose connection is lost after so many bytes in one direction.

    :param to_server, to_client: bytes that arrive; None: all.
    """

    def __init__(self, server: Any, house: House, to_server: int | None, to_client: int | None) -> None:
        self.left = [to_server, to_client]
        self.carried = [0, 0]
        super().__init__(server, house.credential.client_id.encode(), SECRET)

    def flush(self) -> None:
        """Carry bytes both ways until there are none, or the limit is reached."""
        ends = ((self._client_side, self._server), (self._server_side, self._client))
        while not self.lost and any(side.value() for side, _ in ends):
            for number, (side, other) in enumerate(ends):
                data = side.value()
                side.clear()
                limit = self.left[number]
                if limit is not None:
                    data = data[: limit - self.carried[number]]
                self.carried[number] += len(data)
                if data:
                    other.dataReceived(data)
                if self.lost or self.carried[number] == limit:
                    self.vanish()
                    return


class Story:
    """A Conch client logs in, opens SFTP and puts one file; what it saw until the connection was lost."""

    def __init__(
        self, house: House, endpoint: MemoryEndpoint, number: int, to_server: int | None, to_client: int | None
    ):
        self.name = f"{number}.csv"
        self.content = recorded("openssh scp").kept[0][1][1]
        self.before_close: int | None = None  # bytes sent to the server before CLOSE
        self.after_close: int | None = None
        self.acknowledged = False
        server = endpoint.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 50_000))
        self.wire = Wire(server, house, to_server, to_client)
        house.clock.advance(0)
        self._put()
        if not self.wire.lost:
            self.wire.vanish()
        house.clock.advance(0)

    def _put(self) -> None:
        if self.wire.connection is None:
            return
        sftp = self.wire.open_sftp()
        if sftp is None or self.wire.lost:
            return
        handle = self._ask(sftp.openFile(f"/{SCHEMA}/{self.name}".encode(), PUT, {}))
        if handle is None or self._ask(handle.writeChunk(0, self.content)) is None or self.wire.lost:
            return  # lost: the answer's last byte was the last one of all
        self.before_close = self.wire.carried[0]
        closing = handle.close()
        self.after_close = self.before_close + len(self.wire._client_side.value())
        self.acknowledged = self._ask(closing) is not None

    def _ask(self, request: Deferred[Any]) -> Any:
        """The answer, or None when the connection was lost before it came."""
        got: list[Any] = []
        request.addCallback(got.append).addErrback(lambda failure: failure.trap(ConnectionLost, SFTPError))
        self.wire.flush()
        return got[0] if got else None

    @property
    def kept(self) -> list[Kept]:
        """What the service must have of it."""
        whole = self.after_close is not None and self.wire.carried[0] >= self.after_close
        return [(self.name, self.content)] if whole else []


@pytest.fixture
def door(house: House, logged_errors) -> Iterator[MemoryEndpoint]:
    """The real service's door over SSH, on no socket."""
    endpoint = MemoryEndpoint()
    service = SFTPService(
        endpoint,
        [Key(Ed25519PrivateKey.generate())],
        intake=house.intake,
        uploads=house.catalog.uploads,
        credentials=house.catalog.credentials,
        events=house.events,
        clock=house.clock,
        login=Login(house.catalog.credentials, Inline(), house.events, house.clock, LoginRules(hash_cost=COST)),
        disk=lambda: DISK,
        limits=SSHLimits(),
        rules=Rules(),
        door={"penalty_exempt": ["192.0.2.1"]},  # hundreds of connections cut before their login
    )
    service.startService()
    yield endpoint
    stopped = service.stopService()
    house.clock.advance(10)
    assert stopped.called
    gc.collect()
    logged_errors.flush(ConchError)  # of the client: requests whose channel was gone before their answer


@pytest.mark.parametrize("direction", ["to the server", "to the client"])
def test_an_ssh_connection_cut_anywhere_keeps_only_what_was_closed(house, door, direction):
    """From the version line through key exchange, login and MACs to the answer, every STEP-th byte."""
    way = ["to the server", "to the client"].index(direction)
    whole = Story(house, door, 0, None, None)
    assert whole.acknowledged
    expected = list(whole.kept)
    assert house.kept() == expected
    cuts = range(0, whole.wire.carried[way] + STEP, STEP)

    for size in cuts:
        story = Story(house, door, size + 1, *((size, None), (None, size))[way])
        expected += story.kept
        assert house.kept() == expected, f"cut after byte {size}"
        assert story.kept or not story.acknowledged

    told(len(cuts), f"the cipher stream {direction}")


def test_the_bytes_around_the_last_packet_decide(house, door):
    """Not one byte of the encrypted CLOSE, its MAC included, may be missing."""
    whole = Story(house, door, 0, None, None)
    expected = list(whole.kept)
    assert whole.before_close is not None and whole.after_close is not None

    # The sizes of what is sent before it vary by some bytes of padding and key shares.
    for size in range(whole.before_close - 8, whole.after_close + 9):
        story = Story(house, door, size + 1, size, None)
        expected += story.kept
        assert house.kept() == expected, f"cut after byte {size}, CLOSE is {story.before_close} to {story.after_close}"

    told(whole.after_close - whole.before_close + 17, "the bytes around CLOSE")
