"""The chain of kind "ingest": a stored upload becomes rows of the analytics database, or FAILED with a reason.

Every stage may have run before, also half: only the ledger beside the rows says what is loaded (IWarehouse). What is
raised here is translated by the runner; events are told when the outcome is recorded, not before.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread

from conch_pipe import events
from conch_pipe.crashpoints import crashpoint
from conch_pipe.errors import Code, PipeError
from conch_pipe.formats.schema import Schema, SchemaBook
from conch_pipe.formats.verdicts import from_json
from conch_pipe.interfaces import IEvents, InThread, IObjects, IUploads, IWarehouse, IWorkers
from conch_pipe.model import Job, Outcome, Problem, State, Upload, Verdict, utc
from conch_pipe.processing.checks import Checks

FINAL = frozenset({State.COMPLETED, State.FAILED})
SHUT_S = 5.0  # after the warehouse was found busy, files are not even checked


def stages(
    objects: IObjects,
    warehouse: IWarehouse,
    workers: IWorkers,
    uploads: IUploads,
    schemas: SchemaBook,
    folder: Path,
    events: IEvents,
    clock: IReactorTime,
    limits: Mapping[str, Any],
    *,
    wall_s: float = 300.0,
    at_once: int = 4,
    in_thread: InThread = deferToThread,
) -> Ingest:
    """The chain with all it needs.

    :param folder: for work files, on a local disk; nothing in it is worth keeping.
    :param limits: JSON values handed to ``check_file``.
    :param wall_s: for one call of a worker that checks.
    :param at_once: such calls at a time; as many as there are workers.
    """
    checks = Checks(workers, at_once, wall_s, clock)
    return Ingest(objects, warehouse, checks, uploads, schemas, folder, events, clock, limits, in_thread)


@dataclass(slots=True)
class _Work:
    """One attempt at one upload."""

    upload: Upload
    schema: Schema  # one for the whole attempt: the book may be refreshed meanwhile
    folder: Path  # of this attempt only: a cancelled one may still be writing into its own
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def parquet(self) -> Path:
        return self.folder / "rows.parquet"


@dataclass(eq=False)
class Ingest:
    """See runner.Chain; made by :func:`stages`."""

    objects: IObjects
    warehouse: IWarehouse
    checks: Checks
    uploads: IUploads
    schemas: SchemaBook
    folder: Path
    events: IEvents
    clock: IReactorTime
    limits: Mapping[str, Any]
    in_thread: InThread
    _shut_until: float = 0.0
    _shut: bool = False

    async def run(self, job: Job) -> Outcome:
        """Fetch, check, load. :raises PipeError: BUSY to be tried later; see schedule.py for the others."""
        upload: Upload | None = await self.uploads.get(UUID(job.subject))
        if upload is None:
            return Outcome(done=True, reason="the upload is gone")
        if upload.state in FINAL:
            return Outcome(done=True, reason=f"the upload is {upload.state.value} already")
        self._expect_warehouse()
        schema = self.schemas.get(upload.schema)
        if schema is None:
            raise PipeError(Code.NOT_FOUND, f"the schema {upload.schema} does not exist any more")
        work = _Work(upload, schema, self.folder / f"{upload.id}.{job.fence}")
        work.seconds["wait"] = self._since(upload)
        work.folder.mkdir(parents=True, exist_ok=True)
        try:
            verdict = await self._check(work)
            if not verdict.accepted:
                return await self._loaded_before(job) or self._rejected(work, verdict)
            rows = await self._load(work)
            return self._completed(work, verdict, rows)
        finally:
            await self.in_thread(shutil.rmtree, work.folder, ignore_errors=True)

    async def _check(self, work: _Work) -> Verdict:
        """Let a worker write the good rows to Parquet and say what is wrong with the others."""
        upload = work.upload
        asked = {
            "schema_text": work.schema.text,
            "schema_name": work.schema.name,
            "name": upload.name,
            "sha256": upload.sha256,
            "parquet": str(work.parquet),
            "desk": str(self.folder),
            "limits": dict(self.limits),
        }
        try:
            raw = await self._raw_copy(upload)
            crashpoint("P2")
            started = self.clock.seconds()
            found = await self.checks.check(asked | {"path": str(raw)}, upload.bytes)
        except PipeError as error:
            if error.code not in (Code.NOT_FOUND, Code.CONFLICT):
                raise
            # Gone, or not the bytes that were received: nobody but an operator can tell why.
            self.events.note(events.STORED_COPY_DAMAGED, upload_id=str(upload.id))
            raise PipeError(error.code, "our copy of the file is damaged or gone: send it again", str(error)) from error
        crashpoint("P4")
        work.seconds["check"] = self.clock.seconds() - started
        return from_json(found)

    async def _raw_copy(self, upload: Upload) -> Path:
        """The raw copy; that of a small file is made here, of the bytes recorded with it. Made again, it is the same.

        The catalog keeps those bytes until the job is settled as ``stored``.
        """
        content = await self.uploads.content(upload.id)
        if content is not None:
            try:
                await self.objects.store(upload.object_key, content, bytes.fromhex(upload.sha256))
            except PipeError as error:
                if error.code is not Code.FAILED:
                    raise
                # Not the file's fault: it was accepted, and must not be given up while a disk is out of order.
                raise PipeError(Code.BUSY, "the raw copy cannot be made", str(error)) from error
        return cast(Path, await self.objects.fetch(upload.object_key))

    async def _load(self, work: _Work) -> int:
        started = self.clock.seconds()
        try:
            rows: int = await self.warehouse.load(work.schema, work.upload, work.parquet)
        except PipeError as error:
            if error.code is Code.BUSY:
                self._shut_until = self.clock.seconds() + SHUT_S
                if not self._shut:
                    self._shut = True
                    self.events.note(events.WAREHOUSE_BUSY)
            raise
        self._shut = False
        self._shut_until = 0.0
        work.seconds["load"] = self.clock.seconds() - started
        return rows

    def _expect_warehouse(self) -> None:
        """Do not check file after file while none can be loaded."""
        if self.clock.seconds() < self._shut_until:
            raise PipeError(Code.BUSY, "the analytics database is in use elsewhere")

    def _since(self, upload: Upload) -> float:
        return max(0.0, (utc(self.clock) - upload.received_at).total_seconds())

    def _rejected(self, work: _Work, verdict: Verdict) -> Outcome:
        problem = in_words(verdict.problems[0]) if verdict.problems else "the file was not accepted"
        columns = self._columns(work, State.FAILED) | {
            "rows": 0,
            "rejected": verdict.rejected,
            "problem": problem,
            "problem_count": verdict.problem_count,
        }
        return Outcome(done=True, reason=problem, stored=True, upload=columns, problems=verdict.problems)

    def _completed(self, work: _Work, verdict: Verdict, rows: int) -> Outcome:
        columns = self._columns(work, State.COMPLETED) | {
            "rows": rows,
            "rejected": verdict.rejected,
            "problem": in_words(verdict.problems[0]) if verdict.problems else None,
            "problem_count": verdict.problem_count,
        }
        return Outcome(done=True, stored=True, upload=columns, problems=verdict.problems)

    def _columns(self, work: _Work, state: State) -> dict[str, Any]:
        seconds = work.seconds | {"total": self._since(work.upload)}
        return {"state": state, "finished_at": utc(self.clock), "seconds": seconds}

    async def _loaded_before(self, job: Job) -> Outcome | None:
        """COMPLETED, when an earlier attempt loaded the rows and could not say so; else None.

        An operator who sees FAILED lets the file be sent again, and then its rows were there twice.
        """
        upload = await self.uploads.get(UUID(job.subject)) if job.fence > 1 else None
        if upload is None:
            return None
        rows: int | None = await self.warehouse.rows(upload.id)
        if rows is None:
            return None
        columns = {
            "state": State.COMPLETED,
            "finished_at": utc(self.clock),
            "seconds": {"total": self._since(upload)},
            "rows": rows,
            "rejected": None,  # the attempt that knew is gone
        }
        return Outcome(done=True, reason="an earlier attempt had loaded the rows", stored=True, upload=columns)

    async def given_up(self, job: Job, problem: str, *, ours: bool) -> Outcome:
        """FAILED, unless its rows are loaded; a job given up through our fault stays on record as dead.

        :raises PipeError, WorkerDied: the warehouse does not say whether they are.
        """
        if (loaded := await self._loaded_before(job)) is not None:
            return loaded
        problem = " ".join(problem.split())  # one line; the mistakes of a schema are several
        columns = {"state": State.FAILED, "problem": problem, "finished_at": utc(self.clock)}
        return Outcome(done=not ours, reason=problem, upload=columns)

    def delayed(self, job: Job, reason: str) -> None:
        """Tell that an upload waits."""
        self.events.note(events.UPLOAD_DELAYED, upload_id=job.subject, reason=reason, **job.payload)

    def settled(self, job: Job, outcome: Outcome) -> None:
        """Tell how an upload ended."""
        columns = outcome.upload or {}
        if columns.get("state") is State.COMPLETED:
            self.events.note(
                events.UPLOAD_COMPLETED,
                upload_id=job.subject,
                rows=columns["rows"],
                rejected=columns["rejected"],
                seconds=columns["seconds"]["total"],
                timings=columns["seconds"],
                **job.payload,
            )
        elif columns.get("state") is State.FAILED:
            self.events.note(
                events.UPLOAD_FAILED,
                upload_id=job.subject,
                problem=columns["problem"],
                timings=columns.get("seconds", {}),
                **job.payload,
            )


def in_words(problem: Problem) -> str:
    """A problem on one line: "line 3, column amount: not a number"."""
    places = [("line", problem.line), ("column", problem.column)]
    where = ", ".join(f"{what} {value}" for what, value in places if value is not None)
    return f"{where}: {problem.reason}" if where else problem.reason
