"""Reading and writing the data types of RFC 4251 section 5, strictly.

Shared by SSH and SFTP messages, which use the same types. Knows no message. Conch's ``getNS`` takes what is left when a
string claims more bytes than there are, which once acknowledged a WRITE of 1,000 bytes that carried 3 (C4).
"""

from __future__ import annotations

import struct

_U32 = struct.Struct(">L")
_U64 = struct.Struct(">Q")
_TOO_EARLY = "the message ends too early"


class Malformed(Exception):
    """A message that does not have the shape it must have; the text says what is wrong, without the data."""


class Reader:
    """Takes the fields of one message from the front.

    :param data: the message; ``view`` results share its memory.
    :raises Malformed: from every method, when the data ends too early or a bound is passed.
    """

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._at = 0
        self._end = len(data)

    def _take(self, size: int) -> int:
        at = self._at
        if self._end - at < size:
            raise Malformed(_TOO_EARLY)
        self._at = at + size
        return at

    def byte(self) -> int:
        """One byte."""
        return self._data[self._take(1)]

    def flag(self) -> bool:
        """A boolean: anything but 0 is true."""
        return self.byte() != 0

    def u32(self) -> int:
        """A 32-bit number."""
        at = self._at
        if self._end - at < 4:
            raise Malformed(_TOO_EARLY)
        self._at = at + 4
        return _U32.unpack_from(self._data, at)[0]

    def u64(self) -> int:
        """A 64-bit number."""
        return _U64.unpack_from(self._data, self._take(8))[0]

    def view(self, longest: int = 2**32) -> memoryview:
        """A string without copying it.

        :param longest: bytes.
        """
        # The same as u32 and _take one after the other, in half the time: most of what a message has are strings.
        at = self._at + 4
        if at > self._end:
            raise Malformed(_TOO_EARLY)
        size = _U32.unpack_from(self._data, at - 4)[0]
        if size > longest:
            raise Malformed("a string is too long")
        end = at + size
        if end > self._end:
            raise Malformed(_TOO_EARLY)
        self._at = end
        return self._data[at:end]

    def string(self, longest: int = 2**32) -> bytes:
        """A string as bytes of its own."""
        return bytes(self.view(longest))

    def rest(self) -> bytes:
        """All that is left."""
        at, self._at = self._at, self._end
        return bytes(self._data[at:])

    @property
    def left(self) -> int:
        """Bytes not yet taken."""
        return self._end - self._at

    def end(self) -> None:
        """Nothing may be left."""
        if self._at != self._end:
            raise Malformed("there are bytes after the end of the message")


def u32(value: int) -> bytes:
    """A 32-bit number on the wire."""
    return _U32.pack(value)


def u64(value: int) -> bytes:
    """A 64-bit number on the wire."""
    return _U64.pack(value)


def string(value: bytes) -> bytes:
    """A string on the wire."""
    return _U32.pack(len(value)) + value


def printable(text: str | bytes, longest: int = 255) -> str:
    """What a peer sent or what goes to it, as printable ASCII in one line; other characters become ``?``."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    text = text[:longest]
    if text.isascii() and text.isprintable():  # as nearly always
        return text
    return "".join(c if " " <= c <= "~" else "?" for c in text)
