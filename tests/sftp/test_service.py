"""The door as a whole, over SSH in memory: it starts, knows its sessions, revokes and drains."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.filetransfer import SFTPError
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.login.core import Login
from conch_pipe.login.core import Rules as LoginRules
from conch_pipe.sftp.service import Rules, SFTPService
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server.hostkeys import fingerprint
from tests.sftp.conftest import DISK, PUT, START
from tests.sftp.fakes import HeardEvents, MemoryCredentials, MemoryIntake, MemoryUploads
from tests.sftp.ssh_client import MemoryEndpoint, SSHClient
from tests.sftp.test_login import COST, SECRET, WRONG, credential

BY_APPLICATION = 11
KEY = Key(Ed25519PrivateKey.generate())


class Inline:
    """Runs at once what would run in a thread."""

    running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def __call__(self, function, *args):
        assert self.running
        return maybeDeferred(function, *args)


class House:
    """A service with everything behind it in memory."""

    def __init__(self, door=None, **rules) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.events = HeardEvents()
        self.uploads = MemoryUploads()
        self.intake = MemoryIntake(self.clock, self.uploads)
        self.credentials = MemoryCredentials(credential(), credential("rival-1", organisation="rival"))
        self.endpoint = MemoryEndpoint()
        self.threads = Inline()
        self.clients: list[SSHClient] = []
        self.service = SFTPService(
            self.endpoint,
            [KEY],
            intake=self.intake,
            uploads=self.uploads,
            credentials=self.credentials,
            events=self.events,
            clock=self.clock,
            login=Login(
                self.credentials,
                self.threads,
                self.events,
                self.clock,
                LoginRules(hash_cost=COST, longest_delay_s=3600, deadline_s=Limits().login_s),
            ),
            disk=lambda: DISK,
            limits=Limits(),
            rules=Rules(**rules),
            door=door,
        )

    def connect(self, username: bytes = b"acme-1", password: bytes = SECRET) -> SSHClient:
        client = self.endpoint.connect(username, password)
        self.clients.append(client)
        self.pass_time(0)
        return client

    def pass_time(self, seconds: float) -> None:
        """Time passes and what is sent arrives."""
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)
            for client in self.clients:
                client.flush()
        for client in self.clients:
            client.flush()

    def end(self) -> None:
        stopped = self.service.stopService()
        self.pass_time(6)
        assert stopped.called


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    house.service.startService()
    yield house
    house.end()


@pytest.fixture
def office() -> Iterator[House]:
    """The same, with an address that is exempt from penalties."""
    house = House(door={"penalty_exempt": ["192.0.2.1"]})
    house.service.startService()
    yield house
    house.end()


@pytest.fixture
def retiring() -> Iterator[House]:
    """The same, with a host key that is to go."""
    house = House(door={"retiring": [KEY]})
    house.service.startService()
    yield house
    house.end()


def test_a_partner_logs_in_and_puts_a_file(house):
    client = house.connect()
    sftp = client.open_sftp()

    handle = client.ask(sftp.openFile(b"/orgShifts/a.csv", PUT, {}))
    client.ask(handle.writeChunk(0, b"id\n1\n"))
    client.ask(handle.close())

    assert list(house.intake.contents.values()) == [b"id\n1\n"]
    (told,) = house.events.of(events.LOGIN_SUCCEEDED)
    assert (told["client_id"], told["organisation"], told["address"]) == ("acme-1", "acme", "192.0.2.1")
    assert told["banner"].startswith("SSH-2.0-")


def test_a_login_is_told_with_what_protects_it(house):
    house.connect()

    (told,) = house.events.of(events.LOGIN_SUCCEEDED)
    assert (told["host_key"], told["host_key_algorithm"]) == (fingerprint(KEY), "ssh-ed25519")
    assert (told["exchange"], told["cipher"], told["mac"]) == ("curve25519-sha256", "aes256-ctr", "hmac-sha2-512")
    assert (told["preset"], told["strict"]) == ("default-2026", False)
    assert house.events.of(events.HOST_KEY_OLD) == []


def test_a_login_by_a_host_key_that_is_to_go_is_told(retiring):
    retiring.connect()

    (told,) = retiring.events.of(events.HOST_KEY_OLD)
    assert (told["client_id"], told["address"], told["host_key"]) == ("acme-1", "192.0.2.1", fingerprint(KEY))


def test_who_asks_for_the_proof_of_a_host_key_has_learnt_it(house):
    client = house.connect()
    blob = KEY.public().blob()

    client.ask(client.connection.sendGlobalRequest(b"hostkeys-prove-00@openssh.com", NS(blob), wantReply=1))

    (told,) = house.events.of(events.HOST_KEY_LEARNT)
    assert (told["client_id"], told["address"], told["host_key"]) == ("acme-1", "192.0.2.1", fingerprint(KEY))


def test_a_session_is_told_from_its_opening_to_its_end_with_its_uploads(house):
    client = house.connect()
    sftp = client.open_sftp()
    for name in (b"a.csv", b"b.csv", b"c.csv.part"):
        handle = client.ask(sftp.openFile(b"/orgShifts/" + name, PUT, {}))
        client.ask(handle.close())
    client.ask(sftp.renameFile(b"/orgShifts/c.csv.part", b"/orgShifts/c.csv"))

    client.vanish()

    (opened,) = house.events.of(events.SESSION_OPENED)
    (closed,) = house.events.of(events.SESSION_CLOSED)
    assert closed["session"] == opened["session"]
    assert closed["uploads"] == 3
    assert len(house.service.visits) == 0


def test_all_channels_of_a_connection_are_one_session(house):
    client = house.connect()
    first = client.open_sftp()
    handle = client.ask(first.openFile(b"/orgShifts/a.csv", PUT, {}))
    client.ask(handle.close())

    second = client.open_sftp()

    folder = client.ask(second.openDirectory(b"/orgShifts"))
    assert [name for name, _, _ in client.ask(folder.read())] == [b"a.csv"]


def test_a_wrong_secret_is_refused_after_the_floor(house):
    client = house.connect(password=WRONG)
    assert client.failures == 0

    house.pass_time(1.5)

    assert client.failures == 1
    assert not client.logged_in


def test_a_taken_port_stops_the_start(house):
    late = House()
    late.endpoint.taken = True

    with pytest.raises(CannotListenError):
        late.service.startService()

    assert not late.threads.running
    assert not late.service.running


def test_the_port_is_known_while_listening(house):
    assert house.service.port == 2222

    house.end()

    with pytest.raises(RuntimeError):
        _ = house.service.port


def test_one_connection_too_many_of_a_client_is_told_so(house):
    for _ in range(10):
        assert house.connect().logged_in

    late = house.connect()

    assert not late.logged_in
    assert late.disconnected == (BY_APPLICATION, "at most 10 connections at a time")
    assert house.connect(b"rival-1").logged_in
    house.clients[0].vanish()
    assert house.connect().logged_in


def test_revocation_ends_open_sessions_within_five_seconds(house):
    client, rival = house.connect(), house.connect(b"rival-1")
    sftp = client.open_sftp()
    client.ask(sftp.openFile(b"/orgShifts/a.csv", PUT, {}))

    house.credentials.revoke("acme-1")
    house.pass_time(5)

    assert client.disconnected == (BY_APPLICATION, "your credential was revoked")
    assert client.lost
    assert not rival.lost
    assert not house.intake.live
    (told,) = house.events.of(events.CREDENTIAL_REVOKED)
    assert (told["client_id"], told["sessions"]) == ("acme-1", 1)


def test_who_was_sent_away_does_not_come_in_again(house):
    """Another login a moment before had the credential looked up: that is forgotten."""
    client = house.connect()
    house.pass_time(1.5)
    assert house.connect().logged_in
    house.credentials.revoke("acme-1")
    house.pass_time(0.6)
    assert client.lost

    assert not house.connect().logged_in


def test_changed_schemas_reach_open_sessions(house):
    client = house.connect()
    sftp = client.open_sftp()

    house.credentials.change("acme-1", schemas=("orgTransactions",))
    house.pass_time(5)

    with pytest.raises(SFTPError, match="no such schema; yours are orgTransactions"):
        client.ask(sftp.openFile(b"/orgShifts/a.csv", PUT, {}))
    client.ask(client.ask(sftp.openFile(b"/orgTransactions/a.csv", PUT, {})).close())


def test_a_catalog_that_cannot_be_asked_ends_nobodys_session_and_the_watch_goes_on(house):
    client = house.connect()
    house.credentials.broken = PipeError(Code.BUSY, "the catalog is busy")
    house.pass_time(10)
    assert not client.lost

    house.credentials.broken = None
    house.credentials.revoke("acme-1")
    house.pass_time(5)

    assert client.lost


def test_an_outage_of_the_catalog_is_told_when_it_begins_and_ends(house):
    """A line for each look would fill the disk that the catalog waits for."""
    house.connect()
    with capturedLogs() as logged:
        for broken in (PipeError(Code.BUSY, "the catalog is busy"), None):
            house.credentials.broken = broken
            house.pass_time(60)

    told = [formatEvent(event) for event in logged if "revocations" in formatEvent(event)]
    assert told == [
        "revocations cannot be looked up, trying every 2 s: the catalog is busy",
        "revocations can be looked up again",
    ]


def test_a_watch_that_fails_begins_again(house, logged_errors):
    client = house.connect()
    house.credentials.broken = ZeroDivisionError("a fault of ours")
    house.pass_time(10)
    assert logged_errors.flush(ZeroDivisionError)

    house.credentials.broken = None
    house.credentials.revoke("acme-1")
    house.pass_time(5)

    assert client.lost


def test_draining_lets_a_running_put_finish_and_then_says_goodbye(house):
    busy, idle = house.connect(), house.connect()
    sftp = busy.open_sftp()
    handle = busy.ask(sftp.openFile(b"/orgShifts/a.csv", PUT, {}))

    drained = house.service.drain(30)
    house.pass_time(10)
    with pytest.raises(ConnectionRefusedError):
        house.connect()
    with pytest.raises(SFTPError, match="shutting down"):
        busy.ask(sftp.openFile(b"/orgShifts/b.csv", PUT, {}))
    busy.ask(handle.writeChunk(0, b"id\n"))
    busy.ask(handle.close())
    assert not drained.called
    house.pass_time(1)

    assert drained.called
    assert busy.disconnected == idle.disconnected == (BY_APPLICATION, "shutting down")
    assert list(house.intake.contents.values()) == [b"id\n"]


def test_draining_waits_for_the_rename_of_a_file_that_is_complete(house):
    client = house.connect()
    sftp = client.open_sftp()
    client.ask(client.ask(sftp.openFile(b"/orgShifts/a.csv.filepart", PUT, {})).close())

    house.service.drain(30)
    house.pass_time(2)
    client.ask(sftp.renameFile(b"/orgShifts/a.csv.filepart", b"/orgShifts/a.csv"))
    house.pass_time(1)

    assert client.lost
    assert len(house.uploads.records) == 1


def test_draining_ends_a_put_that_takes_too_long(house):
    client = house.connect()
    sftp = client.open_sftp()
    client.ask(sftp.openFile(b"/orgShifts/a.csv", PUT, {}))

    drained = house.service.drain(30)
    house.pass_time(29)
    assert not drained.called
    house.pass_time(2)

    assert drained.called
    assert house.uploads.records == []
    assert not house.intake.live


def test_stopping_hurries_a_drain(house):
    client = house.connect()
    sftp = client.open_sftp()
    client.ask(sftp.openFile(b"/orgShifts/a.csv", PUT, {}))
    drained = house.service.drain(3600)

    stopped = house.service.stopService()
    house.pass_time(1)

    assert drained.called
    assert stopped.called
    assert not house.threads.running


def test_a_login_that_is_not_finished_when_the_drain_begins_is_told_why(house):
    client = house.connect(password=WRONG)

    house.service.drain(30)
    house.pass_time(1)

    assert client.disconnected == (BY_APPLICATION, "shutting down")


def test_files_that_wait_for_a_name_are_swept_by_the_running_service(house):
    client, other = house.connect(), house.connect()
    sftp = client.open_sftp()
    client.ask(client.ask(sftp.openFile(b"/orgShifts/a.csv.part", PUT, {})).close())
    client.vanish()
    assert house.intake.live

    house.pass_time(700)

    assert not house.intake.live
    assert not other.lost


def test_many_failures_slow_an_address_down_and_do_not_lock_it_out(office):
    """The delay ends before the login deadline does, whatever the settings say."""
    house = office
    # On one connection after the other the delays themselves would keep the failures few.
    for _ in range(2):
        tried = [house.connect(b"nobody-%d" % number, WRONG) for number in range(9)]
        house.pass_time(1.5)
        for one in tried:
            one.vanish()
    assert len(house.events.of(events.LOGIN_FAILED)) == 18

    client = house.connect()
    house.pass_time(19)
    assert not client.logged_in
    house.pass_time(2)

    assert client.logged_in


def test_the_past_is_asked_for_once_at_the_start_by_a_service_that_is_alone():
    """Then STAT needs the catalog for what was taken before only; with others beside it, for all."""
    alone = House()
    alone.uploads.records.append(SimpleNamespace(received_at=datetime(2026, 3, 1, tzinfo=UTC)))
    fresh = House()

    for house in (alone, fresh):
        assert house.service.visits.newest_elsewhere == math.inf
        house.service.startService()
        house.end()

    assert alone.service.visits.newest_elsewhere == datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    assert fresh.service.visits.newest_elsewhere == -math.inf
