"""A piece of a file as messages of a channel, read to where it is encrypted and sent from.

Buffers are shared by all connections: one is in use only from reading until the socket has taken it.

:source: RFC 4254 section 5.2.
"""

from __future__ import annotations

import os
from struct import Struct

from conch_pipe.ssh.transport.packets import Outgoing
from conch_pipe.ssh.transport.states import CHANNEL_DATA

_PACKET_HEAD = 5  # length and padding length
_DATA = Struct(">BLL")  # number, channel, size
_BEFORE = _PACKET_HEAD + _DATA.size
_USUAL = 2**18 + 2**14  # bytes: a WRITE of the usual size in its messages
_POOLED = 4

_pool: list[memoryview] = []


def of_file(
    outgoing: Outgoing, number: int, head: bytes, fd: int, offset: int, size: int, packet: int
) -> tuple[memoryview, list[memoryview]]:
    """CHANNEL_DATA messages with ``head`` and ``size`` bytes of a file, encrypted.

    :param number: the peer's of the channel.
    :param packet: bytes of data in one message.
    :returns: a buffer, for :func:`give_back` when all is sent; the messages, which lie in it.
    :raises OSError: from reading; nothing has been encrypted then.
    :raises EOFError: the file is too short; likewise.
    """
    total = len(head) + size
    sizes = [min(packet, total - at) for at in range(0, total, packet)]
    extent = outgoing.extent(_DATA.size + packet)
    buffer = _take(extent * len(sizes))
    places = []  # of the data of each message
    for index, piece in enumerate(sizes):
        at = index * extent
        _DATA.pack_into(buffer, at + _PACKET_HEAD, CHANNEL_DATA, number, piece)
        places.append(buffer[at + _BEFORE : at + _BEFORE + piece])
    _lay(head, places)
    try:
        if os.preadv(fd, places, offset) != size:
            raise EOFError
    except (OSError, EOFError):
        give_back(buffer)
        raise
    # Nothing goes wrong from here on: packets are numbered as they are sealed.
    sealed = []
    for index, piece in enumerate(sizes):
        slot = buffer[index * extent : (index + 1) * extent]
        sealed.append(slot[: outgoing.seal(slot, _DATA.size + piece)])
    return buffer, sealed


def give_back(buffer: memoryview) -> None:
    """It may be used again."""
    if len(_pool) < _POOLED:
        _pool.append(buffer)


def _take(size: int) -> memoryview:
    if _pool and len(_pool[-1]) >= size:
        return _pool.pop()
    return memoryview(bytearray(max(size, _USUAL)))


def _lay(head: bytes, places: list[memoryview]) -> None:
    """Write ``head`` where the data begins, and leave in ``places`` what is behind it."""
    while head:
        first = places[0]
        part = min(len(head), len(first))
        first[:part] = head[:part]
        head = head[part:]
        if part == len(first):
            del places[0]
        else:
            places[0] = first[part:]
