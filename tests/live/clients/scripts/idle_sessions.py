"""Opens many logged-in SFTP sessions that do nothing: says "ready", then leaves when its input ends."""

import asyncio
import os
import sys

import asyncssh

AT_ONCE = 8


async def main(count: int) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one():
        async with gate:
            connection = await asyncssh.connect(
                os.environ["SFTP_HOST"],
                int(os.environ["SFTP_PORT"]),
                username=os.environ["SFTP_USERNAME"],
                password=os.environ["SFTP_PASSWORD"],
                known_hosts=None,
                client_keys=None,
                config=None,
            )
            sftp = await connection.start_sftp_client()
            await sftp.realpath(".")
            return connection, sftp

    sessions = await asyncio.gather(*(one() for _ in range(count)))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for _, sftp in sessions:  # each is still alive
        await sftp.realpath(".")
    print("alive", flush=True)
    for connection, _ in sessions:
        connection.close()


asyncio.run(main(int(sys.argv[1])))
