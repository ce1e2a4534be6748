"""What the intake costs, without a door: ``python -m tests.bench.intake [folder]``.

Large: 32 KiB chunks through IUpload.write and finish, held back while ``lagging`` as a door does. Small: begin, write
and finish of 2 KB, sixteen at a time. Objects link the part file and the catalog answers at once; fsync is real.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import react
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from conch_pipe.intake.intake import Intake, Limits
from conch_pipe.model import Client, Peer, Upload

CHUNK = memoryview(os.urandom(32 << 10))
LARGE = 3200 * len(CHUNK)  # 100 MB
CLIENT = Client("bench", "bench", frozenset({"s"}), Peer("127.0.0.1", 1))


class LinkingObjects:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, key: str, path: Path, sha256: bytes) -> Deferred[None]:
        os.link(path, self.folder / key.replace("/", "-"))
        return succeed(None)


class InstantUploads:
    def accept(self, upload: Upload, job: Any, **how: Any) -> Deferred[Upload]:
        return succeed(upload)


class Deaf:
    def note(self, kind: Any, **fields: Any) -> None:
        pass


async def large(intake: Intake, rounds: int) -> None:
    for _ in range(rounds):
        wall, cpu, writing = time.perf_counter(), time.process_time(), 0.0
        upload = intake.begin(CLIENT, "s", "a.csv", door="cli")
        for offset in range(0, LARGE, len(CHUNK)):
            began = time.perf_counter()
            upload.write(offset, CHUNK)
            writing += time.perf_counter() - began
            if upload.lagging:
                await upload.caught_up()
        closing = time.perf_counter()
        await upload.finish()
        done = time.perf_counter()
        await intake.drain_for_bench()
        gb = LARGE / 1e9
        print(
            f"large: {gb / (done - wall):.2f} GB/s, writes alone {gb / writing:.2f} GB/s, "
            f"{(time.process_time() - cpu) / gb:.2f} CPU s/GB, close {(done - closing) * 1e3:.0f} ms"
        )


async def one_small(intake: Intake) -> None:
    upload = intake.begin(CLIENT, "s", "a.csv", door="cli")
    upload.write(0, CHUNK[:2048])
    await upload.finish()


async def small(intake: Intake, count: int, at_once: int) -> None:
    async def several() -> None:
        for _ in range(count // at_once):
            await one_small(intake)

    wall, cpu = time.perf_counter(), time.process_time()
    await gatherResults([Deferred.fromCoroutine(several()) for _ in range(at_once)])
    seconds, used = time.perf_counter() - wall, time.process_time() - cpu
    print(f"small: {count / seconds:.0f} files/s, {at_once} at once, {used / count * 1e6:.0f} us CPU each")


async def main(folder: Path) -> None:
    pool = ThreadPool(2, 8, "intake")
    pool.start()
    (folder / "objects").mkdir()
    intake = BenchIntake(
        folder,
        LinkingObjects(folder / "objects"),
        InstantUploads(),
        Deaf(),
        reactor,
        partial(deferToThreadPool, reactor, pool),
        {"s": object()},
        Limits(free_bytes=0, free_share=0, free_inodes_share=0),
        check_ends=None,
    )
    try:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await large(intake, 4)
        print(f"peak memory grew by {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before} KiB")
        await small(intake, 1000, 1)
        await small(intake, 4000, 16)
    finally:
        pool.stop()


class BenchIntake(Intake):
    async def drain_for_bench(self) -> None:
        """Wait until the last part file is gone, so that a round pays for its own tidying."""
        await self.drain()
        self._draining = False


if __name__ == "__main__":
    place = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        react(lambda _: Deferred.fromCoroutine(main(place)))
    finally:
        shutil.rmtree(place)
