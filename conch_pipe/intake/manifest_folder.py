"""The folder of manifests on the disk: what is new in it, and where what was looked at goes.

Everything here blocks and belongs in a thread; an OSError that rises is a trouble of the folder, not of a manifest.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from conch_pipe.intake.recordings import shown

ACCEPTED, REFUSED = "accepted", "refused"  # folders in the spool
LONGEST = 64 << 10  # bytes of a manifest
MOST = 100  # manifests in one look
_NEW = ".problem.new"  # a text being written
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Stamp = tuple[int, int, int]  # inode, modification time in ns, size: changes with what is in the file


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest in the folder."""

    name: str
    stamp: Stamp
    content: bytes = b""
    problem: str = ""  # why its content is not to be looked at


def read(folder: Path, pending: Mapping[str, Stamp]) -> tuple[set[str], list[Found]]:
    """All names of manifests, and the content of those to look at, oldest first, as many as one look takes.

    :param pending: manifests that are not to be looked at unless they have changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    fresh: list[tuple[int, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not entry.name.endswith(".json"):
                continue
            with suppress(FileNotFoundError):  # gone since
                seen = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(seen.st_mode):
                    continue
                names.add(entry.name)
                if pending.get(entry.name) != _stamp(seen):
                    fresh.append((seen.st_mtime_ns, entry.name))
    found = []
    for _, name in heapq.nsmallest(MOST, fresh):
        with suppress(FileNotFoundError):
            found.append(_content(folder / name))
    return names, found


def _content(path: Path) -> Found:
    seen = path.lstat()
    if not stat.S_ISREG(seen.st_mode):
        return Found(path.name, _stamp(seen), problem="the manifest is not a regular file")
    try:
        file = os.open(path, _OPEN)
    except PermissionError:
        return Found(path.name, _stamp(seen), problem="the manifest cannot be read by the service's user")
    with os.fdopen(file, "rb") as opened:
        seen = os.fstat(file)
        content = opened.read(LONGEST + 1)
    if len(content) > LONGEST:
        return Found(path.name, _stamp(seen), problem=f"the manifest has more than {LONGEST} bytes")
    return Found(path.name, _stamp(seen), content)


def _stamp(seen: os.stat_result) -> Stamp:
    return seen.st_ino, seen.st_mtime_ns, seen.st_size


def accepted(folder: Path, found: Found) -> None:
    """Move it to the accepted ones; a text about an earlier refusal of it goes."""
    _move(folder, found, ACCEPTED)
    with suppress(FileNotFoundError), _opened(folder / REFUSED) as refused:
        try:
            os.stat(found.name, dir_fd=refused, follow_symlinks=False)
        except FileNotFoundError:
            os.unlink(_problem_file(found), dir_fd=refused)


def refused(folder: Path, found: Found, problems: list[str], at: datetime) -> None:
    """Move it to the refused ones. The mistakes are written first, so that none is ever there without them."""
    lines = [f"{shown(found.name)} was refused at {at:%Y-%m-%d %H:%M:%S} UTC:", ""]
    lines += [f"  - {one}" for one in problems]
    lines += ["", f"Mend it and move it back to {folder}.", ""]
    text = "\n".join(lines).encode(errors="backslashreplace")
    _make(folder, REFUSED)
    with _opened(folder / REFUSED) as into:
        with suppress(FileNotFoundError):
            os.unlink(_NEW, dir_fd=into)
        # Exclusive: whoever may write to the spool must not lead us to another file by a link.
        file = os.open(_NEW, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, dir_fd=into)
        with os.fdopen(file, "wb") as opened:
            os.fchmod(file, 0o644)  # the sender is to read it, if the folder lets him
            opened.write(text)
        os.rename(_NEW, _problem_file(found), src_dir_fd=into, dst_dir_fd=into)
    _move(folder, found, REFUSED)


def _problem_file(found: Found) -> str:
    name = os.fsencode(found.name.removesuffix(".json"))[:240]  # else the longer ending may not fit
    return f"{os.fsdecode(name)}.problem.txt"


def _make(folder: Path, name: str) -> None:
    """A folder in the spool, for the same people as the spool itself."""
    with suppress(FileExistsError):
        (folder / name).mkdir()
        # Without the set-group-id bit, which a hardened unit (RestrictSUIDSGID) may not set.
        (folder / name).chmod(folder.stat().st_mode & 0o777)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield opened
    finally:
        os.close(opened)


def _move(folder: Path, found: Found, name: str) -> None:
    """Move the manifest that was looked at; one that took its place meanwhile is given back and looked at."""
    _make(folder, name)
    source = folder / found.name
    with (
        _opened(folder / name) as into,
        suppress(FileNotFoundError),
    ):  # its sender took it back: what is recorded stands
        os.rename(source, found.name, dst_dir_fd=into)
        moved = os.stat(found.name, dir_fd=into, follow_symlinks=False)
        if _stamp(moved) != found.stamp:
            with suppress(FileExistsError):
                os.link(found.name, source, src_dir_fd=into, follow_symlinks=False)
            os.unlink(found.name, dir_fd=into)


def tidy(folder: Path, before: float) -> None:
    """Delete accepted manifests that were moved before a time."""
    with suppress(FileNotFoundError), os.scandir(folder / ACCEPTED) as entries:
        for entry in entries:
            if entry.name.endswith(".json") and entry.stat(follow_symlinks=False).st_ctime < before:
                Path(entry.path).unlink(missing_ok=True)
