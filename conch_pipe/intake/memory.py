"""Small files, held in memory instead of on disk, within one number for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Memory:
    """What small files may hold in memory, all together.

    :param most: bytes.
    """

    __slots__ = ("held", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    def take(self, count: int) -> bool:
        """Whether there is room for so many bytes more; they are counted then."""
        if self.held + count > self.most:
            return False
        self.held += count
        return True

    def give(self, count: int) -> None:
        """So many bytes are not held any more."""
        self.held -= count


NO_MEMORY = Memory(0)


class SmallFile:
    """The bytes of one file, for as long as it is small.

    :param most: bytes it may have.
    """

    __slots__ = ("_memory", "_most", "held")

    def __init__(self, most: int, memory: Memory) -> None:
        self._most = most
        self._memory = memory
        self.held = bytearray()

    def keep(self, offset: int, end: int, pieces: Sequence[Any]) -> bool:
        """Store a chunk, if the file stays small with it and there is room for it. :returns: whether it did."""
        held = self.held
        grown = end - len(held)
        if end > self._most or (grown > 0 and not self._memory.take(grown)):
            return False
        if grown > 0:
            held.extend(bytes(grown))
        held[offset:end] = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return True

    def release(self) -> bytearray:
        """Its bytes, which are not counted any more."""
        self._memory.give(len(self.held))
        return self.held
