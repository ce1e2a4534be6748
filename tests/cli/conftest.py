"""An installation in a folder, and the command run in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from twisted.internet.task import Clock

from conch_pipe.catalog import Catalog, DirectDatabase, KeyFile
from conch_pipe.cli.program import program
from conch_pipe.cli.session import Session, now
from conch_pipe.model import Job, Outcome, Problem, State, Upload, new_id

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("PIPE_SFTP_")] + ["CREDENTIALS_DIRECTORY"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@dataclass
class Ran:
    """What a run of the command left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on standard output."""
        return json.loads(self.out)


@dataclass
class Installation:
    """The folder of one test and its command.

    :ivar said: everything the command printed, but for the runs that give a secret.
    """

    folder: Path
    said: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def config(self) -> Path:
        return self.state / "pipe-sftp.toml"

    def bare(self, *words: str, input: str | None = None) -> Ran:
        """Run the command just so."""
        done = CliRunner().invoke(program, [str(word) for word in words], obj=Session(), input=input)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        self.said.append(done.stdout + done.stderr)
        return Ran(done.exit_code, done.stdout, done.stderr)

    def run(self, *words: str, input: str | None = None) -> Ran:
        """Run the command on this installation."""
        return self.bare("--config", str(self.config), *words, input=input)

    def json(self, *words: str, status: int = 0) -> Any:
        """Run it with --json; the exit code must be as expected."""
        ran = self.run(*words, "--json")
        assert ran.status == status, ran.out + ran.err
        return ran.json

    def catalog(self) -> Catalog:
        """The catalog, as another program has it open."""
        database = DirectDatabase(f"sqlite:///{self.state / 'catalog.sqlite'}")
        database.open()
        clock: Any = Clock()
        clock.advance(NOON.timestamp())
        return Catalog(database, clock, KeyFile(self.state / "keys" / "secrets.key"))


@pytest.fixture(scope="session")
def _made_once(tmp_path_factory) -> Path:
    """RSA keys take half a second each: one installation is made, every test gets a copy."""
    folder = tmp_path_factory.mktemp("installation")
    here = Installation(folder)
    assert here.bare("init", str(here.state)).status == 0
    return here.state


@pytest.fixture
def installed(_made_once, tmp_path) -> Installation:
    """What ``init`` made, without an organisation."""
    import shutil

    shutil.copytree(_made_once, tmp_path / "state")
    return Installation(tmp_path)


@pytest.fixture
def receive(installed) -> Callable[..., Upload]:
    """Record an upload of the organisation acme, and what became of it."""
    catalog = installed.catalog()
    now(catalog.organisations.create("acme"))

    def receive(name: str, outcome: Outcome | None = None, **columns: Any) -> Upload:
        made = Upload(
            **{
                "id": new_id(NOON),
                "organisation": "acme",
                "client_id": "pipe_a",
                "door": "sftp",
                "schema": "orgShifts",
                "name": name,
                "state": State.PENDING,
                "bytes": 120,
                "sha256": "ab" * 32,
                "received_at": NOON,
                "object_key": "a/b",
                **columns,
            }
        )
        now(catalog.uploads.accept(made, Job("ingest", str(made.id), NOON), same_within_s=0))
        if outcome is not None:
            (job,) = [one for one in now(catalog.jobs.claim(["ingest"], 100, 60)) if one.subject == str(made.id)]
            assert now(catalog.jobs.settle(job, outcome))
        return now(catalog.uploads.get(made.id))

    return receive


def failed(*problems: Problem) -> Outcome:
    """A file with problems."""
    columns = {"state": State.FAILED, "problem": problems[0].reason, "problem_count": len(problems)}
    return Outcome(done=True, upload=columns, problems=problems)


def completed(rows: int) -> Outcome:
    """A good file."""
    return Outcome(done=True, upload={"state": State.COMPLETED, "rows": rows, "rejected": 0})
