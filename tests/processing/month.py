"""Recordings, remotes with moods, a service that is stopped and killed: five weeks of it in virtual time.

A plain model of the catalog, or the real one, with the same eyes on both: every connection, every settled outcome and
every deletion is checked when it happens against the rules, and the whole log at the end.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from twisted.internet.defer import succeed

from conch_pipe.catalog.catalog import Catalog
from conch_pipe.catalog.sealing import KeyFile
from conch_pipe.catalog.tables import jobs as job_table
from conch_pipe.events import Events
from conch_pipe.model import (
    Attempt,
    FileResult,
    Outcome,
    Push,
    PushState,
    Recording,
    Remote,
    RemoteSecrets,
    Report,
    Role,
    Status,
    new_id,
    utc,
)
from conch_pipe.processing import attempts
from conch_pipe.processing.lanes import Lanes
from conch_pipe.processing.push import PushChain
from conch_pipe.processing.retention import Deleted, Retention
from conch_pipe.processing.runner import Runner
from tests import catalogs
from tests.processing.push_fakes import HeapClock, MemoryPushes, ScriptedPusher, arrived, no_files

ROLES = (Role.MAIN, Role.RAW, Role.SNAPSHOT)
FAULTS = (
    (Status.SFTP_CONNECTION_TIMEOUT, "refused"),
    (Status.SFTP_CONNECTION_TIMEOUT, "dns"),
    (Status.SFTP_LOGIN_FAILED, "password"),
    (Status.INCORRECT_SFTP_FOLDER, "missing"),
    (Status.UPLOAD_FAILED, "no_space"),
    (Status.UPLOAD_FAILED, "connection_lost"),
    (Status.FILE_MISSING, "changed"),
)


class Plain(MemoryPushes):
    """The model."""

    def __init__(self, clock: HeapClock) -> None:
        super().__init__(clock)
        self.queue, self.records, self.servers = self, self, self

    def add_remote(self, name: str, most: int) -> None:
        self.remote(name, max_connections=most)

    def accept_new(self, recording: Recording, remotes: list[str], delete: bool) -> list[Push]:
        made = self.save(recording.files, remotes, delete=delete, id=recording.id)
        return [self.all_pushes[one] for one in self.of[made.uid]]

    def edit(self, name: str) -> None:
        self.change(name)

    def again(self, push: Push) -> None:
        missing = self.all_pushes[push.id].state is not PushState.DELIVERED
        if missing and self.recordings[push.recording].deleted_at is None:
            self.retry(push.id)

    def most_of(self, name: str) -> int:
        return self.remotes[name].max_connections

    def one(self, push: Push) -> Push:
        return self.all_pushes[push.id]

    def recording(self, uid: UUID) -> Recording:
        return self.recordings[uid]

    def close(self) -> None:
        pass


class Real:
    """The catalog of the product, on a database in memory."""

    def __init__(self, clock: HeapClock, folder: Path) -> None:
        self.clock = clock
        self.database = catalogs.in_memory()
        keys = KeyFile(folder / "keys")
        keys.make()
        self.catalog = Catalog(self.database, clock, keys)
        self.queue, self.records, self.servers = self.catalog.jobs, self.catalog.recordings, self.catalog.remotes
        assert self.catalog.organisations.create("acme").result
        self.most: dict[str, int] = {}
        self.environments: set[str] = set()

    def add_remote(self, name: str, most: int) -> None:
        remote = Remote(name, "acme", f"{name}.example", "pipe", utc(self.clock), max_connections=most)
        assert self.servers.add(remote, RemoteSecrets(password="open")).result  # noqa: S106
        self.most[name] = most

    def accept_new(self, recording: Recording, remotes: list[str], delete: bool) -> list[Push]:
        name = "-".join([*remotes, "clear" if delete else "keep"])
        if name not in self.environments:
            self.environments.add(name)
            assert self.catalog.environments.create("acme", name, remotes, delete).result
        return list(self.records.accept(replace(recording, environment=name)).result[1])

    def edit(self, name: str) -> None:
        assert self.servers.edit(name, {"username": "pipe"}).result

    def again(self, push: Push) -> None:
        # CONFLICT when it has arrived meanwhile or its files are deleted.
        self.catalog.pushes.retry(push.recording, push.remote).addErrback(lambda _: None)

    def most_of(self, name: str) -> int:
        return self.most[name]

    def one(self, push: Push) -> Push:
        return self.records.push(push.id).result[0]

    def recording(self, uid: UUID) -> Recording:
        return self.records.get(uid).result

    def kill(self) -> None:
        self.queue.release_all()

    def next_due(self) -> float | None:
        """Of the jobs that nobody holds."""

        def soonest(connection):
            free = (job_table.c.ended_at.is_(None), job_table.c.lease_until.is_(None))
            return connection.execute(select(func.min(job_table.c.due_at)).where(*free)).scalar_one()

        found = self.database.read(soonest).result
        return found.timestamp() if found is not None else None

    def close(self) -> None:
        self.database.close()


class Eyes:
    """The queue, with a look at every outcome that was recorded."""

    def __init__(self, month: Month) -> None:
        self.month = month

    def __getattr__(self, name: str) -> Any:
        return getattr(self.month.catalog.queue, name)

    def settle(self, job, outcome):
        def seen(ours: bool) -> bool:
            if ours and outcome.push is not None:
                self.month.watch(self.month.recorded, outcome)
            return ours

        return self.month.catalog.queue.settle(job, outcome).addCallback(seen)


class Month:
    """The whole of it.

    :param calm: every connection ends at once, and nobody stops, kills or edits anything.
    """

    def __init__(self, catalog: Any, clock: HeapClock, seed: int, *, calm: bool, connections: int = 64) -> None:
        self.catalog = catalog
        self.clock = clock
        self.random = random.Random(seed)
        self.calm = calm
        self.connections = connections
        self.up_at = [utc(clock)]
        self.pushes: dict[UUID, Push] = {}
        self.recordings: dict[UUID, Recording] = {}
        self.clears: dict[UUID, bool] = {}
        self.by_id: dict[str, UUID] = {}
        self.log: dict[UUID, list[tuple[Attempt, datetime | None, int]]] = defaultdict(list)  # with end, and start no.
        self.deleted: dict[UUID, datetime] = {}
        self.wrong: list[Exception] = []
        self.begin()

    # The service.

    def begin(self) -> None:
        self.pusher = ScriptedPusher(self.clock, partial(self.watch, self.plan))
        lanes = Lanes(self.clock, self.connections)
        hub = Events()
        push = PushChain(self.catalog.records, self.catalog.servers, self.pusher, lanes, hub, self.clock)
        files = Retention(self.catalog.records, hub, self.clock, [], in_thread=partial(self.watch, self.delete))
        self.runner = Runner(
            Eyes(self),
            {"push": push, "retention": files},
            self.clock,
            capacity=self.connections + 16,
            poll_s=86_400,
            lanes=lanes,
        )
        self.up_at.append(utc(self.clock))
        self.runner.startService()

    def stop(self) -> None:
        stopped = self.runner.stopService()
        self.clock.advance(31)
        assert stopped.called

    def kill(self) -> None:
        """SIGKILL: no timer of ours fires any more."""
        self.clock._calls.clear()
        self.runner.running = False
        self.catalog.kill()

    def run(self, seconds: float) -> None:
        """As MemoryPushes.pass_time."""
        end = self.clock.seconds() + seconds
        self.runner.nudge()
        while not self.wrong and (now := self.clock.seconds()) < end:
            due = self.catalog.next_due()
            # A job that is due and stays where it is waits for room.
            look = due if due is None or due > now else now + 30
            soonest = min(moment for moment in (end, self.clock.next(), look) if moment is not None)
            self.clock.to(soonest)
            if due is not None and due <= soonest:
                self.runner.nudge()
        for error in self.wrong:
            raise error

    # What happens to it.

    def plan(self, remote: Remote, recording: Recording, wanted: frozenset[Role]) -> tuple[float, Any]:
        assert recording.uid not in self.deleted
        assert self.pusher.now[remote.name] <= self.catalog.most_of(remote.name), "the cap is passed"
        assert sum(self.pusher.now.values()) <= self.connections
        seconds = 0.0 if self.calm else self.random.choice((0.1, 2.0, 2.0, 10.0, 30.0, 30.0, 600.0))
        dice = self.random.random()
        if dice < 0.15:
            return seconds, None
        if dice < 0.25:
            return seconds, arrived(recording, wanted, **{self.random.choice(ROLES[1:]).value: "no_space"})
        if dice < 0.26 and not self.calm:
            return seconds, ZeroDivisionError("a fault of ours")
        status, reason = self.random.choice(FAULTS)
        files = tuple(FileResult(file.role, file.name, 0, reason) for file in recording.files if file.role in wanted)
        return seconds, Report(status, reason, files=files)

    def submit(self, count: int, remotes: list[str], spread_s: float) -> None:
        """Recordings come in, at random moments."""
        for _ in range(count):
            self.run(self.random.expovariate(count / spread_s))
            name = f"r{len(self.recordings)}"
            files = tuple(replace(one, path=one.path.with_name(name) / one.path.name) for one in no_files(*ROLES))
            recording = Recording(new_id(utc(self.clock)), name, "acme", "", "talk", files, utc(self.clock))
            clears = self.random.random() < 0.7
            for push in self.catalog.accept_new(recording, remotes, clears):
                self.pushes[push.id] = push
                uid = push.recording
            self.recordings[uid], self.clears[uid], self.by_id[name] = self.catalog.recording(uid), clears, uid
            self.runner.nudge()

    # The rules.

    def watch(self, rule: Callable[..., Any], *arguments: Any) -> Any:
        """Keep what a rule says for the test: the runner would take it for a fault of ours and go on."""
        try:
            return rule(*arguments)
        except Exception as error:
            self.wrong.append(error)
            raise

    def recorded(self, outcome: Outcome) -> None:
        """An outcome of a push was recorded for good."""
        result = outcome.push
        if result.attempt is None:
            return
        log = self.log[result.push.id]
        counted = [one for one, _, _ in log if one.number]
        attempt = result.attempt
        assert not any(one.number == attempt.number for one in counted), "counted twice"
        if attempt.number:
            assert attempt.number == len(counted) + 1 <= 13
            assert result.push.attempts == attempt.number
            before = next((ended for one, ended, _ in reversed(log) if one.number), None)
            recording = self.recordings[result.push.recording]
            due = attempts.due(attempt.number, recording.saved_at, recording.uid, result.push.remote, before)
            assert attempt.began_at >= due, "early"
            if self.calm:
                assert attempt.began_at == due, "not at its second"
        log.append((attempt, result.push.ended_at if attempt.number else None, len(self.up_at)))
        arrived_now = self.pushes[result.push.id].arrived
        assert arrived_now <= result.push.arrived, "what has arrived is forgotten"
        self.pushes[result.push.id] = result.push

    def delete(self, _function: Any, files: Any, _roots: Any, needed: Any) -> Any:
        """Stands for the thread that deletes; no file is there."""
        assert not needed
        uid = self.by_id[files[0].path.parent.name]
        pushes = [self.catalog.one(push) for push in self.pushes.values() if push.recording == uid]
        assert not any(push.manual for push in pushes)
        states = {push.state for push in pushes}
        if states == {PushState.DELIVERED}:
            assert self.clears[uid], "deleted although it was to be kept"
        else:
            assert states <= {PushState.DELIVERED, PushState.GIVEN_UP}, "deleted early"
            last = max(push.final_at for push in pushes if push.state is PushState.GIVEN_UP)
            assert utc(self.clock) >= attempts.purge_at(last), "purged early"
        self.deleted.setdefault(uid, utc(self.clock))
        return succeed(Deleted(files=len(files)))

    def check(self) -> None:
        """At the end: everything has come to its end, and the whole log is as it must be."""
        assert self.runner.active == 0
        for known in self.pushes.values():
            push = self.catalog.one(known)
            log = self.log[push.id]
            counted = [one.number for one, _, _ in log if one.number]
            assert counted == list(range(1, len(counted) + 1))
            assert push.attempts == len(counted)
            assert push.state in (PushState.DELIVERED, PushState.GIVEN_UP)
            if push.state is PushState.GIVEN_UP:
                assert len(counted) == 13, "given up before the last attempt"
            else:
                assert push.arrived == set(ROLES)
        for uid in self.recordings:
            self._check_files(uid)

    def _check_files(self, uid: UUID) -> None:
        pushes = [self.catalog.one(push) for push in self.pushes.values() if push.recording == uid]
        recording = self.catalog.recording(uid)
        in_vain = [push.final_at for push in pushes if push.state is PushState.GIVEN_UP]
        assert (recording.deleted_at is None) == (uid not in self.deleted)
        if in_vain:
            purge = attempts.purge_at(max(in_vain))
            assert recording.purge_at == purge
            assert purge <= self.deleted[uid] <= purge + timedelta(days=1)
        else:
            assert (uid in self.deleted) == self.clears[uid]
