"""The n-th fsync, fdatasync, pwrite or link of the running service fails: never OK after a failed step (I1, I26).

strace fails the calls in the service's own threads; its log says which file was meant. ``PIPE_DOSE=10`` goes on to the
12th call of each kind.
"""

from __future__ import annotations

import itertools
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.crash.installation import DOSE, LOST, Installation, shifts, wait_for

pytestmark = pytest.mark.crash

WRITES = "pwrite64,pwritev,pwritev2"  # the catalog's, and the spool's
CALLS = {"fsync": ["EIO"], "fdatasync": ["EIO", "ENOSPC"], WRITES: ["EIO", "ENOSPC"], "link,linkat": ["EIO"]}
WHEN = [*map(str, range(1, 3 + (DOSE - 1))), "1+"]  # strace counts for each thread; 1+: from the first call on, all
WAL = "catalog.sqlite-wal"
OURS = ("/spool/", "/objects")  # what is put passes these; the catalog's files have a verdict of their own


@contextmanager
def failing(installation: Installation, calls: str, error: str, when: str, path: Path | None = None) -> Iterator[Path]:
    """All threads of the service are under strace. :returns: its log.

    :param path: only calls on this file fail.
    """
    log = installation.folder / f"strace-{calls}-{error}-{when}"
    told = log.with_suffix(".told")
    only = () if path is None else ("-P", str(path))
    with told.open("wb") as stderr:
        tracer = subprocess.Popen(
            ["strace", "-f", "-y", "-p", str(installation.pid()), "-o", str(log), *only, "-e", f"trace={calls}",
             "-e", f"inject={calls}:error={error}:when={when}"], stderr=stderr,
        )  # fmt: skip
    try:
        wait_for(lambda: "attached" in told.read_text() or tracer.poll() is not None, "strace")
        if tracer.poll() is not None:
            pytest.skip(f"strace cannot trace here: {told.read_text().strip()}")
        yield log
    finally:
        tracer.send_signal(signal.SIGINT)  # it lets go of the service
        tracer.wait(60)


def failed(log: Path) -> list[str]:
    """The calls that were made to fail."""
    return [line for line in log.read_text().splitlines() if "(INJECTED)" in line]


def retried(log: Path) -> list[str]:
    """Part files that were synced again after a sync of theirs had failed."""
    bad: set[str] = set()
    again = []
    for line in log.read_text().splitlines():
        if (found := re.search(r"f(?:data)?sync\(\d+<([^>]*/spool/[^>]*)>", line)) is not None:
            if found[1] in bad:
                again.append(found[1])
            if "(INJECTED)" in line:
                bad.add(found[1])
    return again


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Sessions that are open."""
    with ExitStack() as stack:
        yield stack


NEEDED = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@NEEDED
@pytest.mark.timeout(120 + 60 * DOSE)
def test_a_put_is_never_acknowledged_after_a_call_it_needs_has_failed(install, stack):
    """One service goes through all failures; afterwards every account agrees."""
    installation = install(catalog__busy_s=1, spool__small_bytes=0)
    installation.launch().listening()
    hits = dict.fromkeys(CALLS, 0)

    for calls, when in itertools.product(CALLS, WHEN):
        for error in CALLS[calls]:
            # Logged in before: a catalog that cannot be written may not be readable either, and then refuses logins.
            sessions = [stack.enter_context(installation.session()) for _ in range(2)]
            with failing(installation, calls, error, when) as log:
                for number, sftp in enumerate(sessions):
                    name = f"{calls.partition(',')[0]}-{error}-{when.replace('+', 'on')}-{number}.csv"
                    before = len(failed(log))
                    try:
                        installation.put(sftp, name, shifts(name))
                    except LOST:
                        continue
                    meant = [line for line in failed(log)[before:] if any(folder in line for folder in OURS)]
                    assert not meant, f"{name} was acknowledged although this failed: {meant}"
            stack.close()
            hits[calls] += sum(any(folder in line for folder in OURS) for line in failed(log))
            assert retried(log) == []

    assert all(hits.values()), hits
    print(f"failed calls: {hits}; {len(installation.clients.acknowledged)} of {len(installation.clients.tried)} OK")
    installation.put_all({"after.csv": shifts("after")})
    assert "after.csv" in installation.clients.acknowledged
    installation.idle()
    installation.stop()
    installation.launch().listening()
    installation.idle()
    installation.audit()
    installation.stop()


@NEEDED
@pytest.mark.parametrize("call", ["fsync", "link,linkat"])
def test_a_small_file_whose_raw_copy_cannot_be_made_waits_with_its_bytes_in_the_catalog(install, call):
    """OK, since the bytes are durable; no attempt of the file's is lost, and its rows come when the disk is well."""
    installation = install()
    installation.launch().listening()

    folder = installation.state / "objects" if call == "fsync" else None  # strace finds no link by the folder it is in
    with failing(installation, call, "EIO", "1+", folder) as log, installation.session() as sftp:
        installation.put(sftp, "one.csv", shifts("one"))
        wait_for(lambda: failed(log), "a call that fails")
        wait_for(lambda: "waits: the raw copy cannot be made" in installation.log_text(), "the upload's delay")
        assert [len(row[0]) for row in installation.ask("SELECT content FROM contents")] == [len(shifts("one"))]

    installation.idle()
    installation.audit()
    installation.stop()


@NEEDED
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_a_commit_that_never_becomes_durable_is_not_answered(install, call):
    """The catalog's log cannot be written: no OK; no record seen before the restart is lost by it, nor half of one."""
    installation = install()
    installation.launch().listening()
    installation.put_all({"before.csv": shifts("before")})
    installation.idle()

    with installation.session() as sftp, failing(installation, call, "EIO", "1+", installation.state / WAL) as log:
        with pytest.raises(LOST):
            installation.put(sftp, "one.csv", shifts("one"))
        assert failed(log)

    installation.put_all({"two.csv": shifts("two")})
    assert installation.clients.acknowledged == {"before.csv", "two.csv"}
    installation.idle()
    seen = installation.records()
    installation.kill()
    installation.launch().listening()
    installation.idle()
    assert installation.records() == seen
    installation.audit()
    installation.stop()
