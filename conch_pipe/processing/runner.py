"""The loop that claims due jobs, runs the chain of their kind and settles how it ended.

Knows no kind of job: a chain per kind does (see ingest.py), and schedule.py says what follows a failure. The catalog is
the queue; ``nudge`` only saves the wait for the next poll. One of the four places that translate exceptions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from conch_pipe.errors import Code, PipeError, WorkerDied
from conch_pipe.interfaces import IJobs
from conch_pipe.model import Job, Outcome, utc
from conch_pipe.processing import schedule


class Chain(Protocol):
    """What the runner needs of a kind of job; see ingest.Ingest."""

    async def run(self, job: Job) -> Outcome:
        """Run all stages; everything may have happened before, also half. Raises what goes wrong."""

    async def given_up(self, job: Job, problem: str, *, ours: bool) -> Outcome:
        """The outcome of a job that is not tried again; ``ours``: through no fault of the file's.

        Raises when that cannot be told now: the job is tried again, after the longest delay.
        """

    def delayed(self, job: Job, reason: str) -> None:
        """It begins to wait for something busy and is tried now and then; told once."""

    def settled(self, job: Job, outcome: Outcome) -> None:
        """The outcome is recorded for good."""


def _named(job: Job) -> str:
    return f"job {job.id} ({job.kind} {job.subject})"


class Lanes(Protocol):
    """What the runner needs to know of jobs that must take turns; see lanes.Lanes."""

    def room(self, held: Mapping[str, int]) -> tuple[Mapping[str, int], int | None]:
        """How many more jobs of these lanes may be claimed now, and how many of each other one; see IJobs.claim.

        :param held: jobs that are worked on here, by lane.
        """


@dataclass(eq=False, slots=True)
class _Task:
    """A job this process holds the lease of."""

    job: Job
    chain: Chain
    renewed_at: float
    stage: Deferred[Outcome] | None = None
    lost: bool = False  # the lease is someone else's: nothing may be settled
    released: bool = False  # we are stopping: someone else shall do it
    ended: Deferred[None] = field(default_factory=Deferred)

    def interrupt(self) -> None:
        if self.stage is not None:
            self.stage.cancel()


class Runner(Service):
    """Runs jobs until it is stopped.

    :param chains: kind of job → Chain.
    :param capacity: jobs at a time; more than there are workers, so that checks go on while loads wait.
    :param poll_s: between looks at the queue.
    :param drain_s: what running jobs may still take when the service stops; then they are released.
    :param lanes: asked before each claim; None: no job has to take turns.
    :param pace_s: between claims, but for one after a rest, which comes at once. Jobs that come one by one are claimed
        together then, and chains that do more at a time for less find them together.
    """

    _log = Logger()

    def __init__(
        self,
        jobs: IJobs,
        chains: Mapping[str, Chain],
        clock: IReactorTime,
        *,
        capacity: int,
        poll_s: float = 1.0,
        lease_s: float = 60.0,
        drain_s: float = 30.0,
        lanes: Lanes | None = None,
        pace_s: float = 0.0,
    ) -> None:
        self.jobs = jobs
        self.chains = chains
        self.clock = clock
        self.capacity = capacity
        self.poll_s = poll_s
        self.lease_s = lease_s
        self.drain_s = drain_s
        self.lanes = lanes
        self.pace_s = pace_s
        self._tasks: set[_Task] = set()
        self._waits: Counter[int] = Counter()  # job id → times in a row it found something busy
        self._claiming: Deferred[None] | None = None
        self._claimed_at = -pace_s
        self._paced: IDelayedCall | None = None
        self._again = False
        self._trouble = ""  # with the queue, as last told: not again until it changes
        self._poll = LoopingCall(self.nudge)
        self._poll.clock = clock

    @property
    def active(self) -> int:
        """Jobs being worked on."""
        return len(self._tasks)

    def startService(self) -> None:
        """Look at the queue now and every ``poll_s``."""
        super().startService()
        self._poll.start(self.poll_s)

    def stopService(self) -> Deferred[None]:
        """Claim nothing more; running jobs get ``drain_s``, then they are released for the next start.

        :returns: a Deferred that fires when none is left here.
        """
        super().stopService()
        if self._poll.running:
            self._poll.stop()
        if self._paced is not None:
            self._paced.cancel()
            self._paced = None
        return Deferred.fromCoroutine(self._drain())

    def nudge(self) -> None:
        """There may be a due job: a commit in this process calls this. Returns at once."""
        if not self.running:
            return
        self._again = True
        if self._claiming is not None or self._paced is not None or len(self._tasks) >= self.capacity:
            return  # the end of a job nudges
        if (wait_s := self._rest_s()) > 0:
            self._paced = self.clock.callLater(wait_s, self._rested)
            return
        # Set before the coroutine runs: with a synchronous catalog it ends, and nudges, inside fromCoroutine.
        self._claiming = Deferred()
        Deferred.fromCoroutine(self._fill()).addErrback(self._unexpected, "claiming jobs").addBoth(self._filled)

    def _rest_s(self) -> float:
        return self._claimed_at + self.pace_s - self.clock.seconds()

    def _rested(self) -> None:
        self._paced = None
        self.nudge()

    def _filled(self, _: object) -> None:
        claiming, self._claiming = self._claiming, None
        if claiming is not None:
            claiming.callback(None)
        if self._again and self._rest_s() > 0:
            self.nudge()

    async def _fill(self) -> None:
        while self._again and self.running and self._rest_s() <= 0:
            self._again = False
            room = self.capacity - len(self._tasks)
            if room <= 0:
                return
            self._claimed_at = self.clock.seconds()
            try:
                jobs = await self._claim(room)
            except PipeError as error:
                self._tell_trouble(str(error))
                return
            self._tell_trouble("")
            for job in jobs:
                self._begin(job)

    def _claim(self, limit: int) -> Deferred[list[Job]]:
        kinds = tuple(self.chains)
        if self.lanes is None:
            return self.jobs.claim(kinds, limit, self.lease_s)
        lanes, room = self.lanes.room(Counter(task.job.lane for task in self._tasks if task.job.lane))
        return self.jobs.claim(kinds, limit, self.lease_s, lanes, room)

    def _tell_trouble(self, trouble: str) -> None:
        """:param trouble: why the queue cannot be read; empty: it can."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            self._log.warn(
                "the queue cannot be read, looking every {poll_s} s: {error}", poll_s=self.poll_s, error=trouble
            )
        else:
            self._log.info("the queue can be read again")

    def _begin(self, job: Job) -> None:
        task = _Task(job, self.chains[job.kind], self.clock.seconds(), released=not self.running)
        for older in [other for other in self._tasks if other.job.id == job.id]:
            self._lose(older)  # its lease ran out while the catalog was away, and we took the job ourselves
        self._tasks.add(task)
        work = Deferred.fromCoroutine(self._work(task))
        work.addErrback(self._unexpected, _named(job))
        work.addBoth(lambda _: self._end(task))

    def _end(self, task: _Task) -> None:
        self._tasks.discard(task)
        task.ended.callback(None)
        self.nudge()

    def _unexpected(self, failure: Failure, what: str) -> None:
        self._log.failure("unexpected: {what}", failure, what=what)

    async def _work(self, task: _Task) -> None:
        renewing = LoopingCall(lambda: Deferred.fromCoroutine(self._renew(task)))
        renewing.clock = self.clock
        renewing.start(self.lease_s / 3, now=False).addErrback(self._unexpected, f"renewing {_named(task.job)}")
        try:
            outcome = await self._outcome(task)
            recorded = None if task.lost else await self._settle(task, outcome)
            if recorded is not None:
                if recorded.retry_at is None:
                    self._waits.pop(task.job.id, None)
                task.chain.settled(task.job, recorded)
        finally:
            if renewing.running:
                renewing.stop()

    async def _outcome(self, task: _Task) -> Outcome:
        """Run the chain; whatever it raises becomes an outcome here."""
        job, chain = task.job, task.chain
        if task.released:
            return self._release()
        if job.claims > schedule.CLAIMS:
            problem = f"the file could not be processed in {schedule.CLAIMS} attempts"
            return await self._give_up(task, problem, ours=True)
        task.stage = Deferred.fromCoroutine(chain.run(job))
        try:
            return await task.stage
        except CancelledError as error:
            if task.lost or task.released:
                return self._release()
            return await self._after(task, error)
        except Exception as error:  # noqa: BLE001 - the runner is one of the four places that translate
            return await self._after(task, error)

    async def _give_up(self, task: _Task, problem: str, *, ours: bool) -> Outcome:
        """Let the chain decide how the job ends; what it cannot tell now is not decided."""
        task.stage = Deferred.fromCoroutine(task.chain.given_up(task.job, problem, ours=ours))
        try:
            return await task.stage
        except Exception as error:  # noqa: BLE001 - as above
            if task.lost or task.released:
                return self._release()
            if isinstance(error, (PipeError, WorkerDied)):
                self._log.warn("{job} cannot be given up yet: {error}", job=_named(task.job), error=error)
            else:
                self._log.failure("giving up {job} raised", Failure(error), job=_named(task.job))
            due = utc(self.clock) + timedelta(seconds=schedule.LONGEST_S)
            return Outcome(retry_at=due, failed=False, reason=problem)

    def _release(self) -> Outcome:
        return Outcome(retry_at=utc(self.clock), failed=False, reason="released")

    async def _after(self, task: _Task, error: Exception) -> Outcome:
        job = task.job
        if task.lost:
            return self._release()
        step = schedule.after(error, job.failures, self._waits[job.id])
        if not isinstance(error, (PipeError, WorkerDied)):
            self._log.failure("{job} raised", Failure(error), job=_named(job))
        elif step.counts:
            self._log.warn("{job}, attempt {attempt}: {error}", job=_named(job), attempt=job.failures + 1, error=error)
        if step.wait_s is None:
            return await self._give_up(task, step.problem, ours=step.ours)
        if step.counts:
            self._waits.pop(job.id, None)
        else:
            self._waits[job.id] += 1
            if self._waits[job.id] == 1:  # a thousand uploads waiting for a day are a thousand lines, not millions
                task.chain.delayed(job, step.problem)
        due = utc(self.clock) + timedelta(seconds=step.wait_s)
        return Outcome(retry_at=due, failed=step.counts, reason=step.problem)

    async def _settle(self, task: _Task, outcome: Outcome) -> Outcome | None:
        """Write the outcome down, again and again while the catalog is busy.

        :returns: what is recorded; None: nothing by us, the lease is lost or will run out and the job is run again.
        """
        for wait_s in (*schedule.SETTLE_WAITS_S, None):
            try:
                ours = await self.jobs.settle(task.job, outcome)
            except PipeError as error:
                self._log.warn("{job} cannot be settled: {error}", job=_named(task.job), error=error)
                if error.code is Code.CONFLICT:
                    # What it is about has moved on, an operator's doing: only the job is to be ended.
                    outcome = Outcome(done=True, reason=error.message)
                if wait_s is None or task.lost or not self.running:
                    return None
                await deferLater(self.clock, wait_s)
                continue
            if not ours:
                self._log.warn("{job}: the lease was lost before its end was recorded", job=_named(task.job))
            return outcome if ours else None
        return None

    async def _renew(self, task: _Task) -> None:
        """Keep the lease; stop working when it is gone."""
        try:
            ours = await self.jobs.renew(task.job, self.lease_s)
        except PipeError as error:
            self._log.warn("{job}: the lease cannot be renewed: {error}", job=_named(task.job), error=error)
            ours = self.clock.seconds() - task.renewed_at < self.lease_s
        else:
            task.renewed_at = self.clock.seconds()
        if ours or task.ended.called or task.lost:
            return
        self._lose(task)

    def _lose(self, task: _Task) -> None:
        task.lost = True
        self._log.warn("{job}: the lease is lost, its work is dropped", job=_named(task.job))
        task.interrupt()

    async def _drain(self) -> None:
        if self._claiming is not None:
            await self._claiming
        timer = self.clock.callLater(self.drain_s, self.hurry)
        for task in list(self._tasks):
            await task.ended
        if timer.active():
            timer.cancel()

    def hurry(self) -> None:
        """While stopping: release what is running now."""
        if self.running:
            return
        for task in list(self._tasks):
            task.released = True
            task.interrupt()
