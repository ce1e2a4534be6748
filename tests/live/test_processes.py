"""Several processes on one port: the real service, killed, replaced and stopped while clients are at work."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import paramiko
import pytest

from conch_pipe.cli.service import running
from tests.crash.installation import LOST, SCHEMA, Installation, shifts, wait_for
from tests.live.service import Service

pytestmark = pytest.mark.live

LARGE = 2000  # rows of a file that is not kept in memory
SETTINGS = {"service.processes": 2, "service.drain_s": 20, "log.format": "json",
            "limits.not_logged_in_per_address": 50, "limits.per_address": 50, "limits.per_client": 9}  # fmt: skip


class Yard(Installation):
    """An installation with several processes."""

    def facts(self) -> dict[str, Any]:
        """What ``status`` tells of them; empty while it is not running."""
        found = running(self.state)
        return found.more if found else {}

    def doors(self, stage: str = "ready") -> list[int]:
        """Process ids."""
        return [door["pid"] for door in self.facts().get("doors", []) if door["stage"] == stage]

    def listening(self) -> Yard:
        """Wait until all processes take connections."""
        super().listening()
        wait_for(lambda: len(self.doors()) == self.settings["service.processes"], "all doors")
        return self

    def told(self, event: str) -> list[dict[str, Any]]:
        """The events of that name in the log; each line of it is one whole document with its process."""
        lines = [json.loads(line) for line in self.log_text().splitlines() if line]
        assert all(isinstance(line["process"], int) for line in lines)
        return [line for line in lines if line.get("event") == event]

    def parts(self) -> list[str]:
        """Part files of all processes."""
        return [path.name for path in (self.state / "spool").rglob("*.part")]

    def door_of(self, sftp: paramiko.SFTPClient) -> int:
        """The process that has a connection."""
        port = sftp.get_channel().get_transport().sock.getsockname()[1]
        return next(line["process"] for line in self.told("session.opened") if line["port"] == port)

    @contextlib.contextmanager
    def on_both(self) -> Iterator[dict[int, paramiko.SFTPClient]]:
        """A session in each of two processes."""
        with contextlib.ExitStack() as stack:
            found: dict[int, paramiko.SFTPClient] = {}
            for _ in range(100):  # who takes a connection is the kernel's choice
                session = stack.enter_context(contextlib.ExitStack())
                sftp = session.enter_context(self.session())
                if found.setdefault(self.door_of(sftp), sftp) is not sftp:
                    session.close()
                if len(found) == 2:
                    break
            assert len(found) == 2
            yield found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Service:
    return Service(tmp_path_factory.mktemp("template")).init()


@pytest.fixture
def make(template, tmp_path) -> Iterator[Any]:
    """Makes an installation; those that still run are killed at the end."""
    made: list[Yard] = []

    def make(**settings: Any) -> Yard:
        folder = tmp_path / f"service{len(made)}"
        folder.mkdir()
        given = {name.replace("__", "."): each for name, each in settings.items()}
        made.append(Yard(folder, template, {**SETTINGS, **given}))
        return made[-1]

    yield make
    for yard in made:
        yard.kill()


@pytest.fixture(scope="module")
def shared(template, tmp_path_factory) -> Iterator[Yard]:
    """One that lives through several tests, and whose accounts agree at the end."""
    yard = Yard(tmp_path_factory.mktemp("shared"), template, SETTINGS)
    try:
        yield yard.launch().listening()
        yard.idle()
        yard.audit()
        yard.stop()
    finally:
        yard.kill()


def test_no_login_fails_while_every_process_is_replaced(shared):
    before = shared.doors()
    failures: list[BaseException] = []
    names = iter(f"roll{number}.csv" for number in range(10_000))
    over = threading.Event()

    def visit() -> None:
        while not over.is_set():
            name = next(names)
            try:
                with shared.session() as sftp:
                    shared.put(sftp, name, shifts(name))
            except Exception as error:  # noqa: BLE001 - whatever it is, there must be none
                failures.append(error)

    visitors = [threading.Thread(target=visit) for _ in range(2)]
    for visitor in visitors:
        visitor.start()
    os.kill(shared.pid(), signal.SIGUSR2)
    wait_for(lambda: shared.told("doors.replaced"), "fresh processes")
    wait_for(lambda: not any(map(alive, before)), "the end of the old ones")
    over.set()
    for visitor in visitors:
        visitor.join()

    assert failures == [], shared.told("session.refused")
    wait_for(lambda: set(shared.doors()).isdisjoint(before), "what status tells")  # once a second
    assert len(shared.clients.acknowledged) > 2


def test_a_session_goes_on_in_a_process_that_is_replaced(shared):
    with shared.session() as sftp:
        door = shared.door_of(sftp)
        file = sftp.open(f"/{SCHEMA}/lasting.csv", "wb")
        rolls = len(shared.told("doors.replaced"))
        os.kill(shared.pid(), signal.SIGUSR2)
        wait_for(lambda: door in shared.doors("retiring"), "its retirement")
        wait_for(lambda: len(shared.told("doors.replaced")) > rolls, "fresh processes")

        file.close()
        shared.put(sftp, "later.csv", shifts("later"))

        assert alive(door)
    wait_for(lambda: not alive(door), "its end")
    wait_for(lambda: len(shared.doors()) == 2, "two processes")


def test_the_connections_of_one_client_are_counted_over_all_processes(shared):
    with contextlib.ExitStack() as stack:
        for _ in range(SETTINGS["limits.per_client"]):
            stack.enter_context(shared.session())
        with pytest.raises(LOST), shared.session():
            pass
    with wait_for(lambda: _session(shared), "room again"):
        pass


def test_a_file_put_in_one_process_is_seen_renamed_and_removed_in_another(shared):
    with shared.on_both() as sessions:
        here, there = sessions.values()
        content = shifts("crossing")
        shared.clients.tried["crossing.csv"] = content
        for name in ("crossing.csv.part", "unwanted.csv.part"):
            with here.open(f"/{SCHEMA}/{name}", "wb") as file:
                file.write(content)

        assert there.stat(f"/{SCHEMA}/crossing.csv.part").st_size == len(content)
        there.rename(f"/{SCHEMA}/crossing.csv.part", f"/{SCHEMA}/crossing.csv")
        there.remove(f"/{SCHEMA}/unwanted.csv.part")

        for sftp in (here, there):
            assert sftp.stat(f"/{SCHEMA}/crossing.csv").st_size == len(content)
            with pytest.raises(FileNotFoundError):
                sftp.stat(f"/{SCHEMA}/unwanted.csv.part")
        with pytest.raises(FileNotFoundError):
            there.rename(f"/{SCHEMA}/unwanted.csv.part", f"/{SCHEMA}/unwanted.csv")
    shared.clients.acknowledged.add("crossing.csv")
    assert len(shared.named("crossing.csv")) == 1


def test_a_killed_process_is_replaced_and_what_it_was_receiving_is_dropped(shared):
    with shared.on_both() as sessions:
        (killed, cut), (_, other) = sessions.items()
        file = cut.open(f"/{SCHEMA}/cut.csv", "wb")
        file.write(shifts("cut", LARGE))
        file.flush()
        cut.stat(f"/{SCHEMA}/cut.csv")
        left = other.open(f"/{SCHEMA}/left.csv", "wb")
        left.write(shifts("left", LARGE))
        shared.clients.tried["left.csv"] = shifts("left", LARGE)
        wait_for(lambda: len(shared.parts()) == 2, "both part files")

        os.kill(killed, signal.SIGKILL)

        wait_for(lambda: len(shared.doors()) == 2 and killed not in shared.doors(), "another process")
        wait_for(lambda: len(shared.parts()) == 1, "the end of the dead one's part file")
        left.close()
        shared.put(other, "after.csv", shifts("after"))
    assert [line["reason"] for line in shared.told("door.died")] == ["killed by SIGKILL"]
    shared.clients.acknowledged.add("left.csv")
    with shared.session() as sftp:
        shared.put(sftp, "again.csv", shifts("again"))


def test_status_tells_all_processes_and_a_revocation_reaches_them(shared):
    made = json.loads(shared.command("credential", "create", shared.login.organisation, "--json", gives_secret=True))
    kept, shared.login = shared.login, shared._given_out(made)
    try:
        with shared.on_both() as sessions:
            wait_for(lambda: shared.facts()["sessions"] >= 2, "both sessions in the status")
            assert sorted(shared.doors()) == sorted(sessions)

            shared.command("credential", "revoke", made["client_id"])

            for sftp in sessions.values():
                transport = sftp.get_channel().get_transport()
                wait_for(lambda transport=transport: not transport.is_active(), "the end of the session")
    finally:
        shared.login = kept


@pytest.mark.parametrize("label", ["C4", "C6"])
def test_a_process_killed_in_a_commit_leaves_all_or_nothing(make, label):
    """The other process may be storing at that moment: only what the dead one had begun is tidied."""
    yard = make().launch(f"{label}:1").listening()
    content = shifts("one", LARGE)

    with pytest.raises(LOST), yard.session() as sftp:
        yard.put(sftp, "one.csv", content)
    wait_for(lambda: yard.told("door.died"), "the death")
    wait_for(lambda: not yard.parts(), "the end of its part file")
    (dead,) = [line["pid"] for line in yard.told("door.died")]
    first = [line["pid"] for line in yard.told("door.ready")][:2]
    wait_for(lambda: len(yard.doors()) == 2 and dead not in yard.doors(), "another process")

    recorded = [record.name for record in yard.records()]
    assert (recorded, len(yard.orphans())) == (([], 1) if label == "C4" else (["one.csv"], 0))
    with yard.on_both() as sessions:
        # The one that is left has the crash point yet; a process that is replaced comes without.
        (fresh,) = set(sessions) - set(first)
        yard.put(sessions[fresh], "one.csv", content)
    yard.idle()
    yard.audit()
    yard.stop()


def test_a_killed_parent_takes_its_processes_along_and_the_next_start_is_clean(make):
    yard = make(service__drain_s=1).launch().listening()
    doors = yard.doors()
    with contextlib.suppress(*LOST), yard.session() as sftp:
        yard.put(sftp, "one.csv", shifts("one"))
        file = sftp.open(f"/{SCHEMA}/cut.csv", "wb")
        file.write(shifts("cut", LARGE))
        file.flush()

        yard.kill()
        yard.launch().listening()

        assert not any(map(alive, doors))
        assert yard.parts() == []
    with yard.session() as sftp:
        yard.put(sftp, "two.csv", shifts("two"))
    yard.idle()
    yard.audit()
    yard.stop()


def test_a_stop_waits_for_running_puts_in_every_process(make):
    yard = make().launch().listening()
    with yard.on_both() as sessions:
        files = {}
        for number, sftp in enumerate(sessions.values()):
            name = f"running{number}.csv"
            yard.clients.tried[name] = shifts(name)
            files[name] = sftp.open(f"/{SCHEMA}/{name}", "wb")
            files[name].write(shifts(name))
        yard.tell_to_stop()
        wait_for(lambda: yard.told("service.draining"), "the drain")
        wait_for(lambda: not _connects(yard.port), "the end of listening")

        for name, file in files.items():
            file.close()
            yard.clients.acknowledged.add(name)
    yard.stop()
    assert {record.name for record in yard.records()} == set(files)
    assert yard.parts() == []


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _session(yard: Yard) -> Any:
    stack = contextlib.ExitStack()
    try:
        stack.enter_context(yard.session())
    except LOST:
        return None
    return stack
