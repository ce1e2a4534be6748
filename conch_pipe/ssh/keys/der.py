"""DER, as far as keys need it: definite lengths, tags of one byte, nothing nested that is not asked for.

:source: X.690.
"""

from __future__ import annotations

from conch_pipe.ssh.fields import Malformed

INTEGER, BITS, OCTETS, OID, SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30
CONTEXT_0, CONTEXT_1 = 0xA0, 0xA1  # constructed


class Fields:
    """Takes values from the front.

    :raises Malformed: from every method, when something else stands there.
    """

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def next(self) -> int:
        """The tag of what stands there; -1 at the end."""
        return self._data[self._at] if self._at < len(self._data) else -1

    def take(self, tag: int) -> bytes:
        """The content of a value."""
        if self.next != tag:
            raise Malformed("another value than there should be")
        data, at = self._data, self._at + 2
        if at > len(data):
            raise Malformed("a value that ends too early")
        size = data[at - 1]
        if size >= 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[at : at + count], "big")
            if not 1 <= count <= 4 or at + count > len(data) or size < (0x80 if count == 1 else 1 << 8 * (count - 1)):
                raise Malformed("a length that cannot be")
            at += count
        if size > len(data) - at:
            raise Malformed("a value that ends too early")
        self._at = at + size
        return data[at : self._at]

    def inside(self, tag: int = SEQUENCE) -> Fields:
        """What is in a value."""
        return Fields(self.take(tag))

    def number(self) -> int:
        """A number that is not negative."""
        body = self.take(INTEGER)
        if not body or body[0] & 0x80 or (body[0] == 0 and len(body) > 1 and not body[1] & 0x80):
            raise Malformed("a number that is negative or has zeros in front")
        return int.from_bytes(body, "big")

    def bits(self) -> bytes:
        """Whole bytes."""
        body = self.take(BITS)
        if not body or body[0]:
            raise Malformed("bits that are not whole bytes")
        return body[1:]

    def end(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._data):
            raise Malformed("there is more than there should be")


def whole(data: bytes) -> Fields:
    """What is in the one sequence that ``data`` is."""
    outer = Fields(data)
    content = outer.inside()
    outer.end()
    return content
