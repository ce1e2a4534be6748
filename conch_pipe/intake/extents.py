"""Which bytes of a file have been written: sorted pieces that neither touch nor overlap.

Pure. Knows no file; at most :data:`MAX_PIECES` pieces, so that a client that jumps about cannot make it grow.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

# OpenSSH, WinSCP, rclone and lftp write in order or nearly so: 64 requests in flight make at most 64 pieces.
MAX_PIECES = 1024


class TooScattered(Exception):
    """The write would make one piece more than allowed; nothing was noted."""


class Extents:
    """The pieces written so far."""

    __slots__ = ("_ends", "_starts", "max_pieces")

    def __init__(self, max_pieces: int = MAX_PIECES) -> None:
        self.max_pieces = max_pieces
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Note that the bytes from ``start`` up to, not including, ``end`` are there; ``start`` < ``end``.

        :raises TooScattered: see there.
        """
        starts, ends = self._starts, self._ends
        if ends and ends[-1] == start:  # in order, nearly always
            ends[-1] = end
            return
        first = bisect_left(ends, start)  # the first piece that reaches the new one
        after = bisect_right(starts, end)  # the first piece beyond it
        if first == after:
            if len(starts) >= self.max_pieces:
                raise TooScattered
        else:
            start = min(start, starts[first])
            end = max(end, ends[after - 1])
        starts[first:after] = [start]
        ends[first:after] = [end]

    @property
    def size(self) -> int:
        """The highest offset written."""
        return self._ends[-1] if self._ends else 0

    @property
    def prefix(self) -> int:
        """Bytes from 0 on without a hole."""
        return self._ends[0] if self._starts and self._starts[0] == 0 else 0

    def pieces(self) -> list[tuple[int, int]]:
        """The pieces as (start, end), sorted."""
        return list(zip(self._starts, self._ends, strict=True))
