"""An SFTP server of paramiko's over a folder; prints its port. Arguments: folder, user, password, host key, bytes."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import paramiko

FOLDER, USER, PASSWORD, KEY, REKEY_BYTES = sys.argv[1:]


class Login(paramiko.ServerInterface):
    def check_auth_password(self, username, password):
        return paramiko.AUTH_SUCCESSFUL if (username, password) == (USER, PASSWORD) else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED


class Handle(paramiko.SFTPHandle):
    def stat(self):
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


class Folder(paramiko.SFTPServerInterface):
    def place(self, path):
        return str(Path(FOLDER) / path.lstrip("/"))

    def open(self, path, flags, attr):
        try:
            file = os.fdopen(os.open(self.place(path), flags, 0o600), "wb" if flags & os.O_WRONLY else "rb")
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        handle = Handle(flags)
        handle.filename, handle.readfile, handle.writefile = path, file, file
        return handle

    def stat(self, path):
        try:
            return paramiko.SFTPAttributes.from_stat(os.stat(self.place(path)))
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)


def serve(sock: socket.socket) -> None:
    transport = paramiko.Transport(sock)
    transport.add_server_key(paramiko.Ed25519Key.from_private_key_file(KEY))
    transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Folder)
    if int(REKEY_BYTES):
        transport.packetizer.REKEY_BYTES = int(REKEY_BYTES)
    transport.start_server(server=Login(), event=threading.Event())


listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
while True:
    serve(listening.accept()[0])
