"""SFTP requests out of a stream of bytes, with the data of WRITEs passed on as it comes.

Sans-IO. A WRITE of 255 KiB arrives in many pieces: they are handed over as views of what came, without waiting for the
rest and without a copy. All other requests are handed over whole. Knows no file and answers nothing.

:source: draft-ietf-secsh-filexfer-02 sections 3 and 6.4.
"""

from __future__ import annotations

import struct
from typing import Protocol

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.sftp.wire import SMALLEST_PACKET, Type

_HEAD = struct.Struct(">LBLL")  # length, type, request, length of the handle
_PLACE = struct.Struct(">QL")  # offset, length of the data
_LONGEST_HANDLE = 256
_WRITE = int(Type.WRITE)


class Requests(Protocol):
    """Who takes the requests."""

    def request(self, packet: memoryview) -> None:
        """One packet from its type on; the view is good until the return."""

    def write_begins(self, request: int, handle: bytes, offset: int, size: int) -> bool:
        """The head of a WRITE has come.

        :param size: bytes of data, 1 or more, all within the packet.
        :returns: whether the data is wanted as it comes; else the packet will be given whole.
        """

    def write_data(self, data: memoryview) -> None:
        """The next piece; the view is good until the turn ends."""

    def write_ends(self) -> None:
        """All of it has come."""


class RequestStream:
    """Cuts the stream into requests.

    :param longest: bytes a length field may name.
    """

    def __init__(self, longest: int, requests: Requests) -> None:
        self._longest = longest
        self._requests = requests
        self._held = bytearray()  # the beginning of a packet, or what nobody wanted to look at yet
        self._at = 0  # so much of it has been handed over
        self._data = 0  # bytes of data that are still to come of the WRITE under way
        self._tail = 0  # bytes to skip behind them
        self.stopped = False  # hand over nothing more for now; what comes is kept

    def __len__(self) -> int:
        return len(self._held) - self._at

    def feed(self, data: bytes | memoryview) -> None:
        """Take what came.

        :raises Malformed: a length that cannot be: the stream cannot be followed any more.
        """
        view, size = memoryview(data), len(data)
        if 0 < size <= self._data and not (self.stopped or self._held):  # of a WRITE under way, as nearly always
            self._data -= size
            self._requests.write_data(view)
            if not self._data:
                self._requests.write_ends()
            return
        at = 0
        if self._held and not self.stopped:
            at = self._join(view)
        if self.stopped or self._held:
            self._keep(view[at:])
            return
        at = self._cut(view, at)
        if at < size:
            self._held += view[at:]

    def go_on(self) -> None:
        """Look again at what was kept while ``stopped``.

        :raises Malformed: as :meth:`feed`.
        """
        held = self._held
        at = self._cut(memoryview(held), self._at)
        if at == len(held):
            self._held, self._at = bytearray(), 0
        elif at > len(held) // 2:
            # Not at each look: two MiB of small requests that are let in one by one would be copied as often.
            self._held, self._at = held[at:], 0
        else:
            self._at = at

    def _keep(self, data: memoryview) -> None:
        try:
            self._held += data
        except BufferError:  # somebody kept a view of it: leave it to them
            self._held, self._at = self._held[self._at :] + data, 0

    @property
    def ready(self) -> bool:
        """There is a whole packet (or a length that cannot be) that has not been handed over."""
        left = len(self)
        if left < 4:
            return False
        size = int.from_bytes(self._held[self._at : self._at + 4], "big")
        return left >= 4 + size or not SMALLEST_PACKET <= size <= self._longest

    def _join(self, view: memoryview) -> int:
        """Complete the packet, or the head of a WRITE, that was begun, with as little of the new as it takes."""
        if self._at:
            self._held, self._at = self._held[self._at :], 0
        held, at = self._held, 0
        while not self.stopped:
            wanted = self._wanted(held) - len(held)
            if wanted <= 0:
                self._held = bytearray()
                whole = memoryview(held)
                done = self._cut(whole, 0)
                if done == len(held):
                    return at
                # A WRITE that is not wanted in pieces: gather the packet. Or it was stopped just now.
                self._held = held = bytearray(whole[done:])
                if self.stopped:
                    return at
                wanted = 4 + int.from_bytes(held[:4], "big") - len(held)
            if not len(view) - at:
                return at
            more = view[at : at + wanted]
            held += more
            at += len(more)
        return at

    def _wanted(self, held: bytearray) -> int:
        """Bytes that are needed of a packet before anything can be done about it."""
        if len(held) < 4:
            return 4
        size = int.from_bytes(held[:4], "big")
        if not SMALLEST_PACKET <= size <= self._longest:
            return 4  # _cut will say so
        if len(held) < 5:
            return 5
        if held[4] != _WRITE or size < 21:
            return 4 + size
        if len(held) < 13:
            return 13
        return min(4 + size, 25 + int.from_bytes(held[9:13], "big"))

    def _cut(self, view: memoryview, at: int) -> int:
        """Hand over what can be; returns the place of what cannot be yet."""
        requests, end = self._requests, len(view)
        while at < end and not self.stopped:
            if self._data or self._tail:
                at = self._pour(view, at)
                continue
            left = end - at
            if left < 4:
                break
            size = int.from_bytes(view[at : at + 4], "big")
            if not SMALLEST_PACKET <= size <= self._longest:
                raise Malformed(f"an SFTP packet of {size} bytes")
            if left >= 13 and view[at + 4] == _WRITE:
                begun = self._begin(view, at, left, size)
                if begun:
                    at = begun
                    continue
            if left < 4 + size:
                break
            requests.request(view[at + 4 : at + 4 + size])
            at += 4 + size
        return at

    def _begin(self, view: memoryview, at: int, left: int, size: int) -> int:
        """The place of a WRITE's data, when its head is there, right, and its data is wanted in pieces; else 0."""
        _, _, request, handle_size = _HEAD.unpack_from(view, at)
        head = 25 + handle_size
        if handle_size > _LONGEST_HANDLE or left < head or size + 4 < head:
            return 0
        start = at + 13
        handle = bytes(view[start : start + handle_size])
        offset, count = _PLACE.unpack_from(view, start + handle_size)
        tail = size + 4 - head - count
        if not count or tail < 0 or not self._requests.write_begins(request, handle, offset, count):
            return 0
        self._data = count
        # The last WRITE of rclone 1.60 carries the rest of its buffer behind the data; OpenSSH's server skips it, too.
        self._tail = tail
        return at + head

    def _pour(self, view: memoryview, at: int) -> int:
        if self._data:
            piece = view[at : at + self._data]
            self._data -= len(piece)
            at += len(piece)
            self._requests.write_data(piece)
            if not self._data:
                self._requests.write_ends()
            return at
        skipped = min(self._tail, len(view) - at)
        self._tail -= skipped
        return at + skipped
