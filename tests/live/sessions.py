"""A paramiko session inside the test, for what no command line shows: listings, two connections, protocol replays."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko
import pytest

from tests.live.clients import Target


@contextmanager
def connected(target: Target) -> Iterator[paramiko.Transport]:
    """A logged-in connection."""
    with socket.create_connection((target.host, target.port), timeout=10) as sock:
        transport = paramiko.Transport(sock)
        try:
            transport.connect(username=target.username, password=target.password)
            yield transport
        finally:
            transport.close()


@contextmanager
def session(target: Target) -> Iterator[paramiko.SFTPClient]:
    """One SFTP channel on a connection of its own."""
    with connected(target) as transport:
        yield channel(transport)


def channel(transport: paramiko.Transport) -> paramiko.SFTPClient:
    """A further SFTP channel on a connection; waits 20 s at most for any answer."""
    sftp = paramiko.SFTPClient.from_transport(transport)
    assert sftp is not None
    sftp.get_channel().settimeout(20)
    return sftp


def put(sftp: paramiko.SFTPClient, path: str, content: bytes, flags: str = "wb") -> None:
    """OPEN, WRITE, CLOSE, and nothing else; a refused CLOSE is raised (paramiko's own ``close`` swallows it)."""
    file = sftp.open(path, flags)
    file.write(content)
    file.flush()
    handle, file._closed = file.handle, True
    sftp._request(paramiko.sftp.CMD_CLOSE, handle)


def refused(call, *arguments) -> str:
    """The server's words when it refuses ``call``."""
    with pytest.raises(OSError) as caught:
        call(*arguments)
    return str(caught.value)
