"""asyncssh's SFTP server: ``asyncssh_server.py FOLDER USER PASSWORD``. Prints its port and serves until it is ended."""

import asyncio
import sys

import asyncssh

FOLDER, USER, PASSWORD = sys.argv[1:]


class Login(asyncssh.SSHServer):
    """Password only, one account."""

    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def kbdint_auth_supported(self):
        return False

    def validate_password(self, username, password):
        return (username, password) == (USER, PASSWORD)


async def main():
    acceptor = await asyncssh.create_server(
        Login,
        "127.0.0.1",
        0,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=FOLDER),
    )
    print(acceptor.get_port(), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
