"""put, get, mkdir or rm with asyncssh; says what went wrong and exits with 1."""

import asyncio
import os
import sys

import asyncssh


async def main(verb: str, *arguments: str) -> None:
    async with (
        asyncssh.connect(
            os.environ["SFTP_HOST"],
            int(os.environ["SFTP_PORT"]),
            username=os.environ["SFTP_USERNAME"],
            password=os.environ["SFTP_PASSWORD"],
            known_hosts=None,
            client_keys=None,
            config=None,
        ) as connection,
        connection.start_sftp_client() as sftp,
    ):
        await {"put": sftp.put, "get": sftp.get, "mkdir": sftp.mkdir, "rm": sftp.remove}[verb](*arguments)


try:
    asyncio.run(main(*sys.argv[1:]))
except (OSError, asyncssh.Error) as error:
    sys.exit(f"{type(error).__name__}: {error}")
