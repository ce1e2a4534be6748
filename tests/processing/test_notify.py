"""Telling webhooks over the real catalog: nine attempts, lanes of their own, at least once under one id."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from conch_pipe.catalog import Catalog, KeyFile
from conch_pipe.catalog.queries.webhooks import NoticeFilter
from conch_pipe.errors import Code, PipeError
from conch_pipe.events import Events
from conch_pipe.interfaces import ISender
from conch_pipe.model import Answer, Happening, Webhook, utc
from conch_pipe.processing.notify import ATTEMPTS, MOST, REMEMBERED_S, WAITS_S, Lanes, NotifyChain, wait_s
from conch_pipe.processing.runner import Runner
from tests import catalogs

OK = Answer(200)
BROKEN = Answer(500, "status", "the receiver answered 500")
DEAD = Answer(None, "timeout", "no connection within 10 s")
START = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
@implementer(ISender)
class Scripted:
    """Answers by URL: an Answer, an exception, or a Deferred that the test fires."""

    clock: Clock
    answers: dict = field(default_factory=dict)
    sent: list = field(default_factory=list)

    def send(self, url, message, body, secrets, at):
        self.sent.append((url, message, body, self.clock.seconds()))
        answer = self.answers.get(url, OK)
        if callable(answer):
            answer = answer()
        if isinstance(answer, Deferred):
            return answer
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)


class Bench:
    """Catalog, runner and a sender; credentials are made and revoked to have something to tell."""

    def __init__(self, folder):
        self.clock = Clock()
        self.clock.advance(START.timestamp())
        keys = KeyFile(folder / "secrets.key")
        keys.make()
        self.database = catalogs.in_memory()
        self.catalog = Catalog(self.database, self.clock, keys)
        self.catalog.organisations.create("acme")
        self.sender = Scripted(self.clock)
        self.heard = []
        self.lanes = Lanes(self.clock, 32)
        self.runner = self.runner_of()

    def runner_of(self):
        chain = NotifyChain(self.catalog.webhooks, self.sender, self.lanes, Events((self.heard.append,)), self.clock)
        return Runner(self.catalog.jobs, {"notify": chain}, self.clock, capacity=48, poll_s=1, lanes=self.lanes)

    def hook(self, name="hooks"):
        return self.catalog.webhooks.add("acme", f"https://{name}.test/", tuple(Happening)).result[0]

    def happen(self, times=1):
        for _ in range(times):
            made, _ = self.catalog.credentials.create("acme").result
            self.catalog.credentials.revoke(made.client_id)

    def run(self, seconds):
        if not self.runner.running:
            self.runner.startService()
        whole, rest = divmod(seconds, 1)
        self.clock.pump([1.0] * int(whole) + ([rest] if rest else []))

    def leap(self, seconds):
        """Much time, with one look at the queue at its end."""
        self.clock.advance(seconds)
        self.runner.nudge()

    def log(self, webhook=None):
        return self.catalog.webhooks.log(NoticeFilter(webhook, limit=10_000)).result[::-1]

    def kinds(self):
        return [event.kind.name for event in self.heard]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr("conch_pipe.catalog.queries.credentials.hash_secret", lambda secret: b"x" * 60)
    bench = Bench(tmp_path)
    yield bench
    if bench.runner.running:
        bench.runner.stopService()
        bench.clock.advance(40)
    bench.database.close()


def test_the_schedule_is_36_hours_of_nine_attempts_and_jitter_only_adds():
    waits = [wait_s(number, "msg_1") for number in range(1, ATTEMPTS + 1)]

    assert ATTEMPTS == 9 and waits[-1] is None
    assert waits == [wait_s(number, "msg_1") for number in range(1, ATTEMPTS + 1)]
    assert all(nominal <= wait < 1.1 * nominal for nominal, wait in zip(WAITS_S, waits[:-1], strict=True))
    assert len({wait_s(4, f"msg_{one}") for one in range(50)}) == 50


def test_a_message_is_sent_once_and_logged(bench):
    webhook = bench.hook()
    bench.happen()

    bench.run(60)

    [(url, message, body, _)] = bench.sender.sent
    assert url == webhook.url and message.startswith("msg_") and UUID(message[4:]).version == 7
    assert '"type":"credential.revoked"' in body
    [notice] = bench.log()
    assert (notice.message, notice.number, notice.answer.status, notice.next_at) == (message, 1, 200, None)
    assert bench.kinds() == ["webhook.attempted"]
    assert bench.catalog.jobs.waiting().result == {}


def test_a_receiver_that_is_broken_gets_nine_attempts_of_the_same_message(bench):
    bench.sender.answers["https://hooks.test/"] = BROKEN
    bench.hook()
    bench.happen()
    bench.run(1)
    for _ in range(ATTEMPTS):
        bench.leap(100_000)

    sent = bench.sender.sent
    assert len(sent) == ATTEMPTS
    assert len({message for _, message, _, _ in sent}) == len({body for _, _, body, _ in sent}) == 1
    log = bench.log()
    assert [notice.number for notice in log] == list(range(1, 10))
    assert log[-1].next_at is None
    for before, nominal in zip(log, WAITS_S, strict=False):
        assert timedelta(seconds=nominal) <= before.next_at - before.began_at < timedelta(seconds=1.1 * nominal + 1)
    assert bench.kinds() == ["webhook.attempted"] * 9 + ["webhook.given_up"]
    assert bench.catalog.jobs.waiting().result == {}


def test_a_receiver_may_ask_for_more_time(bench):
    bench.sender.answers["https://hooks.test/"] = Answer(429, "status", retry_after_s=900.0)
    bench.hook()
    bench.happen()

    bench.run(1)

    [notice] = bench.log()
    assert notice.next_at == START + timedelta(seconds=900)


def test_410_disables_and_what_happens_then_is_not_told(bench):
    bench.sender.answers["https://hooks.test/"] = Answer(410, "gone", "the receiver says that it wants nothing more")
    webhook = bench.hook()
    bench.happen()
    bench.run(1)

    bench.happen()
    bench.run(3_000)

    assert len(bench.sender.sent) == 1
    found = bench.catalog.webhooks.get(webhook.id).result
    assert (found.enabled, found.disabled_reason) == (False, "gone")
    assert bench.kinds().count("webhook.disabled") == 1
    assert {notice.answer.reason for notice in bench.log()} == {"gone", "disabled"}


def test_what_waits_for_a_disabled_webhook_is_sent_when_it_is_enabled(bench):
    webhook = bench.hook()
    bench.happen()
    bench.catalog.webhooks.disable(webhook.id)
    bench.run(10)
    assert bench.sender.sent == []

    bench.catalog.webhooks.enable(webhook.id)
    bench.run(2)

    assert [notice.answer.reason for notice in bench.log()][-1] == ""
    assert len(bench.sender.sent) == 1


def test_a_dead_receiver_delays_no_other_and_is_asked_twice_a_minute(bench):
    dead, good = bench.hook("dead"), bench.hook("good")
    bench.sender.answers[dead.url] = DEAD
    bench.happen(200)

    bench.run(60)

    asked = [url for url, *_ in bench.sender.sent]
    assert asked.count(good.url) == 200
    assert asked.count(dead.url) <= 60 / REMEMBERED_S + 1
    log = bench.log(dead.id)
    assert {notice.shared for notice in log} == {True, False} and {notice.answer.reason for notice in log} == {
        "timeout"
    }


def test_hung_receivers_hold_one_request_each_and_others_go_on(bench):
    for number in range(12):
        bench.sender.answers[bench.hook(f"hung{number}").url] = Deferred()
    good = bench.hook("good")
    bench.happen(20)

    bench.run(30)

    asked = [url for url, *_ in bench.sender.sent]
    assert asked.count(good.url) == 20
    assert all(asked.count(f"https://hung{number}.test/") == 1 for number in range(12))
    for answer in bench.sender.answers.values():
        answer.callback(OK)


def test_a_webhook_that_answers_gets_a_few_at_a_time(bench):
    bench.hook()
    bench.happen(3)
    bench.run(3)
    waiting = [Deferred() for _ in range(20)]
    hung = iter(waiting)
    bench.sender.answers["https://hooks.test/"] = lambda: next(hung)
    bench.happen(20)

    bench.run(5)

    assert len(bench.sender.sent) == 3 + MOST
    for one in waiting:
        one.callback(OK)


def test_another_key_or_a_bug_counts_as_an_attempt_and_is_logged(bench, logged_errors):
    bench.hook()
    answers = iter([ZeroDivisionError()] * 5 + [PipeError(Code.BUSY, "the catalog is busy"), OK])
    bench.sender.answers["https://hooks.test/"] = lambda: next(answers)
    bench.happen()
    bench.run(1)
    for _ in range(10):
        bench.leap(100_000)

    assert len(logged_errors.flush(ZeroDivisionError)) == 5
    assert [notice.answer.reason for notice in bench.log()] == ["internal", ""]
    assert len({message for _, message, _, _ in bench.sender.sent}) == 1


def test_an_attempt_that_was_under_way_at_a_kill_is_made_again_under_its_id(bench):
    bench.hook()
    bench.sender.answers["https://hooks.test/"] = Deferred()
    bench.happen()
    bench.run(1)
    killed, bench.runner = bench.runner, None
    killed._poll.stop()  # nothing of it is heard again

    bench.catalog.jobs.release_all()
    bench.sender.answers.clear()
    bench.lanes = Lanes(bench.clock, 32)
    bench.runner = bench.runner_of()
    bench.run(2)

    first, second = bench.sender.sent
    assert first[:3] == second[:3]
    assert [notice.number for notice in bench.log()] == [1]


def test_a_stopping_service_lets_go_and_counts_nothing(bench):
    bench.hook()
    hung: Deferred = Deferred()
    bench.sender.answers["https://hooks.test/"] = hung
    bench.happen()
    bench.run(1)

    stopped = bench.runner.stopService()
    bench.clock.advance(31)

    assert stopped.called and bench.log() == ()
    [job] = bench.catalog.jobs.claim(["notify"], 1, 60).result
    assert job.failures == 0 and job.due_at <= utc(bench.clock)


def test_lanes_forget_and_a_change_by_an_operator_makes_them():
    clock = Clock()
    lanes = Lanes(clock, 32)
    webhook = Webhook("wh_a", "acme", "https://hooks.test/", (), START)
    lanes.enter("wh_a")
    lanes.leave(webhook, DEAD)

    assert lanes.failure(webhook).reason == "timeout"
    assert lanes.failure(replace(webhook, changed_at=START)) is None
    clock.advance(REMEMBERED_S)
    assert lanes.failure(webhook) is None
    clock.advance(60)
    assert lanes.room({}) == ({}, 1)
    lanes.enter("wh_a")
    lanes.leave(webhook, None)
    assert lanes.failure(webhook) is None
