"""Killed at any point of accept, claim and settle, the catalog holds all of it or nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from uuid import UUID

import pytest
from twisted.internet.task import Clock

from conch_pipe.catalog import Catalog, DirectDatabase
from conch_pipe.model import PushState, State
from tests.catalog.conftest import Bench, Pump

UPLOAD = "01a3185c-5000-7e3f-869f-9cbbd2e853db"

# A service's life in three steps, over the database with threads; says how far it was told to be done.
LIVE = f"""
import sys
from tests.catalog.conftest import COMPLETED, Bench, Pump
from conch_pipe.catalog import Database
from uuid import UUID
pump = Pump()
database = Database("sqlite:///" + sys.argv[1], pump.deliver)
database.open()
bench = Bench(database, pump)
bench.accept(bench.upload(id=UUID("{UPLOAD}")))
print("accepted", flush=True)
[job] = bench.claim()
print("claimed", flush=True)
bench.settle(job, COMPLETED)
print("settled", flush=True)
pump.result(database.close())
"""

# A recording's, in two steps.
DELIVER = """
import sys
from pathlib import Path
from tests.catalog.conftest import Bench, Pump, new_keys
from conch_pipe.catalog import Database
from conch_pipe.model import PushState, Report, Status
pump = Pump()
database = Database("sqlite:///" + sys.argv[1], pump.deliver)
database.open()
bench = Bench(database, pump, new_keys(Path(sys.argv[1]).parent))
bench.environment("north")
bench.recorded()
print("accepted", flush=True)
[job] = bench.claim_pushes()
refused = Report(Status.HOST_KEY_MISMATCH, "host_key", refused_key=b"key")
bench.attempt(job, PushState.GIVEN_UP, report=refused, disable="host_key")
print("settled", flush=True)
pump.result(database.close())
"""

# Claims until nothing is left, one job after the other.
CLAIM = """
import sys
from tests.catalog.conftest import COMPLETED, Bench, Pump
from conch_pipe.catalog import Database
pump = Pump()
database = Database("sqlite:///" + sys.argv[1], pump.deliver)
database.open()
bench = Bench(database, pump)
print("ready", flush=True)
sys.stdin.readline()
while jobs := bench.claim(2):
    for job in jobs:
        assert bench.settle(job, COMPLETED)
        print(job.subject)
pump.result(database.close())
"""


# The COMMIT's fsync fails while a reader has the database open too; then the power goes.
DOUBT = f"""
import os, sys, threading
from tests.catalog.conftest import Bench, Pump
from conch_pipe.catalog import Database
from conch_pipe.errors import PipeError
from uuid import UUID
pump = Pump()
database = Database("sqlite:///" + sys.argv[1], pump.deliver)
database.open()
bench = Bench(database, pump)
both = threading.Barrier(2)
for reading in [database.read(lambda connection: both.wait(20)) for _ in range(2)]:
    pump.result(reading)
try:
    bench.accept(bench.upload(id=UUID("{UPLOAD}")))
except PipeError as error:
    print(error.code.value, bench.result(bench.uploads.get(UUID("{UPLOAD}"))), flush=True)
os.kill(os.getpid(), 9)
"""


def can_inject() -> bool:
    """Whether strace is there and allowed to trace."""
    program = shutil.which("strace")
    return program is not None and subprocess.run([program, "true"], capture_output=True).returncode == 0


def reopened(path):
    """What the next start finds: the upload's state and the number of jobs alive."""
    database = DirectDatabase(f"sqlite:///{path}")
    database.open()
    pump, catalog = Pump(), Catalog(database, Clock())
    upload = pump.result(catalog.uploads.get(UUID(UPLOAD)))
    alive = pump.result(catalog.jobs.waiting()).get("ingest", 0)
    database.close()
    return upload and upload.state, alive


@pytest.mark.crash
@pytest.mark.parametrize(
    ("label", "told", "found"),
    [
        ("C5a", [], (None, 0)),
        ("C5b", [], (None, 0)),
        ("C5c", [], (None, 0)),
        ("C6", [], (State.PENDING, 1)),
        ("P1", ["accepted"], (State.PROCESSING, 1)),
        ("P9", ["accepted", "claimed"], (State.COMPLETED, 0)),
    ],
)
def test_a_kill_leaves_all_or_nothing(tmp_path, label, told, found):
    path = tmp_path / "catalog.sqlite"
    environment = os.environ | {"PIPE_CRASH": label}

    killed = subprocess.run([sys.executable, "-c", LIVE, str(path)], env=environment, capture_output=True, text=True)

    assert (killed.returncode, killed.stdout.split()) == (-9, told), killed.stderr
    assert reopened(path) == found


@pytest.mark.crash
@pytest.mark.parametrize(
    ("label", "told", "found"),
    [
        ("A1", [], None),
        ("A2", [], None),
        ("A3", [], (PushState.WAITING, 0, True, {"push": 1})),
        ("R7", ["accepted"], (PushState.WAITING, 0, True, {"push": 1})),
        ("", ["accepted", "settled"], (PushState.GIVEN_UP, 1, False, {"retention": 1})),
    ],
)
def test_a_kill_leaves_all_of_a_recording_or_of_an_attempt_or_nothing(tmp_path, label, told, found):
    """State, log, remote and the job that follows move together."""
    path = tmp_path / "catalog.sqlite"
    environment = os.environ | {"PIPE_CRASH": label}

    ended = subprocess.run([sys.executable, "-c", DELIVER, str(path)], env=environment, capture_output=True, text=True)

    assert (ended.returncode, ended.stdout.split()) == (-9 if label else 0, told), ended.stderr
    database = DirectDatabase(f"sqlite:///{path}")
    database.open()
    bench = Bench(database, Pump())
    recording = bench.result(bench.recordings.find("acme", "r1"))
    if recording is None:
        assert (found, bench.result(bench.jobs.waiting())) == (None, {})
    else:
        [push] = bench.result(bench.recordings.pushes(recording.uid))
        log, remote = bench.result(bench.pushes.log()), bench.result(bench.remotes.get("north"))
        assert (push.state, len(log), remote.enabled, bench.result(bench.jobs.waiting())) == found
    bench.result(database.close())


@pytest.mark.crash
@pytest.mark.skipif(not can_inject(), reason="needs strace to make an fsync fail")
@pytest.mark.parametrize("number", [1, 3])  # the writer's first commit syncs the WAL's header, the folder, the frames
def test_a_commit_whose_fsync_failed_reads_the_same_before_and_after_a_restart(tmp_path, number):
    """With a connection left open SQLite read "not there", and found the upload after the restart: a refused
    upload would have been processed."""
    path = tmp_path / "catalog.sqlite"
    assert reopened(path) == (None, 0)
    fail = [
        "strace",
        "-f",
        "-o",
        os.devnull,
        "-e",
        "trace=fdatasync",
        "-e",
        f"inject=fdatasync:error=EIO:when={number}",
    ]

    killed = subprocess.run([*fail, sys.executable, "-c", DOUBT, str(path)], capture_output=True, text=True)

    assert killed.stdout == "unknown_outcome None\n", killed.stderr
    assert reopened(path) == (None, 0)


def test_two_processes_claim_every_job_once(tmp_path):
    path = tmp_path / "catalog.sqlite"
    database = DirectDatabase(f"sqlite:///{path}")
    database.open()
    bench = Bench(database, Pump())
    uploads = [bench.accept() for _ in range(100)]
    database.close()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2

    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    claimed = Counter(line for process in processes for line in process.communicate()[0].split())

    assert [process.returncode for process in processes] == [0, 0]
    assert claimed == {str(upload.id): 1 for upload in uploads}
