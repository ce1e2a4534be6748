"""Pushes and files over the real catalog on SQLite: what the model in memory promises is what it does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from twisted.internet.defer import maybeDeferred

from conch_pipe.catalog.queries.pushes import AttemptFilter
from conch_pipe.events import Events
from conch_pipe.model import Pin, PushState, Recording, Report, Role, Status, new_id, utc
from conch_pipe.processing import attempts
from conch_pipe.processing.lanes import Lanes
from conch_pipe.processing.push import PushChain
from conch_pipe.processing.retention import Retention
from conch_pipe.processing.runner import Runner
from tests.processing.month import Real
from tests.processing.push_fakes import START, HeapClock, ScriptedPusher, files_in

WRONG = Report(Status.SFTP_LOGIN_FAILED, "password", "permission denied", connected=True)
OTHER_KEY = Report(Status.HOST_KEY_MISMATCH, "host_key", refused_key=b"new key", connected=True)


class Bench:
    """The service's half of what goes out; ``ends`` are how pushes end, in turn, and then ``always``."""

    def __init__(self, folder: Path) -> None:
        self.clock = HeapClock(START)
        self.world = Real(self.clock, folder)
        self.catalog = self.world.catalog
        self.root = folder / "media"
        self.root.mkdir()
        self.heard = []
        self.ends: list = []
        self.always = None
        self.seconds = 0.0
        self.pusher = ScriptedPusher(self.clock, self.plan)
        events = Events((self.heard.append,))
        lanes = Lanes(self.clock, 64)
        self.runner = Runner(
            self.catalog.jobs,
            {
                "push": PushChain(
                    self.catalog.recordings, self.catalog.remotes, self.pusher, lanes, events, self.clock
                ),
                "retention": Retention(
                    self.catalog.recordings, events, self.clock, [self.root], in_thread=maybeDeferred
                ),
            },
            self.clock,
            capacity=80,
            poll_s=86_400,
            lanes=lanes,
        )

    def plan(self, remote, recording, wanted):
        return self.seconds, self.ends.pop(0) if self.ends else self.always

    def save(self, name: str, *remotes: str, delete: bool = True, files=None) -> Recording:
        for remote in remotes:
            if remote not in self.world.most:
                self.world.add_remote(remote, 25)
        files = files or files_in(self.root, name, Role.MAIN, Role.RAW)
        recording = Recording(new_id(utc(self.clock)), name, "acme", "", name, files, utc(self.clock))
        self.world.accept_new(recording, list(remotes), delete)
        return recording

    def run(self, seconds: float) -> None:
        if not self.runner.running:
            self.runner.startService()
        self.runner.nudge()
        end = self.clock.seconds() + seconds
        while (now := self.clock.seconds()) < end:
            due = self.world.next_due()
            look = due if due is None or due > now else now + 1
            soonest = min(moment for moment in (end, self.clock.next(), look) if moment is not None)
            self.clock.to(soonest)
            if due is not None and due <= soonest:
                self.runner.nudge()

    def push(self, recording: Recording):
        return self.catalog.recordings.pushes(recording.uid).result[0]

    def log(self, recording: Recording):
        return self.catalog.pushes.log(AttemptFilter(recording=recording.uid)).result[::-1]


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    if bench.runner.running:
        stopped = bench.runner.stopService()
        bench.clock.advance(31)
        assert stopped.called
    bench.world.close()


def test_a_recording_goes_out_and_its_files_go(bench):
    recording = bench.save("talk", "dock", "pier")

    bench.run(1)

    assert {push.state for push in bench.catalog.recordings.pushes(recording.uid).result} == {PushState.DELIVERED}
    assert [file.path.exists() for file in recording.files] == [False, False]
    assert [event.kind.name for event in bench.heard][-1] == "recording.cleared"
    assert bench.catalog.jobs.waiting().result == {}


def test_a_corrected_password_releases_all_that_waits_and_costs_no_attempt(bench):
    recordings = [bench.save(f"r{number}", "dock") for number in range(20)]
    bench.ends = [WRONG]
    bench.run(5)
    assert [len(bench.log(one)) for one in recordings] == [1] * 20

    bench.catalog.remotes.edit("dock", {}, {"password": "better"})
    bench.run(5)

    assert {bench.push(one).state for one in recordings} == {PushState.DELIVERED}
    assert {tuple(one.number for one in bench.log(recording)) for recording in recordings} == {(1, 0)}


def test_a_correction_that_comes_while_an_attempt_is_under_way_is_not_lost(bench):
    """The attempt fails with the old password; without the next one, at once, the push would wait for minutes."""
    recording = bench.save("talk", "dock")
    bench.ends, bench.seconds = [WRONG], 20
    bench.run(10)

    bench.catalog.remotes.edit("dock", {}, {"password": "better"})
    bench.run(35)

    assert [one.number for one in bench.log(recording)] == [1, 0]
    assert bench.push(recording).state is PushState.DELIVERED


def test_another_host_key_disables_the_remote_until_it_is_trusted(bench):
    recording = bench.save("talk", "dock")
    bench.catalog.remotes.set_pins("dock", [Pin(b"old key", START, "given")])
    bench.always = OTHER_KEY
    bench.run(3600)
    remote = bench.catalog.remotes.get("dock").result
    assert (remote.enabled, remote.disabled_reason, remote.refused_key) == (False, "host_key", b"new key")
    assert len(bench.pusher.began) == 1

    bench.always = None
    bench.catalog.remotes.trust("dock", b"new key")
    bench.run(2)

    assert bench.push(recording).state is PushState.DELIVERED
    assert len(bench.pusher.began) == 2


def test_what_was_given_up_can_be_tried_by_hand_until_it_is_purged(bench):
    recording = bench.save("talk", "dock")
    bench.always = WRONG
    bench.run(76 * 3600)
    push = bench.push(recording)
    assert (push.state, push.attempts) == (PushState.GIVEN_UP, 13)
    purge = attempts.purge_at(push.final_at)
    assert bench.catalog.recordings.get(recording.uid).result.purge_at == purge

    bench.catalog.pushes.retry(recording.uid)
    bench.run(5)
    assert (bench.push(recording).state, bench.push(recording).final_at) == (PushState.GIVEN_UP, push.final_at)
    bench.run((purge - utc(bench.clock)).total_seconds() - 1)
    assert recording.main.path.exists()
    bench.run(2)

    assert not recording.main.path.exists()
    assert [event.kind.name for event in bench.heard if event.kind.name.startswith("recording")] == [
        "recording.kept",
        "recording.purge_soon",
        "recording.purge_soon",
        "recording.purged",
    ]


def test_files_that_two_recordings_share_wait_for_both(bench):
    first = bench.save("first", "dock")
    bench.world.add_remote("far", 1)
    bench.catalog.remotes.disable("far")
    second = bench.save("second", "far", files=first.files)
    bench.run(10)
    assert bench.push(first).state is PushState.DELIVERED
    assert first.main.path.exists()

    bench.catalog.remotes.enable("far")
    bench.run(10)

    assert bench.push(second).state is PushState.DELIVERED
    assert not first.main.path.exists()


def test_100_recordings_to_a_slow_remote_do_not_delay_another(bench):
    for number in range(100):
        bench.save(f"slow{number}", "slow")
    bench.seconds = 600
    bench.run(2000)
    bench.seconds = 0

    recording = bench.save("quick", "quick")
    bench.run(2)

    assert bench.push(recording).state is PushState.DELIVERED
    assert bench.log(recording)[0].began_at - recording.saved_at < timedelta(seconds=1)
