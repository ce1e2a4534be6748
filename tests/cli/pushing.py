"""Recordings on their way, made without a service: remotes in the catalog, files, attempts as they would be settled."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from conch_pipe.catalog import Catalog, DirectDatabase, KeyFile
from conch_pipe.cli.session import now
from conch_pipe.model import (
    Attempt,
    FileResult,
    Outcome,
    PushResult,
    PushState,
    Recording,
    Remote,
    RemoteSecrets,
    Report,
    Role,
    Status,
)
from tests.cli.conftest import Installation


@dataclass
class Studio:
    """An installation with the organisation acme, which has two remotes and may push what is in ``media``."""

    installed: Installation

    def __post_init__(self) -> None:
        self.media = self.installed.folder / "media"
        self.media.mkdir()
        with self.installed.config.open("a") as file:
            file.write(f'[push]\nroots = ["{self.media}"]\n')
        self.installed.json("org", "create", "acme")
        for name in ("archive", "studio"):
            remote = Remote(name, "acme", f"{name}.example", "pipe", datetime.now(UTC), folder="inbox")
            now(self.catalog().remotes.add(remote, RemoteSecrets("secret")))

    def catalog(self) -> Catalog:
        """The catalog, now."""
        database = DirectDatabase(f"sqlite:///{self.installed.state / 'catalog.sqlite'}")
        database.open()
        clock: Any = Clock()
        clock.advance(time.time())
        keys = KeyFile(self.installed.state / "keys" / "secrets.key")
        keys.make()
        return Catalog(database, clock, keys)

    def environment(self, *words: str) -> Any:
        return self.installed.json("environment", "create", "acme", "production", *words)

    def file(self, name: str, content: bytes = b"content") -> Path:
        path = self.media / name
        path.write_bytes(content)
        return path

    def submit(self, id: str = "rec-1") -> Recording:
        """A recording with a main file and a snapshot."""
        files = ("--main", str(self.file(f"{id}.mp4")), "--snapshot", str(self.file(f"{id}.jpg")))
        self.installed.json("recording", "submit", "acme", "production", "--id", id, "--name", "standup", *files)
        return now(self.catalog().recordings.find("acme", id))

    def attempt(self, remote: str, status: Status, reason: str = "", **failed: str) -> None:
        """One attempt at the push that is due to a remote.

        :param failed: role → word, of files that did not arrive.
        """
        catalog = self.catalog()
        (job,) = [one for one in now(catalog.jobs.claim(["push"], 100, 60)) if one.lane == remote]
        push, recording = now(catalog.recordings.push(_uuid(job.subject)))
        files = tuple(
            FileResult(one.role, one.name, 0 if one.role.value in failed else one.bytes, failed.get(one.role.value, ""))
            for one in recording.files
        )
        moment = datetime.now(UTC)
        report = Report(
            status,
            reason,
            "the server said so" if reason else "",
            files,
            "SHA256:key",
            "curve25519 aes128-gcm",
            1.5,
            refused_key=b"other" if status is Status.HOST_KEY_MISMATCH else None,
        )
        attempt = Attempt(
            push.id, push.attempts + 1, moment, f"{remote}.example", 22, "pipe", "inbox", report, shared=bool(reason)
        )
        arrived = frozenset(one.role for one in files if not one.reason and status is Status.OK)
        all_arrived = len(arrived) == len(files)
        state = PushState.DELIVERED if all_arrived else PushState.PARTIAL if arrived else PushState.WAITING
        settled = replace(
            push,
            state=state,
            attempts=push.attempts + 1,
            ended_at=moment,
            arrived=arrived,
            problems={Role(role): word for role, word in failed.items()},
        )
        outcome = Outcome(push=PushResult(attempt, settled))
        again = moment + timedelta(minutes=2)
        outcome = replace(outcome, done=True) if all_arrived else replace(outcome, retry_at=again, failed=False)
        assert now(catalog.jobs.settle(job, outcome))
        now(catalog.jobs.release_all())


def _uuid(text: str) -> Any:
    from uuid import UUID

    return UUID(text)
