"""The chain of kind "notify": one attempt to tell a webhook, and what follows from how it went.

At least once: an attempt is counted and logged when its job is settled, and one that was under way when the process
died is made again, under the same id. Who carries the message is an ISender; what it says was decided when it was
written (catalog). Events are told when the outcome is recorded, not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from conch_pipe import events
from conch_pipe.crashpoints import crashpoint
from conch_pipe.interfaces import IEvents, ISender, IWebhooks
from conch_pipe.model import Answer, Job, Notice, NoticeResult, Outcome, Webhook, utc

# Seconds between the end of an attempt and the next; after the last of them a message is given up, after 36 hours.
WAITS_S = (5, 30, 120, 600, 3_600, 10_800, 28_800, 86_400)
ATTEMPTS = len(WAITS_S) + 1
JITTER = 0.1  # of a wait, at most, added

MOST = 4  # requests to one webhook at a time
REMEMBERED_S = 30.0  # a failure to reach a receiver
IDLE_S = 60.0  # after which a webhook is approached slowly again
TOGETHER = 16  # jobs of one webhook at a time that need no request, its failure being remembered
GONE = "gone"


def wait_s(number: int, message: str) -> float | None:
    """How long after attempt ``number`` (from 1) of a message the next one begins; None: there is none. Pure."""
    if number > len(WAITS_S):
        return None
    spread = int.from_bytes(sha256(f"{message} {number}".encode()).digest()[:4], "big") / 2**32
    return WAITS_S[number - 1] * (1 + JITTER * spread)


@dataclass(eq=False, slots=True)
class _Lane:
    """One webhook, as far as it is known."""

    limit: int = 1
    requests: int = 0
    used_at: float = 0.0
    failure: Answer | None = None
    failed_at: float = 0.0
    failed_of: datetime | None = None  # the webhook's version then


class Lanes:
    """How many requests each webhook may have now: one until that is answered, then some; one again when it is not.

    A receiver that cannot be reached is asked once in 30 seconds, however many messages wait for it, and holds one of
    all requests: it delays no other. In memory only. See runner.Lanes.

    :param requests: to all webhooks together.
    """

    def __init__(self, clock: IReactorTime, requests: int) -> None:
        self.clock = clock
        self.requests = requests
        self._lanes: dict[str, _Lane] = {}

    def room(self, held: Mapping[str, int]) -> tuple[dict[str, int], int]:
        """See runner.Lanes. A webhook that is answered grows to half of what is left free."""
        self._tidy(held)
        remembering = {name for name, lane in self._lanes.items() if self._failure(lane) is not None}
        free = self.requests - sum(number for name, number in held.items() if name not in remembering)
        room = {}
        for name in self._lanes.keys() | held.keys():
            lane, has = self._lanes.get(name, _Lane()), held.get(name, 0)
            most = TOGETHER if name in remembering else min(lane.limit, max(1, (free + has) // 2))
            room[name] = max(0, most - has if name in remembering else min(most - has, free))
        return room, min(1, max(0, free))

    def failure(self, webhook: Webhook) -> Answer | None:
        """How a request would end, as another one just did; None: try."""
        lane = self._lanes.get(webhook.id)
        return None if lane is None or lane.failed_of != webhook.changed_at else self._failure(lane)

    def enter(self, webhook_id: str) -> None:
        """A request begins. To be left again."""
        self._lanes.setdefault(webhook_id, _Lane()).requests += 1

    def leave(self, webhook: Webhook, answer: Answer | None) -> None:
        """A request has ended. :param answer: how; None: we gave it up ourselves."""
        lane = self._lanes[webhook.id]
        lane.requests -= 1
        lane.used_at = self.clock.seconds()
        if answer is None:
            return
        if answer.status is not None:
            lane.limit, lane.failure = min(MOST, 2 * lane.limit), None
        else:
            lane.limit, lane.failure = 1, replace(answer, seconds=0.0)
            lane.failed_at, lane.failed_of = lane.used_at, webhook.changed_at

    def _failure(self, lane: _Lane) -> Answer | None:
        # Not from the future: a clock that was put back must not keep us from a receiver for hours.
        held = lane.failure is not None and 0 <= self.clock.seconds() - lane.failed_at < REMEMBERED_S
        return lane.failure if held else None

    def _tidy(self, held: Mapping[str, int]) -> None:
        now = self.clock.seconds()
        for name, lane in list(self._lanes.items()):
            if not lane.requests and not held.get(name) and not 0 <= now - lane.used_at < IDLE_S:
                del self._lanes[name]


class NotifyChain:
    """See runner.Chain."""

    _log = Logger()

    def __init__(
        self, webhooks: IWebhooks, sender: ISender, lanes: Lanes, events: IEvents, clock: IReactorTime
    ) -> None:
        self.webhooks = webhooks
        self.sender = sender
        self.lanes = lanes
        self.events = events
        self.clock = clock

    async def run(self, job: Job) -> Outcome:
        """Make the attempt that is due. :raises PipeError: BUSY to be tried later; see schedule.py for the others."""
        crashpoint("N1")
        began_at = utc(self.clock)
        webhook: Webhook | None = await self.webhooks.get(job.lane)
        if webhook is None:
            return Outcome(done=True, reason="the webhook was removed")
        if not webhook.enabled:
            return self._outcome(job, began_at, Answer(None, "disabled", "the webhook is disabled"), shared=True)
        if (failure := self.lanes.failure(webhook)) is not None:
            return self._outcome(job, began_at, failure, shared=True)
        return self._outcome(job, began_at, await self._send(job, webhook))

    async def _send(self, job: Job, webhook: Webhook) -> Answer:
        secrets: tuple[str, ...] = await self.webhooks.secrets(webhook.id)
        answer: Answer | None = None
        self.lanes.enter(webhook.id)
        try:
            body = str(job.payload["body"])
            answer = await self.sender.send(webhook.url, job.subject, body, secrets, utc(self.clock))
        finally:
            self.lanes.leave(webhook, answer)
        crashpoint("N2")
        return answer

    def _outcome(self, job: Job, began_at: datetime, answer: Answer, *, shared: bool = False) -> Outcome:
        number = job.failures + 1
        wait = None if not answer.reason else wait_s(number, job.subject)
        next_at = None
        if wait is not None:
            next_at = utc(self.clock) + timedelta(seconds=max(wait, answer.retry_after_s))
        event = str(job.payload.get("event", ""))
        notice = Notice(job.lane, job.subject, event, number, began_at, answer, next_at, shared)
        result = NoticeResult(notice, disable=GONE if answer.reason == GONE else "")
        if not answer.reason:
            return Outcome(done=True, notice=result)
        return Outcome(retry_at=next_at, reason=answer.reason, notice=result)

    async def given_up(self, job: Job, problem: str, *, ours: bool) -> Outcome:
        """An attempt that failed by our own fault: counted, and the next one comes at its moment."""
        answer = Answer(None, "internal", " ".join(problem.split()))
        return self._outcome(job, utc(self.clock), answer)

    def delayed(self, job: Job, reason: str) -> None:
        """Told to the log only: attempts are the events."""
        self._log.warn(
            "message {message} to {webhook} waits: {reason}", message=job.subject, webhook=job.lane, reason=reason
        )

    def settled(self, job: Job, outcome: Outcome) -> None:
        """Tell what came of an attempt."""
        if outcome.notice is None:
            return
        crashpoint("N3")
        notice, answer = outcome.notice.notice, outcome.notice.notice.answer
        about = {"webhook": notice.webhook, "message": notice.message, "type": notice.event}
        self.events.note(
            events.WEBHOOK_ATTEMPTED,
            number=notice.number,
            status=answer.status or "no status",
            reason=answer.reason,
            detail=answer.detail,
            seconds=answer.seconds,
            shared=notice.shared,
            **about,
        )
        if outcome.notice.disable:
            self.events.note(events.WEBHOOK_DISABLED, reason=outcome.notice.disable, webhook=notice.webhook)
        if answer.reason and notice.next_at is None:
            self.events.note(events.WEBHOOK_GIVEN_UP, attempts=notice.number, reason=answer.reason, **about)
