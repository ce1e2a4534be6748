"""What goes out, made up: remotes, environments, recordings and attempts at them, in a catalog that is at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from conch_pipe.catalog import Catalog
from conch_pipe.model import (
    Attempt,
    FileResult,
    Outcome,
    Pin,
    Push,
    PushResult,
    PushState,
    RecordedFile,
    Recording,
    Remote,
    RemoteSecrets,
    Report,
    Role,
    Status,
    new_id,
)
from conch_pipe.processing.attempts import due, purge_at
from conch_pipe.processing.push import after
from conch_pipe.ssh.keys import fingerprint, public_blob

KEY = public_blob("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")
OTHER = public_blob("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF")
ALGORITHMS = "mlkem768x25519-sha256 ssh-ed25519 aes256-gcm@openssh.com"
NAMES = {
    Role.MAIN: "{}.mp4",
    Role.RAW: "{}_raw.webm",
    Role.SNAPSHOT: "{}.jpg",
    Role.FILMSTRIP: "{}_filmstrip.jpg",
}


class Outflow:
    """Makes things as the service would have.

    :param now: waits for what the catalog is asked.
    :param at: gives the time.
    """

    def __init__(self, catalog: Catalog, now: Callable[[Any], Any], at: Callable[[], datetime]) -> None:
        self.catalog = catalog
        self.now = now
        self.at = at

    def remote(self, name: str, organisation: str = "acme", password: str = "s3cret-kanarek", **fields: Any) -> Remote:
        values: dict[str, Any] = {
            "host": f"{name}.example",
            "username": "pipe",
            "folder": "incoming",
            "pins": (Pin(KEY, self.at(), "given"),),
        }
        made = Remote(name=name, organisation=organisation, created_at=self.at(), **(values | fields))
        return self.now(self.catalog.remotes.add(made, RemoteSecrets(password)))

    def environment(self, name: str, *remotes: str, organisation: str = "acme", **more: Any) -> None:
        self.now(self.catalog.environments.create(organisation, name, remotes, **more))

    def recording(
        self,
        id: str,  # noqa: A002 - as in the model
        name: str = "",
        organisation: str = "acme",
        environment: str = "production",
        ago: timedelta = timedelta(0),
        sizes: Mapping[Role, int] = {Role.MAIN: 48_000_000, Role.SNAPSHOT: 61_000},
    ) -> Recording:
        name = name or id
        saved_at = self.at() - ago
        files = tuple(
            RecordedFile(role, Path("/srv/media") / id / role.value, NAMES[role].format(name), size, 0, "ab" * 32)
            for role, size in sizes.items()
        )
        made = Recording(new_id(saved_at), id, organisation, environment, name, files, saved_at)
        self.now(self.catalog.recordings.accept(made))
        return made

    def push(self, recording: Recording, remote: str) -> Push:
        (found,) = [one for one in self.now(self.catalog.recordings.pushes(recording.uid)) if one.remote == remote]
        return found

    def attempt(
        self,
        recording: Recording,
        remote: str,
        status: Status = Status.OK,
        reason: str = "",
        detail: str = "",
        *,
        missing: Mapping[Role, str] = {},
        began_at: datetime | None = None,
        seconds: float = 2.4,
        refused: bytes | None = None,
    ) -> Push:
        """The next attempt of a push, made at its moment.

        :param missing: files that did not arrive, and why.
        """
        push = self.push(recording, remote)
        found = self.now(self.catalog.remotes.get(remote))
        number = 0 if push.manual else push.attempts + 1
        moment = began_at or min(
            self.at(), due(min(number or 1, 13), recording.saved_at, recording.uid, remote, push.ended_at)
        )
        words = dict.fromkeys([file.role for file in recording.files], reason) if status is not Status.OK else missing
        files = tuple(
            FileResult(
                one.role,
                one.name,
                0 if words.get(one.role) else one.bytes,
                words.get(one.role, ""),
            )
            for one in recording.files
            if one.role not in push.arrived
        )
        connected = status is not Status.SFTP_CONNECTION_TIMEOUT and reason != "disabled"
        key = fingerprint(refused or KEY) if connected else ""
        report = Report(
            status,
            reason or next(iter(missing.values()), ""),
            detail,
            files,
            key,
            ALGORITHMS if connected else "",
            seconds,
            refused,
            connected,
        )
        attempt = Attempt(
            push.id, number, moment, found.host, found.port, found.username, found.folder, report, remote=remote
        )
        fresh = after(push, recording, report, moment + timedelta(seconds=seconds))
        outcome = Outcome(
            done=fresh.final_at is not None,
            push=PushResult(attempt, fresh, disable="host_key" if status is Status.HOST_KEY_MISMATCH else ""),
        )
        if fresh.final_at is None:
            again = due(fresh.attempts + 1, recording.saved_at, recording.uid, remote, fresh.ended_at)
            outcome = replace(outcome, retry_at=again, failed=False)
        (job,) = [one for one in self.now(self.catalog.jobs.claim(["push"], 1000, 60)) if one.subject == str(push.id)]
        assert self.now(self.catalog.jobs.settle(job, outcome))
        self.now(self.catalog.jobs.release_all())
        self.now(self.catalog.database.write(_unclaimed))
        return self.push(recording, remote)

    def give_up(self, recording: Recording, remote: str, status: Status, reason: str) -> Push:
        """All attempts that are left, in vain."""
        while (push := self.push(recording, remote)).state in (PushState.WAITING, PushState.PARTIAL):
            push = self.attempt(recording, remote, status, reason)
        if push.final_at is not None:
            self.now(self.catalog.recordings.purge_at(recording.uid, purge_at(push.final_at)))
        return push


def _unclaimed(connection: Connection) -> None:
    """A job that was claimed too often would be taken for one that kills."""
    connection.execute(text("UPDATE jobs SET claims = 0"))
