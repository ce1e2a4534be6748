"""SSH packets out of a stream of bytes and into one, without an own opinion about their content.

Sans-IO. What arrives is written straight into one buffer, decrypted where it lies and handed out as a view of it. An
idle connection has no buffer: large ones are shared by all through a small pool.

:source: RFC 4253 section 6.
"""

from __future__ import annotations

import struct

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.transport.ciphers import SLACK, BadPacket, Clear, Direction, padding

_HEAD = struct.Struct(">LB")
_LARGE = 256 * 1024  # bytes read at a time once a connection may send much; 64 KiB cost 5 to 10 % when measured
_SMALL = 4096  # before that
_POOLED = 8  # buffers kept for the next connection that reads
_MASK = 0xFFFFFFFF

_pool: list[memoryview] = []


class Incoming:
    """Bytes in, packets out.

    Use: ``room()`` gives a place to write to, ``filled(n)`` says how much was written (or ``feed(data)`` does both);
    then ``next()`` until it is None; then ``rest()``. Views that ``next`` gave are good until ``rest``.

    :param longest: largest packet length that is accepted, in bytes; may be changed at any time.
    """

    __slots__ = (
        "_buffer",
        "_cipher",
        "_end",
        "_length",
        "_start",
        "large",
        "longest",
        "packets",
        "received",
        "sequence",
    )

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.large = False  # read in large pieces from now on
        self.sequence = 0  # of the next packet
        self.received = self.packets = 0  # bytes and packets since the last change of cipher
        self._cipher: Direction = Clear()
        self._buffer: memoryview | None = None
        self._start = self._end = 0
        self._length: int | None = None  # of the packet at _start, once it is known

    def change(self, cipher: Direction, *, restart: bool) -> None:
        """After NEWKEYS: everything behind it is read with ``cipher``.

        :param restart: count packets from 0 again (strict key exchange).
        """
        self._cipher = cipher
        self.received = self.packets = 0
        if restart:
            self.sequence = 0

    def room(self) -> memoryview:
        """Where bytes may be written; not empty."""
        wanted = _LARGE if self.large else _SMALL
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = _take(wanted)
        elif len(buffer) - SLACK - self._end < wanted // 2:
            left = self._end - self._start
            larger = _take(wanted, wanted + max(left, (self._length or 0) + 4 + self._cipher.tag))
            larger[:left] = buffer[self._start : self._end]
            _give(buffer)
            buffer = self._buffer = larger
            self._start, self._end = 0, left
        return buffer[self._end : len(buffer) - SLACK]

    def filled(self, count: int) -> None:
        """So many bytes were written into ``room``."""
        self._end += count

    def feed(self, data: bytes | memoryview) -> None:
        """Bytes that came another way."""
        while len(data):
            room = self.room()
            count = min(len(room), len(data))
            room[:count] = data[:count]
            self._end += count
            data = data[count:]

    def waiting(self) -> memoryview:
        """What came and has not been taken; for what stands before the first packet."""
        return memoryview(b"") if self._buffer is None else self._buffer[self._start : self._end]

    def skip(self, count: int) -> None:
        """Take so many bytes of :meth:`waiting`."""
        self._start += count

    def line(self, longest: int) -> bytes | None:
        """The line before the first packet, without its end, or None when more must come.

        :param longest: bytes, with the end.
        :raises Malformed: it is longer.
        """
        start = bytes(self.waiting()[:longest])
        line, newline, _ = start.partition(b"\n")
        if not newline:
            if len(start) == longest:
                raise Malformed("the version line is too long")
            return None
        self.skip(len(line) + 1)
        return line.removesuffix(b"\r")

    def next(self) -> memoryview | None:
        """The payload of the next packet, its number first, or None when more must come.

        :raises Malformed: a length or padding that cannot be, also when only the length has come.
        :raises BadPacket: it was changed on its way.
        """
        buffer, start, cipher = self._buffer, self._start, self._cipher
        left = self._end - start
        length = self._length
        if length is None:
            if buffer is None or left < cipher.clear:
                return None
            length = cipher.length(buffer, start, self.sequence)
            if not 5 <= length <= self.longest:
                raise Malformed("an SSH packet is too long" if length > 5 else "an SSH packet is too short")
            if (length + cipher.counted) % cipher.block:
                raise Malformed("an SSH packet of a length that cannot be")
            self._length = length
        size = 4 + length + cipher.tag
        if left < size:
            return None
        assert buffer is not None
        cipher.open(buffer, start, length, self.sequence)
        pad = buffer[start + 4]
        if pad < 4 or pad > length - 2:
            raise Malformed("an empty packet" if pad == length - 1 else "padding that cannot be")
        self.sequence = (self.sequence + 1) & _MASK
        self.received += size
        self.packets += 1
        self._start = start + size
        self._length = None
        return buffer[start + 5 : start + 4 + length - pad]

    def rest(self) -> None:
        """All packets that were there are dealt with: views of them may become invalid now."""
        buffer = self._buffer
        if buffer is not None and self._start == self._end:
            self._buffer = None
            self._start = self._end = 0
            _give(buffer)

    def close(self) -> None:
        """Nothing more is read; what is left is forgotten."""
        self._start = self._end
        self._length = None
        self.rest()


def _take(wanted: int, least: int = 0) -> memoryview:
    if wanted == _LARGE and _pool and least <= len(_pool[-1]) - SLACK:
        return _pool.pop()
    # Twice what is read: a packet that is cut at the end of one read need not be moved before the next.
    return memoryview(bytearray(max(2 * wanted, least) + SLACK))


def _give(buffer: memoryview) -> None:
    if len(_pool) < _POOLED and len(buffer) >= 2 * _LARGE:
        _pool.append(buffer)


class Outgoing:
    """Messages in, bytes out."""

    __slots__ = ("_cipher", "_room", "packets", "sent", "sequence")

    def __init__(self) -> None:
        self.sequence = 0  # of the next packet
        self.sent = self.packets = 0  # bytes and packets since the last change of cipher
        self._cipher: Direction = Clear()
        self._room = bytes(SLACK)  # behind a packet: for its tag and what the cipher needs to write it

    def change(self, cipher: Direction, *, restart: bool) -> None:
        """After our NEWKEYS: see :meth:`Incoming.change`."""
        self._cipher = cipher
        self._room = bytes(cipher.tag + SLACK)
        self.sent = self.packets = 0
        if restart:
            self.sequence = 0

    def packet(self, payload: bytes) -> bytearray:
        """One message as it goes on the wire.

        :param payload: its number first; at least one byte.
        """
        cipher = self._cipher
        size = len(payload) + 1
        pad = cipher.block - (size + cipher.counted) % cipher.block
        if pad < 4:
            pad += cipher.block
        length = size + pad
        buffer = bytearray(b"".join((_HEAD.pack(length, pad), payload, padding(pad), self._room)))
        with memoryview(buffer) as view:
            cipher.seal(view, length, self.sequence)
        del buffer[-SLACK:]
        self.sequence = (self.sequence + 1) & _MASK
        self.sent += len(buffer)
        self.packets += 1
        return buffer

    def seal(self, buffer: memoryview, payload: int) -> int:
        """Make a packet of a payload that already lies in a buffer, without copying it.

        :param buffer: 5 bytes for the head, the payload, and room for padding, tag and slack: :meth:`extent` bytes.
        :param payload: its bytes.
        :returns: bytes of the packet, from the start of ``buffer``.
        """
        cipher = self._cipher
        pad = cipher.block - (payload + 1 + cipher.counted) % cipher.block
        if pad < 4:
            pad += cipher.block
        length = payload + 1 + pad
        _HEAD.pack_into(buffer, 0, length, pad)
        buffer[5 + payload : 4 + length] = padding(pad)
        cipher.seal(buffer, length, self.sequence)
        self.sequence = (self.sequence + 1) & _MASK
        size = 4 + length + cipher.tag
        self.sent += size
        self.packets += 1
        return size

    def extent(self, payload: int) -> int:
        """Bytes a buffer must have for :meth:`seal`."""
        return 5 + payload + 2 * self._cipher.block + self._cipher.tag + SLACK


__all__ = ["BadPacket", "Incoming", "Outgoing"]
