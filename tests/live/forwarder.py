"""A load balancer for tests: passes connections on and begins each with a PROXY header, version 2 with a checksum.

Or nothing of that, and it keeps what was sent through it.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address

from conch_pipe.ssh.server.proxy_protocol import SIGNATURE, crc32c


def header(address: str, port: int) -> bytes:
    """What haproxy writes with ``send-proxy-v2 proxy-v2-options crc32c``."""
    body = ip_address(address).packed + bytes([127, 0, 0, 1]) + struct.pack(">HH", port, 2222)
    body += struct.pack(">BH", 3, 4) + bytes(4)
    blank = SIGNATURE + struct.pack(">BBH", 0x21, 0x11, len(body)) + body
    return blank[:-4] + crc32c(blank).to_bytes(4, "big")


@contextmanager
def forwarder(to_port: int, address: str | None, heard: list[bytearray] | None = None) -> Iterator[int]:
    """Listen on 127.0.0.1 and say that every client is ``address``; None: say nothing.

    :param heard: gets what each client sends, one after another.
    :returns: the port.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(target, *arguments: object) -> None:
        threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        threads[-1].start()

    def copy(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                kept += data
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, (_, port) = listening.accept()
                server = socket.create_connection(("127.0.0.1", to_port))
                ends.extend((client, server))
                if address is not None:
                    server.sendall(header(address, port))
                kept = bytearray()
                if heard is not None:
                    heard.append(kept)
                start(copy, client, server, kept)
                start(copy, server, client, bytearray())

    start(accept)
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
        for end in (listening, *ends):
            end.close()
