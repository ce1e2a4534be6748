"""put, get, mkdir or rm with asyncssh; says what went wrong and exits with 1."""

import asyncio
import os
import sys

import asyncssh


def terms() -> dict[str, object]:
    """What the environment says of cipher, MAC and re-keying; nothing: asyncssh's defaults."""
    told: dict[str, object] = {}
    if os.environ.get("SFTP_CIPHER"):
        told["encryption_algs"] = [os.environ["SFTP_CIPHER"]]
    if os.environ.get("SFTP_MAC"):
        told["mac_algs"] = [os.environ["SFTP_MAC"]]
    if int(os.environ.get("SFTP_REKEY_BYTES") or 0):
        told["rekey_bytes"] = int(os.environ["SFTP_REKEY_BYTES"])
    return told


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
            **terms(),
        ) as connection,
        connection.start_sftp_client() as sftp,
    ):
        await {"put": sftp.put, "get": sftp.get, "mkdir": sftp.mkdir, "rm": sftp.remove}[verb](*arguments)


try:
    asyncio.run(main(*sys.argv[1:]))
except (OSError, asyncssh.Error) as error:
    sys.exit(f"{type(error).__name__}: {error}")
