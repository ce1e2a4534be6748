"""Sums and spreads by label, made to be added to a thousand times a second, and from one process into another.

A process that takes connections keeps a tally of its own, whose ``take`` its parent merges. Knows no event and no
Prometheus.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from conch_pipe.metrics.catalogue import OPEN, Metric

MOST = 200  # sets of open labels of one metric
OTHER = "other"  # stands for all beyond them

Labels = tuple[str, ...]
Snapshot = list[tuple[Metric, dict[Labels, Any]]]


class _Cells:
    """Label sets of one metric, of which there are never too many."""

    def __init__(self, metric: Metric, most: int) -> None:
        self.metric = metric
        self._most = most
        self._open = sum(label in OPEN for label in metric.labels)  # they are the first ones
        self._known: set[Labels] = set()

    def expect(self, opened: Labels) -> bool:
        """Something of these open labels will be counted: from zero, or the first one would be no increase.

        :returns: False when there are too many already.
        """
        if opened in self._known:
            return True
        if len(self._known) >= self._most:
            return False
        self._known.add(opened)
        self.fill_all(opened)
        return True

    def fill(self, labels: Labels) -> Any:
        """It is there, with nothing in it."""
        raise NotImplementedError

    def fill_all(self, opened: Labels = ()) -> None:
        """All sets with these open labels, when the others have fixed values."""
        values = [self.metric.values.get(label, ()) for label in self.metric.labels[self._open :]]
        for closed in itertools.product(*values):
            self.fill((*opened, *closed))

    def _place(self, labels: Labels) -> Labels:
        """Where a set that is new is counted."""
        if not self._open or self.expect(labels[: self._open]):
            return labels
        return (OTHER,) * self._open + labels[self._open :]


class Sum(_Cells):
    """A counter."""

    def __init__(self, metric: Metric, most: int) -> None:
        super().__init__(metric, most)
        self.cells: dict[Labels, float] = {}

    def add(self, labels: Labels = (), amount: float = 1) -> None:
        """Count; ``labels`` are in the metric's order."""
        try:
            self.cells[labels] += amount
        except KeyError:
            labels = self._place(labels)
            self.cells[labels] = self.cells.get(labels, 0) + amount

    def fill(self, labels: Labels) -> None:
        """It is there, as zero."""
        self.cells.setdefault(labels, 0)

    def merge(self, labels: Labels, told: Any) -> None:
        """What another process counted."""
        self.add(labels, float(told))


class Spread(_Cells):
    """A histogram: how many were in each bucket, and the sum of all."""

    def __init__(self, metric: Metric, most: int) -> None:
        super().__init__(metric, most)
        self._bounds = metric.buckets
        self.cells: dict[Labels, list[float]] = {}  # the last bucket is without an end; after it the sum

    def add(self, labels: Labels, value: float) -> None:
        """One observation."""
        cell = self.cells.get(labels)
        if cell is None:
            cell = self.fill(labels)
        cell[bisect_left(self._bounds, value)] += 1
        cell[-1] += value

    def fill(self, labels: Labels) -> list[float]:
        """It is there, with nothing in it."""
        return self.cells.setdefault(self._place(labels), [0] * (len(self._bounds) + 2))

    def merge(self, labels: Labels, told: Any) -> None:
        """What another process observed."""
        cell = self.fill(labels)
        if len(told) == len(cell):
            cell[:] = [ours + float(theirs) for ours, theirs in zip(cell, told, strict=True)]


class Tally:
    """All metrics that are counted.

    :param filled: label sets that are known beforehand are there from the start, as zero.
    """

    def __init__(self, metrics: Iterable[Metric], *, most: int = MOST, filled: bool = True) -> None:
        self._cells: dict[str, Sum | Spread] = {
            one.name: Spread(one, most) if one.kind == "histogram" else Sum(one, most) for one in metrics
        }
        if filled:
            for cells in self._cells.values():
                if not OPEN.intersection(cells.metric.labels):
                    cells.fill_all()

    def __iter__(self) -> Iterator[Sum | Spread]:
        return iter(self._cells.values())

    def sum(self, metric: Metric) -> Sum:
        """The counter of that name."""
        found = self._cells[metric.name]
        assert isinstance(found, Sum)
        return found

    def spread(self, metric: Metric) -> Spread:
        """The histogram of that name."""
        found = self._cells[metric.name]
        assert isinstance(found, Spread)
        return found

    def now(self) -> Snapshot:
        """All there is at this moment, for another thread."""
        return [
            (
                cells.metric,
                {labels: told[:] if isinstance(told, list) else told for labels, told in cells.cells.items()},
            )
            for cells in self._cells.values()
        ]

    def take(self) -> list[list[Any]]:
        """What was counted since the last time, as JSON has it: name, labels, number or numbers."""
        taken = [[name, labels, told] for name, cells in self._cells.items() for labels, told in cells.cells.items()]
        for cells in self._cells.values():
            cells.cells.clear()
        return taken

    def merge(self, taken: Sequence[Sequence[Any]]) -> None:
        """Add what another tally has taken; what this version does not know is left out."""
        for name, labels, told in taken:
            cells = self._cells.get(name)
            if cells is not None and len(labels) == len(cells.metric.labels):
                cells.merge(tuple(map(str, labels)), told)
