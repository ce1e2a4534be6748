"""How many connections each source has, and until when it is punished: in one process, or in several that share memory.

A source is what ``addresses.source`` gives. Counts and moments only; what is too many is decided by admission.py, what
an offence costs by penalties.py. Asking never changes anything; counting is O(1).
"""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

PUNISHED = 65_536  # sources whose penalties one process remembers, those of the last offences


class Count(NamedTuple):
    """Connections, and how many of these have not logged in."""

    connections: int = 0
    waiting: int = 0


class Sentence(NamedTuple):
    """Moments of the clock of penalties.py; 0.0: never punished."""

    owed_until: float = 0.0  # when all that was added up has run off
    shut_until: float = 0.0  # until then connections are refused


class Tally(Protocol):
    """What admission.py and penalties.py count with."""

    def add(self, source: str | None, connections: int, waiting: int) -> None:
        """Count connections of this process that came, went (-1) or logged in (``waiting`` -1).

        :param source: None counts to the total alone: a trusted proxy.
        """

    def move(self, source: str, connections: int, waiting: int) -> None:
        """Connections in the total already have a source now."""

    def total(self) -> Count:
        """Of all sources."""

    def of(self, source: str) -> Count:
        """Of one source; never less than there are."""

    def sentence(self, source: str) -> Sentence:
        """What the source has to bear."""

    def punish(self, source: str, sentence: Sentence) -> None:
        """Note it; an earlier moment than the one noted changes nothing."""


class OwnTally:
    """Exact, for one process. Sources without connections are forgotten; penalties stay for the PUNISHED last."""

    def __init__(self, punished: int = PUNISHED) -> None:
        self._total = Count()
        self._counts: dict[str, Count] = {}
        self._punished = punished
        self._sentences: OrderedDict[str, Sentence] = OrderedDict()

    def known(self) -> int:
        """How many sources it remembers (no ``__len__``: an empty tally must not be taken for none)."""
        return len(self._counts) + len(self._sentences)

    def add(self, source: str | None, connections: int, waiting: int) -> None:
        """See Tally."""
        self._total = Count(self._total.connections + connections, self._total.waiting + waiting)
        if source is not None:
            self.move(source, connections, waiting)

    def move(self, source: str, connections: int, waiting: int) -> None:
        """See Tally."""
        before = self._counts.pop(source, Count())
        after = Count(before.connections + connections, before.waiting + waiting)
        if any(after):
            self._counts[source] = after

    def total(self) -> Count:
        """See Tally."""
        return self._total

    def of(self, source: str) -> Count:
        """See Tally."""
        return self._counts.get(source, Count())

    def sentence(self, source: str) -> Sentence:
        """See Tally."""
        return self._sentences.get(source, Sentence())

    def punish(self, source: str, sentence: Sentence) -> None:
        """See Tally."""
        before = self._sentences.pop(source, Sentence())
        self._sentences[source] = Sentence(*map(max, before, sentence))
        if len(self._sentences) > self._punished:
            self._sentences.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the tables of a SharedTally are.

    A source has one bucket in each row of a table, chosen by a hash under a random key, and counts as much as the
    least of them says: sources that share a bucket in one row hardly do in the next. So a count is never too small; it
    is too large for a newcomer only if each of its buckets is somebody else's as well, (1 - e^(-n/buckets)) ^ rows
    with n other sources:

    ================================  ==========  ==========  ==========
    n                                     500        10,000      65,536
    ================================  ==========  ==========  ==========
    connected (2 rows of 16,384)        0.09 %         21 %        96 %
    punished (4 rows of 131,072)       2e-10       0.0029 %       2.4 %
    ================================  ==========  ==========  ==========

    The first line harms only a newcomer who shares with somebody near the cap of one address: with 500 sources of one
    or two connections each, nobody. Past ``limits.connections`` there is no n. Memory for each process: 256 KiB and
    8 MiB, of which only pages that were written to are used.
    """

    counted: int = 16_384
    counted_rows: int = 2
    punished: int = 131_072
    punished_rows: int = 4

    @property
    def column_bytes(self) -> int:
        """Bytes of one process: totals, counts of 4 bytes, moments of 8; each the size its processor stores at once."""
        return _LINE + self.counted_rows * self.counted * 8 + self.punished_rows * self.punished * 16


_HEADER = struct.Struct("=8sL4L16s")  # magic, processes, shape, key
_MAGIC = b"pstally1"
_LISTENS = 2  # in the totals, behind the two of a Count
_LINE = 64  # of a cache: what two processes write lies in different ones
_SHAPE = Shape()
_KNOWN = 4096  # sources whose buckets need not be found again


class SharedTally:
    """One process's hand on a table that several share: reads every column, writes its own, so there are no locks.

    The processes' clocks must be one: ``time.monotonic``. What two of them decide in the same moment they decide
    apart: a cap can be passed by one connection for each other process.

    :param memory: a writable buffer that ``prepare`` made ready, such as an ``mmap`` of a file descriptor
        (``os.memfd_create``) that children inherit.
    :param index: this process's column, from 0; two that live at the same time must not share one.
    :raises ValueError: the memory was not made ready, or has no such column.
    """

    @staticmethod
    def size(processes: int, shape: Shape = _SHAPE) -> int:
        """Bytes needed for so many processes."""
        return _LINE + processes * shape.column_bytes

    @classmethod
    def prepare(cls, memory: Any, processes: int, shape: Shape = _SHAPE) -> None:
        """Make memory ready, once, before the first process uses it. The key is new each time: nobody can aim at a
        bucket.

        :param memory: zeros, as an ``mmap`` has them.
        :raises ValueError: it is too small.
        """
        if len(memory) < cls.size(processes, shape):
            raise ValueError("the shared memory is too small")
        fields = (shape.counted, shape.counted_rows, shape.punished, shape.punished_rows)
        _HEADER.pack_into(memory, 0, _MAGIC, processes, *fields, os.urandom(16))

    def __init__(self, memory: Any, index: int) -> None:
        if len(memory) < _LINE or bytes(memory[:8]) != _MAGIC:
            raise ValueError("the shared memory was not made ready")
        _, self.processes, *fields, self._key = _HEADER.unpack_from(memory)
        self._shape = Shape(*fields)
        if not 0 <= index < self.processes or len(memory) < self.size(self.processes, self._shape):
            raise ValueError("the shared memory has no such column")
        self.index = index
        columns = [self._column(memoryview(memory), each) for each in range(self.processes)]
        self._totals = [totals for totals, _, _ in columns]
        self._counts = [counts for _, counts, _ in columns]
        self._moments = [moments for _, _, moments in columns]
        self._counted = lru_cache(_KNOWN)(self._find_counted)
        self._punished = lru_cache(_KNOWN)(self._find_punished)

    def forget(self, index: int) -> None:
        """Take the connections of a process that is dead out of the counts: its parent calls it, before the column has
        a new owner. Penalties stay; they run off by themselves.
        """
        for table in (self._totals[index], self._counts[index]):
            table[:] = memoryview(bytes(table.nbytes)).cast("I")

    def listen(self, does: bool) -> None:
        """Say whether this process takes connections."""
        self._totals[self.index][_LISTENS] = int(does)

    def lead(self) -> int:
        """How many connections this process has more than the one with the fewest, of those that take connections."""
        totals = self._totals
        own = totals[self.index][0]
        return max([own - each[0] for each in totals if each[_LISTENS]], default=0)

    def add(self, source: str | None, connections: int, waiting: int) -> None:
        """See Tally."""
        _increase(self._totals[self.index], 0, connections, waiting)
        if source is not None:
            self.move(source, connections, waiting)

    def move(self, source: str, connections: int, waiting: int) -> None:
        """See Tally."""
        own = self._counts[self.index]
        for at in self._counted(source):
            _increase(own, at, connections, waiting)

    def total(self) -> Count:
        """See Tally."""
        return Count(sum(own[0] for own in self._totals), sum(own[1] for own in self._totals))

    def of(self, source: str) -> Count:
        """See Tally."""
        buckets, columns = self._counted(source), self._counts
        return Count(
            min([sum([own[at] for own in columns]) for at in buckets]),
            min([sum([own[at + 1] for own in columns]) for at in buckets]),
        )

    def sentence(self, source: str) -> Sentence:
        """See Tally."""
        buckets, columns = self._punished(source), self._moments
        return Sentence(
            min([max([own[at] for own in columns]) for at in buckets]),
            min([max([own[at + 1] for own in columns]) for at in buckets]),
        )

    def punish(self, source: str, sentence: Sentence) -> None:
        """See Tally."""
        own = self._moments[self.index]
        for at in self._punished(source):
            # Never back: the bucket may be somebody else's too.
            own[at] = max(own[at], sentence.owed_until)
            own[at + 1] = max(own[at + 1], sentence.shut_until)

    def _column(self, memory: memoryview, index: int) -> tuple[memoryview[int], memoryview[int], memoryview[float]]:
        shape, at = self._shape, _LINE + index * self._shape.column_bytes
        counts = at + _LINE
        moments = counts + shape.counted_rows * shape.counted * 8
        return (
            memory[at : at + 12].cast("I"),
            memory[counts:moments].cast("I"),
            memory[moments : at + shape.column_bytes].cast("d"),
        )

    def _find_counted(self, source: str) -> list[int]:
        return self._buckets(source, b"counted", self._shape.counted_rows, self._shape.counted)

    def _find_punished(self, source: str) -> list[int]:
        return self._buckets(source, b"punished", self._shape.punished_rows, self._shape.punished)

    def _buckets(self, source: str, person: bytes, rows: int, size: int) -> list[int]:
        """Where the source's cells are in a table, one pair in each row."""
        digest = blake2b(source.encode(), digest_size=8 * rows, key=self._key, person=person).digest()
        hashes = struct.unpack(f"={rows}Q", digest)
        return [2 * (row * size + value % size) for row, value in enumerate(hashes)]


def _increase(table: memoryview, at: int, connections: int, waiting: int) -> None:
    # Not below 0, which these cells cannot hold: a column that was forgotten too early must not break its process.
    table[at] = max(0, table[at] + connections)
    table[at + 1] = max(0, table[at + 1] + waiting)
