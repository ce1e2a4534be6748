"""Real worker processes, killed and abused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher

from conch_pipe.errors import Code, PipeError, WorkerDied
from conch_pipe.events import Events
from conch_pipe.formats.schema import shipped
from conch_pipe.formats.verdicts import from_json
from conch_pipe.processing.checks import CHECK
from conch_pipe.processing.workers import WorkerLimits, Workers

HERE = "tests.processing.functions"
ROOT = Path(__file__).parents[2]


def run(workers: Workers, name: str, wall_s: float = 20, **arguments):
    return workers.call(f"{HERE}:{name}", arguments, wall_s=wall_s)


async def failing(deferred: Deferred) -> Exception:
    with pytest.raises((PipeError, WorkerDied)) as caught:
        await deferred
    return caught.value


async def until(condition, seconds: float = 20):
    """Let the reactor turn until something is true; a process's end has no other sign."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await deferLater(reactor, 0.01)


class Pool:
    """Workers with their events; ``made`` starts and stops them around a test."""

    def __init__(self) -> None:
        self.heard = []
        self.made: list[Workers] = []

    def start(self, count: int = 1, **limits) -> Workers:
        workers = Workers(reactor, count, WorkerLimits(**limits), Events((self.heard.append,)), modules=[HERE])
        self.made.append(workers)
        workers.start()
        return workers

    def deaths(self) -> list[str]:
        return [event.fields["reason"] for event in self.heard if event.kind.name == "worker.died"]


@pytest.fixture
def pool():
    pool = Pool()
    yield pool
    for workers in pool.made:
        pids = workers.pids
        pytest_twisted.blockon(workers.stop())
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


@pytest_twisted.ensureDeferred
async def test_two_hundred_calls_come_back_each_with_its_own_answer(pool):
    workers = pool.start(2)

    answers = await gatherResults([run(workers, "echo", number=number) for number in range(200)])

    assert [answer["number"] for answer in answers] == list(range(200))
    assert pool.deaths() == []


@pytest_twisted.ensureDeferred
async def test_calls_start_in_the_order_they_were_made(pool, tmp_path):
    workers = pool.start(1)
    ended: list[int] = []

    calls = [run(workers, "echo", n=n).addCallback(lambda answer: ended.append(answer["n"])) for n in range(20)]
    await gatherResults(calls)

    assert ended == list(range(20))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("abort", "killed by SIGABRT"),
        ("crash", "killed by SIGSEGV"),
        ("leave", "exit code 7"),
        ("flood", "it sent a line too long"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_function_that_takes_the_process_down_fails_only_its_own_call(pool, name, reason):
    workers = pool.start(1)

    poison = run(workers, name)
    innocent = run(workers, "echo", fine=True)
    error = await failing(poison)

    assert isinstance(error, WorkerDied)
    assert str(error) == reason
    assert await innocent == {"fine": True}
    assert pool.deaths() == [reason]


@pytest.mark.parametrize(
    "line",
    [
        "}{ garbage",
        "[" * 100_000,
        "{}",
        "[]",
        "null",
        '{"ready": true}',
        '{"id": 7, "rss": 1, "result": {}}',
        '{"id": 1, "rss": 1, "result": []}',
        '{"id": 1, "rss": "much", "result": {}}',
        '{"id": 1, "rss": 1, "error": {}}',
        '{"id": 1, "rss": 1, "error": {"code": "fine", "message": "", "detail": ""}}',
        '{"id": 1, "rss": 1, "error": "text"}',
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_function_that_breaks_the_protocol_ends_its_worker_and_its_call(pool, line):
    workers = pool.start(1)

    error = await failing(run(workers, "garble", line=line))

    assert str(error) == "it broke the protocol"
    assert await run(workers, "echo", fine=True) == {"fine": True}


@pytest_twisted.ensureDeferred
async def test_a_worker_killed_from_outside_is_replaced(pool):
    workers = pool.start(1)
    first = (await run(workers, "pid"))["pid"]

    call = run(workers, "sleep", seconds=30)
    os.kill(first, signal.SIGKILL)
    error = await failing(call)

    assert str(error) == "killed by SIGKILL"
    assert (await run(workers, "pid"))["pid"] != first


@pytest_twisted.ensureDeferred
async def test_a_call_that_sleeps_past_its_wall_limit_is_killed(pool):
    workers = pool.start(1)
    await run(workers, "echo")

    began = time.monotonic()
    error = await failing(run(workers, "sleep", wall_s=0.2, seconds=30))

    assert isinstance(error, WorkerDied)
    assert str(error) == "out of time"
    assert time.monotonic() - began < 5


@pytest_twisted.ensureDeferred
async def test_a_call_that_burns_its_cpu_seconds_is_out_of_time(pool):
    workers = pool.start(1, cpu_s=0.2)

    error = await failing(run(workers, "spin", wall_s=30))

    assert str(error) == "out of time"


@pytest_twisted.ensureDeferred
async def test_cpu_seconds_are_counted_for_each_call(pool):
    """A worker that has served for long is not killed for the sum of its calls."""
    workers = pool.start(1, cpu_s=1)
    first = (await run(workers, "pid"))["pid"]

    for _ in range(3):
        await run(workers, "burn", seconds=0.4)

    assert (await run(workers, "pid"))["pid"] == first


@pytest_twisted.ensureDeferred
async def test_a_call_that_takes_too_much_memory_fails_and_the_next_one_works(pool):
    workers = pool.start(1, memory_bytes=512 << 20)

    error = await failing(run(workers, "hog"))

    assert isinstance(error, WorkerDied) or error.message == "the file needs more memory than allowed"
    assert await run(workers, "echo", fine=True) == {"fine": True}


@pytest_twisted.ensureDeferred
async def test_duckdb_works_below_the_memory_limit_of_the_process(pool, tmp_path):
    """The address space of one worker holds DuckDB 2.0 at memory_limit 512MB, spilling to disk."""
    workers = pool.start(1)

    answer = await run(workers, "distinct", rows=3_000_000, memory_limit="512MB", folder=str(tmp_path))

    assert answer == {"rows": 3_000_000}


SHIFTS = """shift_id,store_id,employee_id,starts_at,ends_at,status
1,s1,e1,2026-03-01 08:00,2026-03-01 16:00,planned
2,s1,e2,2026-03-01 08:00,{end},planned
"""


@pytest.mark.parametrize(("end", "rows", "problems"), [("2026-03-01 16:00", 2, 0), ("soon", 0, 1)])
@pytest_twisted.ensureDeferred
async def test_a_file_is_checked_against_a_shipped_schema_under_all_limits(pool, tmp_path, end, rows, problems):
    """The real ``check_file`` in a real worker: the seam of two rooms."""
    raw, parquet = tmp_path / "raw", tmp_path / "rows.parquet"
    raw.write_text(SHIFTS.format(end=end))
    schema = shipped() / "orgShifts.toml"
    workers = pool.start(1)

    found = await workers.call(
        CHECK,
        {
            "schema_text": schema.read_text(),
            "schema_name": "orgShifts",
            "path": str(raw),
            "name": "a.csv",
            "sha256": hashlib.sha256(raw.read_bytes()).hexdigest(),
            "parquet": str(parquet),
            "limits": {},
        },
        wall_s=20,
    )

    verdict = from_json(found)
    assert (verdict.rows, verdict.problem_count, verdict.accepted) == (rows, problems, not problems)
    assert parquet.exists() is verdict.accepted


@pytest_twisted.ensureDeferred
async def test_what_a_function_prints_goes_to_the_log_and_not_into_the_protocol(pool):
    workers = pool.start(1)
    lines: list[str] = []
    observer = lambda event: lines.append(formatEvent(event))  # noqa: E731
    globalLogPublisher.addObserver(observer)

    answer = await run(workers, "say")
    await until(lambda: sum("forged" in line for line in lines) == 101)
    globalLogPublisher.removeObserver(observer)

    assert answer == {"read": ""}
    assert any(line.startswith(f"worker {workers.pids[0]}: ") for line in lines)


@pytest.mark.parametrize(
    ("name", "arguments", "code", "message"),
    [
        ("refuse", {}, Code.BAD_FILE, "the header has no column id"),
        ("divide", {}, Code.FAILED, "internal error"),
        ("unsendable", {}, Code.FAILED, "internal error"),
        ("fail", {"errno": errno.ENOSPC}, Code.NO_SPACE, "no space left for work files"),
        ("fail", {"errno": errno.ENOMEM}, Code.FAILED, "the file needs more memory than allowed"),
        ("fail", {"errno": errno.EIO}, Code.FAILED, "internal error"),
        ("nothing", {}, Code.FAILED, "internal error"),
        ("absent", {}, Code.FAILED, "internal error"),
        ("long", {"bytes": 5 << 20}, Code.FAILED, "internal error"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_exception_crosses_the_pipe_and_the_worker_lives(pool, name, arguments, code, message):
    workers = pool.start(1)
    before = (await run(workers, "pid"))["pid"]

    error = await failing(run(workers, name, **arguments))

    assert (error.code, error.message) == (code, message)
    assert error.detail
    assert (await run(workers, "pid"))["pid"] == before


@pytest_twisted.ensureDeferred
async def test_arguments_too_long_for_the_pipe_are_refused_at_once(pool):
    workers = pool.start(1)

    error = await failing(run(workers, "echo", text="x" * (4 << 20)))

    assert error.code is Code.FAILED


@pytest_twisted.ensureDeferred
async def test_a_megabyte_crosses_the_pipe_both_ways(pool):
    """The largest schema file does, as a request."""
    workers = pool.start(1)
    text = 'column = "é"\n' * 80_000

    assert await run(workers, "echo", text=text) == {"text": text}


@pytest_twisted.ensureDeferred
async def test_a_worker_is_replaced_after_its_number_of_calls(pool):
    workers = pool.start(1, calls=3)

    pids = [(await run(workers, "pid"))["pid"] for _ in range(7)]

    assert [len(set(pids[:3])), len(set(pids[3:6])), len(set(pids))] == [1, 1, 3]
    assert pool.deaths() == []


@pytest_twisted.ensureDeferred
async def test_a_worker_that_stays_big_is_replaced(pool):
    workers = pool.start(1, resting_bytes=80 << 20)

    big = (await run(workers, "keep", bytes=100 << 20))["pid"]

    assert (await run(workers, "pid"))["pid"] != big
    assert pool.deaths() == []


@pytest_twisted.ensureDeferred
async def test_a_worker_sees_nothing_of_our_environment_but_the_crash_points(pool, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/operator/transformers")
    monkeypatch.setenv("PIPE_SFTP_SECRET", "kanarek")
    monkeypatch.setenv("PIPE_CRASH", "X9")
    workers = pool.start(1)

    seen = await run(workers, "surroundings")

    assert set(seen["environment"]) <= {"LC_ALL", "TZ", "MALLOC_ARENA_MAX", "PYTHONPATH", "PIPE_CRASH"}
    assert seen["environment"]["PIPE_CRASH"] == "X9"
    assert seen["environment"]["PYTHONPATH"].split(":") == [str(ROOT), "/operator/transformers"]
    assert (seen["umask"], seen["folder_on_path"]) == (0o077, False)


@pytest_twisted.ensureDeferred
async def test_a_crash_point_kills_a_worker_once_and_not_its_replacement(pool, monkeypatch):
    monkeypatch.setenv("PIPE_CRASH", "P5:2")
    workers = pool.start(1)

    assert await run(workers, "pass_by", label="P5") == {}
    assert str(await failing(run(workers, "pass_by", label="P5"))) == "killed by SIGKILL"
    assert [await run(workers, "pass_by", label="P5") for _ in range(3)] == [{}, {}, {}]


@pytest_twisted.ensureDeferred
async def test_signals_for_the_whole_group_do_not_reach_a_call(pool):
    """Ctrl-C and systemd's SIGTERM go to the workers too; a drain lets them finish."""
    workers = pool.start(1)
    pid = (await run(workers, "pid"))["pid"]

    call = run(workers, "sleep", seconds=0.2)
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)

    assert await call == {}


@pytest_twisted.ensureDeferred
async def test_stop_fails_what_is_waiting_and_reaps_all(pool):
    workers = pool.start(2)
    await gatherResults([run(workers, "echo"), run(workers, "echo")])
    calls = [run(workers, "sleep", seconds=30) for _ in range(4)]
    pids = workers.pids

    await workers.stop()
    errors = [await failing(call) for call in calls]

    assert {str(error) for error in errors} == {"the workers are stopped"}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert isinstance(await failing(run(workers, "echo")), WorkerDied)


@pytest_twisted.ensureDeferred
async def test_cancelling_a_call_frees_its_worker(pool):
    workers = pool.start(1)
    await run(workers, "echo")
    running = run(workers, "sleep", seconds=30)
    queued = run(workers, "sleep", seconds=30)
    for call in (running, queued):
        call.addErrback(lambda failure: None)

    queued.cancel()
    running.cancel()

    assert await run(workers, "echo", fine=True) == {"fine": True}
    assert pool.deaths() == []


@pytest_twisted.ensureDeferred
async def test_when_no_worker_can_start_calls_are_told_to_come_again(monkeypatch):
    """A broken installation is no fault of the files that wait."""
    workers = Workers(reactor, 1, WorkerLimits(), Events(), modules=["no_such_module"])
    monkeypatch.setattr("conch_pipe.processing.workers.restart_delay", lambda deaths: 0.0)
    workers.start()

    error = await failing(run(workers, "echo"))
    await workers.stop()

    assert error.code is Code.BUSY


def orphan(tmp_path: Path, kill: str) -> int:
    """Start a parent with a sleeping worker, end the parent; :returns: the pid of the worker."""
    flag = tmp_path / "flag"
    config = {"memory_bytes": 1 << 30, "files": 64, "nice": 0, "cpu_s": 10, "modules": []}
    request = {"id": 1, "function": f"{HERE}:sleep", "arguments": {"seconds": 60, "flag": str(flag)}}
    program = f"""
import json, os, subprocess, sys, time
config = {config!r} | {{"parent": os.getpid()}}
child = subprocess.Popen([sys.executable, "-m", "conch_pipe.processing.child", json.dumps(config)],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write({json.dumps(request).encode()!r} + b"\\n")
child.stdin.flush()
while not os.path.exists({str(flag)!r}) or not os.path.getsize({str(flag)!r}): time.sleep(0.01)
{kill}
child.wait()
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=30)
    return int(flag.read_text())


@pytest.mark.parametrize("kill", ["child.stdin.close()", "os.kill(os.getpid(), 9)"])
def test_a_worker_ends_with_its_parent_also_in_the_middle_of_a_call(tmp_path, kill):
    began = time.monotonic()

    pid = orphan(tmp_path, kill)
    while Path(f"/proc/{pid}/statm").exists() and Path(f"/proc/{pid}/statm").read_text().split()[0] != "0":
        assert time.monotonic() - began < 20
        time.sleep(0.01)

    assert time.monotonic() - began < 20
