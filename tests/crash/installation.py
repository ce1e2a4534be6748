"""The real service as a child that is to be killed, and the accounts kept on both sides of the kill.

Looks into the state folder itself, not through ``conch-pipe``: a process more per question would cost a second. Never
between a kill and the next start: SQLite would recover the log that the service is to find.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import paramiko

from conch_pipe.cli.service import running
from tests.live.service import BIN, WAIT_S, Service, wait_for

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
SCHEMA = "orgShifts"
LOST = (OSError, EOFError, paramiko.SSHException)
# One worker is enough for small files, and a lease that ends soon: after several kills in a row a restart waits for it.
QUICK = {"service.drain_s": 0, "workers.count": 1, "runner.lease_s": 5, "runner.poll_s": 0.2, "disk.free_bytes": 0,
         "disk.free_share": 0, "disk.free_inodes_share": 0}  # fmt: skip


def shifts(mark: str, rows: int = 3) -> bytes:
    """A good CSV of so many rows that no other mark has."""
    lines = [f"{mark}-{row},S1,E1,2026-01-15T06:00:00Z,2026-01-15T14:00:00Z\n" for row in range(rows)]
    return ("shift_id,store_id,employee_id,starts_at,ends_at\n" + "".join(lines)).encode()


@dataclass
class Ledger:
    """What the clients know: every file they tried to put, and those that were answered OK."""

    tried: dict[str, bytes] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Record:
    """One upload in the catalog."""

    id: str
    name: str
    state: str
    rows: int | None
    problem: str | None
    object_key: str


class Installation(Service):
    """A Service that is expected to die. ``template`` is one after ``init()``; its folder is copied."""

    def __init__(self, folder: Path, template: Service, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(folder, {**QUICK, **(settings or {})})
        self.state = folder / "state"
        shutil.copytree(template.folder / "state", self.state)
        self.config = self.state / template.config.name
        self.fingerprint, self.login, self.secrets = template.fingerprint, template.login, set(template.secrets)
        self.private = set(template.private)
        self.clients = Ledger()

    # The process

    def launch(self, crash: str = "", program: Sequence[str] = ()) -> Installation:
        """Start the process and wait for nothing.

        :param crash: a value of PIPE_CRASH.
        :param program: what runs twistd, e.g. strace.
        """
        environment = self._environment() | ({"PIPE_CRASH": crash} if crash else {})
        words = [*program, str(BIN / "twistd"), "-n", "--pidfile=", "pipe-sftp", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                words, env=environment, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.told_to_stop = False
        return self

    def listening(self) -> Installation:
        """Wait until it takes connections. :raises AssertionError: it died instead."""

        def port() -> int:
            assert self.process is not None and self.process.poll() is None, self.log_text()
            found = running(self.state)
            return found.ssh_port if found else 0

        self.port = wait_for(port, "listening")
        return self

    def dies(self) -> None:
        """Wait until it has been killed. :raises AssertionError: it lives on, or ended otherwise."""
        assert self.process is not None
        try:
            status = self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"nothing killed it:\n{self.log_text()}") from None
        assert status == -signal.SIGKILL, f"exit status {status}:\n{self.log_text()}"
        self.process = None

    def add_schema(self, name: str, transformer: str) -> list[str]:
        """A schema like SCHEMA with a Python function, enabled for the client.

        :param transformer: the text of a module with ``transform(relation)``.
        :returns: the program that runs twistd so that the function is found.
        """
        text = (self.state / "schemas" / f"{SCHEMA}.toml").read_text()
        (self.state / "schemas" / f"{name}.toml").write_text(f'{text}\n[transform]\npython = "{name}_:transform"\n')
        (self.folder / f"{name}_.py").write_text(transformer)
        self.command("schema", "enable", self.login.organisation, name)
        return ["env", f"PYTHONPATH={self.folder}"]

    # The clients

    @contextmanager
    def session(self) -> Iterator[paramiko.SFTPClient]:
        """One logged-in SFTP channel; no answer is waited for longer than WAIT_S."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S) as sock:
            transport = paramiko.Transport(sock)
            try:
                transport.connect(username=self.login.client_id, password=self.login.client_secret)
                sftp = paramiko.SFTPClient.from_transport(transport)
                assert sftp is not None
                sftp.get_channel().settimeout(WAIT_S)
                yield sftp
            finally:
                transport.close()
                if transport.is_alive():
                    transport.join(WAIT_S)  # only then is the socket closed, up to 0.1 s later

    def put(self, sftp: paramiko.SFTPClient, name: str, content: bytes, schema: str = SCHEMA) -> None:
        """OPEN, WRITE, FSETSTAT, CLOSE as ``sftp -p`` sends them; on OK the clients' ledger says so.

        :raises OSError, EOFError, paramiko.SSHException: refused, or the connection was lost.
        """
        self.clients.tried[name] = content
        file = sftp.open(f"/{schema}/{name}", "wb")
        file.write(content)
        file.flush()
        file.chmod(0o644)
        handle, file._closed = file.handle, True  # paramiko's own close() swallows a refusal
        sftp._request(paramiko.sftp.CMD_CLOSE, handle)
        self.clients.acknowledged.add(name)

    def put_renamed(self, sftp: paramiko.SFTPClient, name: str, content: bytes) -> None:
        """OPEN, WRITE, CLOSE under a temporary name, then RENAME, whose OK is the acknowledgement.

        :raises OSError, EOFError, paramiko.SSHException: as ``put``.
        """
        self.clients.tried[name] = content
        with sftp.open(f"/{SCHEMA}/{name}.part", "wb") as file:
            file.write(content)
        sftp.rename(f"/{SCHEMA}/{name}.part", f"/{SCHEMA}/{name}")
        self.clients.acknowledged.add(name)

    def put_all(self, files: Mapping[str, bytes]) -> None:
        """Put files on one connection, as far as the service lives."""
        self.clients.tried.update(files)
        try:
            with self.session() as sftp:
                for name, content in files.items():
                    self.put(sftp, name, content)
        except LOST:
            # Refused by a living service it would be: nothing here may be.
            assert self.process is not None
            self.process.wait(WAIT_S)

    # The state folder

    def records(self) -> list[Record]:
        """Every upload, oldest first."""
        columns = "id, name, state, rows, problem, object_key"
        rows = self.ask(f"SELECT {columns} FROM uploads ORDER BY received_at, id")
        return [Record(str(UUID(row[0])), *row[1:]) for row in rows]

    def named(self, *names: str) -> list[Record]:  # type: ignore[override]
        """Records of these names."""
        return [record for record in self.records() if record.name in names]

    def idle(self, within_s: float = WAIT_S) -> None:
        """Wait until no job is left."""

        def done() -> bool:
            assert self.process is not None and self.process.poll() is None, self.log_text()
            return self.ask("SELECT count(*) FROM jobs WHERE ended_at IS NULL") == [(0,)]

        try:
            wait_for(done, "an empty queue", within_s)
        except AssertionError as error:
            error.add_note(self.log_text())
            raise

    def loaded(self) -> tuple[dict[str, int], dict[str, list[str]]]:
        """The warehouse: rows by upload id as its ledger tells, and each upload's shift ids in their order."""
        path = self.state / "warehouse.duckdb"
        if not path.exists():
            return {}, {}
        with duckdb.connect(str(path), read_only=True) as connection:
            tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
            ledger = connection.execute('SELECT upload_id, rows FROM "_uploads"').fetchall() if tables else []
            found = [
                row
                for table in sorted(tables - {"_uploads"})
                for row in connection.execute(
                    f'SELECT _upload_id, shift_id FROM "{table}" ORDER BY _upload_id, _row'
                ).fetchall()
            ]
        rows: dict[str, list[str]] = {}
        for upload_id, shift_id in found:
            rows.setdefault(str(upload_id), []).append(shift_id)
        return {str(upload_id): count for upload_id, count in ledger}, rows

    def parts(self) -> list[str]:
        """Part files on the spool."""
        return [path.name for path in (self.state / "spool").iterdir()]

    def objects(self) -> dict[str, Path]:
        """Raw copies by key."""
        root = self.state / "objects"
        return {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}

    def orphans(self) -> list[str]:
        """What recovery set aside."""
        folder = self.state / "orphans"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    # The audit

    def audit(self, failed: Collection[str] = ()) -> None:
        """Both accounts agree, with an idle service.

        :param failed: names of acknowledged files that must be FAILED, without a row.

        Acknowledged: one record, COMPLETED, its rows once. Not acknowledged: the same, or nothing at all. No part
        file, no copy without a record and no row that no record answers for. Raw copies are what was put, and the
        catalog keeps no bytes but those of files that failed.
        """
        records = self.records()
        ledger, rows = self.loaded()
        by_name: dict[str, list[Record]] = {}
        for record in records:
            by_name.setdefault(record.name, []).append(record)
        assert set(by_name) <= set(self.clients.tried), "records of files nobody put"
        for name, content in self.clients.tried.items():
            found = by_name.get(name, [])
            assert len(found) <= 1, f"{name} was put once: {found}"
            if not found:
                assert name not in self.clients.acknowledged, f"{name} was acknowledged and is gone"
                continue
            (record,) = found
            if name in failed:
                assert (record.state, record.id in ledger) == ("FAILED", False), record
                continue
            wanted = [line.partition(b",")[0].decode() for line in content.splitlines()[1:]]
            assert (record.state, record.rows) == ("COMPLETED", len(wanted)), record
            assert rows.get(record.id) == wanted, f"{name}: {rows.get(record.id)}"
            assert ledger.get(record.id) == len(wanted)
        assert set(ledger) == set(rows) == {record.id for record in records if record.name not in failed}
        assert self.parts() == []
        assert sorted(self.objects()) == sorted(record.object_key for record in records)
        copies = self.objects()
        for record in records:
            assert copies[record.object_key].read_bytes() == self.clients.tried[record.name], record
        kept = {str(UUID(row[0])) for row in self.ask("SELECT upload_id FROM contents")}
        assert kept <= {record.id for record in records if record.name in failed}
        # A worker has a folder of its own there; nothing of a file is left in it.
        assert [path for path in (self.state / "work").rglob("*") if not path.name.startswith("worker-")] == []
