"""A client to measure: ``push_client.py WHO PORT USER PASSWORD|KEYFILE big LOCAL REMOTE CIPHER``, or
``… groups COUNT AT_ONCE REMOTE``. WHO is ours or asyncssh. Prints seconds and CPU seconds; login not counted for big.

A group is: connect, log in, put four files of 2 KB at once, leave.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

FILES, BYTES = 4, 2048
HOST = "127.0.0.1"


def cpu_s() -> float:
    times = os.times()
    return times.user + times.system


async def timed(work: Callable[[], Awaitable[object]]) -> dict[str, float]:
    began, cpu = time.perf_counter(), cpu_s()
    await work()
    return {"seconds": time.perf_counter() - began, "cpu": cpu_s() - cpu}


class Ours:
    """This project's client."""

    def __init__(self, port: int, user: str, secret: str) -> None:
        from twisted.conch.ssh.keys import Key
        from twisted.internet import reactor

        from conch_pipe.ssh.client.auth import Credentials

        self.reactor = reactor
        self.port = port
        by_key = os.path.exists(secret)
        key = Key.fromFile(secret) if by_key else None
        self.credentials = Credentials(user.encode(), None if by_key else secret.encode(), key)
        self.pinned = ()

    def verify(self, blob: bytes, algorithm: bytes) -> bool:
        return True

    def run(self, work: Callable[[], Awaitable[object]]) -> Any:
        from twisted.internet.task import react

        found = []

        async def main(_: object) -> None:
            found.append(await work())

        from twisted.internet.defer import ensureDeferred

        try:
            react(lambda reactor: ensureDeferred(main(reactor)))
        except SystemExit as done:
            if done.code:
                raise
        return found[0]

    async def connect(self, cipher: str = "") -> Any:
        from conch_pipe.ssh.client.connecting import connect
        from conch_pipe.ssh.transport.algorithms import CLIENT

        algorithms = CLIENT["default-2026"]
        if cipher:
            algorithms = replace(algorithms, ciphers=(cipher.encode(),))
        return await connect(self.reactor, self.endpoint(), self.credentials, self, algorithms)

    def endpoint(self) -> Any:
        from conch_pipe.ssh.client.connecting import endpoint

        return endpoint(self.reactor, HOST, self.port)

    async def big(self, local: str, remote: str, cipher: str) -> dict[str, float]:
        session = await self.connect(cipher)
        fd = os.open(local, os.O_RDONLY)
        found = await timed(lambda: session.sftp.put(fd, remote.encode()))
        os.close(fd)
        await session.close()
        return found

    async def group(self, fds: list[int], remote: str, number: int) -> None:
        from twisted.internet.defer import gatherResults

        session = await self.connect()
        puts = [session.sftp.put(fd, f"{remote}-{number % 16}-{one}".encode()) for one, fd in enumerate(fds)]
        await gatherResults(puts, consumeErrors=True)
        await session.close()

    async def together(self, workers: list[Any]) -> None:
        from twisted.internet.defer import ensureDeferred, gatherResults

        await gatherResults([ensureDeferred(worker) for worker in workers], consumeErrors=True)


class Asyncssh:
    """asyncssh with its own defaults."""

    def __init__(self, port: int, user: str, secret: str) -> None:
        login = {"client_keys": [secret]} if os.path.exists(secret) else {"password": secret, "client_keys": None}
        self.options = {
            "port": port,
            "username": user,
            "known_hosts": None,
            "config": None,
            "agent_path": None,
            **login,
        }

    def run(self, work: Callable[[], Awaitable[object]]) -> Any:
        return asyncio.run(work())  # type: ignore[arg-type]

    async def big(self, local: str, remote: str, cipher: str) -> dict[str, float]:
        import asyncssh

        more = {"encryption_algs": [cipher]} if cipher else {}
        async with asyncssh.connect(HOST, **self.options, **more) as connection:
            async with connection.start_sftp_client() as sftp:
                return await timed(lambda: sftp.put(local, remote))

    async def group(self, fds: list[int], remote: str, number: int) -> None:
        import asyncssh

        async def put(sftp: Any, fd: int, name: str) -> None:
            async with sftp.open(name, "wb") as file:
                await file.write(os.pread(fd, BYTES, 0))

        async with asyncssh.connect(HOST, **self.options) as connection:
            async with connection.start_sftp_client() as sftp:
                names = [f"{remote}-{number % 16}-{one}" for one in range(len(fds))]
                await asyncio.gather(*(put(sftp, fd, name) for fd, name in zip(fds, names, strict=True)))

    async def together(self, workers: list[Any]) -> None:
        await asyncio.gather(*workers)


async def groups(client: Any, count: int, at_once: int, remote: str) -> dict[str, float]:
    """So many groups, some at once."""
    numbers = iter(range(count))
    fds = small_files()
    await client.group(fds, remote, 0)

    async def worker() -> None:
        for number in numbers:
            await client.group(fds, remote, number)

    return await timed(lambda: client.together([worker() for _ in range(at_once)]))


def small_files() -> list[int]:
    """Four open files without names."""
    fds = []
    for _ in range(FILES):
        with tempfile.TemporaryFile() as file:
            file.write(b"x" * BYTES)
            file.flush()
            fds.append(os.dup(file.fileno()))
    return fds


def main() -> None:
    who, port, user, secret, what, *words = sys.argv[1:]
    client = {"ours": Ours, "asyncssh": Asyncssh}[who](int(port), user, secret)
    if what == "big":
        local, remote, cipher = words
        found = client.run(lambda: client.big(local, remote, cipher))
    else:
        count, at_once, remote = words
        found = client.run(lambda: groups(client, int(count), int(at_once), remote))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
