"""The text: Prometheus can read it, whatever was counted, and asking for it costs the service little."""

from __future__ import annotations

import os
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from conch_pipe.errors import Code, PipeError
from conch_pipe.health import Health
from conch_pipe.metrics import catalogue as all_of
from conch_pipe.metrics.catalogue import COUNTED, METRICS
from conch_pipe.metrics.exposition import ASKED_S, KEPT_S, WAIT_S, Exposition
from conch_pipe.metrics.lag import EVERY_S, Lag
from conch_pipe.metrics.machine import Children, Disks
from conch_pipe.metrics.tally import Tally


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally() -> Tally:
    return Tally(COUNTED)


def read(exposition: Exposition) -> list[bytes]:
    """The text, once there is one."""
    found: list[bytes] = []
    Deferred.fromCoroutine(exposition.text()).addCallback(found.append)
    return found


def parsed(text: bytes) -> dict[str, Any]:
    """Name and labels of each sample → its value."""
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_prometheus_reads_what_was_counted_also_with_odd_labels(clock, tally):
    tally.sum(all_of.UPLOADS).add(('a"b\\c\nd', "šifre", "failed"), 3)
    tally.spread(all_of.LAG).add(("parent",), 0.02)
    tally.spread(all_of.LAG).add(("parent",), 7.0)

    (text,) = read(Exposition(tally, clock))

    samples = parsed(text)
    assert (
        samples["pipe_sftp_uploads_total", (("organisation", 'a"b\\c\nd'), ("schema", "šifre"), ("verdict", "failed"))]
        == 3
    )
    lag = {labels: value for (name, labels), value in samples.items() if name == "pipe_sftp_reactor_lag_seconds_bucket"}
    assert lag[("le", "0.01"), ("process", "parent")] == 0
    assert lag[("le", "0.025"), ("process", "parent")] == 1
    assert lag[("le", "+Inf"), ("process", "parent")] == 2
    assert samples["pipe_sftp_reactor_lag_seconds_sum", (("process", "parent"),)] == 7.02


def test_every_metric_of_the_catalogue_is_a_family_of_its_kind(clock, tally):
    (text,) = read(Exposition(tally, clock))

    told = dict(line.split()[2:4] for line in text.decode().splitlines() if line.startswith("# TYPE pipe_sftp"))
    assert told == {name: metric.kind for name, metric in METRICS.items()}


def test_gauges_of_this_process_and_of_those_who_are_asked(clock, tally):
    looks = (lambda: [(all_of.SESSIONS, (), 4)],)
    questions = (lambda: succeed([(all_of.PRESSING, (), 2)]), lambda: fail(PipeError(Code.BUSY, "busy")))

    samples = parsed(read(Exposition(tally, clock, looks, questions))[0])

    assert samples["pipe_sftp_sessions", ()] == 4
    assert samples["pipe_sftp_pushes_pressing", ()] == 2
    assert samples["process_open_fds", ()] > 0


def test_a_question_without_an_answer_leaves_its_numbers_out_and_is_not_repeated(clock, tally):
    asked: list[Deferred[Any]] = []

    def ask() -> Deferred[Any]:
        asked.append(Deferred())
        return asked[-1]

    exposition = Exposition(tally, clock, (), (ask,))
    first = read(exposition)
    assert first == []
    clock.advance(WAIT_S)
    assert "pipe_sftp_sessions" in first[0].decode()
    for _ in range(3):
        clock.advance(ASKED_S)
        read(exposition)
        clock.advance(WAIT_S)

    assert len(asked) == 1


def test_a_part_that_hangs_is_told_as_not_well(clock, tally):
    """Left out, no alert would see it."""
    health = Health({"catalog": Deferred}, clock)

    async def ask() -> list[Any]:
        return [(all_of.CHECK_OK, (check.name,), check.ok) for check in await health.look()]

    found = read(Exposition(tally, clock, (), (lambda: Deferred.fromCoroutine(ask()),)))
    clock.pump([0.5] * 10)

    assert parsed(found[0])["pipe_sftp_check_ok", (("check", "catalog"),)] == 0


def test_many_readers_are_one_text(clock, tally):
    looked: list[None] = []

    def look() -> list[Any]:
        looked.append(None)
        return []

    exposition = Exposition(tally, clock, (look,))
    texts = [read(exposition)[0] for _ in range(50)]
    assert (len(looked), len(set(texts))) == (1, 1)

    clock.advance(KEPT_S)
    read(exposition)

    assert len(looked) == 2


def test_each_exposition_is_its_own(clock, tally):
    """The library's global registry is left alone."""
    from prometheus_client import REGISTRY

    read(Exposition(tally, clock))
    read(Exposition(tally, clock))

    assert not [name for name in REGISTRY._names_to_collectors if name.startswith("pipe_sftp")]


def test_the_lag_is_how_late_the_timer_comes(clock, tally):
    lag = Lag(clock, tally, "parent")
    lag.start()
    clock.advance(EVERY_S)
    clock.advance(EVERY_S + 0.3)
    lag.stop()
    lag.stop()

    cell = tally.spread(all_of.LAG).cells["parent",]
    assert (sum(cell[:-1]), round(cell[-1], 6)) == (2, 0.3)
    assert clock.getDelayedCalls() == []


def test_disks_are_looked_at_and_one_that_is_gone_is_left_out(tmp_path):
    disks = Disks(
        {"spool": tmp_path, "catalog": tmp_path / "file", "objects": tmp_path / "no" / "where"}, lambda size: size / 20
    )

    found = {(metric.name, labels): value for metric, labels, value in disks()}

    size = found["pipe_sftp_disk_size_bytes", ("spool",)]
    assert 0 < found["pipe_sftp_disk_free_bytes", ("spool",)] <= size
    assert ("pipe_sftp_disk_free_bytes", ("catalog",)) in found
    assert ("pipe_sftp_disk_free_bytes", ("objects",)) not in found
    assert found["pipe_sftp_disk_least_bytes", ()] == size / 20


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="there is no /proc")
def test_children_are_counted_and_one_that_has_just_ended_is_no_fault():
    children = Children({"door": lambda: [os.getpid(), 2**22 + 1], "worker": list})

    found = {(metric.name, labels): value for metric, labels, value in children()}

    assert found["pipe_sftp_children", ("door",)] == 2
    assert found["pipe_sftp_children_resident_memory_bytes", ("door",)] > 1 << 20
    assert found["pipe_sftp_children_cpu_seconds_total", ()] > 0
