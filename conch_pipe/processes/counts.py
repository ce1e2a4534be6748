"""The memory in which door processes count connections together: made by the parent, inherited as a descriptor.

What lies in it is ssh/server/tally.py's. A process has the column of its index; there are two columns for each that
serves, since a fresh process starts before the old one has ended.
"""

from __future__ import annotations

import mmap
import os

from conch_pipe.ssh.server.tally import SharedTally


def make(processes: int) -> tuple[int, SharedTally]:
    """New memory. :returns: its descriptor, and a hand on it that only ever forgets."""
    columns = 2 * processes
    descriptor = os.memfd_create("pipe-sftp-counts", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, SharedTally.size(columns))
    memory = mmap.mmap(descriptor, 0)
    SharedTally.prepare(memory, columns)
    return descriptor, SharedTally(memory, 0)


def take(descriptor: int, index: int) -> SharedTally:
    """The column of this process."""
    return SharedTally(mmap.mmap(descriptor, 0), index)
