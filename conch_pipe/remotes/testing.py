"""Trying a remote step by step for the person who set it up: what is well, what is not, and what to do about it.

Nothing is remembered here. A host key that is not pinned is shown, and nothing about the user goes out before somebody
has confirmed it: test again with the key pinned.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import Any

from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import Deferred, TimeoutError

from conch_pipe.errors import PipeError
from conch_pipe.model import RecordedFile, Recording, Remote, RemoteSecrets, Role, Status, new_id, utc
from conch_pipe.remotes.delivery import Delivery
from conch_pipe.remotes.faults import Fault, Found, Stage, fault
from conch_pipe.remotes.local import LocalFile
from conch_pipe.remotes.session import Surroundings, told
from conch_pipe.remotes.trust import Learning, Policy, described, policy
from conch_pipe.ssh.client.auth import Credentials
from conch_pipe.ssh.client.connecting import ClientSession
from conch_pipe.ssh.client.errors import ClientError, NoAgreement, TooLate

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"
STEPS = ("address", "connection", "host key", "login", "folder", "probe file")
_CONTENT = b"This file was made to see whether recordings can be put here. It may be deleted.\n"
_NAME = "pipe-sftp-test-"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried.

    :param name: of :data:`STEPS`.
    :param level: ``ok``, ``warn``, ``fail``, or ``skip``: one before it failed, or waits to be confirmed.
    :param words: a sentence, printable ASCII.
    :param status: what an attempt to push would be logged as, had it failed here.
    :param reason: likewise.
    :param host_key: blob of the key that was shown, when it is not pinned: to be confirmed, and pinned then.
    """

    name: str
    level: str
    words: str = ""
    status: Status | None = None
    reason: str = ""
    host_key: bytes | None = None


class _Enough(Exception):
    """A step failed; the others are not tried."""


async def test(
    around: Surroundings, remote: Remote, secrets: RemoteSecrets, *, within_s: float | None = None
) -> list[Step]:
    """Try a remote as a push would, with a small file in place of recordings.

    Cancelling closes the connection.

    :param within_s: for all steps together; the one that is not done by then has failed.
    :returns: one step for each of :data:`STEPS`, in their order.
    """
    trial = _Trial(around, remote, secrets)
    clock = around.reactor
    began = clock.seconds()
    try:
        running = Deferred.fromCoroutine(trial.run())
        await (running if within_s is None else running.addTimeout(within_s, clock))
    except _Enough:
        if within_s is not None and clock.seconds() - began >= within_s and trial.steps[-1].level == FAIL:
            trial.steps.pop()  # a connection that is given up while it is made says that it was lost
            trial.late(within_s)
    except TimeoutError:
        trial.late(within_s or 0)
    finally:
        if trial.session is not None:
            await trial.session.close()
    return trial.steps + [Step(name, SKIP) for name in STEPS[len(trial.steps) :]]


class _Trial:
    """One test."""

    def __init__(self, around: Surroundings, remote: Remote, secrets: RemoteSecrets) -> None:
        self._around = around
        self._remote = replace(remote, marker="")
        self._secrets = secrets
        self._endpoint = around.endpoint(remote)
        self.steps: list[Step] = []
        self.session: ClientSession | None = None

    async def run(self) -> None:
        """All of it."""
        await self._address()
        credentials, problem = await self._credentials()
        await self._log_in(credentials, problem)
        assert self.session is not None
        clock = self._around.reactor
        with _probe() as local:
            recording = Recording(new_id(utc(clock)), "test", "", "", "test", (local.file,), utc(clock))
            delivery = Delivery(self.session.sftp, self._remote, recording, clock, set(), lambda role, size: None)
            await self._folder(delivery)
            await self._probe(delivery, local)

    def late(self, within_s: float) -> None:
        """The time is over."""
        stage = Stage.CONNECT if len(self.steps) < STEPS.index("folder") else Stage.CHECK
        problem = fault(TooLate("connect", within_s), stage)
        self._failed(replace(problem, detail=f"not done within the {within_s:.0f} s that all of them may take"))

    def _well(self, words: str, level: str = OK, host_key: bytes | None = None) -> None:
        self.steps.append(Step(STEPS[len(self.steps)], level, words, host_key=host_key))

    def _failed(self, problem: Fault, host_key: bytes | None = None) -> _Enough:
        name = STEPS[len(self.steps)]
        self.steps.append(Step(name, FAIL, problem.detail, problem.status, problem.reason, host_key))
        return _Enough()

    async def _address(self) -> None:
        limit = self._around.limits.connect_s
        resolving = Deferred.fromCoroutine(self._endpoint.resolve()).addTimeout(limit, self._around.reactor)
        try:
            found = await resolving
        except TimeoutError:
            raise self._failed(fault(TooLate("connect", limit), Stage.CONNECT)) from None
        except ClientError as error:
            raise self._failed(fault(error, Stage.CONNECT)) from None
        self._well(f"{self._remote.host} port {self._remote.port}: {', '.join(map(str, found))}")

    async def _credentials(self) -> tuple[Credentials | None, Fault | None]:
        try:
            return await self._around.credentials(self._remote, self._secrets), None
        except PipeError as error:
            return None, fault(error, Stage.LOGIN)

    async def _log_in(self, credentials: Credentials | None, problem: Fault | None) -> None:
        """Steps from the connection to the login, which are one for the client."""
        trust: Policy = Learning()
        if credentials is not None and (self._remote.any_host_key or self._remote.pins):
            trust = policy(self._remote)
        error = await self._connect(trust, credentials)
        if isinstance(error, NoAgreement) and error.kind == "host key" and trust.pinned:
            # The kind of key that is pinned is not there any more: see which one is.
            trust = Learning()
            error = await self._connect(trust, None)
        if trust.shown is None:
            assert error is not None
            raise self._failed(fault(error, Stage.CONNECT))
        version = f" as {self.session.server_version}" if self.session is not None else ""
        self._well(f"{self._remote.host} answers{version}")
        self._host_key(trust.shown)
        if problem is not None:
            raise self._failed(problem)
        if error is not None:
            raise self._failed(fault(error, Stage.LOGIN))
        assert self.session is not None
        self._well(f"logged in as {self._remote.username}; {told(self.session.agreed)}")

    async def _connect(self, trust: Policy, credentials: Credentials | None) -> ClientError | None:
        """:returns: why there is no session; None: there is."""
        # A password is sent to nobody whose key is only looked at.
        who = credentials or Credentials(b"nobody", b"")
        try:
            self.session = await self._around.connect(self._remote, self._endpoint, trust, who)
        except ClientError as error:
            return error
        return None

    def _host_key(self, blob: bytes) -> None:
        pinned = [pin.blob for pin in self._remote.pins]
        if self._remote.any_host_key:
            self._well(f"{described(blob)}; it is not compared with anything, as any key is taken", WARN, blob)
        elif blob in pinned:
            self._well(f"{described(blob)} is pinned")
        elif pinned:
            words = f"it is {described(blob)}; pinned is {', '.join(map(described, pinned))}"
            raise self._failed(Fault(Status.HOST_KEY_MISMATCH, "host_key", words), blob)
        else:
            self._well(
                f"{described(blob)} is not pinned yet: compare it with what the owner of the server says", WARN, blob
            )
            raise _Enough

    async def _folder(self, delivery: Delivery) -> None:
        try:
            path = await delivery.folder()
        except (ClientError, SFTPError, Found, ValueError) as error:
            raise self._failed(fault(error, Stage.FOLDER)) from None
        self._well(path.decode("utf-8", "replace").encode("ascii", "replace").decode())

    async def _probe(self, delivery: Delivery, local: LocalFile) -> None:
        """Send a small file the way that recordings go, and take it away."""
        problem = await delivery.files([local])
        if problem is not None:
            raise self._failed(problem)
        name, notes = local.file.name, [one.detail for one in delivery.results if one.detail]
        try:
            gone = await delivery.remove(name)
        except ClientError as error:
            raise self._failed(fault(error, Stage.CHECK)) from None
        notes += [] if gone else [f"{name} stays there, as the server lets nothing be removed"]
        words = f"{local.file.bytes} bytes were written" + (" and removed" if gone else "")
        self._well("; ".join([words, *notes]), WARN if notes else OK)


@contextmanager
def _probe() -> Iterator[LocalFile]:
    """A small file of ours that has no name here."""
    with TemporaryFile() as file:
        file.write(_CONTENT)
        file.flush()
        found = os.fstat(file.fileno())
        name = f"{_NAME}{os.urandom(4).hex()}.txt"
        digest = hashlib.sha256(_CONTENT).hexdigest()
        path: Any = name  # never opened by it
        recorded = RecordedFile(Role.MAIN, path, name, len(_CONTENT), found.st_mtime_ns, digest)
        yield LocalFile(recorded, file.fileno(), found.st_mtime_ns)
