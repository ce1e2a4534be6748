"""What the service needs is taken away while it runs: room, locks, files, workers. It says so and recovers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from conch_pipe.tap import REFUSED
from tests.crash.installation import LOST, SCHEMA, shifts, wait_for

pytestmark = pytest.mark.crash

ONE, TWO = shifts("one"), shifts("two")
ABORT = "import os\n\ndef transform(relation):\n    os.abort()\n"
DAWDLE = """
import os, pathlib, time

def transform(relation):
    gate = pathlib.Path({gate!r})
    (gate.parent / "pid").write_text(str(os.getpid()))
    while gate.exists():
        time.sleep(0.05)
    return relation
"""


def refusal(call, *arguments) -> str:
    """The server's words; a connection that is cut or silent is none."""
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert type(caught.value) is OSError, caught.value
    return str(caught.value)


@pytest.fixture
def disk(tmp_path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts a file system of a size like "1m" and gives its folder."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "pipe-sftp-test", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_refuses_the_write_and_gives_its_room_back(install, disk):
    """WRITE says "no space"; the file is gone at once, and the same session puts the next one."""
    small_disk = disk("1m")
    installation = install(spool__folder=small_disk)
    installation.launch().listening()

    with installation.session() as sftp:
        said = refusal(installation.put, sftp, "large.csv", shifts("large", 60_000))
        wait_for(lambda: not list(small_disk.iterdir()), "the part file's end")
        installation.put(sftp, "one.csv", ONE)

    assert "no space" in said
    installation.idle()
    assert [record.name for record in installation.records()] == ["one.csv"]
    installation.audit()
    assert list(small_disk.iterdir()) == []
    installation.stop()


def test_a_disk_full_of_everything_refuses_and_recovers(install, disk):
    """Catalog, copies, spool and warehouse on one disk that is full: no OK, no half, no blame; then room, and rows."""
    installation = install()
    whole = disk("64m")
    shutil.copytree(installation.state, whole / "state")
    shutil.rmtree(installation.state)
    installation.state.symlink_to(whole / "state")
    installation.launch().listening()
    installation.put_all({"one.csv": ONE})
    installation.idle()
    refused = []

    for number in range(12):  # from no room at all, 16 KiB more each time
        ballast = whole / "ballast"
        fill(ballast, number << 14)
        name = f"full{number}.csv"
        try:
            with installation.session() as sftp:
                installation.put(sftp, name, shifts(name))
        except LOST as error:
            if "no space" in str(error):
                refused.append(name)
        ballast.unlink()

    assert refused
    installation.put_all({"two.csv": TWO})
    assert {"one.csv", "two.csv"} <= installation.clients.acknowledged
    installation.idle()
    installation.stop()
    installation.launch().listening()
    installation.idle()
    installation.audit()
    assert installation.named(*refused) == []  # what was refused in words is never found afterwards
    assert "attempt" not in installation.log_text()  # waiting for room is no failed attempt of a file
    installation.stop()
    print(f"{len(refused)} of 12 refused, {len(installation.clients.acknowledged) - 2} accepted")


def fill(ballast: Path, but: int) -> None:
    """Take all the room of a disk but so many bytes."""
    with ballast.open("wb") as file:
        for size in (1 << 20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), bytes(size))
        os.ftruncate(file.fileno(), max(0, os.fstat(file.fileno()).st_size - but))


def test_a_catalog_held_by_another_process_refuses_the_close_in_time(install):
    """Also the login, which would write, comes through; afterwards everything is as before."""
    installation = install(catalog__busy_s=0.5)
    installation.launch().listening()
    holder = sqlite3.connect(installation.state / "catalog.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    with installation.session() as sftp:
        said = refusal(installation.put, sftp, "one.csv", ONE)
        holder.execute("ROLLBACK")
        holder.close()
        wait_for(lambda: not installation.parts() and not installation.objects(), "what the refused put leaves")
        assert installation.records() == []
        installation.put(sftp, "one.csv", ONE)

    assert "in use elsewhere" in said
    installation.idle()
    installation.audit()
    installation.stop()


def test_uploads_wait_for_a_warehouse_that_someone_has_open(install):
    """OK as ever; PENDING and one event; rows as soon as the file is let go."""
    installation = install()
    installation.launch().listening()
    installation.put_all({"one.csv": ONE})
    installation.idle()

    with duckdb.connect(str(installation.state / "warehouse.duckdb")):
        installation.put_all({"two.csv": TWO, "three.csv": shifts("three")})
        wait_for(lambda: "the analytics file is in use elsewhere" in installation.log_text(), "warehouse.busy")
        waiting = ["two.csv", "three.csv"]
        wait_for(lambda: {one.state for one in installation.named(*waiting)} == {"PENDING"}, "both PENDING")

    installation.idle()
    assert len(installation.clients.acknowledged) == 3
    assert installation.log_text().count("the analytics file is in use elsewhere") == 1
    installation.audit()
    installation.stop()


@pytest.mark.parametrize("fault", ["flipped", "missing"])
def test_a_raw_copy_that_was_damaged_before_processing_fails_and_can_be_sent_again(install, fault):
    """FAILED with words for the partner, an event for the operator, and no rows; no second attempt in vain."""
    installation = install(spool__small_bytes=0)
    installation.launch("C7:1").listening()
    installation.put_all({"one.csv": ONE})
    installation.dies()
    (copy,) = installation.objects().values()
    if fault == "flipped":
        damaged = bytearray(copy.read_bytes())
        damaged[-10] ^= 1
        copy.write_bytes(damaged)
    else:
        copy.unlink()

    installation.launch().listening()
    installation.idle()

    (record,) = installation.records()
    assert (record.state, record.rows) == ("FAILED", None)
    assert "copy of the file is damaged or gone" in (record.problem or "")
    assert f"the stored copy of upload {record.id} is damaged or gone" in installation.log_text()
    assert installation.loaded() == ({}, {})
    installation.put_all({"one.csv": ONE})
    installation.idle()
    assert [(one.state, one.rows) for one in installation.records()] == [("FAILED", None), ("COMPLETED", 3)]
    installation.stop()


def test_a_file_that_kills_its_worker_fails_alone(install):
    """Three workers die of it, then it is FAILED; the files put meanwhile are loaded."""
    installation = install(workers__count=2)
    installation.launch(program=installation.add_schema("poison", ABORT)).listening()

    with installation.session() as sftp:
        installation.put(sftp, "poison.csv", ONE, "poison")
        for number in range(5):
            installation.put(sftp, f"good{number}.csv", shifts(f"good{number}"))

    installation.idle()
    installation.audit(failed={"poison.csv"})
    (record,) = installation.named("poison.csv")
    assert "its worker died 3 times (killed by SIGABRT)" in (record.problem or "")
    assert installation.log_text().count("died: killed by SIGABRT") == 3
    installation.stop()


def test_a_second_service_on_one_state_is_refused_and_harms_nothing(install):
    """It ends with a status that systemd does not answer with another try; the first serves on."""
    installation = install()
    installation.launch().listening()
    first = installation.process

    status = installation.launch().process.wait(60)

    assert status == REFUSED
    assert "another service runs on" in installation.log_text()
    installation.process = first
    installation.put_all({"one.csv": ONE})
    installation.idle()
    assert installation.clients.acknowledged == {"one.csv"}
    installation.audit()
    installation.stop()


def test_all_mistakes_of_the_settings_are_told_at_once(install):
    installation = install()
    text = installation.config.read_text()
    installation.config.write_text(
        f'{text}\n[uploads]\nmax_bytes = "plenty"\n\n[kept]\ncopies_days = -1\n\n[no_such_section]\na = 1\n'
    )

    status = installation.launch().process.wait(60)

    assert status == REFUSED
    said = installation.log_text()
    assert "3 mistakes" in said
    for mistake in ("uploads.max_bytes", "kept.copies_days", "no_such_section"):
        assert mistake in said
    assert "Traceback" not in said


def half_of_one(installation, sftp):
    """A put of ONE that stands still after 60 bytes; its open file."""
    installation.clients.tried["one.csv"] = ONE
    file = sftp.open(f"/{SCHEMA}/one.csv", "wb")
    file.write(ONE[:60])
    file.flush()
    return file


def test_a_put_that_runs_at_sigterm_may_finish(install):
    """No new file begins, but this one ends with OK, the service with the signal, and its rows come after the start."""
    installation = install(service__drain_s=60)
    installation.launch().listening()

    with installation.session() as sftp:
        file = half_of_one(installation, sftp)
        installation.tell_to_stop()
        wait_for(lambda: "draining" in installation.log_text(), "the drain")
        said = refusal(sftp.open, f"/{SCHEMA}/late.csv", "wb")
        file.write(ONE[60:])
        file.flush()
        file.close()
        installation.clients.acknowledged.add("one.csv")

    assert "shutting down" in said
    installation.stop()
    installation.launch().listening()
    installation.idle()
    installation.audit()
    installation.stop()


def test_a_put_that_outlasts_the_drain_leaves_nothing(install):
    """SIGTERM with a client that sends no more: the service ends all the same."""
    installation = install(service__drain_s=0.5)
    installation.launch().listening()

    with installation.session() as sftp:
        half_of_one(installation, sftp)
        installation.stop()

    assert installation.parts() == []
    installation.launch().listening()
    installation.idle()
    installation.audit()
    assert installation.records() == []
    installation.stop()


def test_jobs_that_run_at_sigterm_are_released_for_the_next_start(install, tmp_path):
    """Their leases do not have to run out: with one of an hour, the next start does the work all the same."""
    gate = tmp_path / "gate"
    gate.touch()
    installation = install(runner__lease_s=3600)
    program = installation.add_schema("slow", DAWDLE.format(gate=str(gate)))
    installation.launch(program=program).listening()
    with installation.session() as sftp:
        installation.put(sftp, "one.csv", ONE, "slow")
    wait_for(lambda: [one.state for one in installation.records()] == ["PROCESSING"], "the job's begin")

    installation.stop()

    assert [one.state for one in installation.records()] == ["PENDING"]
    gate.unlink()
    installation.launch(program=program).listening()
    installation.idle()
    installation.audit()
    installation.stop()


def test_a_worker_killed_in_the_middle_of_a_file_is_replaced(install, tmp_path):
    """kill -9 from outside, twice: the third attempt completes."""
    gate = tmp_path / "gate"
    gate.touch()
    installation = install()
    program = installation.add_schema("slow", DAWDLE.format(gate=str(gate)))
    installation.launch(program=program).listening()
    with installation.session() as sftp:
        installation.put(sftp, "one.csv", ONE, "slow")
    wait_for(lambda: [one.state for one in installation.records()] == ["PROCESSING"], "the job's begin")

    killed = {""}
    for _ in range(2):
        worker = wait_for(lambda: {_read(tmp_path / "pid")} - killed, "a worker at work").pop()
        os.kill(int(worker), signal.SIGKILL)
        killed.add(worker)
    wait_for(lambda: {_read(tmp_path / "pid")} - killed, "a third worker at work")
    gate.unlink()

    installation.idle()
    installation.audit()
    assert installation.log_text().count("died: killed by SIGKILL") == 2
    installation.stop()


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
