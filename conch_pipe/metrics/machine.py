"""Disks and child processes, as the system tells of them when it is asked."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from conch_pipe.metrics.catalogue import (
    CHILDREN,
    CHILDREN_CPU,
    CHILDREN_MEMORY,
    DISK_FREE,
    DISK_LEAST,
    DISK_SIZE,
    Sample,
)

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Disks:
    """The room that is left.

    :param places: what is kept there → its folder, or a file in it.
    :param least: from the disk's size in bytes, what must be free on that of the spool.
    """

    def __init__(self, places: Mapping[str, Path], least: Callable[[int], float]) -> None:
        self._places = places
        self._least = least

    def __call__(self) -> Iterator[Sample]:
        """One statvfs for each place; one that is not there tells nothing."""
        for place, path in self._places.items():
            try:
                found = os.statvfs(path if path.is_dir() else path.parent)
            except OSError:
                continue
            size = found.f_blocks * found.f_frsize
            yield DISK_FREE, (place,), found.f_bavail * found.f_frsize
            yield DISK_SIZE, (place,), size
            if place == "spool":
                yield DISK_LEAST, (), self._least(size)


class Children:
    """Processes of ours besides this one.

    :param pids: kind → gives those that live.
    """

    def __init__(self, pids: Mapping[str, Callable[[], Iterable[int]]]) -> None:
        self._pids = pids

    def __call__(self) -> Iterator[Sample]:
        """What /proc has of each, and of all that have ended; nothing but their number where there is no /proc."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = ended.ru_utime + ended.ru_stime
        for kind, pids in self._pids.items():
            found = list(pids())
            used = [_used(pid) for pid in found]
            yield CHILDREN, (kind,), len(found)
            yield CHILDREN_MEMORY, (kind,), sum(memory for memory, _ in used)
            cpu_s += sum(seconds for _, seconds in used)
        yield CHILDREN_CPU, (), cpu_s


def _used(pid: int) -> tuple[int, float]:
    """Resident bytes and CPU seconds of a process; nothing of one that has just ended."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0, 0.0
    fields = told.rpartition(")")[2].split()  # the name before it may hold anything; fields[0] is the third of proc(5)
    return int(fields[21]) * _PAGE, (int(fields[11]) + int(fields[12])) / _TICKS
